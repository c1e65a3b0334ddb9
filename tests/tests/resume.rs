//! A subscription goes on from a cursor: nothing is missed and nothing is told twice, whatever happened meanwhile.

use std::collections::BTreeMap;
use std::time::Instant;

use futures_util::future::join_all;
use realtime_actix::Limits;
use realtime_tests::{Server, Setup, Socket, Store, WAIT, at, on_postgres, position};
use serde_json::{Value as Json, json};

/// Subscribes to the comments from a cursor on and gives the reply's data.
async fn resume(socket: &mut Socket, since: &str) -> Json {
    let message = json!({"stream": "comments", "action": "subscribe", "since": since});
    let reply = socket.request(message).await;
    assert_eq!(reply["status"], 200, "{reply}");
    reply["data"].clone()
}

/// The newest position.
async fn ping(socket: &mut Socket) -> String {
    let reply = socket.request(json!({"action": "ping"})).await;
    at(&reply, "data.cursor").as_str().expect("a cursor").to_owned()
}

/// Adds so many comments in one transaction.
async fn comments(server: &Server, count: usize) {
    server.write(adding(count)).await;
}

fn adding(count: usize) -> String {
    format!(
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count})
         INSERT INTO comments (topic_id, author_id, body, created_at)
         SELECT 1, 1, 'x', '2026-01-01 00:00:00' FROM n"
    )
}

/// What a client knows: its rows, and the cursor of the last whole batch.
#[derive(Debug, Default)]
struct View {
    rows: BTreeMap<i64, Json>,
    cursor: String,
    batch: Vec<Json>,
}

impl View {
    /// Takes an event; a batch is applied whole. A client that goes away in the midst of one forgets its part.
    fn take(&mut self, event: Json) {
        let cursor = event["cursor"].as_str().expect("a cursor").to_owned();
        assert!(position(&cursor) > position(&self.cursor), "{event} after {}", self.cursor);
        if let Some(first) = self.batch.first() {
            assert_eq!(first["cursor"], event["cursor"], "a batch is not interrupted");
        }
        let more = event.get("more").is_some();
        self.batch.push(event);
        if more {
            return;
        }
        for event in std::mem::take(&mut self.batch) {
            let key = event["pk"].as_i64().expect("a key");
            match event["action"].as_str() {
                Some("create") => {
                    let old = self.rows.insert(key, event["data"].clone());
                    assert!(old.is_none(), "made twice: {event}");
                }
                Some("update") => {
                    let row = self.rows.get_mut(&key).unwrap_or_else(|| panic!("not there: {event}"));
                    for (name, value) in event["diff"].as_object().expect("a diff") {
                        row[name] = value.clone();
                    }
                }
                _ => assert!(self.rows.remove(&key).is_some(), "not there: {event}"),
            }
        }
        self.cursor = cursor;
    }

    fn interrupted(&mut self) {
        self.batch.clear();
    }
}

async fn rows(socket: &mut Socket) -> BTreeMap<i64, Json> {
    let reply = socket.request(json!({"stream": "comments/list", "limit": 1000})).await;
    let results = at(&reply, "data.results").as_array().expect("rows");
    results.iter().map(|row| (row["id"].as_i64().expect("a key"), row.clone())).collect()
}

#[tokio::test]
async fn what_was_written_meanwhile_comes_first() {
    for setup in [Setup::file(), Setup::memory()] {
        let server = setup.start().await;
        let mut before = Socket::subscribed(&server, "comments", json!({})).await;
        comments(&server, 2).await;
        before.next_event().await;
        let last = before.next_event().await;
        let since = last["cursor"].as_str().expect("a cursor");
        drop(before);
        server.write("UPDATE comments SET score = 5; DELETE FROM comments WHERE id = 1").await;
        server.write("UPDATE topics SET title = 'other'").await;
        comments(&server, 1).await;

        let mut after = Socket::open(&server).await;
        let data = resume(&mut after, since).await;
        assert_eq!((&data["recovered"], data["cursor"].as_str()), (&json!(true), Some(since)));
        comments(&server, 1).await;
        let events = after.events(&server).await;
        let told: Vec<(Json, Json)> =
            events.iter().map(|event| (event["action"].clone(), event["pk"].clone())).collect();
        let expected = [("delete", 1), ("update", 2), ("create", 3), ("create", 4)];
        assert_eq!(told, expected.map(|(action, key)| (json!(action), json!(key))));
        assert_eq!(events[1]["diff"], json!({"score": 5}));
        // A whole number of transactions: the one of two rows is not parted.
        assert_eq!((&events[0]["more"], &events[0]["cursor"]), (&json!(true), &events[1]["cursor"]));
        assert!(events[3].get("more").is_none());
    }
}

#[tokio::test]
async fn where_nothing_was_missed_the_events_simply_go_on() {
    let server = Server::start().await;
    comments(&server, 1).await;
    let mut socket = Socket::open(&server).await;
    socket.catch_up(&server).await;
    let since = ping(&mut socket).await;
    let data = resume(&mut socket, &since).await;
    assert_eq!((&data["recovered"], &data["cursor"]), (&json!(true), &json!(since)));
    // It is held already: the events flow, and none come twice.
    comments(&server, 1).await;
    let data = resume(&mut socket, &since).await;
    assert_eq!(data["recovered"], false);
    assert_eq!(socket.events(&server).await.len(), 1);
}

#[tokio::test]
async fn a_cursor_that_leads_nowhere_is_told() {
    let server = Server::start().await;
    comments(&server, 2).await;
    let mut socket = Socket::open(&server).await;
    socket.catch_up(&server).await;
    let now = ping(&mut socket).await;
    let (epoch, number) = now.split_once('-').expect("a cursor");
    let number: u64 = number.parse().expect("a number");
    // Ahead, of another log, and inside of a transaction.
    let nowhere = [
        format!("{epoch}-{}", number + 1),
        format!("{epoch}-{}", i64::MAX),
        format!("0000000000000001-{number}"),
        format!("{epoch}-{}", number - 1),
    ];
    for since in nowhere {
        let mut socket = Socket::open(&server).await;
        let data = resume(&mut socket, &since).await;
        assert_eq!((&data["recovered"], &data["cursor"]), (&json!(false), &json!(now)), "{since}");
        socket.assert_silent(&server).await;
    }
    for since in [json!("nonsense"), json!(7), json!(true)] {
        let message = json!({"stream": "comments", "action": "subscribe", "since": since});
        let reply = socket.request(message).await;
        assert_eq!((&reply["status"], at(&reply, "error.code")), (&json!(400), &json!("bad_request")));
        assert!(at(&reply, "error.detail").as_str().expect("a text").contains("since"), "{reply}");
    }
}

#[tokio::test]
async fn what_was_removed_from_the_log_is_not_recovered() {
    let mut limits = Limits::default().without_rates();
    limits.feed_rows = 10;
    let server = Setup::file().configure(move |connect| connect.limits(limits)).start().await;
    let mut socket = Socket::open(&server).await;
    let old = ping(&mut socket).await;
    for _ in 0..20 {
        comments(&server, 1).await;
    }
    socket.catch_up(&server).await;
    let young = ping(&mut socket).await;
    let deadline = Instant::now() + WAIT;
    // On PostgreSQL what is old is removed a while after the commit that makes it so.
    loop {
        comments(&server, 1).await;
        if resume(&mut Socket::open(&server).await, &old).await["recovered"] == false {
            break;
        }
        assert!(on_postgres() && Instant::now() < deadline, "the log is not shortened");
    }
    let mut socket = Socket::open(&server).await;
    socket.catch_up(&server).await;
    let young = if on_postgres() { ping(&mut socket).await } else { young };
    assert_eq!(resume(&mut Socket::open(&server).await, &young).await["recovered"], true);
}

#[tokio::test]
async fn a_restart_and_what_was_written_before_it_leave_no_gap() {
    let store = Store::fresh();
    let server = Setup::on(&store).start().await;
    let mut socket = Socket::subscribed(&server, "comments", json!({})).await;
    comments(&server, 1).await;
    let since = socket.next_event().await["cursor"].as_str().expect("a cursor").to_owned();
    drop(socket);
    comments(&server, 1).await;
    let mut own = server.connection();
    drop(server);
    // Nobody watches. On SQLite what is found at the start counts as one transaction in any case.
    let sql = format!("BEGIN; {}; UPDATE comments SET score = 3 WHERE id = 3; COMMIT", adding(1));
    own.batch_execute(&sql).expect("a commit");

    let server = Setup::on(&store).start().await;
    let mut socket = Socket::open(&server).await;
    assert_eq!(resume(&mut socket, &since).await["recovered"], true);
    comments(&server, 1).await;
    let events = socket.events(&server).await;
    let keys: Vec<&Json> = events.iter().map(|event| &event["pk"]).collect();
    assert_eq!(keys, [2, 3, 4]);
    assert_eq!(at(&events[1], "data.score"), 3);
}

/// More than is read at once, more than the queue holds, and in one transaction more than both.
#[tokio::test]
async fn a_long_absence_does_not_overflow_the_queue() {
    let mut limits = Limits::default().without_rates();
    limits.outbox_frames = 64;
    limits.outbox_bytes = 64 << 10;
    let server = Setup::file().configure(move |connect| connect.limits(limits)).start().await;
    let mut socket = Socket::open(&server).await;
    let since = ping(&mut socket).await;
    comments(&server, 2_000).await;
    for _ in 0..600 {
        server.write("UPDATE comments SET score = score + 1 WHERE id = 7").await;
    }
    socket.catch_up(&server).await;
    resume(&mut socket, &since).await;
    let mut view = View { cursor: since, ..View::default() };
    // The ping that is sent by this waits for what was missed.
    for event in socket.events(&server).await {
        view.take(event);
    }
    assert_eq!(view.rows.len(), 2_000);
    assert_eq!(view.rows[&7]["score"], 600);
    socket.assert_silent(&server).await;
}

#[tokio::test]
async fn nothing_follows_an_unsubscribe_while_catching_up() {
    let server = Server::start().await;
    let mut socket = Socket::open(&server).await;
    let since = ping(&mut socket).await;
    for _ in 0..50 {
        comments(&server, 100).await;
    }
    socket.ask(json!({"stream": "comments", "action": "subscribe", "since": since})).await;
    let left = socket.ask(json!({"stream": "comments", "action": "unsubscribe"})).await;
    socket.reply(&left).await;
    let told = socket.events(&server).await.len();
    assert!(told < 5_000, "{told} events");
    // And it can be begun again.
    resume(&mut socket, &since).await;
    assert_eq!(socket.events(&server).await.len(), 5_000);
}

/// Clients that come and go while others write: each one's rows are in the end those of the table.
#[tokio::test]
async fn clients_that_come_and_go_miss_nothing() {
    const CLIENTS: u64 = 6;
    const WRITES: usize = 150;
    let server = Server::start().await;
    let mut first = Socket::open(&server).await;
    let start = ping(&mut first).await;
    let writing = async {
        let mut own = server.connection();
        for at in 0..WRITES {
            let key = at * 7 % 40 + 1;
            let sql = match at % 5 {
                0 | 1 => adding(at % 3 + 1),
                2 => format!("UPDATE comments SET score = score + 1 WHERE id % 3 = {}", at % 3),
                3 => format!("DELETE FROM comments WHERE id = {key}; {}", adding(2)),
                _ => format!(
                    "UPDATE comments SET body = 'b{at}' WHERE id >= {key}; DELETE FROM comments WHERE id > 60"
                ),
            };
            if at % 4 == 0 {
                own.batch_execute(&format!("BEGIN; {sql}; COMMIT")).expect("a commit");
            } else {
                server.write(sql).await;
            }
            tokio::task::yield_now().await;
        }
    };
    let clients = (0..CLIENTS).map(|seed| {
        let (server, start) = (&server, start.clone());
        async move {
            let mut view = View { cursor: start, ..View::default() };
            let mut random = seed + 1;
            for _ in 0..12 {
                let mut socket = Socket::open(server).await;
                assert_eq!(resume(&mut socket, &view.cursor).await["recovered"], true);
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                // A quiet moment of the writer is no reason to wait.
                let wanted = random >> 61;
                for event in socket.some_events(usize::try_from(wanted).expect("small") * 5).await {
                    view.take(event);
                }
                view.interrupted();
            }
            view
        }
    });
    let ((), views) = tokio::join!(writing, join_all(clients));
    let table = rows(&mut first).await;
    for mut view in views {
        let mut socket = Socket::open(&server).await;
        assert_eq!(resume(&mut socket, &view.cursor).await["recovered"], true);
        for event in socket.events(&server).await {
            view.take(event);
        }
        assert!(view.batch.is_empty());
        assert_eq!(view.rows, table);
    }
}

#[tokio::test]
async fn what_is_too_old_is_removed_though_nobody_writes() {
    let mut limits = Limits::default().without_rates();
    limits.feed_seconds = 1;
    let server = Setup::file().configure(move |connect| connect.limits(limits)).start().await;
    let mut socket = Socket::open(&server).await;
    let old = ping(&mut socket).await;
    // More than one commit removes.
    comments(&server, 2_500).await;
    socket.catch_up(&server).await;
    let deadline = tokio::time::Instant::now() + WAIT;
    while resume(&mut Socket::open(&server).await, &old).await["recovered"] == true {
        assert!(tokio::time::Instant::now() < deadline, "the log keeps everything");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    let young = ping(&mut socket).await;
    assert_eq!(resume(&mut Socket::open(&server).await, &young).await["recovered"], true);
}

/// The positions after a backup are handed out once more, for other changes.
#[tokio::test]
async fn a_restored_backup_is_not_taken_for_what_it_replaces() {
    let directory = tempfile::tempdir().expect("a directory");
    let (path, backup) = (directory.path().join("test.db"), directory.path().join("backup.db"));
    let store = Store::at(&path.display().to_string());
    let start = || Setup::on(&store).start();
    let one_more = async |server: &Server| {
        let mut socket = Socket::open(server).await;
        comments(server, 1).await;
        socket.catch_up(server).await;
        ping(&mut socket).await
    };

    let server = start().await;
    let kept = one_more(&server).await;
    drop(server);
    store.connection().batch_execute(&format!("VACUUM INTO '{}'", backup.display())).expect("a backup");
    let server = start().await;
    let lost = one_more(&server).await;
    drop(server);
    // Another file under the name: a connection that is about to end writes into the old one.
    for name in ["test.db", "test.db-wal", "test.db-shm"] {
        let _ = std::fs::remove_file(directory.path().join(name));
    }
    std::fs::copy(&backup, &path).expect("a copy");
    let server = start().await;
    for _ in 0..3 {
        let now = one_more(&server).await;
        assert!(position(&now) > position(&kept));
    }
    let mut socket = Socket::open(&server).await;
    socket.catch_up(&server).await;
    assert!(position(&ping(&mut socket).await) > position(&lost), "the position is one again");
    assert_eq!(resume(&mut Socket::open(&server).await, &lost).await["recovered"], false);
    assert_eq!(resume(&mut Socket::open(&server).await, &kept).await["recovered"], true);
}
