//! One WebSocket client and one connection that posts: what both load generators are made of.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use rustix::net::{AddressFamily, SocketFlags, SocketType, ipproto, sockopt};

use crate::wire;

/// Without a frame or a reply for this long a run has failed.
pub(crate) const STALL: Duration = Duration::from_secs(10);

/// A WebSocket of which the server knows no more than that it reads, or does not.
pub(crate) struct Client {
    pub(crate) stream: TcpStream,
    /// The beginning of a frame whose rest has not arrived.
    partial: Vec<u8>,
    /// The code that the server has closed it with.
    pub(crate) closed: Option<u16>,
    /// Has the connection ended?
    pub(crate) is_over: bool,
}

/// A connection that sends one request after the other.
pub(crate) struct Post {
    stream: TcpStream,
    input: Vec<u8>,
    is_answered: bool,
}

/// Connects, and waits for that. It blocks until it is told otherwise.
pub(crate) fn open(addr: SocketAddr) -> std::io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&addr, STALL)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(STALL))?;
    Ok(stream)
}

/// Begins to connect, and does not wait. A small receive buffer is soon full.
pub(crate) fn begin(addr: SocketAddr, receive_buffer: Option<usize>) -> std::io::Result<TcpStream> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket =
        rustix::net::socket_with(AddressFamily::INET, SocketType::STREAM, flags, Some(ipproto::TCP))?;
    if let Some(bytes) = receive_buffer {
        sockopt::set_socket_recv_buffer_size(&socket, bytes)?;
    }
    match rustix::net::connect(&socket, &addr) {
        Ok(()) | Err(rustix::io::Errno::INPROGRESS) => {}
        Err(error) => return Err(error.into()),
    }
    let stream = TcpStream::from(socket);
    stream.set_nodelay(true)?;
    Ok(stream)
}

impl Client {
    pub(crate) fn on(stream: TcpStream) -> Self {
        Self { stream, partial: Vec::new(), closed: None, is_over: false }
    }

    /// Opens a WebSocket. Blocking.
    pub(crate) fn open(addr: SocketAddr) -> Result<Self, String> {
        let mut client = Self::on(open(addr).map_err(|error| error.to_string())?);
        client.shake_hands(addr)?;
        let mut bytes = [0; 4096];
        while !client.is_upgraded(&mut bytes)? {}
        Ok(client)
    }

    /// Asks for the WebSocket.
    pub(crate) fn shake_hands(&mut self, addr: SocketAddr) -> Result<(), String> {
        let handshake = wire::handshake(&addr.to_string());
        self.stream.write_all(handshake.as_bytes()).map_err(|error| format!("the handshake: {error}"))
    }

    /// Reads once. Has the WebSocket been granted?
    pub(crate) fn is_upgraded(&mut self, bytes: &mut [u8]) -> Result<bool, String> {
        match self.stream.read(bytes) {
            Ok(0) => return Err("closed during the handshake".to_owned()),
            Ok(read) => self.partial.extend_from_slice(&bytes[..read]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
            Err(error) => return Err(error.to_string()),
        }
        let Some(response) = wire::Message::parse(&self.partial)? else { return Ok(false) };
        if response.status()? != 101 {
            return Err(format!("the handshake was answered with status {}", response.status()?));
        }
        let len = response.len;
        self.partial.drain(..len);
        Ok(true)
    }

    /// Sends a text.
    pub(crate) fn send(&mut self, text: &str) -> Result<(), String> {
        let frame = wire::client_frame(wire::TEXT, text.as_bytes());
        self.stream.write_all(&frame).map_err(|error| format!("sending: {error}"))
    }

    /// Reads once and hands every complete text frame to `on_text`. Returns how much was there.
    pub(crate) fn read(
        &mut self,
        bytes: &mut [u8],
        on_text: &mut dyn FnMut(&[u8]) -> Result<(), String>,
    ) -> Result<usize, String> {
        let read = match self.stream.read(bytes) {
            Ok(0) => {
                self.is_over = true;
                return Err("the server closed the connection".to_owned());
            }
            Ok(read) => read,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(0),
            Err(error) => {
                self.is_over = true;
                return Err(error.to_string());
            }
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
                    if let Err(error) = self.stream.write_all(&pong) {
                        self.is_over = error.kind() != ErrorKind::WouldBlock;
                        return Err(format!("answering a ping: {error}"));
                    }
                }
                wire::PONG => {}
                wire::CLOSE => {
                    let code = frame.payload.first_chunk().map_or(1005, |code| u16::from_be_bytes(*code));
                    self.closed = Some(code);
                    return Ok(bytes.len());
                }
                opcode => return Err(format!("a frame with opcode {opcode}")),
            }
            used += frame.len;
        }
        Ok(used)
    }
}

impl Post {
    pub(crate) fn on(stream: TcpStream) -> Self {
        Self { stream, input: Vec::new(), is_answered: true }
    }

    /// Has the request been answered, or was none sent?
    pub(crate) fn is_answered(&self) -> bool {
        self.is_answered
    }

    pub(crate) fn send(&mut self, request: &[u8]) -> std::io::Result<()> {
        self.is_answered = false;
        self.stream.write_all(request)
    }

    /// Reads once. An answer that is no success is an error.
    pub(crate) fn read(&mut self, bytes: &mut [u8]) -> Result<(), String> {
        match self.stream.read(bytes) {
            Ok(0) => return Err("the server closed the connection".to_owned()),
            Ok(read) => self.input.extend_from_slice(&bytes[..read]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error.to_string()),
        }
        if let Some(response) = wire::Message::parse(&self.input)? {
            if response.status()? != 201 {
                let body = String::from_utf8_lossy(response.body);
                return Err(format!("answered with {}: {body}", response.status()?));
            }
            let len = response.len;
            self.input.drain(..len);
            self.is_answered = true;
        }
        Ok(())
    }
}
