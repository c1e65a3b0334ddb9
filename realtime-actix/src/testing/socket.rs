//! A socket of a client under test. Its frames are those of the wire; only the wire is missing.

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;

use actix_http::ws::{OpCode, Parser};
use actix_http::{BoxedPayloadStream, Payload};
use actix_web::body::{BoxBody, MessageBody as _};
use actix_web::error::PayloadError;
use actix_web::http::StatusCode;
use actix_web::http::header;
use actix_web::test::TestRequest;
use bytes::{Bytes, BytesMut};
use serde_json::{Value as Json, json};
use tokio::sync::mpsc;

use super::{Answer, Client, TestApp, within};

/// Frames of a client that are on their way, at most.
const ON_THE_WAY: usize = 16;

/// Bytes of a frame of the server, at most.
const LONGEST_FRAME: usize = 64 << 20;

/// An open socket.
pub struct Socket {
    app: TestApp,
    to_server: Option<mpsc::Sender<Bytes>>,
    from_server: Pin<Box<BoxBody>>,
    /// What has come and is not read yet.
    bytes: BytesMut,
    /// Events and snapshots that came while something else was waited for.
    events: VecDeque<Json>,
    replies: Vec<Json>,
    closed: Option<u16>,
    asked: u64,
}

impl fmt::Debug for Socket {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Socket")
            .field("events", &self.events)
            .field("replies", &self.replies)
            .field("closed", &self.closed)
            .finish_non_exhaustive()
    }
}

/// What the server says next.
enum Said {
    Text(Json),
    Closed(u16),
    /// Without a close frame.
    Gone,
}

impl Socket {
    pub(super) async fn open(client: &Client, path: &str) -> Result<Self, Answer> {
        let (to_server, mut frames) = mpsc::channel(ON_THE_WAY);
        let frames = futures_util::stream::poll_fn(move |context| frames.poll_recv(context));
        let frames = futures_util::StreamExt::map(frames, Ok::<Bytes, PayloadError>);
        let payload: BoxedPayloadStream = Box::pin(frames);
        let request = TestRequest::get()
            .uri(path)
            .insert_header((header::HOST, "test"))
            .insert_header((header::CONNECTION, "upgrade"))
            .insert_header((header::UPGRADE, "websocket"))
            .insert_header((header::SEC_WEBSOCKET_VERSION, "13"))
            .insert_header((header::SEC_WEBSOCKET_KEY, "dGhlIHNhbXBsZSBub25jZQ=="));
        let (request, _) = client.prepare(request).replace_payload(Payload::Stream { payload });
        let response = within("the handshake", (client.app.0.call)(request)).await;
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            return Err(Answer::of(response).await);
        }
        Ok(Self {
            app: client.app.clone(),
            to_server: Some(to_server),
            from_server: Box::pin(response.into_body()),
            bytes: BytesMut::new(),
            events: VecDeque::new(),
            replies: Vec::new(),
            closed: None,
            asked: 0,
        })
    }

    async fn send(&mut self, payload: &[u8], code: OpCode) {
        let mut bytes = BytesMut::new();
        Parser::write_message(&mut bytes, payload, code, true, true);
        if let Some(to_server) = &self.to_server {
            // A server that is gone is noticed by what it no longer says.
            let _ = within("room to send", to_server.send(bytes.freeze())).await;
        }
    }

    async fn read(&mut self) -> Said {
        loop {
            let parsed = Parser::parse(&mut self.bytes, false, LONGEST_FRAME);
            match parsed.unwrap_or_else(|error| panic!("the server breaks the protocol: {error}")) {
                Some((_, OpCode::Text, payload)) => {
                    let text = payload.unwrap_or_default();
                    let json = serde_json::from_slice(&text);
                    return Said::Text(json.unwrap_or_else(|_| panic!("{text:?} is no JSON")));
                }
                Some((_, OpCode::Ping, payload)) => {
                    self.send(&payload.unwrap_or_default(), OpCode::Pong).await;
                }
                Some((_, OpCode::Close, payload)) => {
                    let payload = payload.unwrap_or_default();
                    let code = payload.first_chunk().copied().map_or(1005, u16::from_be_bytes);
                    self.send(&payload, OpCode::Close).await;
                    return Said::Closed(code);
                }
                Some((_, OpCode::Pong, _)) => {}
                Some((_, other, _)) => panic!("the server sends a frame {other:?}"),
                None => {
                    let body = &mut self.from_server;
                    let next = std::future::poll_fn(|context| body.as_mut().poll_next(context));
                    match within("something of the socket", next).await {
                        Some(Ok(bytes)) => self.bytes.extend_from_slice(&bytes),
                        Some(Err(_)) | None => return Said::Gone,
                    }
                }
            }
        }
    }

    /// Reads one message and keeps it. `false` at the end.
    async fn keep_next(&mut self) -> bool {
        if self.closed.is_some() {
            return false;
        }
        match self.read().await {
            Said::Text(message) if message["type"] == "reply" => self.replies.push(message),
            Said::Text(message) => self.events.push_back(message),
            Said::Closed(code) => self.closed = Some(code),
            // RFC 6455 names an end without a close frame so.
            Said::Gone => self.closed = Some(1006),
        }
        self.closed.is_none()
    }

    /// Sends a text frame, whatever is in it.
    pub async fn send_text(&mut self, text: &str) {
        self.send(text.as_bytes(), OpCode::Text).await;
    }

    /// Sends a request and waits for its reply. Events that come before it are kept for [`Socket::next_event`].
    ///
    /// # Panics
    /// Where the socket ends first.
    pub async fn request(&mut self, mut message: Json) -> Json {
        if message.get("request_id").is_none() {
            self.asked += 1;
            message["request_id"] = self.asked.into();
        }
        self.send_text(&message.to_string()).await;
        loop {
            let id = &message["request_id"];
            if let Some(at) = self.replies.iter().position(|reply| reply["request_id"] == *id) {
                return self.replies.remove(at);
            }
            assert!(self.keep_next().await, "the socket is closed with {:?} and no reply", self.closed);
        }
    }

    /// Subscribes to a stream and gives the id of the subscription. What has been committed before is told to nobody any
    /// more by then: the first event is of what is committed from now on.
    ///
    /// # Panics
    /// Where that is refused.
    pub async fn subscribe(&mut self, stream: &str, filter: Json) -> String {
        self.app.drained().await;
        let message = json!({"stream": stream, "action": "subscribe", "payload": filter});
        let reply = self.request(message).await;
        assert_eq!(reply["status"], 200, "{reply}");
        reply["data"]["subscription"].as_str().unwrap_or_default().to_owned()
    }

    /// The next message that is no reply: an event, a page of a snapshot, or that the client lags.
    ///
    /// # Panics
    /// Where the socket ends first, or nothing comes within ten seconds.
    pub async fn next_event(&mut self) -> Json {
        loop {
            if let Some(event) = self.events.pop_front() {
                return event;
            }
            assert!(self.keep_next().await, "the socket is closed with {:?} and no event", self.closed);
        }
    }

    /// All events of what has been committed so far that nobody has taken yet.
    ///
    /// # Panics
    /// Where the socket ends first.
    pub async fn events(&mut self) -> Vec<Json> {
        self.app.drained().await;
        // Its reply comes after whatever was told before it.
        self.request(json!({"action": "ping"})).await;
        self.events.drain(..).collect()
    }

    /// Nothing of what has been committed so far is told here, beside what was taken.
    ///
    /// # Panics
    /// Where something is, or the socket has been closed.
    pub async fn assert_silent(&mut self) {
        let events = self.events().await;
        assert!(events.is_empty(), "unexpected: {}", Json::from(events));
    }

    /// The server closes the socket with this code, and nothing comes after that. Events before it are passed over.
    ///
    /// # Panics
    /// Where it is closed with another one, ends without a close frame, or is not closed within ten seconds.
    pub async fn assert_closed(&mut self, code: u16) {
        while self.keep_next().await {}
        assert_eq!(self.closed, Some(code), "another code");
        let after = self.read().await;
        assert!(matches!(after, Said::Gone), "something came after the close frame");
    }

    /// Closes the socket.
    pub async fn close(mut self) {
        self.send(&1000_u16.to_be_bytes(), OpCode::Close).await;
        self.to_server = None;
    }
}
