//! The ceiling: one epoll loop that writes a prepared frame to every connection, and nothing else.
//!
//! A framework cannot beat the kernel, so figures are given as a share of this server's. It frames once per trigger
//! and calls `send` once per connection. Triggers that are waiting when it turns to writing go out in that one `send`
//! together: with 16 broadcasts in flight that is ten times cheaper than a `send` each, and a ceiling without it
//! would flatter everything measured against it.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;

use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};

use crate::process::announce;
use crate::wire;

/// The listener's token; connections use their place in the table.
const LISTENER: u64 = u64::MAX;

struct Connection {
    stream: TcpStream,
    /// After the handshake: what the client sends is read and dropped, and it gets every frame.
    upgraded: bool,
    input: Vec<u8>,
    /// What the socket did not take.
    output: Vec<u8>,
}

struct Raw {
    epoll: OwnedFd,
    listener: TcpListener,
    connections: Vec<Option<Connection>>,
    free: Vec<usize>,
    /// The frames of the triggers since the last write.
    batch: Vec<u8>,
}

/// Serves until the process is ended.
pub(crate) fn serve() -> Result<(), String> {
    run().map_err(|error| format!("raw server: {error}"))
}

fn run() -> std::io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    listener.set_nonblocking(true)?;
    announce(listener.local_addr()?)?;

    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    epoll::add(&epoll, &listener, epoll::EventData::new_u64(LISTENER), epoll::EventFlags::IN)?;
    let mut raw = Raw { epoll, listener, connections: Vec::new(), free: Vec::new(), batch: Vec::new() };

    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    let mut events = Vec::with_capacity(1024);
    loop {
        let timeout = if raw.batch.is_empty() { None } else { Some(&now) };
        match epoll::wait(&raw.epoll, spare_capacity(&mut events), timeout) {
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => continue,
            Err(error) => return Err(error.into()),
        }
        // Nothing else is ready: every trigger that has arrived is in the batch.
        if events.is_empty() {
            raw.broadcast()?;
        }
        for event in events.drain(..) {
            match event.data.u64() {
                LISTENER => raw.accept()?,
                place => raw.ready(place as usize, event.flags)?,
            }
        }
    }
}

impl Raw {
    fn accept(&mut self) -> std::io::Result<()> {
        loop {
            let stream = match self.listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            };
            stream.set_nonblocking(true)?;
            stream.set_nodelay(true)?;
            let place = self.free.pop().unwrap_or_else(|| {
                self.connections.push(None);
                self.connections.len() - 1
            });
            epoll::add(&self.epoll, &stream, epoll::EventData::new_u64(place as u64), epoll::EventFlags::IN)?;
            self.connections[place] =
                Some(Connection { stream, upgraded: false, input: Vec::new(), output: Vec::new() });
        }
    }

    fn ready(&mut self, place: usize, flags: epoll::EventFlags) -> std::io::Result<()> {
        let Some(connection) = &mut self.connections[place] else { return Ok(()) };
        let mut open = true;
        if flags.contains(epoll::EventFlags::OUT) {
            open &= connection.flush();
            if connection.output.is_empty() {
                watch(&self.epoll, &connection.stream, place, epoll::EventFlags::IN)?;
            }
        }
        if flags.intersects(epoll::EventFlags::IN | epoll::EventFlags::HUP | epoll::EventFlags::ERR) {
            open &= connection.read(&mut self.batch);
        }
        if !open {
            // Closing the socket takes it out of the epoll set.
            self.connections[place] = None;
            self.free.push(place);
        }
        Ok(())
    }

    fn broadcast(&mut self) -> std::io::Result<()> {
        for (place, slot) in self.connections.iter_mut().enumerate() {
            let Some(connection) = slot.as_mut().filter(|connection| connection.upgraded) else { continue };
            let waiting = !connection.output.is_empty();
            if !connection.send(&self.batch) {
                *slot = None;
                self.free.push(place);
            } else if !waiting && !connection.output.is_empty() {
                let both = epoll::EventFlags::IN | epoll::EventFlags::OUT;
                watch(&self.epoll, &connection.stream, place, both)?;
            }
        }
        self.batch.clear();
        Ok(())
    }
}

fn watch(epoll: &OwnedFd, stream: &TcpStream, place: usize, flags: epoll::EventFlags) -> std::io::Result<()> {
    Ok(epoll::modify(epoll, stream, epoll::EventData::new_u64(place as u64), flags)?)
}

impl Connection {
    /// Reads what is there and puts a trigger's frame into `batch`. False: the connection is over.
    fn read(&mut self, batch: &mut Vec<u8>) -> bool {
        let mut bytes = [0; 4096];
        let read = match self.stream.read(&mut bytes) {
            Ok(0) => return false,
            Ok(read) => read,
            Err(error) => return error.kind() == ErrorKind::WouldBlock,
        };
        if self.upgraded {
            return true;
        }
        self.input.extend_from_slice(&bytes[..read]);
        let message = match wire::Message::parse(&self.input) {
            Ok(Some(message)) => message,
            Ok(None) => return true,
            Err(_) => return false,
        };
        let response = match wire::header(message.head, "sec-websocket-key") {
            Some(key) => {
                let accept = actix_http::ws::hash_key(key.as_bytes());
                self.upgraded = true;
                format!(
                    "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                     Sec-WebSocket-Accept: {}\r\n\r\n",
                    String::from_utf8_lossy(&accept)
                )
            }
            None => {
                wire::push_text(batch, message.body);
                "HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n".to_owned()
            }
        };
        let len = message.len;
        if self.upgraded {
            self.input = Vec::new();
        } else {
            self.input.drain(..len);
        }
        self.send(response.as_bytes())
    }

    /// Sends what the socket takes and keeps the rest. False: the connection is over.
    fn send(&mut self, bytes: &[u8]) -> bool {
        if !self.output.is_empty() {
            self.output.extend_from_slice(bytes);
            return true;
        }
        match self.stream.write(bytes) {
            Ok(sent) => self.output.extend_from_slice(&bytes[sent..]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => self.output.extend_from_slice(bytes),
            Err(_) => return false,
        }
        true
    }

    fn flush(&mut self) -> bool {
        match self.stream.write(&self.output) {
            Ok(sent) => drop(self.output.drain(..sent)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(_) => return false,
        }
        true
    }
}
