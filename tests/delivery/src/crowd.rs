//! Clients that do nothing but read, in one thread: no part of what is counted.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

/// A text frame, complete and not masked.
const TEXT: u8 = 0x81;

/// Who reads what the workers write.
pub(crate) struct Crowd {
    pub(crate) subscribers: Vec<Socket>,
    /// The other worker's client.
    pub(crate) witness: Socket,
}

/// The client's end of a WebSocket.
pub(crate) struct Socket {
    stream: TcpStream,
    /// What has come and is not yet a whole frame.
    rest: Vec<u8>,
    buffer: Box<[u8; 1 << 16]>,
}

impl Socket {
    /// Opens one and subscribes to all rows of a stream.
    pub(crate) fn subscribe(address: SocketAddr, stream: &str) -> Self {
        let mut socket = Self {
            stream: TcpStream::connect(address).expect("a connection"),
            rest: Vec::with_capacity(1 << 16),
            buffer: Box::new([0; 1 << 16]),
        };
        let handshake = format!(
            "GET /api/ws HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        socket.stream.write_all(handshake.as_bytes()).expect("it is sent");
        let end = loop {
            if let Some(at) = socket.rest.windows(4).position(|four| four == b"\r\n\r\n") {
                break at;
            }
            socket.fill();
        };
        assert!(socket.rest.starts_with(b"HTTP/1.1 101 "), "the handshake is refused");
        socket.rest.drain(..end + 4);
        let text = format!(r#"{{"stream":"{stream}","action":"subscribe","payload":{{}}}}"#);
        let length = u8::try_from(text.len()).expect("it is short");
        // The mask is zero.
        let mut frame = vec![TEXT, 0x80 | length, 0, 0, 0, 0];
        frame.extend_from_slice(text.as_bytes());
        socket.stream.write_all(&frame).expect("it is sent");
        socket.read(1);
        socket
    }

    fn fill(&mut self) {
        let read = self.stream.read(&mut self.buffer[..]).expect("it is open");
        assert!(read > 0, "the server ended the connection");
        self.rest.extend_from_slice(&self.buffer[..read]);
    }

    /// Reads so many text frames; others are passed over.
    pub(crate) fn read(&mut self, mut frames: usize) {
        while frames > 0 {
            let (first, whole) = match *self.rest {
                [first, 126, high, low, ..] => (first, 4 + usize::from(u16::from_be_bytes([high, low]))),
                [first, length @ 0..126, ..] => (first, 2 + usize::from(length)),
                _ => {
                    self.fill();
                    continue;
                }
            };
            while self.rest.len() < whole {
                self.fill();
            }
            self.rest.drain(..whole);
            frames -= usize::from(first == TEXT);
        }
        assert!(self.rest.is_empty() || self.rest[0] != TEXT, "more than was committed");
    }
}
