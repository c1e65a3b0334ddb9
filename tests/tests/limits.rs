//! Every limit of a socket with one less than it allows, exactly that, and one more.

use futures_util::FutureExt as _;
use realtime_actix::Limits;
use realtime_tests::{Incoming, Server, Setup, Socket, on_postgres};
use serde_json::{Value as Json, json};

async fn with_limits(change: impl FnOnce(&mut Limits)) -> Server {
    let mut limits = Limits::default();
    change(&mut limits);
    Setup::memory().configure(move |connect| connect.limits(limits)).start().await
}

/// A ping of so many bytes.
fn message(bytes: usize) -> String {
    let text = r#"{"action": "ping"}"#;
    format!("{text}{}", " ".repeat(bytes - text.len()))
}

/// Frames as a client sends them, of one text; the mask is zero.
fn frames(text: &str, count: usize) -> Vec<u8> {
    let size = text.len().div_ceil(count);
    let mut bytes = Vec::new();
    for (at, part) in text.as_bytes().chunks(size).enumerate() {
        let is_last = (at + 1) * size >= text.len();
        bytes.push(if is_last { 0x80 } else { 0 } | u8::from(at == 0));
        bytes.push(0x80 | 127);
        bytes.extend_from_slice(&(part.len() as u64).to_be_bytes());
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(part);
    }
    bytes
}

#[tokio::test]
async fn a_message_has_as_many_bytes_as_it_may() {
    const LIMIT: usize = 1_000;
    let server = with_limits(|limits| limits.message_bytes = LIMIT).await;
    for count in [1, 3] {
        for bytes in [LIMIT - 1, LIMIT] {
            let mut socket = Socket::open(&server).await;
            socket.send_bytes(&frames(&message(bytes), count)).await;
            assert_eq!(socket.receive_json().await["status"], 200, "{bytes} bytes in {count} frames");
        }
        let mut socket = Socket::open(&server).await;
        socket.send_bytes(&frames(&message(LIMIT + 1), count)).await;
        assert_eq!(socket.receive().await, Incoming::Close(1009), "in {count} frames");
    }
}

#[tokio::test]
async fn a_body_has_as_many_bytes_as_it_may() {
    const LIMIT: usize = 1_000;
    let server = with_limits(|limits| limits.body_bytes = LIMIT).await;
    let url = format!("http://{}/api/labels/", server.address());
    let http = reqwest::Client::builder().no_proxy().build().expect("a client");
    for (bytes, status) in [(LIMIT - 1, 201), (LIMIT, 201), (LIMIT + 1, 413)] {
        let text = json!({"name": format!("{bytes}")}).to_string();
        let body = format!("{text}{}", " ".repeat(bytes - text.len()));
        let request = http.post(&url).header("content-type", "application/json").body(body);
        let answer = request.send().await.expect("an answer");
        assert_eq!(answer.status().as_u16(), status, "{bytes} bytes");
    }
}

#[tokio::test]
async fn a_connection_has_as_many_subscriptions_as_it_may() {
    const LIMIT: i64 = 5;
    let server = with_limits(|limits| limits.subscriptions = 5).await;
    let mut socket = Socket::open(&server).await;
    let subscribe = |weight| json!({"stream": "labels/subscribe", "payload": {"weight": weight}});
    for weight in 1..=LIMIT {
        assert_eq!(socket.request(subscribe(weight)).await["status"], 200);
    }
    let refused = socket.request(subscribe(LIMIT + 1)).await;
    assert_eq!((&refused["status"], &refused["error"]["code"]), (&json!(400), &json!("validation_error")));
    // What is held already costs no place, and one that is given back is free.
    assert_eq!(socket.request(subscribe(1)).await["status"], 200);
    let unsubscribe = json!({"stream": "labels/unsubscribe", "payload": {"weight": LIMIT}});
    assert_eq!(socket.request(unsubscribe).await["status"], 204);
    assert_eq!(socket.request(subscribe(LIMIT + 1)).await["status"], 200);
    assert_eq!(socket.request(subscribe(LIMIT + 2)).await["status"], 400);
    // The limit is of the connection.
    assert_eq!(Socket::open(&server).await.request(subscribe(LIMIT + 2)).await["status"], 200);
}

#[tokio::test]
async fn a_connection_makes_as_many_requests_at_once_as_it_may_and_is_closed_when_it_goes_on() {
    const BURST: usize = 5;
    const THROTTLED: usize = 3;
    let server = with_limits(|limits| {
        // Nothing comes back while the test runs, however long that takes.
        limits.requests_per_second = 0;
        limits.request_burst = 5;
        limits.throttled_in_a_row = 3;
    })
    .await;
    let mut socket = Socket::open(&server).await;
    for number in 1..=BURST {
        assert_eq!(socket.request(json!({"action": "ping"})).await["status"], 200, "request {number}");
    }
    for number in 1..=THROTTLED {
        let reply = socket.request(json!({"action": "ping"})).await;
        assert_eq!(
            (&reply["status"], &reply["error"]["code"]),
            (&json!(429), &json!("throttled")),
            "{number}"
        );
        assert!(reply["error"]["retry_after"].as_f64() > Some(0.0), "{reply}");
    }
    socket.send_text(message(20)).await;
    assert_eq!(socket.receive().await, Incoming::Close(4429));
    assert_eq!(Socket::open(&server).await.request(json!({"action": "ping"})).await["status"], 200);
}

/// Keeps the one writer of SQLite busy.
struct HeldWriter {
    release: std::sync::mpsc::Sender<()>,
    writing: tokio::task::JoinHandle<()>,
}

impl HeldWriter {
    async fn of(server: &Server) -> Self {
        let (release, released) = std::sync::mpsc::channel();
        let (holding, held) = tokio::sync::oneshot::channel();
        let realtime = server.realtime().clone();
        let writing = tokio::spawn(async move {
            let wait = move |_: &mut _| {
                let _ = holding.send(());
                released.recv().map_err(|error| error.to_string())
            };
            realtime.write::<(), String>(wait).await.expect("a commit");
        });
        held.await.expect("the writer is held");
        Self { release, writing }
    }

    /// Lets it go on.
    fn release(&self) {
        self.release.send(()).expect("the writer waits");
    }

    /// Waits until it has gone on.
    async fn ended(self) {
        self.writing.await.expect("no panic");
    }
}

/// A client has some writes that wait for the writer, and sends a ping. The replies in the order in which they come, by
/// their `request_id`.
async fn order_of_replies(server: &Server, writes: usize) -> Vec<Json> {
    let mut socket = Socket::open(server).await;
    let held = HeldWriter::of(server).await;
    for number in 1..=writes {
        let name = format!("{writes} {number}");
        let create = json!({"request_id": number, "stream": "labels/create", "payload": {"name": name}});
        socket.send_text(create.to_string()).await;
    }
    socket.send_text(r#"{"action": "ping", "request_id": "ping"}"#).await;
    let mut seen = Vec::new();
    if writes < RUNNING {
        // The ping is answered while the writes wait.
        seen.push(socket.receive_json().await["request_id"].clone());
    }
    held.release();
    while seen.len() <= writes {
        seen.push(socket.receive_json().await["request_id"].clone());
    }
    held.ended().await;
    seen
}

const RUNNING: usize = 4;

#[tokio::test]
async fn a_connection_has_as_many_requests_running_as_it_may_and_is_not_read_beyond() {
    if on_postgres() {
        // It has no one writer that could be kept busy.
        return;
    }
    let server = with_limits(|limits| limits.running_requests = RUNNING).await;
    // There is room for one more: it is answered although the others wait.
    let seen = order_of_replies(&server, RUNNING - 1).await;
    assert_eq!(seen, [json!("ping"), json!(1), json!(2), json!(3)]);
    // There is none: the ping waits in the network until a request has been answered.
    for writes in [RUNNING, RUNNING + 1] {
        let seen = order_of_replies(&server, writes).await;
        assert_eq!(seen[0], json!(1), "{seen:?}");
        assert!(seen.contains(&json!("ping")), "{seen:?}");
    }
}

#[tokio::test]
async fn as_many_writes_wait_for_the_database_as_may_and_those_beyond_are_refused() {
    if on_postgres() {
        // It has no one writer that could be kept busy.
        return;
    }
    const LIMIT: usize = 3;
    let server = with_limits(|limits| limits.waiting_writes = LIMIT).await;
    let held = HeldWriter::of(&server).await;
    let mut waiting = Vec::new();
    for number in 1..=LIMIT {
        // It waits as soon as it has been asked for.
        let mut write = Box::pin(server.realtime().write::<(), String>(|_| Ok(())));
        assert!((&mut write).now_or_never().is_none(), "write {number}");
        waiting.push(write);
    }
    let create = json!({"stream": "labels/create", "payload": {"name": "one too many"}});
    let mut socket = Socket::open(&server).await;
    let refused = socket.request(create.clone()).await;
    assert_eq!((&refused["status"], &refused["error"]["code"]), (&json!(503), &json!("unavailable")));
    let answer =
        server.http("POST", "/api/labels/", &[("content-type", "application/json")], r#"{"name": "x"}"#);
    let answer = answer.await;
    assert_eq!((answer.status, answer.json["code"].as_str()), (503, Some("unavailable")));
    held.release();
    for write in waiting {
        write.await.expect("a commit");
    }
    held.ended().await;
    assert_eq!(socket.request(create).await["status"], 201);
}
