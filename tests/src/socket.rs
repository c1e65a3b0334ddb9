//! A client of the WebSocket.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value as Json, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Instant, timeout_at};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::handshake::client::Response;
use tokio_tungstenite::tungstenite::http::{HeaderName, HeaderValue};
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::{Server, WAIT, at, within};

/// The number in a cursor: how far the feed has come.
///
/// # Panics
/// Where the text is no cursor.
pub fn position(cursor: &str) -> u64 {
    let number = cursor.split_once('-').and_then(|(_, number)| number.parse().ok());
    number.unwrap_or_else(|| panic!("{cursor:?} is no cursor"))
}

/// Between two pings that ask how far the feed has come.
const PING_PAUSE: Duration = Duration::from_millis(2);

/// A WebSocket handshake before it is made.
#[must_use = "nothing happens until it is opened"]
pub struct Handshake {
    path: String,
    headers: Vec<(&'static str, String)>,
    receive_buffer: Option<u32>,
}

impl Handshake {
    /// With a path of the server.
    pub fn to(path: impl Into<String>) -> Self {
        Self { path: path.into(), headers: Vec::new(), receive_buffer: None }
    }

    /// With a header.
    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// With a small buffer in the client's kernel, so that a server is soon felt that the client does not read.
    pub fn receive_buffer(mut self, bytes: u32) -> Self {
        self.receive_buffer = Some(bytes);
        self
    }

    /// Opens the socket.
    ///
    /// # Errors
    /// What a refusal was answered with.
    ///
    /// # Panics
    /// Where there is neither a socket nor a refusal.
    pub async fn open(self, server: &Server) -> Result<(Socket, Response), Refused> {
        self.open_at(server.address).await
    }

    /// Opens the socket of a server that was not started by this library.
    ///
    /// # Errors
    /// What a refusal was answered with.
    ///
    /// # Panics
    /// Where there is neither a socket nor a refusal.
    pub async fn open_at(self, address: SocketAddr) -> Result<(Socket, Response), Refused> {
        let tcp = TcpSocket::new_v4().expect("a TCP socket");
        if let Some(bytes) = self.receive_buffer {
            tcp.set_recv_buffer_size(bytes).expect("a small buffer");
        }
        let stream = within("a connection", tcp.connect(address)).await.expect("the server listens");
        let url = format!("ws://{address}{}", self.path);
        let mut request = url.into_client_request().expect("a URL");
        for (name, value) in self.headers {
            let value = HeaderValue::from_str(&value).expect("a header");
            request.headers_mut().append(HeaderName::from_static(name), value);
        }
        match within("a handshake", tokio_tungstenite::client_async(request, stream)).await {
            Ok((stream, response)) => {
                Ok((Socket { stream, events: VecDeque::new(), replies: Vec::new(), asked: 0 }, response))
            }
            Err(Error::Http(response)) => {
                let body = response.body().clone().unwrap_or_default();
                Err(Refused {
                    status: response.status().as_u16(),
                    body: serde_json::from_slice(&body).unwrap_or_default(),
                })
            }
            Err(error) => panic!("the handshake failed: {error}"),
        }
    }
}

/// A handshake that was answered otherwise.
#[derive(Debug)]
pub struct Refused {
    /// The status.
    pub status: u16,
    /// The problem document, as far as the client has read it.
    pub body: Json,
}

/// What comes from a server.
#[derive(Clone, Debug, PartialEq)]
pub enum Incoming {
    /// A text frame.
    Text(String),
    /// A pong with its payload.
    Pong(Vec<u8>),
    /// A close frame with its code.
    Close(u16),
    /// The connection has ended.
    End,
}

/// One client's socket.
#[derive(Debug)]
pub struct Socket {
    stream: WebSocketStream<TcpStream>,
    events: VecDeque<String>,
    replies: Vec<Json>,
    asked: u64,
}

impl Socket {
    /// Opens the socket of all streams.
    ///
    /// # Panics
    /// Where the server refuses.
    pub async fn open(server: &Server) -> Self {
        Handshake::to("/api/ws").open(server).await.expect("the server accepts the socket").0
    }

    /// Opens a socket and subscribes to a stream with a filter, once everything that has been committed so far has been
    /// published: it is told of what is committed from now on.
    pub async fn subscribed(server: &Server, stream: &str, filter: Json) -> Self {
        let mut socket = Self::open(server).await;
        socket.catch_up(server).await;
        socket.subscribe(stream, json!({ "payload": filter })).await;
        socket
    }

    /// Subscribes to a stream, with what else the message says, and gives the subscription and its cursor.
    ///
    /// # Panics
    /// Where that is refused.
    pub async fn subscribe(&mut self, stream: &str, with: Json) -> (String, u64) {
        let mut message = with;
        message["stream"] = stream.into();
        message["action"] = "subscribe".into();
        let reply = self.request(message).await;
        assert_eq!(reply["status"], 200, "{reply}");
        let text = |path| at(&reply, path).as_str().expect("a text").to_owned();
        (text("data.subscription"), position(&text("data.cursor")))
    }

    /// Sends a text frame.
    ///
    /// # Panics
    /// Where the connection has ended.
    pub async fn send_text(&mut self, text: impl Into<String>) {
        self.send_message(Message::text(text.into())).await;
    }

    /// Sends a message of any sort.
    ///
    /// # Panics
    /// Where the connection has ended.
    pub async fn send_message(&mut self, message: Message) {
        within("room to send", self.stream.send(message)).await.expect("the socket is open");
    }

    /// Sends bytes past the WebSocket's own rules.
    ///
    /// # Panics
    /// Where the connection has ended.
    pub async fn send_bytes(&mut self, bytes: &[u8]) {
        within("room to send", self.stream.get_mut().write_all(bytes)).await.expect("the connection is open");
    }

    /// Sends a request, with a number of its own unless it has one, and gives its `request_id`.
    pub async fn ask(&mut self, mut message: Json) -> Json {
        if message.get("request_id").is_none() {
            self.asked += 1;
            message["request_id"] = self.asked.into();
        }
        self.send_text(message.to_string()).await;
        message["request_id"].clone()
    }

    /// Waits for the reply to a request. Events that come before it are kept.
    ///
    /// # Panics
    /// Where the socket ends first.
    pub async fn reply(&mut self, request_id: &Json) -> Json {
        loop {
            if let Some(at) = self.replies.iter().position(|reply| reply["request_id"] == *request_id) {
                return self.replies.remove(at);
            }
            match self.receive().await {
                Incoming::Text(text) => self.keep(text),
                other => panic!("{other:?} instead of the reply to {request_id}"),
            }
        }
    }

    /// Sends a request and waits for its reply.
    pub async fn request(&mut self, message: Json) -> Json {
        let id = self.ask(message).await;
        self.reply(&id).await
    }

    fn keep(&mut self, text: String) {
        let json: Json = serde_json::from_str(&text).expect("a message is JSON");
        if json["type"] == "reply" {
            self.replies.push(json);
        } else {
            self.events.push_back(text);
        }
    }

    /// The next event, as it came.
    ///
    /// # Panics
    /// Where there is none.
    pub async fn next_event_text(&mut self) -> String {
        loop {
            if let Some(text) = self.events.pop_front() {
                return text;
            }
            match self.receive().await {
                Incoming::Text(text) => self.keep(text),
                other => panic!("{other:?} instead of an event"),
            }
        }
    }

    /// The next event.
    ///
    /// # Panics
    /// Where there is none.
    pub async fn next_event(&mut self) -> Json {
        serde_json::from_str(&self.next_event_text().await).expect("an event is JSON")
    }

    /// The first so many of the events that come before the reply to a ping, or all where there are less.
    ///
    /// # Panics
    /// Where one is no JSON.
    pub async fn some_events(&mut self, at_most: usize) -> Vec<Json> {
        self.request(json!({"action": "ping"})).await;
        let count = at_most.min(self.events.len());
        let events = self.events.drain(..count);
        events.map(|text| serde_json::from_str(&text).expect("an event is JSON")).collect()
    }

    /// What has come and was kept because something else was waited for.
    ///
    /// # Panics
    /// Where it is no JSON.
    pub fn kept(&mut self) -> Vec<Json> {
        let events = self.events.drain(..);
        events.map(|text| serde_json::from_str(&text).expect("an event is JSON")).collect()
    }

    /// Waits until everything that has been committed so far has been told, and gives the position reached.
    ///
    /// A ping's reply follows every event up to its cursor; that cursor may be behind a commit that is just being
    /// published, so pings are sent until it is not.
    ///
    /// # Panics
    /// Where the feed does not come that far.
    pub async fn catch_up(&mut self, server: &Server) -> u64 {
        self.reach(server.feed().await).await
    }

    /// Waits until everything up to a position has been told, and gives the position reached.
    ///
    /// # Panics
    /// Where the feed does not come that far.
    pub async fn reach(&mut self, wanted: u64) -> u64 {
        let deadline = Instant::now() + WAIT;
        loop {
            let reply = self.request(json!({"action": "ping"})).await;
            let reached = position(at(&reply, "data.cursor").as_str().expect("a ping tells a cursor"));
            if reached >= wanted {
                return reached;
            }
            assert!(Instant::now() < deadline, "the feed stays at {reached} and does not come to {wanted}");
            // As many pings as that takes would be throttled.
            tokio::time::sleep(PING_PAUSE).await;
        }
    }

    /// All events of what has been committed so far that have not been looked at yet.
    ///
    /// # Panics
    /// Where one is no JSON.
    pub async fn events(&mut self, server: &Server) -> Vec<Json> {
        self.catch_up(server).await;
        let events = self.events.drain(..);
        events.map(|text| serde_json::from_str(&text).expect("an event is JSON")).collect()
    }

    /// Nothing that has been committed so far is told here, beside the events that were looked at.
    ///
    /// # Panics
    /// Where it is.
    pub async fn assert_silent(&mut self, server: &Server) {
        let events = self.events(server).await;
        assert!(events.is_empty(), "unexpected: {events:?}");
        assert!(self.replies.is_empty(), "unexpected: {:?}", self.replies);
    }

    /// What comes next, in the order in which it comes; what was kept is not looked at. The server's pings are answered
    /// by the client and not shown.
    pub async fn receive(&mut self) -> Incoming {
        let deadline = Instant::now() + WAIT;
        loop {
            let message = timeout_at(deadline, self.stream.next())
                .await
                .unwrap_or_else(|_| panic!("waited {WAIT:?} in vain for a message"));
            match message {
                Some(Ok(Message::Text(text))) => return Incoming::Text(text.as_str().to_owned()),
                Some(Ok(Message::Pong(payload))) => return Incoming::Pong(payload.to_vec()),
                Some(Ok(Message::Close(frame))) => {
                    return Incoming::Close(frame.map_or(1005, |frame| frame.code.into()));
                }
                Some(Ok(Message::Ping(_))) => {}
                Some(Ok(other)) => panic!("unexpected: {other:?}"),
                Some(Err(_)) | None => return Incoming::End,
            }
        }
    }

    /// The next message as JSON, event or reply, in the order in which it comes.
    ///
    /// # Panics
    /// Where the socket ends.
    pub async fn receive_json(&mut self) -> Json {
        match self.receive().await {
            Incoming::Text(text) => serde_json::from_str(&text).expect("a message is JSON"),
            other => panic!("{other:?} instead of a message"),
        }
    }

    /// Reads on to the close frame and gives its code; `None` where the connection ends without one.
    pub async fn closed(&mut self) -> Option<u16> {
        loop {
            match self.receive().await {
                Incoming::Text(_) | Incoming::Pong(_) => {}
                Incoming::Close(code) => return Some(code),
                Incoming::End => return None,
            }
        }
    }

    /// Reads the frames that come without answering any, pings neither, up to the close frame, and gives its code;
    /// `None` where the connection ends without one. The frames must be short ones.
    ///
    /// # Panics
    /// Where a frame is long.
    pub async fn closed_unanswered(&mut self) -> Option<u16> {
        let stream = self.stream.get_mut();
        loop {
            let mut head = [0; 2];
            within("a frame", stream.read_exact(&mut head)).await.ok()?;
            assert!(head[1] < 126, "a long frame");
            let mut payload = vec![0; usize::from(head[1])];
            within("a frame", stream.read_exact(&mut payload)).await.ok()?;
            if head[0] == 0x88 {
                return payload.first_chunk().copied().map(u16::from_be_bytes);
            }
        }
    }
}
