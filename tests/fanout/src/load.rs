//! The load generator: every client of a server and the triggers, in one thread around one epoll set.
//!
//! One thread and no task per client, so that the generator is cheaper than any server it measures. It proves what it
//! counts: each client has a bit per broadcast, so a frame that is missing, repeated or unknown is an error and not a
//! better figure.

use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};

use crate::client::{Client, Post, STALL, open};
use crate::process::Server;
use crate::rounds::Mode;
use crate::{forum, wire};

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
    /// How often the clients read: about how often the server wrote.
    pub(crate) reads: usize,
}

struct Trigger {
    post: Post,
    /// The broadcast it has in flight.
    broadcast: Option<usize>,
}

/// The connections to one server.
pub(crate) struct Load {
    addr: SocketAddr,
    epoll: OwnedFd,
    clients: Vec<Client>,
    /// Those of the present run: a server ends a connection that is idle for some seconds.
    triggers: Vec<Trigger>,
    request: Request,
    /// Busy polling keeps wake-ups out of the figures; it needs a core of its own.
    busy: bool,
    next_id: u64,
    events: Vec<epoll::Event>,
    buffer: Vec<u8>,
}

impl Load {
    /// Opens and, in the forum, subscribes `connections` clients.
    pub(crate) fn connect(
        mode: Mode,
        addr: SocketAddr,
        token: Option<&str>,
        connections: usize,
        busy: bool,
    ) -> Result<Self, String> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(|error| format!("epoll: {error}"))?;
        let request = Request::new(mode, addr, token);
        let (events, buffer) = (Vec::with_capacity(1024), vec![0; 65536]);
        let (clients, triggers) = (Vec::with_capacity(connections), Vec::new());
        let mut load = Self { addr, epoll, clients, triggers, request, busy, next_id: 0, events, buffer };
        let mut nothing = Tally::new(0, 0, connections);
        for number in 0..connections {
            let client = connect(mode, addr).map_err(|error| format!("client {number}: {error}"))?;
            load.watch(&client.stream, number as u64).map_err(|error| format!("client {number}: {error}"))?;
            load.clients.push(client);
            // Those that are connected answer pings meanwhile.
            if number % 256 == 255 {
                while load.turn(&mut nothing, Duration::ZERO)? {}
            }
        }
        Ok(load)
    }

    fn watch(&self, stream: &TcpStream, token: u64) -> std::io::Result<()> {
        stream.set_nonblocking(true)?;
        let data = epoll::EventData::new_u64(token);
        Ok(epoll::add(&self.epoll, stream, data, epoll::EventFlags::IN)?)
    }

    /// Opens the connections that broadcasts are started from.
    fn open_triggers(&mut self, count: usize) -> Result<(), String> {
        // Closing takes a socket out of the epoll set.
        self.triggers.clear();
        for number in 0..count as u64 {
            let stream = open(self.addr).map_err(|error| format!("trigger {number}: {error}"))?;
            self.watch(&stream, TRIGGERS + number).map_err(|error| format!("trigger {number}: {error}"))?;
            self.triggers.push(Trigger { post: Post::on(stream), broadcast: None });
        }
        Ok(())
    }

    /// Sends the plan's broadcasts and waits until every client has every frame.
    pub(crate) fn run(&mut self, plan: &Plan, server: &Server) -> Result<Sample, String> {
        if self.next_id + plan.broadcasts as u64 > wire::IDS {
            return Err("more broadcasts than the marks in the frames can number".to_owned());
        }
        let mut tally = Tally::new(self.next_id, plan.broadcasts, self.clients.len());
        self.open_triggers(plan.window)?;
        let cpu = server.cpu()?;
        let start = Instant::now();
        for place in 0..plan.window.min(plan.broadcasts) {
            self.fire(place, &mut tally)?;
        }
        let mut last_progress = start;
        while tally.incomplete > 0 || self.triggers.iter().any(|trigger| !trigger.post.is_answered()) {
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
                    && trigger.post.is_answered()
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
        Ok(tally.sample(start, cpu))
    }

    fn fire(&mut self, place: usize, tally: &mut Tally) -> Result<(), String> {
        let trigger = &mut self.triggers[place];
        let request = self.request.numbered(tally.first_id + tally.sent_at.len() as u64);
        trigger.broadcast = Some(tally.start_broadcast());
        trigger.post.send(request).map_err(|error| format!("sending a trigger: {error}"))
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
                let client = &mut clients[number];
                let read = client.read(buffer, &mut |frame| tally.frame(number, frame));
                let read = read.map_err(|error| format!("client {number}: {error}"))?;
                if let Some(code) = client.closed {
                    return Err(format!("client {number}: the server closed with {code}"));
                }
                tally.reads += usize::from(read > 0);
            } else {
                let trigger = &mut triggers[(token - TRIGGERS) as usize];
                trigger.post.read(buffer).map_err(|error| format!("trigger: {error}"))?;
            }
        }
        Ok(!events.is_empty())
    }
}

/// Opens a WebSocket and, in the forum, waits until the subscription is confirmed. Blocking.
fn connect(mode: Mode, addr: SocketAddr) -> Result<Client, String> {
    let mut client = Client::open(addr)?;
    if mode == Mode::Forum {
        client.send(forum::SUBSCRIBE)?;
        let (mut bytes, mut subscribed) = ([0; 4096], false);
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
            // They send the body as it is, so it is as long as an event.
            Mode::Raw | Mode::Naive => forum::event(&mark),
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
    reads: usize,
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
            reads: 0,
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
            reads: self.reads,
        }
    }
}
