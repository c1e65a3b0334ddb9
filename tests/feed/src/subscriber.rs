//! A subscriber on a thread of its own that does nothing but read.

use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::{Value as Json, json};
use tokio_tungstenite::tungstenite::{Message, WebSocket, client};

use crate::options::Failure;

/// Without a frame for so long a benchmark has failed.
pub(crate) const STALL: Duration = Duration::from_secs(20);

/// An event, as soon as it is there.
pub(crate) struct Arrival {
    pub(crate) at: Instant,
    /// The new score that it tells, where it tells one.
    pub(crate) score: Option<i64>,
}

pub(crate) struct Subscriber {
    arrivals: Receiver<Result<Arrival, String>>,
    stream: TcpStream,
    thread: Option<JoinHandle<()>>,
}

impl Subscriber {
    /// Follows all comments.
    pub(crate) fn of_comments(address: SocketAddr) -> Result<Self, Failure> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        let other = stream.try_clone()?;
        let (mut socket, _) = client(format!("ws://{address}/api/ws"), stream)?;
        let subscribe = json!({"stream": "comments", "action": "subscribe", "request_id": 1});
        socket.send(Message::text(subscribe.to_string()))?;
        let reply: Json = serde_json::from_str(socket.read()?.to_text()?)?;
        if reply["status"] != 200 {
            return Err(format!("subscribing was answered with {reply}").into());
        }
        let (sender, arrivals) = channel();
        let thread = std::thread::spawn(move || read(socket, &sender));
        Ok(Self { arrivals, stream: other, thread: Some(thread) })
    }

    pub(crate) fn next(&self) -> Result<Arrival, Failure> {
        match self.arrivals.recv_timeout(STALL) {
            Ok(Ok(arrival)) => Ok(arrival),
            Ok(Err(reason)) => Err(format!("the subscriber's socket has ended: {reason}").into()),
            Err(_) => Err("nothing arrives any more".into()),
        }
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        // The thread waits in `read`.
        let _ = self.stream.shutdown(std::net::Shutdown::Both);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn read(mut socket: WebSocket<TcpStream>, arrivals: &Sender<Result<Arrival, String>>) {
    loop {
        let arrival = match socket.read() {
            Ok(Message::Text(text)) => Ok(Arrival { at: Instant::now(), score: score(text.as_str()) }),
            Ok(Message::Close(frame)) => Err(format!("{frame:?}")),
            Ok(_) => continue,
            Err(error) => Err(error.to_string()),
        };
        let has_ended = arrival.is_err();
        if arrivals.send(arrival).is_err() || has_ended {
            return;
        }
    }
}

/// Cheaper than JSON, so that the subscriber costs less than the server.
fn score(text: &str) -> Option<i64> {
    let (_, rest) = text.split_once(r#""score":"#)?;
    let end = rest.find(|character: char| !character.is_ascii_digit()).unwrap_or(rest.len());
    rest[..end].parse().ok()
}
