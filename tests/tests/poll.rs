//! Long polling: a request that waits for what a filter is told next.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::future::join_all;
use realtime_actix::Limits;
use realtime_tests::{Answer, Key, Server, Setup, Socket, View, WAIT, at, on_postgres, position};
use serde_json::{Value as Json, json};
use tokio::io::AsyncWriteExt as _;
use tokio::time::Instant;

async fn with_limits(change: impl FnOnce(&mut Limits)) -> Server {
    let mut limits = Limits::default().without_rates();
    change(&mut limits);
    Setup::file().configure(move |connect| connect.limits(limits)).start().await
}

fn adding(count: usize) -> String {
    format!(
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count})
         INSERT INTO comments (topic_id, author_id, body, score, created_at)
         SELECT i % 2 + 1, 1, 'x' || i, i % 10, '2026-01-01 00:00:00' FROM n"
    )
}

async fn poll(server: &Server, query: &str) -> Answer {
    server.get(&format!("/api/comments/changes?{query}")).await
}

/// A poll that is answered, and what with.
async fn changes(server: &Server, query: &str) -> (Vec<Json>, String) {
    let answer = poll(server, query).await;
    assert_eq!(answer.status, 200, "{query}: {}", answer.text);
    assert_eq!(answer.header("content-type"), "application/json");
    assert_eq!(answer.header("cache-control"), "no-store");
    let cursor = answer.json["cursor"].as_str().expect("a cursor").to_owned();
    (answer.json["events"].as_array().expect("events").clone(), cursor)
}

/// A poll that asks again where it finds no place.
async fn patient(server: Arc<Server>, query: String) -> Answer {
    loop {
        let answer = poll(&server, &query).await;
        if answer.status != 503 {
            return answer;
        }
    }
}

/// The present position, once everything that has been committed has been told.
async fn present(server: &Server) -> String {
    let wanted = server.feed().await;
    loop {
        let (events, cursor) = changes(server, "").await;
        assert!(events.is_empty());
        if position(&cursor) >= wanted {
            return cursor;
        }
    }
}

#[tokio::test]
async fn what_came_after_the_cursor_is_answered_at_once() {
    let server = with_limits(|_| {}).await;
    let start = present(&server).await;
    server.write(adding(3)).await;
    server.write("UPDATE comments SET score = 9 WHERE id = 1").await;
    present(&server).await;
    let (events, cursor) = changes(&server, &format!("since={start}&fields=score")).await;
    let cursor_of = |at: usize| events[at]["cursor"].clone();
    assert_eq!(
        events[0],
        json!({"type": "event", "stream": "comments", "action": "create", "pk": 1, "data": {"id": 1, "score": 1},
               "more": true, "cursor": cursor_of(0)})
    );
    assert_eq!(events[3]["diff"], json!({"score": 9}));
    assert_eq!(events[3]["cursor"], json!(cursor));
    assert!(events.iter().all(|event| event.get("subscription").is_none()));
    // Options and filters as elsewhere.
    let query = format!("since={start}&form=full&actions=update&min_score=1");
    let (events, _) = changes(&server, &query).await;
    assert_eq!((&events[0]["action"], &events[0]["data"]["score"]), (&json!("update"), &json!(9)));
    assert_eq!(events.len(), 1);
    let (events, end) = changes(&server, &format!("since={cursor}&wait=0")).await;
    assert_eq!((events.len(), end), (0, cursor));
}

#[tokio::test]
async fn a_poll_waits_for_what_concerns_its_filter() {
    let server = Arc::new(with_limits(|_| {}).await);
    server.write(adding(4)).await;
    let start = present(&server).await;
    let query = format!("since={start}&min_score=5&wait=8");
    let waiting = tokio::spawn({
        let server = Arc::clone(&server);
        async move { changes(&server, &query).await }
    });
    // Nothing of this is for the poll.
    server.write("UPDATE comments SET score = 4; UPDATE topics SET title = 'x'").await;
    present(&server).await;
    server.write("UPDATE comments SET score = 6 WHERE id > 2").await;
    let (events, cursor) = waiting.await.expect("no panic");
    let told: Vec<(&Json, &Json)> = events.iter().map(|event| (&event["action"], &event["pk"])).collect();
    assert_eq!(told, [(&json!("create"), &json!(3)), (&json!("create"), &json!(4))]);
    assert_eq!((&events[0]["more"], &events[1]["cursor"]), (&json!(true), &json!(cursor)));
    assert!(events.iter().all(|event| event.get("subscription").is_none()));
    // A cursor that the feed has not come to yet is waited for.
    server.write("DELETE FROM comments WHERE id = 3").await;
    let (events, _) = changes(&server, &format!("since={cursor}&min_score=5")).await;
    assert_eq!((&events[0]["action"], events.len()), (&json!("delete"), 1));
}

#[tokio::test]
async fn a_poll_that_waits_in_vain_moves_on_all_the_same() {
    let server = with_limits(|_| {}).await;
    let start = present(&server).await;
    server.write("UPDATE topics SET title = 'x'").await;
    let now = present(&server).await;
    assert_ne!(start, now);
    for wait in [0, 1] {
        let (events, cursor) = changes(&server, &format!("since={start}&wait={wait}")).await;
        assert_eq!((events.len(), &cursor), (0, &now));
    }
}

#[tokio::test]
async fn what_is_no_poll_is_refused() {
    let server = with_limits(|_| {}).await;
    let now = present(&server).await;
    let (epoch, number) = now.split_once('-').expect("a cursor");
    let ahead = number.parse::<u64>().expect("a number") + 1;
    for (method, query, status, code) in [
        ("GET", "since=nonsense", 400, "bad_request"),
        ("GET", "wait=61", 400, "validation_error"),
        ("GET", "wait=-1", 400, "validation_error"),
        ("GET", "wait=", 400, "validation_error"),
        ("GET", "wait=1.5", 400, "validation_error"),
        ("GET", "wait=1&wait=2", 400, "validation_error"),
        ("GET", "snapshot=true", 400, "bad_request"),
        ("GET", "score__nonsense=1", 400, "unknown_lookup"),
        ("GET", "since=0000000000000000-0", 410, "gone"),
        ("GET", &format!("since={epoch}-{ahead}"), 410, "gone"),
        ("POST", "", 405, "action_not_allowed"),
        ("HEAD", "", 405, ""),
    ] {
        let answer = server.send(method, &format!("/api/comments/changes/?{query}"), &Json::Null).await;
        assert_eq!(answer.status, status, "{query}: {}", answer.text);
        assert_eq!(answer.json["code"].as_str().unwrap_or_default(), code, "{query}");
        if status == 405 {
            assert_eq!(answer.header("allow"), "GET");
        }
    }
    server.write(adding(1)).await;
    for wait in [59, 60] {
        // It waits for nothing, as there is something to be told.
        let (events, _) = changes(&server, &format!("since={now}&wait={wait}")).await;
        assert_eq!(events.len(), 1, "{wait}");
    }
    assert_eq!(server.get("/api/nothing/changes").await.status, 404);
    server.create("labels", json!({"name": "changes"})).await;
    let answer = server.read("/api/labels/changes").await;
    assert_eq!(answer["events"], json!([]), "the route wins over the key");
}

#[tokio::test]
async fn where_the_log_does_not_reach_back_the_cursor_is_gone() {
    let server = with_limits(|limits| limits.feed_rows = 10).await;
    let start = present(&server).await;
    for _ in 0..20 {
        server.write(adding(1)).await;
    }
    let deadline = Instant::now() + WAIT;
    // On PostgreSQL what is old is removed a while after the commit that makes it so.
    let answer = loop {
        let answer = poll(&server, &format!("since={start}")).await;
        if answer.status != 200 {
            break answer;
        }
        assert!(on_postgres() && Instant::now() < deadline, "the log is not shortened");
        server.write(adding(1)).await;
    };
    assert_eq!((answer.status, answer.json["code"].as_str()), (410, Some("gone")));
}

/// More than is read at once: each answer has whole transactions, and the next poll goes on after them.
#[tokio::test]
async fn an_answer_is_bounded_and_the_next_poll_goes_on() {
    let server = with_limits(|_| {}).await;
    let start = present(&server).await;
    let mut socket = Socket::open(&server).await;
    for _ in 0..20 {
        server.write(adding(100)).await;
        // Else PostgreSQL's feed may take several of them for one batch, which is told whole.
        socket.catch_up(&server).await;
    }
    let end = present(&server).await;
    let (mut since, mut answers, mut seen) = (start, 0, 0);
    while since != end {
        let (events, cursor) = changes(&server, &format!("since={since}")).await;
        assert!(!events.is_empty() && events.len() < 1_000 && events.len() % 100 == 0, "{}", events.len());
        assert!(events.last().expect("an event").get("more").is_none());
        seen += events.len();
        answers += 1;
        since = cursor;
    }
    assert_eq!(seen, 2_000);
    assert!(answers > 2);
}

#[tokio::test]
async fn two_hundred_polls_are_woken_by_one_write() {
    let server = with_limits(|_| {}).await;
    let start = present(&server).await;
    let query = format!("since={start}&wait=8&topic=1");
    let polls = join_all((0..200).map(|_| changes(&server, &query)));
    let writing = async {
        let mut socket = Socket::subscribed(&server, "comments", json!({})).await;
        server.write(adding(2)).await;
        socket.catch_up(&server).await;
    };
    let (answers, ()) = tokio::join!(polls, writing);
    for (events, cursor) in &answers {
        assert_eq!((events.len(), &events[0]["pk"]), (1, &json!(2)));
        assert_eq!(cursor, &answers[0].1);
    }
}

#[tokio::test]
async fn so_many_polls_wait_and_no_more() {
    let server = Arc::new(with_limits(|limits| limits.waiting_polls = 2).await);
    let start = present(&server).await;
    let query = format!("since={start}&wait=8");
    let waiting: Vec<_> = (0..2).map(|_| tokio::spawn(patient(Arc::clone(&server), query.clone()))).collect();
    let refused = loop {
        let answer = poll(&server, &format!("since={start}&wait=0")).await;
        if answer.status != 200 {
            break answer;
        }
    };
    assert_eq!((refused.status, refused.json["code"].as_str()), (503, Some("unavailable")));
    assert_eq!(refused.header("retry-after"), "1");
    server.write(adding(1)).await;
    for answer in waiting {
        let answer = answer.await.expect("no panic");
        assert_eq!(answer.json["events"].as_array().map(Vec::len), Some(1), "{}", answer.text);
    }
    assert_eq!(changes(&server, &format!("since={start}")).await.0.len(), 1);
}

#[tokio::test]
async fn a_client_that_leaves_gives_up_its_place() {
    let server = with_limits(|limits| limits.waiting_polls = 1).await;
    let start = present(&server).await;
    let request = format!("GET /api/comments/changes?since={start}&wait=2 HTTP/1.1\r\nHost: test\r\n\r\n");
    let other = format!("since={start}&wait=0");
    // One of them finds the place free.
    let mut connections = Vec::new();
    while poll(&server, &other).await.status != 503 {
        let mut connection = tokio::net::TcpStream::connect(server.address()).await.expect("a connection");
        connection.write_all(request.as_bytes()).await.expect("it is sent");
        connections.push(connection);
    }
    drop(connections);
    while poll(&server, &other).await.status != 200 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn polls_end_with_the_server_and_with_what_cannot_be_told() {
    let server = Arc::new(with_limits(|limits| limits.waiting_polls = 1).await);
    server.write(adding(1)).await;
    for lost in [true, false] {
        let start = present(&server).await;
        let waiting = tokio::spawn(patient(Arc::clone(&server), format!("since={start}&wait=8")));
        // It waits: there is no other place.
        while poll(&server, &format!("since={start}&wait=0")).await.status != 503 {}
        if lost {
            server
                .write("UPDATE comments SET status = 'unheard of'; UPDATE comments SET status = 'draft'")
                .await;
            let answer = waiting.await.expect("no panic");
            assert_eq!(answer.status, 410, "{}", answer.text);
        } else {
            server.realtime().drain().await;
            let answer = waiting.await.expect("no panic");
            assert_eq!((answer.status, &answer.json["events"]), (200, &json!([])));
        }
    }
}

/// A client that polls again and again knows what the database knows.
#[tokio::test]
async fn polling_again_and_again_misses_nothing() {
    let server = with_limits(|_| {}).await;
    server.write(adding(30)).await;
    let queries = ["", "score__gte=4", "topic=1&form=full", "not__score__in=1,2,3"];
    let mut views = Vec::new();
    for query in queries {
        let answer = list(&server, query).await;
        let feed = answer.header("realtime-cursor").to_owned();
        let mut view = View::new("id").live(&json!({ "cursor": feed }));
        view.rows = rows(&answer.json);
        views.push(view);
    }
    let writing = async {
        let mut own = server.connection();
        for number in 0..100 {
            let sql = match number % 4 {
                0 => adding(number % 3 + 1),
                1 => format!("UPDATE comments SET score = (score + 3) % 10 WHERE id % 5 = {}", number % 7),
                2 => format!("UPDATE comments SET topic_id = 3 - topic_id WHERE id >= {number}"),
                _ => format!("DELETE FROM comments WHERE id % 9 = {}", number % 9),
            };
            if number % 3 == 0 {
                own.transact(&sql).expect("a commit");
            } else {
                server.write(sql).await;
            }
            tokio::task::yield_now().await;
        }
        present(&server).await
    };
    let polling = join_all(views.into_iter().zip(queries).map(|(mut view, query)| {
        let server = &server;
        async move {
            for _ in 0..60 {
                let since = view.cursor.clone().expect("a cursor");
                let (events, cursor) = changes(server, &format!("since={since}&wait=0&{query}")).await;
                events.iter().for_each(|event| view.take(event));
                assert!(view.is_whole());
                view.cursor = Some(cursor);
            }
            view
        }
    }));
    let (end, views) = tokio::join!(writing, polling);
    for (mut view, query) in views.into_iter().zip(queries) {
        while view.cursor.as_deref() != Some(&*end) {
            let since = view.cursor.clone().expect("a cursor");
            let (events, cursor) = changes(&server, &format!("since={since}&wait=0&{query}")).await;
            events.iter().for_each(|event| view.take(event));
            view.cursor = Some(cursor);
        }
        assert_eq!(view.rows, rows(&list(&server, query).await.json), "{query}");
    }
}

async fn list(server: &Server, query: &str) -> Answer {
    let query = query.replace("&form=full", "");
    server.get(&format!("/api/comments/?limit=1000&{query}")).await
}

fn rows(page: &Json) -> BTreeMap<Key, Json> {
    let results = at(page, "results").as_array().expect("rows");
    results.iter().map(|row| (Key::of(&row["id"]), row.clone())).collect()
}
