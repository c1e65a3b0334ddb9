//! A client that does not read costs a bounded amount of memory, and the others nothing.

use realtime_actix::Limits;
use realtime_tests::{Handshake, Incoming, Server, Setup, Socket};
use serde_json::json;

async fn with_limits(change: impl FnOnce(&mut Limits)) -> Server {
    let mut limits = Limits::default().without_rates();
    change(&mut limits);
    Setup::memory().configure(move |connect| connect.limits(limits)).start().await
}

/// A socket whose kernel soon takes nothing more.
async fn stalled(server: &Server) -> Socket {
    Handshake::to("/api/ws").receive_buffer(4 << 10).open(server).await.expect("a socket").0
}

/// Adds a comment of ten thousand characters.
async fn comment(server: &Server) {
    server
        .write(
            "INSERT INTO comments (topic_id, author_id, body, created_at)
             VALUES (1, 1, printf('%.*c', 10000, 'x'), '2026-01-01 00:00:00')",
        )
        .await;
}

/// Reads to the end: the bytes of the text frames, and the code of the close frame.
async fn read_to_the_end(socket: &mut Socket) -> (usize, Option<u16>) {
    let mut bytes = 0;
    loop {
        match socket.receive().await {
            Incoming::Text(text) => bytes += text.len(),
            Incoming::Pong(_) => {}
            Incoming::Close(code) => return (bytes, Some(code)),
            Incoming::End => return (bytes, None),
        }
    }
}

#[tokio::test]
async fn a_client_that_stops_reading_is_cut_off_and_the_others_go_on() {
    const COMMENTS: usize = 2_000;
    let server = with_limits(|limits| limits.outbox_bytes = 128 << 10).await;
    let mut slow = stalled(&server).await;
    slow.subscribe("comments", json!({})).await;
    let mut healthy = Socket::subscribed(&server, "comments", json!({})).await;
    for _ in 0..COMMENTS {
        comment(&server).await;
        assert_eq!(healthy.next_event().await["action"], "create");
    }
    let (bytes, code) = read_to_the_end(&mut slow).await;
    assert_eq!(code, Some(4408));
    // What is more than the outbox is what the kernels had taken.
    assert!(bytes < COMMENTS * 10_000 / 2, "{bytes} bytes waited for a client that did not read");
    healthy.assert_silent(&server).await;
}

#[tokio::test]
async fn small_frames_are_bounded_by_their_number() {
    let server = with_limits(|limits| limits.outbox_frames = 8).await;
    let mut slow = stalled(&server).await;
    slow.subscribe("comments", json!({"fields": ["score"]})).await;
    let mut healthy = Socket::open(&server).await;
    healthy.subscribe("topics", json!({})).await;
    server
        .write(
            "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 150)
             INSERT INTO comments (topic_id, author_id, body, created_at)
             SELECT 1, 1, 'x', '2026-01-01 00:00:00' FROM n",
        )
        .await;
    for _ in 0..250 {
        server.write("UPDATE comments SET score = score + 1").await;
    }
    healthy.catch_up(&server).await;
    assert_eq!(read_to_the_end(&mut slow).await.1, Some(4408));
    server.create("topics", json!({"title": "x"})).await;
    assert_eq!(healthy.next_event().await["action"], "create");
}

/// Replies that nobody reads are bounded like events.
#[tokio::test]
async fn a_client_that_asks_and_does_not_read_the_answers_is_cut_off() {
    let server = with_limits(|limits| limits.outbox_bytes = 128 << 10).await;
    for _ in 0..50 {
        comment(&server).await;
    }
    let mut slow = stalled(&server).await;
    for at in 0..100 {
        slow.send_text(json!({"stream": "comments/list", "request_id": at, "payload": {}}).to_string()).await;
    }
    // Fifty megabytes of answers; the healthy socket's own comes while they are made.
    let mut healthy = Socket::subscribed(&server, "topics", json!({})).await;
    server.create("topics", json!({"title": "x"})).await;
    assert_eq!(healthy.next_event().await["action"], "create");
    let (bytes, code) = read_to_the_end(&mut slow).await;
    assert!(bytes < 100 * 500_000, "{bytes} bytes of answers");
    assert_eq!(code, Some(4408));
    healthy.assert_silent(&server).await;
}

#[tokio::test]
async fn one_message_over_the_bound_is_no_sign_of_a_slow_client() {
    let server = with_limits(|limits| {
        limits.outbox_bytes = 1_000;
        limits.outbox_frames = 2;
    })
    .await;
    let mut socket = Socket::subscribed(&server, "comments", json!({})).await;
    for _ in 0..3 {
        comment(&server).await;
        assert_eq!(socket.next_event().await["action"], "create");
    }
    let reply = socket.request(json!({"stream": "comments/list"})).await;
    assert_eq!(reply["data"]["count"], 3);
}

#[tokio::test]
async fn a_peer_that_is_silent_for_two_heartbeats_is_dropped() {
    let server = with_limits(|limits| limits.heartbeat_ms = 50).await;
    let mut silent = Socket::open(&server).await;
    let mut answering = Socket::open(&server).await;
    // The one answers pings while it waits, the other reads and does not.
    let code = tokio::select! {
        code = silent.closed_unanswered() => code,
        message = answering.receive() => panic!("{message:?} to a peer that answers"),
    };
    assert_eq!(code, Some(4408));
    assert_eq!(answering.request(json!({"action": "ping"})).await["status"], 200);
}
