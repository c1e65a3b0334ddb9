//! Server-Sent Events: the same events as over a socket, from a cursor on, over disconnections and restarts.

use std::collections::BTreeMap;

use futures_util::future::join_all;
use realtime_actix::{Lag, Limits};
use realtime_tests::{
    Block, EventStream, Key, Server, Setup, Socket, Store, StreamRequest, View, at, position,
};
use serde_json::{Value as Json, json};

/// A position that leads nowhere, on any server.
const NOWHERE: &str = "0000000000000000-0";

fn setup(setup: Setup, change: impl FnOnce(&mut Limits)) -> Setup {
    let mut limits = Limits::default().without_rates();
    limits.stream_heartbeat_ms = 20;
    change(&mut limits);
    setup.configure(move |connect| connect.limits(limits))
}

async fn with_limits(change: impl FnOnce(&mut Limits)) -> Server {
    setup(Setup::file(), change).start().await
}

async fn open(server: &Server, query: &str) -> EventStream {
    StreamRequest::to(format!("/api/comments/events?{query}")).open(server).await
}

fn adding(count: usize) -> String {
    format!(
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count})
         INSERT INTO comments (topic_id, author_id, body, score, created_at)
         SELECT i % 2 + 1, 1, 'x' || i, i % 10, '2026-01-01 00:00:00' FROM n"
    )
}

/// Adds a comment of ten thousand characters.
async fn large_comment(server: &Server) {
    let body = "x".repeat(10_000);
    server
        .write(format!(
            "INSERT INTO comments (topic_id, author_id, body, created_at)
             VALUES (1, 1, '{body}', '2026-01-01 00:00:00')"
        ))
        .await;
}

/// The comments that a list answers.
async fn listed(server: &Server, query: &str) -> BTreeMap<Key, Json> {
    let query = query.replace("&form=full", "");
    let page = server.read(&format!("/api/comments/?limit=1000&{query}")).await;
    let results = page["results"].as_array().expect("rows");
    assert!(results.len() < 1000, "more than one page");
    results.iter().map(|row| (Key::of(&row["id"]), row.clone())).collect()
}

#[tokio::test]
async fn a_stream_says_what_a_socket_says() {
    let server = with_limits(|limits| limits.stream_heartbeat_ms = 600_000).await;
    let mut socket = Socket::subscribed(&server, "comments", json!({"min_score": 2})).await;
    let mut stream = open(&server, "min_score=2").await;
    let head = stream.head.to_ascii_lowercase();
    for header in ["content-type: text/event-stream", "cache-control: no-store", "x-accel-buffering: no"] {
        assert!(head.contains(header), "{head}");
    }
    stream.begun().await;
    for sql in [
        adding(4),
        "UPDATE comments SET score = 5, body = 'é\ny' WHERE id = 3".to_owned(),
        "DELETE FROM comments WHERE id = 4".to_owned(),
    ] {
        server.write(sql).await;
        // So that each of them is a batch of its own on PostgreSQL too.
        socket.catch_up(&server).await;
    }
    for (name, more) in
        [("create", true), ("create", true), ("create", false), ("update", false), ("delete", false)]
    {
        let text = socket.next_event_text().await;
        let event: Json = serde_json::from_str(&text).expect("JSON");
        assert_eq!(event.get("more").is_some(), more);
        let cursor = event["cursor"].as_str().expect("a cursor").to_owned();
        // A batch is gone on from only when it is whole.
        let id = (!more).then_some(cursor);
        let block = Block { event: Some(name.to_owned()), id, data: Some(text) };
        assert_eq!(stream.next_block().await, Some(block));
    }
}

#[tokio::test]
async fn the_options_are_in_the_query_string() {
    let server = with_limits(|_| {}).await;
    server.write(adding(3)).await;
    let query = "snapshot=true&form=full&fields=score&actions=update,delete&id__in=1,2";
    let mut stream = open(&server, query).await;
    let (name, page) = stream.next().await;
    assert_eq!((&*name, &page["done"]), ("snapshot", &json!(true)));
    assert_eq!(page["data"], json!([{"id": 1, "score": 1}, {"id": 2, "score": 2}]));
    server.write("UPDATE comments SET score = 9; UPDATE comments SET id = 10 WHERE id = 1").await;
    server.write("INSERT INTO comments SELECT 1, topic_id, author_id, body, score, rating, status, edited_at, created_at FROM comments WHERE id = 3").await;
    let told = stream.catch_up(&server).await;
    let told: Vec<(&Json, &Json)> = told.iter().map(|event| (&event["action"], &event["pk"])).collect();
    assert_eq!(told, [(&json!("delete"), &json!(1)), (&json!("update"), &json!(2))]);
    // And unsubscribed is whoever leaves: nothing else is left to see of it.
    drop(stream);
    server.write(adding(1)).await;
}

#[tokio::test]
async fn what_is_no_stream_is_refused_before_it_begins() {
    let server = with_limits(|_| {}).await;
    server.create("labels", json!({"name": "events"})).await;
    for (method, path, status, code) in [
        ("GET", "/api/nothing/events", 404, "not_found"),
        ("HEAD", "/api/comments/events", 405, ""),
        ("POST", "/api/comments/events/", 405, "action_not_allowed"),
        ("DELETE", "/api/labels/events", 405, "action_not_allowed"),
        ("GET", "/api/comments/events?nonsense=1", 400, "unknown_field"),
        ("GET", "/api/comments/events?score=x", 400, "validation_error"),
        ("GET", "/api/comments/events?since=x", 400, "bad_request"),
        ("GET", "/api/comments/events?snapshot=yes", 400, "bad_request"),
        ("GET", "/api/comments/events?form=half", 400, "bad_request"),
        ("GET", "/api/comments/events?fields=nothing", 400, "unknown_field"),
        ("GET", "/api/comments/events?actions=", 400, "bad_request"),
        ("GET", "/api/comments/events?limit=1", 400, "bad_request"),
        ("GET", "/api/comments/events?wait=1", 400, "bad_request"),
    ] {
        let answer = server.send(method, path, &Json::Null).await;
        assert_eq!(answer.status, status, "{method} {path}: {}", answer.text);
        if status == 405 {
            assert_eq!(answer.header("allow"), "GET");
        }
        assert_eq!(answer.json["code"].as_str().unwrap_or_default(), code, "{method} {path}");
    }
    let answer = server.http("GET", "/api/comments/events", &[("last-event-id", "x")], "").await;
    assert_eq!((answer.status, answer.json["code"].as_str()), (400, Some("bad_request")));
    // The route wins over the key.
    let mut stream = StreamRequest::to("/api/labels/events/?snapshot=true").open(&server).await;
    assert_eq!(at(&stream.next().await.1, "data.0.name"), "events");
}

#[tokio::test]
async fn a_stream_goes_on_over_a_restart_of_the_server() {
    let store = Store::fresh();
    let server = setup(Setup::on(&store), |_| {}).start().await;
    let mut stream = open(&server, "").await;
    stream.begun().await;
    server.write(adding(2)).await;
    for key in [1, 2] {
        assert_eq!(stream.next().await.1["pk"], key);
    }
    let last = stream.last_id.clone();
    drop(stream);
    server.write("UPDATE comments SET score = 7 WHERE id = 1").await;
    let mut own = server.connection();
    drop(server);
    own.batch_execute("DELETE FROM comments WHERE id = 2").expect("a commit");

    let server = setup(Setup::on(&store), |_| {}).start().await;
    // What was read last goes before what it began with.
    let request = StreamRequest::to(format!("/api/comments/events?since={NOWHERE}&snapshot=true"));
    let mut stream = request.last_event_id(last.as_deref()).open(&server).await;
    assert_eq!(Some(stream.begun().await), last, "no sign of life names a later position");
    let (update, delete) = (stream.next().await, stream.next().await);
    assert_eq!((&*update.0, &update.1["diff"]), ("update", &json!({"score": 7})));
    assert_eq!((&*delete.0, &delete.1["pk"]), ("delete", &json!(2)));
}

#[tokio::test]
async fn where_a_cursor_is_gone_a_lag_is_told_first() {
    let server = with_limits(|_| {}).await;
    server.write(adding(2)).await;
    Socket::open(&server).await.catch_up(&server).await;
    let request = || StreamRequest::to("/api/comments/events").last_event_id(Some(NOWHERE));
    let mut stream = request().open(&server).await;
    let (name, lagged) = stream.next().await;
    assert_eq!(
        (&*name, &lagged["type"], &lagged["resync"]),
        ("lagged", &json!("lagged"), &json!("snapshot"))
    );
    assert_eq!(stream.last_id.as_deref(), lagged["cursor"].as_str(), "it is live from there");
    server.write(adding(1)).await;
    assert_eq!(stream.next().await.1["pk"], 3);

    let request = StreamRequest::to(format!("/api/comments/events?snapshot=true&since={NOWHERE}"));
    let mut stream = request.open(&server).await;
    let (name, lagged) = stream.next().await;
    assert_eq!((&*name, &lagged["resync"]), ("lagged", &json!("snapshot")));
    assert_eq!(stream.last_id.as_deref(), Some(NOWHERE), "a part of a snapshot is nothing to go on from");
    let (name, page) = stream.next().await;
    assert_eq!((&*name, page["data"].as_array().map(Vec::len)), ("snapshot", Some(3)));
    assert_eq!(stream.last_id.as_deref(), page["cursor"].as_str());
}

#[tokio::test]
async fn a_quiet_stream_says_how_far_it_has_come() {
    assert_eq!(Limits::default().stream_heartbeat_ms, 15_000, "proxies wait for at least half a minute");
    // Whoever reads nothing for two of them is dropped.
    let server = with_limits(|limits| limits.stream_heartbeat_ms = 200).await;
    let mut stream = open(&server, "").await;
    for _ in 0..3 {
        server.write("UPDATE topics SET title = title || 'x'").await;
        let wanted = server.feed().await;
        assert!(stream.up_to(wanted).await.is_empty());
    }
}

#[tokio::test]
async fn two_hundred_streams_are_told_the_same() {
    let server = with_limits(|limits| limits.stream_heartbeat_ms = 200).await;
    let mut streams = join_all((0..200).map(|number| {
        let query = if number % 2 == 0 { "" } else { "topic=1" };
        open(&server, query)
    }))
    .await;
    for stream in &mut streams {
        stream.begun().await;
    }
    for number in 0..20 {
        server.write(format!("{}; UPDATE comments SET score = {number}", adding(1))).await;
    }
    server.write(adding(2)).await;
    let wanted = server.feed().await;
    let told = join_all(streams.iter_mut().map(|stream| stream.up_to(wanted))).await;
    assert_eq!(told[0].len(), 20 + 19 * 20 / 2 + 2);
    for (number, messages) in told.iter().enumerate() {
        assert_eq!(messages, &told[number % 2], "of stream {number}");
    }
}

#[tokio::test]
async fn a_slow_stream_is_told_what_it_has_missed() {
    let server = with_limits(|limits| {
        limits.outbox_bytes = 128 << 10;
        limits.stream_heartbeat_ms = 5_000;
    })
    .await;
    let request = StreamRequest::to("/api/comments/events?snapshot=true").receive_buffer(4 << 10);
    let mut slow = request.open(&server).await;
    let mut view = View::new("id");
    view.take(&slow.next().await.1);
    assert!(view.is_whole());
    let mut healthy = Socket::subscribed(&server, "comments", json!({})).await;
    for _ in 0..800 {
        large_comment(&server).await;
        assert_eq!(healthy.next_event().await["action"], "create");
    }
    server.write("DELETE FROM comments WHERE id > 50").await;
    for message in slow.catch_up(&server).await {
        view.take(&message);
    }
    assert!(view.is_whole() && view.lagged.0 >= 1 && view.lagged.1 == 0, "{:?}", view.lagged);
    assert_eq!(view.rows, listed(&server, "").await);
    assert!(slow.last_id >= view.cursor);
}

#[tokio::test]
async fn where_so_configured_a_slow_stream_is_closed() {
    let server = with_limits(|limits| {
        limits.outbox_bytes = 128 << 10;
        limits.lag = Lag::Disconnect;
    })
    .await;
    let request = StreamRequest::to("/api/comments/events").receive_buffer(4 << 10);
    let mut slow = request.open(&server).await;
    slow.begun().await;
    for _ in 0..800 {
        large_comment(&server).await;
    }
    assert_eq!(slow.close_code().await, Some(4408));
}

#[tokio::test]
async fn a_stream_that_is_never_read_is_dropped() {
    let server = with_limits(|limits| limits.outbox_bytes = 128 << 10).await;
    let request = StreamRequest::to("/api/comments/events").receive_buffer(4 << 10);
    let mut slow = request.open(&server).await;
    slow.begun().await;
    for _ in 0..800 {
        large_comment(&server).await;
    }
    // Beats go by: another stream is told of ten.
    let mut other = open(&server, "").await;
    for _ in 0..10 {
        other.next_block().await.expect("a sign of life");
    }
    assert_eq!(slow.close_code().await, Some(4408));
}

#[tokio::test]
async fn a_server_that_ends_says_so() {
    let server = with_limits(|_| {}).await;
    let mut stream = open(&server, "").await;
    stream.begun().await;
    server.realtime().drain().await;
    assert_eq!(stream.close_code().await, Some(1001));
    // The other worker may not have heard of it yet.
    loop {
        let answer = server.http("GET", "/api/comments/events?nonsense", &[], "").await;
        assert_eq!(answer.status, 400, "the query is looked at first");
        let answer = server.http("GET", "/api/comments/changes", &[], "").await;
        if answer.status == 503 {
            break assert_eq!(answer.header("retry-after"), "1");
        }
    }
}

/// Clients that come and go while others write: from the end of its snapshot on, what each knows is what the database
/// would answer.
#[tokio::test]
async fn streams_that_come_and_go_miss_nothing() {
    let server = with_limits(|limits| {
        limits.snapshot_rows = 7;
        limits.outbox_frames = 16;
        // Whoever reads nothing for two of them is dropped.
        limits.stream_heartbeat_ms = 400;
        limits.feed_rows = 1_000;
    })
    .await;
    server.write(adding(60)).await;
    let queries = ["", "score__gte=4", "topic=1&form=full", "not__score__in=1,2,3", "id__range=10,50"];
    let writing = async {
        let mut own = server.connection();
        for number in 0..150 {
            let key = number * 7 % 80;
            let sql = match number % 5 {
                0 => adding(number % 4 + 1),
                1 => format!("UPDATE comments SET score = (score + 3) % 10 WHERE id % 5 = {}", number % 7),
                2 => format!("UPDATE comments SET topic_id = 3 - topic_id WHERE id >= {key}"),
                3 => format!("DELETE FROM comments WHERE id = {key}; {}", adding(1)),
                _ => "DELETE FROM comments WHERE id > 90".to_owned(),
            };
            if number % 4 == 0 {
                own.transact(&sql).expect("a commit");
            } else {
                server.write(sql).await;
            }
            tokio::task::yield_now().await;
        }
    };
    let clients = queries.iter().enumerate().map(|(number, query)| {
        let server = &server;
        async move {
            let mut view = View::new("id");
            let mut last: Option<String> = None;
            for round in 0..10 {
                let request = StreamRequest::to(format!("/api/comments/events?snapshot=true&{query}"));
                let mut stream = request.last_event_id(last.as_deref()).open(server).await;
                for _ in 0..(round * 5 + number * 3) % 17 {
                    let block = stream.next_block().await.expect("it goes on");
                    if let Some(data) = block.data {
                        view.take(&serde_json::from_str(&data).expect("JSON"));
                    }
                }
                last = stream.last_id.clone();
                view.interrupted();
            }
            (view, last)
        }
    });
    let ((), views) = tokio::join!(writing, join_all(clients));
    for ((mut view, last), query) in views.into_iter().zip(queries) {
        let request = StreamRequest::to(format!("/api/comments/events?snapshot=true&{query}"));
        let mut stream = request.last_event_id(last.as_deref()).open(&server).await;
        for message in stream.catch_up(&server).await {
            view.take(&message);
        }
        assert!(view.is_whole());
        assert!(position(&stream.last_id.expect("a position")) >= position(&view.cursor.expect("a cursor")));
        assert_eq!(view.rows, listed(&server, query).await, "{query}");
    }
}
