//! Clients of the forum, each of which follows one of some topics, and the comments that they should be told of.
//!
//! One thread around one epoll set, as the load of the other benchmark, and as strict: each client has a bit for each
//! comment of its topic, so that one which is missing, repeated or another's is an error.

use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use serde_json::Value;

use crate::client::{Client, Post, STALL, begin, open};
use crate::{forum, wire};

/// The topics that are followed, each by as many clients.
pub(crate) const TOPICS: usize = 100;

/// The numbers that one topic has for its comments.
const OF_TOPIC: u64 = 100_000;

/// Tokens from here on are connections that post, below are clients.
const POSTS: u64 = 1 << 32;

/// Connections that post. More would not be answered any sooner.
const POSTING: usize = 64;

/// The receive buffer of a client that will stop reading: its kernel soon takes nothing more.
const SMALL: usize = 4 << 10;

/// How a client begins.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Start {
    /// With what happens from now on.
    Live,
    /// With what has happened since it was here.
    Since,
    /// With all that there is.
    Snapshot,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Connecting,
    Upgrading,
    Asking,
    /// It has been answered, and its snapshot is whole.
    Following,
}

struct Member {
    client: Client,
    account: Account,
}

/// What a client knows.
struct Account {
    topic: usize,
    /// Is it one of those that stop reading?
    stalls: bool,
    state: State,
    start: Start,
    /// A bit for each comment of its topic.
    seen: Vec<u64>,
    got: usize,
    /// What has come of a batch that is not whole.
    batch: Vec<u64>,
    /// Where it would go on.
    cursor: String,
}

struct Topic {
    key: i64,
    /// When each comment was sent.
    said: Vec<Instant>,
    members: [usize; 2],
}

/// What has become of all.
#[derive(Default)]
pub(crate) struct Tally {
    /// Comments that those who read, and those who stall, should have and do not.
    pub(crate) missing: [usize; 2],
    /// How long each took to those who read, in microseconds.
    pub(crate) latencies: Vec<u32>,
    /// Clients that follow what they asked for.
    pub(crate) following: usize,
    /// How often a client was told that it lags, and goes on from the log or from a snapshot.
    pub(crate) lagged: [usize; 2],
    /// How often one that stalls was closed with 4408, and without it.
    pub(crate) cut_off: [usize; 2],
}

/// All clients and the connections that post.
pub(crate) struct Crowd {
    addr: SocketAddr,
    token: String,
    epoll: OwnedFd,
    members: Vec<Member>,
    topics: Vec<Topic>,
    posts: Vec<Post>,
    /// The one that is looked at first.
    next_post: usize,
    pub(crate) tally: Tally,
    /// The characters of a comment.
    pub(crate) length: usize,
    events: Vec<epoll::Event>,
    buffer: Vec<u8>,
}

impl Crowd {
    /// Nobody yet, and new topics that nobody has said anything in.
    pub(crate) fn new(addr: SocketAddr, length: usize) -> Result<Self, String> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(|error| format!("epoll: {error}"))?;
        let token = forum::log_in(addr)?;
        let topics = forum::make_topics(addr, &token, TOPICS)?;
        let topics = topics.into_iter().map(|key| Topic { key, said: Vec::new(), members: [0; 2] });
        Ok(Self {
            addr,
            token,
            epoll,
            members: Vec::new(),
            topics: topics.collect(),
            posts: Vec::new(),
            next_post: 0,
            tally: Tally::default(),
            length,
            events: Vec::with_capacity(1024),
            buffer: vec![0; 65536],
        })
    }

    /// The server has come back under another address.
    pub(crate) fn moved(&mut self, addr: SocketAddr) -> Result<(), String> {
        self.addr = addr;
        self.posts.clear();
        self.token = forum::log_in(addr)?;
        Ok(())
    }

    pub(crate) fn len(&self) -> usize {
        self.members.len()
    }

    /// Opens the next client and waits until it follows its topic.
    pub(crate) fn add(&mut self, stalls: bool) -> Result<(), String> {
        let number = self.members.len();
        let topic = number % TOPICS;
        let mut account = Account {
            topic,
            stalls,
            state: State::Connecting,
            start: Start::Live,
            seen: Vec::new(),
            got: self.topics[topic].said.len(),
            batch: Vec::new(),
            cursor: String::new(),
        };
        self.topics[topic].members[usize::from(stalls)] += 1;
        // What was said before it came is none of its business.
        for before in 0..self.topics[topic].said.len() {
            account.mark(before);
        }
        let client = self.connect(number, stalls)?;
        self.members.push(Member { client, account });
        self.until("a client", |tally| tally.following > number)
    }

    fn connect(&self, number: usize, stalls: bool) -> Result<Client, String> {
        let stream = begin(self.addr, stalls.then_some(SMALL)).map_err(text("connecting"))?;
        self.watch(&stream, number as u64, epoll::EventFlags::OUT).map_err(text("epoll"))?;
        Ok(Client::on(stream))
    }

    fn watch(&self, stream: &TcpStream, token: u64, flags: epoll::EventFlags) -> std::io::Result<()> {
        Ok(epoll::add(&self.epoll, stream, epoll::EventData::new_u64(token), flags)?)
    }

    /// All clients leave.
    pub(crate) fn leave(&mut self) {
        for Member { client, account } in &mut self.members {
            // Closing takes a socket out of the epoll set.
            let _ = client.stream.shutdown(std::net::Shutdown::Both);
            let _ = epoll::delete(&self.epoll, &client.stream);
            account.batch.clear();
        }
        self.posts.clear();
        self.tally.following = 0;
    }

    /// All clients come back at once, and begin so.
    pub(crate) fn come_back(&mut self, start: Start) -> Result<(), String> {
        for number in 0..self.members.len() {
            let client = self.connect(number, false)?;
            let Member { account, .. } = &mut self.members[number];
            (account.state, account.start) = (State::Connecting, start);
            if start == Start::Snapshot {
                self.tally.missing[usize::from(account.stalls)] += account.forget();
            }
            self.members[number].client = client;
            // While the others still begin, the server already answers.
            if number % 16 == 15 {
                self.turn(Duration::ZERO)?;
            }
        }
        Ok(())
    }

    /// Those who stall stop reading.
    pub(crate) fn stall(&mut self) -> Result<(), String> {
        for member in self.members.iter().filter(|member| member.account.stalls) {
            epoll::delete(&self.epoll, &member.client.stream).map_err(text("epoll"))?;
        }
        Ok(())
    }

    /// They read on.
    pub(crate) fn read_on(&mut self) -> Result<(), String> {
        for (number, member) in self.members.iter().enumerate().filter(|(_, member)| member.account.stalls) {
            self.watch(&member.client.stream, number as u64, epoll::EventFlags::IN).map_err(text("epoll"))?;
        }
        Ok(())
    }

    /// Opens the connections that post anew: a server ends one that is idle for some seconds.
    pub(crate) fn open_posts(&mut self) -> Result<(), String> {
        self.posts.clear();
        for number in 0..POSTING as u64 {
            let stream = open(self.addr).map_err(text("a post"))?;
            stream.set_nonblocking(true).map_err(text("a post"))?;
            self.watch(&stream, POSTS + number, epoll::EventFlags::IN).map_err(text("epoll"))?;
            self.posts.push(Post::on(stream));
        }
        Ok(())
    }

    /// Says something in a topic. False if no connection is free for it.
    pub(crate) fn say(&mut self, topic: usize) -> Result<bool, String> {
        // In turn: the server ends a connection on which nothing comes for some seconds.
        let next = self.next_post.min(self.posts.len());
        let (before, from) = self.posts.split_at_mut(next);
        let mut in_turn = from.iter_mut().chain(before).enumerate();
        let Some((skipped, post)) = in_turn.find(|(_, post)| post.is_answered()) else { return Ok(false) };
        self.next_post = (self.next_post + skipped + 1) % POSTING;
        let Topic { key, said, members } = &mut self.topics[topic];
        let mark = wire::mark(topic as u64 * OF_TOPIC + said.len() as u64);
        if said.len() as u64 + 1 >= OF_TOPIC {
            return Err("more comments than the marks of a topic can number".to_owned());
        }
        let body = forum::comment_in(*key, &mark, self.length);
        let request = wire::post(&self.addr.to_string(), "/api/comments/", Some(&self.token), &body);
        said.push(Instant::now());
        for (missing, members) in self.tally.missing.iter_mut().zip(*members) {
            *missing += members;
        }
        post.send(request.as_bytes()).map_err(text("a comment"))?;
        Ok(true)
    }

    /// Has every comment been answered?
    pub(crate) fn is_said(&self) -> bool {
        self.posts.iter().all(Post::is_answered)
    }

    /// Goes on until something is so; an error where nothing happens for long.
    pub(crate) fn until(&mut self, what: &str, is_so: impl Fn(&Tally) -> bool) -> Result<(), String> {
        let mut last_progress = Instant::now();
        while !is_so(&self.tally) || !self.is_said() {
            if self.turn(Duration::from_millis(50))? {
                last_progress = Instant::now();
            } else if last_progress.elapsed() > STALL {
                let Tally { missing, following, .. } = &self.tally;
                let (seconds, all) = (STALL.as_secs(), self.members.len());
                return Err(format!(
                    "{what}: nothing happened for {seconds} s; {following} of {all} follow, {missing:?} comments are missing"
                ));
            }
        }
        Ok(())
    }

    /// Handles what is ready. False if nothing was.
    pub(crate) fn turn(&mut self, timeout: Duration) -> Result<bool, String> {
        let timeout = Timespec::try_from(timeout).map_err(|error| error.to_string())?;
        let mut events = std::mem::take(&mut self.events);
        events.clear();
        match epoll::wait(&self.epoll, spare_capacity(&mut events), Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(format!("epoll: {error}")),
        }
        for event in &events {
            let token = event.data.u64();
            if token < POSTS {
                let number = token as usize;
                self.ready(number).map_err(|error| format!("client {number}: {error}"))?;
            } else {
                let post = &mut self.posts[(token - POSTS) as usize];
                post.read(&mut self.buffer).map_err(text("a post"))?;
            }
        }
        let was_ready = !events.is_empty();
        self.events = events;
        Ok(was_ready)
    }

    fn ready(&mut self, number: usize) -> Result<(), String> {
        let Self { addr, epoll, members, topics, tally, buffer, .. } = self;
        let Member { client, account } = &mut members[number];
        match account.state {
            State::Connecting => {
                if let Some(error) = client.stream.take_error().map_err(text("connecting"))? {
                    return Err(format!("connecting: {error}"));
                }
                let data = epoll::EventData::new_u64(number as u64);
                epoll::modify(&*epoll, &client.stream, data, epoll::EventFlags::IN).map_err(text("epoll"))?;
                client.shake_hands(*addr)?;
                account.state = State::Upgrading;
            }
            State::Upgrading => {
                if client.is_upgraded(buffer)? {
                    client.send(&account.subscribe(topics[account.topic].key))?;
                    account.state = State::Asking;
                }
            }
            State::Asking | State::Following => {
                let read = client.read(buffer, &mut |frame| account.text(frame, topics, tally));
                let code = match (read, client.closed) {
                    (_, Some(code)) => Some(code),
                    // Whoever does not read may find the end of the connection in the place of a close frame.
                    (Err(_), None) if account.stalls && client.is_over => None,
                    (read, None) => return read.map(drop),
                };
                if !account.stalls || code.is_some_and(|code| code != 4408) {
                    return Err(format!("the server closed with {code:?}"));
                }
                tally.cut_off[usize::from(code.is_none())] += 1;
                tally.following -= 1;
                (account.state, account.start) = (State::Connecting, Start::Since);
                account.batch.clear();
                self.members[number].client = self.connect(number, true)?;
            }
        }
        Ok(())
    }
}

fn text<E: std::fmt::Display>(what: &str) -> impl Fn(E) -> String {
    move |error| format!("{what}: {error}")
}

fn contains(payload: &[u8], part: &str) -> bool {
    payload.windows(part.len()).any(|window| window == part.as_bytes())
}

impl Account {
    fn subscribe(&self, topic: i64) -> String {
        let beside = match self.start {
            Start::Live => String::new(),
            Start::Since => format!(r#","since":"{}""#, self.cursor),
            Start::Snapshot => r#","snapshot":true"#.to_owned(),
        };
        format!(r#"{{"stream":"comments","action":"subscribe","payload":{{"topic":{topic}}}{beside}}}"#)
    }

    /// Takes what it is told.
    fn text(&mut self, frame: &[u8], topics: &[Topic], tally: &mut Tally) -> Result<(), String> {
        if frame.starts_with(br#"{"type":"event""#) {
            self.batch.extend(wire::marks(frame));
            // The last event of a batch ends with the cursor, and says nothing of more; a whole batch is applied at once.
            let end = &frame[frame.len().saturating_sub(100)..];
            if !contains(end, r#""more":true"#) {
                self.keep_cursor(frame);
                self.apply(topics, tally)?;
            }
        } else if frame.starts_with(br#"{"type":"snapshot""#) {
            self.batch.extend(wire::marks(frame));
            self.apply(topics, tally)?;
            if contains(&frame[frame.len().saturating_sub(200)..], r#""done":true"#) {
                self.keep_cursor(frame);
                self.follows(tally);
            }
        } else if frame.starts_with(br#"{"type":"lagged""#) {
            let snapshot = contains(frame, r#""resync":"snapshot""#);
            tally.lagged[usize::from(snapshot)] += 1;
            if snapshot {
                tally.missing[usize::from(self.stalls)] += self.forget();
            }
        } else {
            let reply: Value =
                serde_json::from_slice(frame).map_err(|error| format!("a frame of no JSON: {error}"))?;
            let data = &reply["data"];
            let is_good = reply["status"] == 200 && (self.start != Start::Since || data["recovered"] == true);
            let Some(cursor) = data["cursor"].as_str().filter(|_| is_good) else {
                return Err(format!("subscribing was answered with {reply}"));
            };
            if self.start != Start::Snapshot {
                // What it missed comes after the reply, and each event has its own.
                if self.start == Start::Live {
                    cursor.clone_into(&mut self.cursor);
                }
                self.follows(tally);
            }
        }
        Ok(())
    }

    fn follows(&mut self, tally: &mut Tally) {
        if self.state != State::Following {
            self.state = State::Following;
            tally.following += 1;
        }
    }

    fn keep_cursor(&mut self, frame: &[u8]) {
        const NAME: &[u8] = br#""cursor":""#;
        let Some(at) = frame.windows(NAME.len()).rposition(|window| window == NAME) else { return };
        let rest = &frame[at + NAME.len()..];
        let end = rest.iter().position(|byte| *byte == b'"').unwrap_or(rest.len());
        if let Ok(cursor) = std::str::from_utf8(&rest[..end]) {
            cursor.clone_into(&mut self.cursor);
        }
    }

    fn apply(&mut self, topics: &[Topic], tally: &mut Tally) -> Result<(), String> {
        for id in std::mem::take(&mut self.batch) {
            let (topic, number) = (id / OF_TOPIC, (id % OF_TOPIC) as usize);
            let said = topics.get(topic as usize).and_then(|topic| topic.said.get(number));
            let Some(said) = said.filter(|_| topic as usize == self.topic) else {
                return Err(format!("comment {number} of topic {topic}, which it does not follow"));
            };
            if !self.mark(number) {
                return Err(format!("comment {number} of its topic came twice"));
            }
            self.got += 1;
            tally.missing[usize::from(self.stalls)] -= 1;
            if !self.stalls {
                tally.latencies.push(u32::try_from(said.elapsed().as_micros()).unwrap_or(u32::MAX));
            }
        }
        Ok(())
    }

    /// Marks a comment as seen. False if it is already.
    fn mark(&mut self, number: usize) -> bool {
        let (word, bit) = (number / 64, 1 << (number % 64));
        if self.seen.len() <= word {
            self.seen.resize(word + 1, 0);
        }
        let is_new = self.seen[word] & bit == 0;
        self.seen[word] |= bit;
        is_new
    }

    /// Drops all it knows, and says how much that was.
    fn forget(&mut self) -> usize {
        self.seen.clear();
        std::mem::take(&mut self.got)
    }
}
