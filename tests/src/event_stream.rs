//! A client of Server-Sent Events, written by hand: HTTP/1.1, chunks, and the lines of the format.

use std::net::SocketAddr;

use serde_json::Value as Json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

use crate::{Server, position, within};

/// A request for an event stream before it is sent.
#[must_use = "nothing happens until it is opened"]
pub struct StreamRequest {
    path: String,
    last_event_id: Option<String>,
    token: Option<String>,
    receive_buffer: Option<u32>,
}

impl StreamRequest {
    /// With a path and a query string.
    pub fn to(path: impl Into<String>) -> Self {
        Self { path: path.into(), last_event_id: None, token: None, receive_buffer: None }
    }

    /// Goes on from what was read last.
    pub fn last_event_id(mut self, id: Option<&str>) -> Self {
        self.last_event_id = id.map(str::to_owned);
        self
    }

    /// With a bearer token.
    pub fn token(mut self, token: &str) -> Self {
        self.token = Some(token.to_owned());
        self
    }

    /// With a small buffer in the client's kernel, so that a server is soon felt that the client does not read.
    pub fn receive_buffer(mut self, bytes: u32) -> Self {
        self.receive_buffer = Some(bytes);
        self
    }

    /// Opens the stream.
    ///
    /// # Panics
    /// Where it is refused.
    pub async fn open(self, server: &Server) -> EventStream {
        self.open_at(server.address).await
    }

    /// Opens the stream of a server by its address.
    ///
    /// # Panics
    /// Where it is refused.
    pub async fn open_at(self, address: SocketAddr) -> EventStream {
        let tcp = TcpSocket::new_v4().expect("a TCP socket");
        if let Some(bytes) = self.receive_buffer {
            tcp.set_recv_buffer_size(bytes).expect("a small buffer");
        }
        let mut tcp = within("a connection", tcp.connect(address)).await.expect("the server listens");
        let last = self.last_event_id.as_ref().map_or(String::new(), |id| format!("Last-Event-ID: {id}\r\n"));
        let token =
            self.token.as_ref().map_or(String::new(), |token| format!("Authorization: Bearer {token}\r\n"));
        let request = format!("GET {} HTTP/1.1\r\nHost: {address}\r\n{last}{token}\r\n", self.path);
        within("room to send", tcp.write_all(request.as_bytes())).await.expect("the connection is open");
        let mut stream = EventStream {
            tcp,
            raw: Vec::new(),
            text: Vec::new(),
            head: String::new(),
            last_id: self.last_event_id,
            ended: false,
        };
        stream.read_head().await;
        stream
    }
}

/// One thing that a stream says, between two empty lines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Block {
    /// Of the line `event:`.
    pub event: Option<String>,
    /// Of the line `id:`.
    pub id: Option<String>,
    /// Of the lines `data:`.
    pub data: Option<String>,
}

/// An open event stream.
#[derive(Debug)]
pub struct EventStream {
    tcp: TcpStream,
    /// What has come and is not decoded yet.
    raw: Vec<u8>,
    /// The body that is not looked at yet.
    text: Vec<u8>,
    /// The head of the answer.
    pub head: String,
    /// What a browser would send as `Last-Event-ID`.
    pub last_id: Option<String>,
    ended: bool,
}

impl EventStream {
    async fn read_head(&mut self) {
        let end = loop {
            if let Some(end) = find(&self.raw, b"\r\n\r\n") {
                break end;
            }
            assert!(self.read().await, "the answer has no end");
        };
        self.head = String::from_utf8(self.raw[..end].to_vec()).expect("text");
        self.raw.drain(..end + 4);
        assert!(self.head.starts_with("HTTP/1.1 200 "), "{}: {:?}", self.head, self.raw);
        assert!(self.head.to_ascii_lowercase().contains("transfer-encoding: chunked"), "{}", self.head);
    }

    /// Reads more bytes. `false` at the end.
    async fn read(&mut self) -> bool {
        let mut bytes = [0; 16 << 10];
        let read = within("something of an event stream", self.tcp.read(&mut bytes)).await.unwrap_or(0);
        self.raw.extend_from_slice(&bytes[..read]);
        read > 0
    }

    /// Takes the next chunk from what has come. `false` where it is not whole.
    fn take_chunk(&mut self) -> bool {
        let Some(line) = find(&self.raw, b"\r\n") else { return false };
        let size = std::str::from_utf8(&self.raw[..line]).expect("a size");
        let size = usize::from_str_radix(size, 16).expect("a size");
        let (start, end) = (line + 2, line + 2 + size);
        if self.raw.len() < end + 2 {
            return false;
        }
        self.text.extend_from_slice(&self.raw[start..end]);
        self.raw.drain(..end + 2);
        self.ended |= size == 0;
        true
    }

    /// What is said next; `None` at the end.
    ///
    /// # Panics
    /// Where a line is not one of the format.
    pub async fn next_block(&mut self) -> Option<Block> {
        let end = loop {
            if let Some(end) = find(&self.text, b"\n\n") {
                break end;
            }
            while !self.take_chunk() {
                if self.ended || !self.read().await {
                    return None;
                }
            }
        };
        let text = String::from_utf8(self.text[..end].to_vec()).expect("text");
        self.text.drain(..end + 2);
        let mut block = Block::default();
        for line in text.split('\n') {
            let (name, value) = line.split_once(':').unwrap_or((line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value).to_owned();
            match name {
                "event" => block.event = Some(value),
                "id" => block.id = Some(value),
                "data" => block.data = Some(block.data.map_or(value.clone(), |data| data + "\n" + &value)),
                "" => {}
                _ => panic!("unexpected: {line:?}"),
            }
        }
        if block.id.is_some() {
            self.last_id.clone_from(&block.id);
        }
        Some(block)
    }

    /// Reads up to the position that the stream begins at, which comes alone. Signs of life may come before it.
    ///
    /// # Panics
    /// Where something else comes.
    pub async fn begun(&mut self) -> String {
        loop {
            let block = self.next_block().await.expect("a position");
            assert_eq!((&block.event, &block.data), (&None, &None), "a position alone");
            if let Some(id) = block.id {
                return id;
            }
        }
    }

    /// The next message, and what it is said to be. Signs of life are read over.
    ///
    /// # Panics
    /// Where the stream ends first.
    pub async fn next(&mut self) -> (String, Json) {
        loop {
            let block = self.next_block().await.expect("the stream goes on");
            if let Some(data) = block.data {
                let message = serde_json::from_str(&data).expect("a message is JSON");
                return (block.event.expect("it is said what it is"), message);
            }
        }
    }

    /// The messages up to a position that the stream says to have come to. It says so at its next sign of life.
    ///
    /// # Panics
    /// Where the stream ends first.
    pub async fn up_to(&mut self, wanted: u64) -> Vec<Json> {
        let mut messages = Vec::new();
        loop {
            let block = self.next_block().await.expect("the stream goes on");
            if let Some(data) = &block.data {
                messages.push(serde_json::from_str(data).expect("a message is JSON"));
            }
            if block.id.as_deref().is_some_and(|id| position(id) >= wanted) {
                return messages;
            }
        }
    }

    /// All messages of what has been committed so far.
    pub async fn catch_up(&mut self, server: &Server) -> Vec<Json> {
        let wanted = server.feed().await;
        self.up_to(wanted).await
    }

    /// Reads to the end and gives the code of the last message, where it says why.
    ///
    /// # Panics
    /// Where that is no JSON.
    pub async fn close_code(&mut self) -> Option<u64> {
        let mut code = None;
        while let Some(block) = self.next_block().await {
            code = None;
            if block.event.as_deref() == Some("close") {
                let data: Json = serde_json::from_str(&block.data.unwrap_or_default()).expect("JSON");
                code = data["code"].as_u64();
            }
        }
        code
    }
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}
