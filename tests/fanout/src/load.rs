//! The load generator: every client of a server and the triggers, in one thread around one epoll set.
//!
//! One thread and no task per client, so that the generator is cheaper than any server it measures. It proves what it
//! counts: each client has a bit per broadcast, so a frame that is missing, repeated or unknown is an error and not a
//! better figure.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};

use crate::process::Server;
use crate::rounds::Mode;
use crate::{forum, wire};

/// Without a frame or a reply for this long a run has failed.
const STALL: Duration = Duration::from_secs(10);
/// After the last frame: how long a repeated one may still show up.
const SETTLE: Duration = Duration::from_millis(100);
/// Tokens from here on are triggers, below are clients.
const TRIGGERS: u64 = 1 << 32;

/// What one run sends.
pub(crate) struct Plan {
    /// Broadcasts in flight: each trigger has its own connection and posts again when its broadcast is complete.
    pub(crate) window: usize,
    pub(crate) broadcasts: usize,
    /// After this long no new broadcast is started.
    pub(crate) budget: Duration,
}

/// What one run measured.
pub(crate) struct Sample {
    pub(crate) broadcasts: usize,
    pub(crate) deliveries: usize,
    pub(crate) wall: Duration,
    pub(crate) cpu: Duration,
    pub(crate) p50: Duration,
    pub(crate) p99: Duration,
    /// Mean payload of a frame.
    pub(crate) frame_bytes: usize,
}

struct Client {
    stream: TcpStream,
    /// The beginning of a frame whose rest has not arrived.
    partial: Vec<u8>,
}

struct Trigger {
    stream: TcpStream,
    input: Vec<u8>,
    /// The broadcast it has in flight.
    broadcast: Option<usize>,
    replied: bool,
}

/// The connections to one server.
pub(crate) struct Load {
    epoll: OwnedFd,
    clients: Vec<Client>,
    triggers: Vec<Trigger>,
    request: Request,
    /// Busy polling keeps wake-ups out of the figures; it needs a core of its own.
    busy: bool,
    next_id: u64,
    events: Vec<epoll::Event>,
    buffer: Vec<u8>,
}

impl Load {
    /// Opens and, in the forum, subscribes `connections` clients and opens `triggers` more connections.
    pub(crate) fn connect(
        mode: Mode,
        addr: SocketAddr,
        token: Option<&str>,
        connections: usize,
        triggers: usize,
        busy: bool,
    ) -> Result<Self, String> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(|error| format!("epoll: {error}"))?;
        let watch = |stream: &TcpStream, token: u64| {
            stream.set_nonblocking(true)?;
            let data = epoll::EventData::new_u64(token);
            epoll::add(&epoll, stream, data, epoll::EventFlags::IN).map_err(std::io::Error::from)
        };
        let mut clients = Vec::with_capacity(connections);
        for number in 0..connections {
            let client = Client::connect(mode, addr).map_err(|error| format!("client {number}: {error}"))?;
            watch(&client.stream, number as u64).map_err(|error| format!("client {number}: {error}"))?;
            clients.push(client);
        }
        let mut posts = Vec::with_capacity(triggers);
        for number in 0..triggers as u64 {
            let stream = open(addr).map_err(|error| format!("trigger {number}: {error}"))?;
            watch(&stream, TRIGGERS + number).map_err(|error| format!("trigger {number}: {error}"))?;
            posts.push(Trigger { stream, input: Vec::new(), broadcast: None, replied: true });
        }
        let request = Request::new(mode, addr, token);
        let (events, buffer) = (Vec::with_capacity(1024), vec![0; 65536]);
        Ok(Self { epoll, clients, triggers: posts, request, busy, next_id: 0, events, buffer })
    }

    /// Sends the plan's broadcasts and waits until every client has every frame.
    pub(crate) fn run(&mut self, plan: &Plan, server: &Server) -> Result<Sample, String> {
        if self.next_id + plan.broadcasts as u64 > wire::IDS {
            return Err("more broadcasts than the marks in the frames can number".to_owned());
        }
        let mut tally = Tally::new(self.next_id, plan.broadcasts, self.clients.len());
        let cpu = server.cpu()?;
        let start = Instant::now();
        for place in 0..plan.window.min(plan.broadcasts) {
            self.fire(place, &mut tally)?;
        }
        let mut last_progress = start;
        while tally.incomplete > 0 || self.triggers.iter().any(|trigger| !trigger.replied) {
            if self.turn(&mut tally, if self.busy { Duration::ZERO } else { Duration::from_millis(50) })? {
                last_progress = Instant::now();
            } else if last_progress.elapsed() > STALL {
                return Err(tally.missing());
            }
            // Together, after a whole turn: broadcasts that were completed together go on together.
            for place in 0..plan.window {
                let trigger = &self.triggers[place];
                let complete = trigger.broadcast.is_none_or(|broadcast| tally.is_complete(broadcast));
                if complete
                    && trigger.replied
                    && tally.sent_at.len() < plan.broadcasts
                    && start.elapsed() < plan.budget
                {
                    self.fire(place, &mut tally)?;
                }
            }
        }
        let cpu = server.cpu()? - cpu;

        let settled = Instant::now() + SETTLE;
        while Instant::now() < settled {
            self.turn(&mut tally, Duration::from_millis(10))?;
        }
        self.next_id += tally.sent_at.len() as u64;
        self.triggers.iter_mut().for_each(|trigger| trigger.broadcast = None);
        Ok(tally.sample(start, cpu))
    }

    fn fire(&mut self, place: usize, tally: &mut Tally) -> Result<(), String> {
        let trigger = &mut self.triggers[place];
        let request = self.request.numbered(tally.first_id + tally.sent_at.len() as u64);
        trigger.broadcast = Some(tally.start_broadcast());
        trigger.replied = false;
        trigger.stream.write_all(request).map_err(|error| format!("sending a trigger: {error}"))
    }

    /// Handles what is ready. False if nothing was.
    fn turn(&mut self, tally: &mut Tally, timeout: Duration) -> Result<bool, String> {
        let timeout = Timespec::try_from(timeout).map_err(|error| error.to_string())?;
        let Self { epoll, clients, triggers, events, buffer, .. } = self;
        events.clear();
        match epoll::wait(&*epoll, spare_capacity(events), Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(format!("epoll: {error}")),
        }
        for event in &*events {
            let token = event.data.u64();
            if token < TRIGGERS {
                let number = token as usize;
                let read = clients[number].read(buffer, &mut |frame| tally.frame(number, frame));
                read.map_err(|error| format!("client {number}: {error}"))?;
            } else {
                let trigger = &mut triggers[(token - TRIGGERS) as usize];
                trigger.read(buffer).map_err(|error| format!("trigger: {error}"))?;
            }
        }
        Ok(!events.is_empty())
    }
}

fn open(addr: SocketAddr) -> std::io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&addr, STALL)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(STALL))?;
    Ok(stream)
}

impl Client {
    /// Opens a WebSocket and, in the forum, waits until the subscription is confirmed. Blocking.
    fn connect(mode: Mode, addr: SocketAddr) -> Result<Self, String> {
        let text = |error: std::io::Error| error.to_string();
        let mut stream = open(addr).map_err(text)?;
        stream.write_all(wire::handshake(&addr.to_string()).as_bytes()).map_err(text)?;
        let mut client = Self { stream, partial: Vec::new() };
        let mut bytes = [0; 4096];
        while !client.upgraded()? {
            match client.stream.read(&mut bytes).map_err(text)? {
                0 => return Err("closed during the handshake".to_owned()),
                read => client.partial.extend_from_slice(&bytes[..read]),
            }
        }
        if mode == Mode::Forum {
            let subscribe = wire::client_frame(wire::TEXT, forum::SUBSCRIBE.as_bytes());
            client.stream.write_all(&subscribe).map_err(text)?;
            let mut subscribed = false;
            while !subscribed {
                let read = client.read(&mut bytes, &mut |frame| {
                    subscribed |= forum::is_subscribed(frame)?;
                    Ok(())
                })?;
                if read == 0 {
                    return Err(format!("no reply to its subscribe within {} s", STALL.as_secs()));
                }
            }
        }
        Ok(client)
    }

    fn upgraded(&mut self) -> Result<bool, String> {
        let Some(response) = wire::Message::parse(&self.partial)? else { return Ok(false) };
        if response.status()? != 101 {
            return Err(format!("the handshake was answered with status {}", response.status()?));
        }
        let len = response.len;
        self.partial.drain(..len);
        Ok(true)
    }

    /// Reads once and hands every complete text frame to `on_text`. Returns how much was there.
    fn read(
        &mut self,
        bytes: &mut [u8],
        on_text: &mut dyn FnMut(&[u8]) -> Result<(), String>,
    ) -> Result<usize, String> {
        let read = match self.stream.read(bytes) {
            Ok(0) => return Err("the server closed the connection".to_owned()),
            Ok(read) => read,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(0),
            Err(error) => return Err(error.to_string()),
        };
        if self.partial.is_empty() {
            let used = self.frames(&bytes[..read], on_text)?;
            self.partial.extend_from_slice(&bytes[used..read]);
        } else {
            let mut joined = std::mem::take(&mut self.partial);
            joined.extend_from_slice(&bytes[..read]);
            let used = self.frames(&joined, on_text)?;
            joined.drain(..used);
            self.partial = joined;
        }
        Ok(read)
    }

    /// Handles the complete frames of `bytes` and returns how many bytes they took.
    fn frames(
        &mut self,
        bytes: &[u8],
        on_text: &mut dyn FnMut(&[u8]) -> Result<(), String>,
    ) -> Result<usize, String> {
        let mut used = 0;
        while let Some(frame) = wire::Frame::parse(&bytes[used..])? {
            match frame.opcode {
                wire::TEXT => on_text(frame.payload)?,
                wire::PING => {
                    let pong = wire::client_frame(wire::PONG, frame.payload);
                    self.stream.write_all(&pong).map_err(|error| format!("answering a ping: {error}"))?;
                }
                wire::PONG => {}
                wire::CLOSE => {
                    let code = frame.payload.first_chunk().map_or(1005, |code| u16::from_be_bytes(*code));
                    return Err(format!("the server closed with {code}"));
                }
                opcode => return Err(format!("a frame with opcode {opcode}")),
            }
            used += frame.len;
        }
        Ok(used)
    }
}

impl Trigger {
    fn read(&mut self, bytes: &mut [u8]) -> Result<(), String> {
        match self.stream.read(bytes) {
            Ok(0) => return Err("the server closed the connection".to_owned()),
            Ok(read) => self.input.extend_from_slice(&bytes[..read]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error.to_string()),
        }
        if let Some(response) = wire::Message::parse(&self.input)? {
            if response.status()? != 201 {
                let body = String::from_utf8_lossy(response.body);
                return Err(format!("it was answered with status {}: {body}", response.status()?));
            }
            let len = response.len;
            self.input.drain(..len);
            self.replied = true;
        }
        Ok(())
    }
}

/// The trigger's request, of which only the broadcast's number changes.
struct Request {
    bytes: Vec<u8>,
    mark: usize,
}

impl Request {
    fn new(mode: Mode, addr: SocketAddr, token: Option<&str>) -> Self {
        let mark = wire::mark(0);
        let body = match mode {
            Mode::Forum => forum::comment(&mark),
            // They send the body as it is, so it is about as long as an event.
            Mode::Raw | Mode::Naive => format!(
                r#"{{"type":"event","stream":"comments","action":"create","pk":1,"data":{},"cursor":"0123456789abcdef"}}"#,
                forum::comment(&mark)
            ),
        };
        let bytes = wire::post(&addr.to_string(), "/api/comments/", token, &body).into_bytes();
        let place = bytes.windows(mark.len()).position(|window| window == mark.as_bytes());
        Self { mark: place.expect("the body holds the mark"), bytes }
    }

    fn numbered(&mut self, id: u64) -> &[u8] {
        let mark = wire::mark(id);
        self.bytes[self.mark..self.mark + mark.len()].copy_from_slice(mark.as_bytes());
        &self.bytes
    }
}

/// The account of one run: who has received what, and when.
struct Tally {
    first_id: u64,
    clients: usize,
    /// When each broadcast so far was triggered.
    sent_at: Vec<Instant>,
    /// How many clients have each broadcast.
    received: Vec<usize>,
    /// A bit per broadcast and client.
    seen: Vec<u64>,
    /// Broadcasts that not every client has.
    incomplete: usize,
    latencies_us: Vec<u32>,
    payload_bytes: usize,
    last_delivery: Instant,
    mark_hint: usize,
}

impl Tally {
    fn new(first_id: u64, broadcasts: usize, clients: usize) -> Self {
        Self {
            first_id,
            clients,
            sent_at: Vec::with_capacity(broadcasts),
            received: Vec::with_capacity(broadcasts),
            seen: vec![0; (broadcasts * clients).div_ceil(64)],
            incomplete: 0,
            latencies_us: Vec::with_capacity(broadcasts * clients),
            payload_bytes: 0,
            last_delivery: Instant::now(),
            mark_hint: 0,
        }
    }

    fn start_broadcast(&mut self) -> usize {
        self.received.push(0);
        self.incomplete += 1;
        self.sent_at.push(Instant::now());
        self.sent_at.len() - 1
    }

    fn is_complete(&self, broadcast: usize) -> bool {
        self.received[broadcast] == self.clients
    }

    fn frame(&mut self, client: usize, payload: &[u8]) -> Result<(), String> {
        let id = wire::find_mark(payload, &mut self.mark_hint);
        let broadcast = id.and_then(|id| usize::try_from(id.checked_sub(self.first_id)?).ok());
        let Some(broadcast) = broadcast.filter(|broadcast| *broadcast < self.sent_at.len()) else {
            let start = String::from_utf8_lossy(&payload[..payload.len().min(200)]);
            return Err(format!("a frame of no broadcast in flight: {start}"));
        };
        let bit = broadcast * self.clients + client;
        if self.seen[bit / 64] & 1 << (bit % 64) != 0 {
            return Err(format!("broadcast {broadcast} came twice"));
        }
        self.seen[bit / 64] |= 1 << (bit % 64);
        self.received[broadcast] += 1;
        self.incomplete -= usize::from(self.is_complete(broadcast));

        self.last_delivery = Instant::now();
        let latency = self.last_delivery - self.sent_at[broadcast];
        self.latencies_us.push(u32::try_from(latency.as_micros()).unwrap_or(u32::MAX));
        self.payload_bytes += payload.len();
        Ok(())
    }

    fn missing(&self) -> String {
        let expected = self.clients * self.sent_at.len();
        let missing = expected - self.latencies_us.len();
        format!("nothing arrived for {} s; {missing} of {expected} frames are missing", STALL.as_secs())
    }

    fn sample(mut self, start: Instant, cpu: Duration) -> Sample {
        let deliveries = self.latencies_us.len();
        let mut percentile = |percent: usize| {
            let place = (deliveries * percent / 100).min(deliveries - 1);
            Duration::from_micros(u64::from(*self.latencies_us.select_nth_unstable(place).1))
        };
        Sample {
            broadcasts: self.sent_at.len(),
            deliveries,
            wall: self.last_delivery - start,
            cpu,
            p50: percentile(50),
            p99: percentile(99),
            frame_bytes: self.payload_bytes / deliveries,
        }
    }
}
