//! A client that does not read costs a bounded amount of memory, and the others nothing. When it reads on, it is told
//! that it has lagged behind, and then what it has missed.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::join;
use realtime_actix::{Lag, Limits};
use realtime_tests::{Handshake, Incoming, Key, Server, Setup, Socket, View, at, on_postgres};
use serde_json::{Value as Json, json};

async fn with_limits(change: impl FnOnce(&mut Limits)) -> Server {
    let mut limits = Limits::default().without_rates();
    // A client that stops reading does not answer heartbeats either, and writing enough for it may take a minute.
    limits.heartbeat_ms = 600_000;
    change(&mut limits);
    Setup::memory().configure(move |connect| connect.limits(limits)).start().await
}

/// A socket whose kernel soon takes nothing more.
async fn stalled(server: &Server) -> Socket {
    Handshake::to("/api/ws").receive_buffer(4 << 10).open(server).await.expect("a socket").0
}

/// Adds a comment of ten thousand characters.
async fn comment(server: &Server) {
    let body = "x".repeat(10_000);
    server
        .write(format!(
            "INSERT INTO comments (topic_id, author_id, body, created_at)
             VALUES (1, 1, '{body}', '2026-01-01 00:00:00')"
        ))
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
async fn where_so_configured_a_client_that_stops_reading_is_cut_off_and_the_others_go_on() {
    const COMMENTS: usize = 2_000;
    let server = with_limits(|limits| {
        limits.lag = Lag::Disconnect;
        limits.outbox_bytes = 128 << 10;
    })
    .await;
    let mut slow = stalled(&server).await;
    let mut view = View::new("id").live(&follow(&mut slow, "comments", json!({})).await);
    let mut healthy = Socket::subscribed(&server, "comments", json!({})).await;
    for _ in 0..COMMENTS {
        comment(&server).await;
        assert_eq!(healthy.next_event().await["action"], "create");
    }
    let mut bytes = 0;
    let code = loop {
        match slow.receive().await {
            Incoming::Text(text) => {
                bytes += text.len();
                view.take(&serde_json::from_str(&text).expect("JSON"));
            }
            Incoming::Pong(_) => {}
            Incoming::Close(code) => break code,
            Incoming::End => panic!("it ends without a word"),
        }
    };
    assert_eq!(code, 4408);
    // What is more than the outbox is what the kernels had taken.
    assert!(bytes < COMMENTS * 10_000 / 2, "{bytes} bytes waited for a client that did not read");
    healthy.assert_silent(&server).await;

    let mut again = Socket::open(&server).await;
    let reply = follow(&mut again, "comments", json!({"since": view.cursor})).await;
    assert_eq!(reply["recovered"], true);
    for event in again.events(&server).await {
        view.take(&event);
    }
    assert!(view.is_whole() && view.rows.len() == COMMENTS);
    assert_eq!(view.rows, listed(&mut healthy).await);
}

#[tokio::test]
async fn small_frames_are_bounded_by_their_number() {
    let server = with_limits(|limits| {
        limits.lag = Lag::Disconnect;
        limits.outbox_frames = 8;
    })
    .await;
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

async fn follow(socket: &mut Socket, stream: &str, with: Json) -> Json {
    let mut message = json!({"stream": stream, "action": "subscribe"});
    for (name, value) in with.as_object().expect("members") {
        message[name] = value.clone();
    }
    let reply = socket.request(message).await;
    assert_eq!(reply["status"], 200, "{reply}");
    reply["data"].clone()
}

/// The comments that a list answers.
async fn listed(socket: &mut Socket) -> BTreeMap<Key, Json> {
    let mut rows = BTreeMap::new();
    let mut cursor = Json::Null;
    loop {
        let mut message = json!({"stream": "comments/list", "limit": 200});
        if !cursor.is_null() {
            message["cursor"] = cursor;
        }
        let reply = socket.request(message).await;
        for row in at(&reply, "data.results").as_array().expect("rows") {
            rows.insert(Key::of(&row["id"]), row.clone());
        }
        cursor = at(&reply, "data.next").clone();
        if cursor.is_null() {
            return rows;
        }
    }
}

#[tokio::test]
async fn a_client_that_reads_on_is_told_what_it_has_missed() {
    const COMMENTS: usize = 1_000;
    let server = with_limits(|limits| limits.outbox_bytes = 128 << 10).await;
    let mut slow = stalled(&server).await;
    let mut view = View::new("id").live(&follow(&mut slow, "comments", json!({})).await);
    let mut healthy = Socket::subscribed(&server, "comments", json!({})).await;
    for _ in 0..COMMENTS {
        comment(&server).await;
        assert_eq!(healthy.next_event().await["action"], "create");
    }
    // Twice: what happens after it has been put right is no different.
    for round in 1..=2 {
        for number in 1..=COMMENTS {
            let sql = format!("UPDATE comments SET score = {round}, body = body || 'y' WHERE id = {number}");
            server.write(sql).await;
            assert_eq!(healthy.next_event().await["action"], "update");
        }
        for event in slow.events(&server).await {
            view.take(&event);
        }
        assert!(view.is_whole());
        assert!(view.lagged.0 >= round && view.lagged.1 == 0, "{:?}", view.lagged);
        assert_eq!(view.rows, listed(&mut healthy).await);
    }
}

#[tokio::test]
async fn where_the_log_does_not_reach_back_a_snapshot_comes_unasked() {
    let server = with_limits(|limits| {
        limits.outbox_bytes = 128 << 10;
        limits.feed_rows = 50;
        limits.snapshot_rows = 30;
    })
    .await;
    let mut slow = stalled(&server).await;
    let mut view = View::new("id").live(&follow(&mut slow, "comments", json!({})).await);
    let mut healthy = Socket::subscribed(&server, "comments", json!({})).await;
    for _ in 0..1_000 {
        comment(&server).await;
        assert_eq!(healthy.next_event().await["action"], "create");
    }
    server.write("DELETE FROM comments WHERE id > 200").await;
    for event in slow.events(&server).await {
        view.take(&event);
    }
    assert_eq!(view.lagged, (0, 1));
    assert!(view.is_whole() && view.pages > 1);
    assert_eq!(view.rows, listed(&mut healthy).await);
    server.write("DELETE FROM comments").await;
    for event in slow.events(&server).await {
        view.take(&event);
    }
    assert!(view.rows.is_empty());
}

/// What comes while it is found out that the log does not reach back is in the snapshot, and not told once more after it.
#[tokio::test]
async fn writes_while_a_snapshot_comes_unasked_are_told_once() {
    let server = with_limits(|limits| {
        limits.outbox_bytes = 128 << 10;
        limits.feed_rows = 20;
    })
    .await;
    let mut healthy = Socket::subscribed(&server, "comments", json!({})).await;
    for _ in 0..8 {
        comment(&server).await;
        healthy.next_event().await;
    }
    for round in 0..12 {
        let mut slow = stalled(&server).await;
        let data = follow(&mut slow, "comments", json!({})).await;
        let mut view = View::new("id").live(&data);
        view.rows = listed(&mut healthy).await;
        for number in 0..60 {
            server
                .write(format!("UPDATE comments SET body = '{number:03} {round:03}' || substr(body, 8)"))
                .await;
            healthy.catch_up(&server).await;
        }
        if on_postgres() {
            // What is old is removed once a second.
            tokio::time::sleep(Duration::from_millis(1_200)).await;
        }
        let write = async {
            for number in 0..40 {
                server.write(format!("UPDATE comments SET score = -{number} - 100 * {round}")).await;
            }
        };
        let read = async {
            while view.lagged.1 == 0 {
                view.take(&slow.receive_json().await);
            }
        };
        join(write, read).await;
        for event in slow.events(&server).await {
            view.take(&event);
        }
        assert!(view.is_whole());
        assert_eq!(view.rows, listed(&mut healthy).await);
    }
}

/// Each is told by itself, a ping's reply waits for all of them, and other requests are answered meanwhile.
#[tokio::test]
async fn the_subscriptions_of_a_slow_client_are_put_right_one_by_one() {
    let server = with_limits(|limits| limits.outbox_bytes = 128 << 10).await;
    let mut slow = stalled(&server).await;
    let mut views = BTreeMap::new();
    for with in [json!({}), json!({"form": "full"}), json!({"payload": {"score__gte": 0}})] {
        let data = follow(&mut slow, "comments", with).await;
        views.insert(data["subscription"].to_string(), View::new("id").live(&data));
    }
    let mut healthy = Socket::subscribed(&server, "comments", json!({})).await;
    for _ in 0..500 {
        comment(&server).await;
        assert_eq!(healthy.next_event().await["action"], "create");
    }
    server.write("UPDATE comments SET score = 1; DELETE FROM comments WHERE id % 5 = 0").await;
    healthy.catch_up(&server).await;
    let create = json!({"stream": "labels/create", "payload": {"name": "meanwhile"}});
    assert_eq!(slow.request(create).await["status"], 201);
    for event in slow.events(&server).await {
        views.get_mut(&event["subscription"].to_string()).expect("it is held").take(&event);
    }
    let table = listed(&mut healthy).await;
    for view in views.values() {
        assert!(view.is_whole() && view.lagged.0 >= 1 && view.lagged.1 == 0, "{:?}", view.lagged);
        assert_eq!(view.rows, table);
    }
}

/// What comes while a client catches up waits for it, and what finds no room is read from the log: that is no new lag.
#[tokio::test]
async fn writes_in_the_midst_of_catching_up_are_not_missed() {
    let server = with_limits(|limits| {
        limits.outbox_bytes = 64 << 10;
        limits.outbox_frames = 16;
    })
    .await;
    let mut socket = Socket::open(&server).await;
    socket.catch_up(&server).await;
    let since = at(&socket.request(json!({"action": "ping"})).await, "data.cursor").clone();
    for _ in 0..300 {
        comment(&server).await;
    }
    socket.catch_up(&server).await;
    let mut slow = stalled(&server).await;
    let data = follow(&mut slow, "comments", json!({"since": since})).await;
    assert_eq!(data["recovered"], true);
    let mut view = View::new("id").live(&data);
    for number in 0..240 {
        server.write(format!("UPDATE comments SET score = {number} WHERE id % 10 = {}", number % 10)).await;
        if number % 4 == 0 {
            view.take(&slow.next_event().await);
        }
    }
    for event in slow.events(&server).await {
        view.take(&event);
    }
    assert!(view.is_whole() && view.lagged.1 == 0, "{:?}", view.lagged);
    assert_eq!(view.rows, listed(&mut socket).await);
}

#[tokio::test]
async fn a_client_that_never_reads_again_is_dropped() {
    let server = with_limits(|limits| {
        limits.outbox_bytes = 128 << 10;
        limits.heartbeat_ms = 50;
    })
    .await;
    let mut slow = stalled(&server).await;
    slow.subscribe("comments", json!({})).await;
    for _ in 0..1_000 {
        comment(&server).await;
    }
    // Those who come later and are silent are dropped one after the other; so has it been by then.
    for _ in 0..3 {
        assert_eq!(Socket::open(&server).await.closed_unanswered().await, Some(4408));
    }
    let (bytes, code) = read_to_the_end(&mut slow).await;
    assert_eq!(code, Some(4408));
    assert!(bytes < 5_000_000, "{bytes} bytes waited for a client that did not read");
}
