//! Snapshots: rows and events together are what the database would answer, page after page and from then on.

use std::collections::BTreeMap;
use std::time::Duration;

use diesel::sqlite::SqliteConnection;
use diesel::{Connection as _, RunQueryDsl as _};
use futures_util::future::join_all;
use realtime_actix::Limits;
use realtime_tests::{
    Handshake, Incoming, Key, Server, Setup, Socket, View, WAIT, at, on_postgres, position,
};
use serde_json::{Value as Json, json};
use tokio::time::Instant;

async fn with_limits(change: impl FnOnce(&mut Limits)) -> Server {
    let mut limits = Limits::default().without_rates();
    change(&mut limits);
    Setup::file().configure(move |connect| connect.limits(limits)).start().await
}

/// Adds so many comments in one transaction.
fn adding(count: usize) -> String {
    format!(
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count})
         INSERT INTO comments (topic_id, author_id, body, score, created_at)
         SELECT i % 2 + 1, i % 2 + 1, 'x' || i, i % 10, '2026-01-01 00:00:00' FROM n"
    )
}

/// Subscribes with a snapshot, and with what else the message says.
async fn subscribe(socket: &mut Socket, with: Json) -> Json {
    let mut message = json!({"stream": "comments", "action": "subscribe", "snapshot": true});
    for (name, value) in with.as_object().expect("members") {
        message[name] = value.clone();
    }
    let reply = socket.request(message).await;
    assert_eq!(reply["status"], 200, "{reply}");
    reply["data"].clone()
}

/// The rows that a list answers.
async fn listed(socket: &mut Socket, stream: &str, filter: &Json) -> BTreeMap<Key, Json> {
    let mut rows = BTreeMap::new();
    let mut cursor = Json::Null;
    loop {
        let mut message =
            json!({"stream": format!("{stream}/list"), "limit": 1000, "count": false, "payload": filter});
        if !cursor.is_null() {
            message["cursor"] = cursor;
        }
        let reply = socket.request(message).await;
        for row in at(&reply, "data.results").as_array().expect("rows") {
            let key = row.get("id").unwrap_or_else(|| &row["name"]);
            rows.insert(Key::of(key), row.clone());
        }
        cursor = at(&reply, "data.next").clone();
        if cursor.is_null() {
            return rows;
        }
    }
}

/// Takes messages until the snapshot is whole.
async fn whole(socket: &mut Socket, view: &mut View) {
    while !view.is_whole() {
        view.take(&socket.next_event().await);
    }
}

#[tokio::test]
async fn a_small_result_is_one_page_and_the_events_follow() {
    for setup in [Setup::file(), Setup::memory()] {
        let server = setup.start().await;
        let mut socket = Socket::open(&server).await;
        let data = subscribe(&mut socket, json!({"payload": {"min_score": 5}})).await;
        assert_eq!(data["recovered"], false);
        let page = socket.next_event().await;
        let cursor = page["cursor"].as_str().expect("a cursor").to_owned();
        let expected = json!({
            "type": "snapshot", "subscription": data["subscription"], "stream": "comments", "data": [],
            "done": true, "cursor": cursor,
        });
        assert_eq!(page, expected);
        assert!(position(&cursor) >= position(data["cursor"].as_str().expect("a cursor")));
        server.write(adding(9)).await;
        let events = socket.events(&server).await;
        let keys: Vec<&Json> = events.iter().map(|event| &event["pk"]).collect();
        assert_eq!(keys, [5, 6, 7, 8, 9]);
        // The same to one who comes now.
        let mut socket = Socket::open(&server).await;
        subscribe(&mut socket, json!({"payload": {"min_score": 5}})).await;
        let mut view = View::new("id");
        whole(&mut socket, &mut view).await;
        assert_eq!(view.pages, 1);
        assert_eq!(view.rows, listed(&mut socket, "comments", &json!({"min_score": 5})).await);
        socket.assert_silent(&server).await;
    }
}

#[tokio::test]
async fn the_options_of_a_subscription_are_those_of_its_snapshot() {
    let server = Server::start().await;
    server.write(adding(4)).await;
    let mut socket = Socket::open(&server).await;
    subscribe(&mut socket, json!({"fields": ["score"], "form": "full", "actions": ["update"]})).await;
    let page = socket.next_event().await;
    let rows: Vec<Json> = (1..5).map(|number| json!({"id": number, "score": number})).collect();
    assert_eq!(page["data"], Json::from(rows));
    server.write("UPDATE comments SET score = 7 WHERE id = 2; DELETE FROM comments WHERE id = 3").await;
    let events = socket.events(&server).await;
    assert_eq!(events.len(), 1);
    assert_eq!(events[0]["data"], json!({"id": 2, "score": 7}));

    let mut socket = Socket::open(&server).await;
    subscribe(&mut socket, json!({"pk": 2, "payload": {"topic": 1}})).await;
    let page = socket.next_event().await;
    assert_eq!((at(&page, "data.0.id"), &page["done"]), (&json!(2), &json!(true)));
    assert_eq!(page["data"].as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn a_textual_key_is_ordered_as_it_is_compared() {
    let server = with_limits(|limits| limits.snapshot_rows = 2).await;
    let names = ["é", "z", "Z", "", "a\u{10000}", "a\u{ffff}", "a", "aa", "\u{10ffff}"];
    for name in names {
        server.write(format!("INSERT INTO labels (name) VALUES ('{name}')")).await;
    }
    let mut socket = Socket::open(&server).await;
    subscribe(&mut socket, json!({"stream": "labels"})).await;
    let mut view = View::new("name");
    whole(&mut socket, &mut view).await;
    assert_eq!((view.rows.len(), view.pages), (9, 5));
    assert_eq!(view.rows, listed(&mut socket, "labels", &json!({})).await);
}

/// The pages are small, and between them the rows move about.
#[tokio::test]
async fn between_two_pages_come_the_events_of_the_rows_sent_so_far() {
    // What waits for the client is so little that a page is read only when the one before it has been taken.
    let server = with_limits(|limits| {
        limits.snapshot_rows = 20;
        limits.outbox_frames = 2;
    })
    .await;
    server.write(adding(2_000)).await;
    let mut socket = Socket::open(&server).await;
    subscribe(&mut socket, json!({"payload": {"score__lt": 8}})).await;
    let mut view = View::new("id");
    let mut number = 0;
    let mut between = 0;
    while !view.is_whole() {
        let message = socket.next_event().await;
        between += usize::from(message["type"] == "event");
        view.take(&message);
        number += 1;
        if message["type"] == "snapshot" {
            let sql = "UPDATE comments SET score = (score + 1) % 10 WHERE id % 100 = ";
            server.write(format!("{sql}{}; {}", number % 100, adding(1))).await;
        }
    }
    assert!(view.pages > 50 && between > 5, "{} pages, {between} events between them", view.pages);
    for event in socket.events(&server).await {
        view.take(&event);
    }
    assert_eq!(view.rows, listed(&mut socket, "comments", &json!({"score__lt": 8})).await);
}

#[tokio::test]
async fn a_page_is_bounded_by_its_rows() {
    const LIMIT: usize = 5;
    for (rows, pages) in [(LIMIT - 1, 1), (LIMIT, 1), (LIMIT + 1, 2)] {
        let server = with_limits(|limits| limits.snapshot_rows = LIMIT).await;
        server.write(adding(rows)).await;
        let mut socket = Socket::open(&server).await;
        subscribe(&mut socket, json!({})).await;
        let mut view = View::new("id");
        whole(&mut socket, &mut view).await;
        assert_eq!((view.pages, view.rows.len()), (pages, rows));
    }
}

#[tokio::test]
async fn a_page_is_bounded_by_its_bytes() {
    let server = with_limits(|limits| limits.snapshot_bytes = 1_000).await;
    server.write(format!("{}; UPDATE comments SET body = '{}'", adding(10), "x".repeat(700))).await;
    let mut socket = Socket::open(&server).await;
    subscribe(&mut socket, json!({})).await;
    let mut view = View::new("id");
    whole(&mut socket, &mut view).await;
    assert_eq!((view.pages, view.rows.len()), (5, 10));
}

#[tokio::test]
async fn a_snapshot_follows_only_where_nothing_was_recovered() {
    let server = with_limits(|limits| limits.feed_rows = 10).await;
    server.write(adding(3)).await;
    let mut socket = Socket::open(&server).await;
    subscribe(&mut socket, json!({})).await;
    let mut view = View::new("id");
    whole(&mut socket, &mut view).await;
    server.write(adding(1)).await;
    let since = view.cursor.clone().expect("a cursor");

    let mut socket = Socket::open(&server).await;
    let data = subscribe(&mut socket, json!({"since": since})).await;
    assert_eq!((&data["recovered"], data["cursor"].as_str()), (&json!(true), Some(&*since)));
    let events = socket.events(&server).await;
    assert_eq!(events.len(), 1);
    assert_eq!((&events[0]["type"], &events[0]["pk"]), (&json!("event"), &json!(4)));

    for _ in 0..20 {
        server.write(adding(1)).await;
    }
    socket.catch_up(&server).await;
    let deadline = Instant::now() + WAIT;
    // On PostgreSQL what is old is removed a while after the commit that makes it so.
    let (mut socket, data) = loop {
        let mut socket = Socket::open(&server).await;
        let data = subscribe(&mut socket, json!({"since": since})).await;
        if data["recovered"] == false {
            break (socket, data);
        }
        assert!(on_postgres() && Instant::now() < deadline, "the log is not shortened");
        server.write(adding(1)).await;
    };
    view.subscribed(&data);
    whole(&mut socket, &mut view).await;
    for event in socket.events(&server).await {
        view.take(&event);
    }
    assert!(view.rows.len() >= 24);
    assert_eq!(view.rows, listed(&mut socket, "comments", &json!({})).await);
    socket.assert_silent(&server).await;
}

#[tokio::test]
async fn an_equal_subscription_with_a_snapshot_begins_anew_and_is_counted() {
    let server = with_limits(|limits| {
        limits.snapshot_rows = 5;
        limits.outbox_frames = 2;
    })
    .await;
    server.write(adding(200)).await;
    let mut socket = Socket::open(&server).await;
    let first = subscribe(&mut socket, json!({})).await;
    let mut view = View::new("id");
    view.take(&socket.next_event().await);
    // In the midst of the first snapshot.
    let id = socket.ask(json!({"stream": "comments", "action": "subscribe", "snapshot": true})).await;
    let second = loop {
        let message = socket.receive_json().await;
        if message["type"] == "reply" {
            assert_eq!(message["request_id"], id);
            break message["data"].clone();
        }
    };
    assert_eq!(first["subscription"], second["subscription"]);
    let mut view = View::new("id");
    view.subscribed(&second);
    loop {
        view.take(&socket.receive_json().await);
        if view.is_whole() {
            break;
        }
    }
    assert_eq!(view.rows.len(), 200);
    // When it is live.
    let third = subscribe(&mut socket, json!({})).await;
    view.subscribed(&third);
    whole(&mut socket, &mut view).await;
    assert_eq!(view.rows.len(), 200);
    for held in [true, true, false] {
        let reply = socket.request(json!({"stream": "comments", "action": "unsubscribe"})).await;
        assert_eq!(reply["status"], 204);
        server.write("UPDATE comments SET score = score + 1 WHERE id = 1").await;
        let events = socket.events(&server).await;
        assert_eq!(events.len(), usize::from(held), "{events:?}");
    }
}

#[tokio::test]
async fn nothing_follows_an_unsubscribe_in_the_midst_of_a_snapshot() {
    let server = with_limits(|limits| {
        limits.snapshot_rows = 5;
        limits.outbox_frames = 2;
    })
    .await;
    server.write(adding(1_000)).await;
    let mut socket = Socket::open(&server).await;
    subscribe(&mut socket, json!({})).await;
    socket.next_event().await;
    let reply = socket.request(json!({"stream": "comments", "action": "unsubscribe"})).await;
    assert_eq!(reply["status"], 204);
    let told = socket.events(&server).await;
    assert!(told.iter().all(|page| page["done"] == false), "it was not over");
    server.write(adding(1)).await;
    socket.assert_silent(&server).await;
    let mut view = View::new("id");
    subscribe(&mut socket, json!({})).await;
    whole(&mut socket, &mut view).await;
    assert_eq!(view.rows.len(), 1_001);
}

/// A ping names a position that the client may go on from: it waits for the snapshots. Other requests do not.
#[tokio::test]
async fn several_snapshots_at_once_hold_back_nothing_but_what_names_a_position() {
    let server = with_limits(|limits| {
        limits.snapshot_rows = 10;
        limits.outbox_frames = 4;
    })
    .await;
    server.write(adding(400)).await;
    let mut socket = Socket::open(&server).await;
    let mut views = BTreeMap::new();
    for score in 0..8 {
        let data = subscribe(&mut socket, json!({"payload": {"min_score": score}})).await;
        views.insert(data["subscription"].as_str().expect("an id").to_owned(), View::new("id"));
    }
    assert_eq!(views.len(), 8);
    let ping = socket.ask(json!({"action": "ping"})).await;
    let create = json!({"stream": "labels/create", "payload": {"name": "in between"}});
    assert_eq!(socket.request(create).await["status"], 201);
    // The order matters from here on, so nothing is kept.
    for message in socket.kept() {
        views.get_mut(message["subscription"].as_str().expect("an id")).expect("held").take(&message);
    }
    assert!(!views.values().all(View::is_whole), "the create did not wait");
    loop {
        let message = socket.receive_json().await;
        if message["type"] == "reply" {
            assert_eq!(message["request_id"], ping);
            break;
        }
        views.get_mut(message["subscription"].as_str().expect("an id")).expect("held").take(&message);
    }
    assert!(views.values().all(View::is_whole), "the ping waited");
    let rows: Vec<usize> = views.values().map(|view| view.rows.len()).collect();
    assert_eq!(rows.iter().sum::<usize>(), (0..8).map(|score| 400 - 40 * score).sum::<usize>());
}

#[tokio::test]
async fn a_client_that_leaves_in_the_midst_of_a_snapshot_leaves_nothing_behind() {
    let server = with_limits(|limits| {
        limits.snapshot_rows = 5;
        limits.outbox_frames = 2;
    })
    .await;
    server.write(adding(1_000)).await;
    for _ in 0..20 {
        let mut socket = Socket::open(&server).await;
        subscribe(&mut socket, json!({})).await;
        socket.next_event().await;
    }
    let mut socket = Socket::open(&server).await;
    let mut view = View::new("id");
    subscribe(&mut socket, json!({})).await;
    whole(&mut socket, &mut view).await;
    assert_eq!(view.rows.len(), 1_000);
}

/// A client that does not read keeps nobody from cleaning up: neither SQLite's log from being emptied, nor PostgreSQL's rows.
#[tokio::test]
async fn between_two_pages_no_transaction_is_open() {
    let server = with_limits(|limits| {
        limits.snapshot_rows = 10;
        limits.outbox_bytes = 64 << 10;
    })
    .await;
    let body = "x".repeat(10_000);
    server.write(format!("{}; UPDATE comments SET body = '{body}'", adding(1_000))).await;
    let mut slow = Handshake::to("/api/ws").receive_buffer(4 << 10).open(&server).await.expect("a socket").0;
    subscribe(&mut slow, json!({})).await;
    let mut view = View::new("id");
    view.take(&slow.next_event().await);
    // A page may just be read, but not for long.
    let deadline = Instant::now() + WAIT;
    while is_any_transaction_open(&server) {
        assert!(Instant::now() < deadline, "a transaction stays open");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    server.write("DELETE FROM comments WHERE id > 900").await;
    whole(&mut slow, &mut view).await;
    for event in slow.events(&server).await {
        view.take(&event);
    }
    assert_eq!(view.rows.len(), 900);
}

fn is_any_transaction_open(server: &Server) -> bool {
    #[derive(diesel::QueryableByName)]
    struct Checkpoint {
        #[diesel(sql_type = diesel::sql_types::Integer)]
        busy: i32,
    }

    if on_postgres() {
        let open = "SELECT count(*) FROM pg_stat_activity
            WHERE datname = current_database() AND state LIKE 'idle in transaction%'";
        return server.store().psql(open) != "0\n";
    }
    let mut own =
        SqliteConnection::establish(&server.store().path().to_string_lossy()).expect("a connection");
    let checkpoint: Checkpoint =
        diesel::sql_query("PRAGMA wal_checkpoint(TRUNCATE)").get_result(&mut own).expect("an answer");
    checkpoint.busy != 0
}

fn log_rows(server: &Server) -> i64 {
    #[derive(diesel::QueryableByName)]
    struct Count {
        #[diesel(sql_type = diesel::sql_types::BigInt)]
        rows: i64,
    }

    let sql = "SELECT count(*) AS rows FROM realtime_log";
    if on_postgres() {
        return server.store().psql(sql).trim().parse().expect("a number");
    }
    let mut own =
        SqliteConnection::establish(&server.store().path().to_string_lossy()).expect("a connection");
    diesel::sql_query("PRAGMA busy_timeout = 5000").execute(&mut own).expect("a setting");
    diesel::sql_query(sql).get_result::<Count>(&mut own).expect("an answer").rows
}

/// The log is pruned while a client does not read: what it has is dropped, and it begins anew on the same socket.
#[tokio::test]
async fn a_snapshot_that_outlives_the_log_begins_anew() {
    let server = with_limits(|limits| {
        limits.snapshot_rows = 100;
        limits.outbox_bytes = 128 << 10;
        limits.feed_rows = 50;
    })
    .await;
    let body = "x".repeat(10_000);
    server.write(format!("{}; UPDATE comments SET body = '{body}'", adding(1_000))).await;
    let mut slow = Handshake::to("/api/ws").receive_buffer(4 << 10).open(&server).await.expect("a socket").0;
    subscribe(&mut slow, json!({})).await;
    let mut other = Socket::open(&server).await;
    // By logical replication they come into the log later than they are written.
    other.catch_up(&server).await;
    let deadline = Instant::now() + Duration::from_secs(60);
    let mut number = 0;
    // The log is pruned beside the writes, and not before the rows of the snapshot are in it.
    while number < 300 || log_rows(&server) > 500 {
        assert!(Instant::now() < deadline, "the log is not pruned");
        server.write(format!("UPDATE comments SET score = {number} WHERE id % 100 = {}", number % 100)).await;
        number += 1;
    }
    other.catch_up(&server).await;
    let mut view = View::new("id");
    whole(&mut slow, &mut view).await;
    // More than once where the machine has much else to do.
    assert!(view.lagged.0 == 0 && view.lagged.1 >= 1, "{:?}", view.lagged);
    assert_eq!(view.rows, listed(&mut other, "comments", &json!({})).await);
    server.write("DELETE FROM comments").await;
    for event in slow.events(&server).await {
        view.take(&event);
    }
    assert!(view.rows.is_empty());
}

/// A large snapshot under writes costs others nothing: they are told of each write before the next one.
#[tokio::test]
async fn a_large_snapshot_stops_nobody() {
    let server = with_limits(|limits| limits.snapshot_rows = 200).await;
    server.write(adding(6_000)).await;
    let mut other = Socket::subscribed(&server, "topics", json!({})).await;
    let reading = async {
        let mut socket = Socket::open(&server).await;
        subscribe(&mut socket, json!({})).await;
        let mut view = View::new("id");
        whole(&mut socket, &mut view).await;
        (socket, view)
    };
    let writing = async {
        for number in 0..100 {
            let key = number * 59 + 1;
            server.write(format!("UPDATE comments SET score = 99 WHERE id = {key}")).await;
            server.write(format!("UPDATE topics SET title = 'title {number}' WHERE id = 1")).await;
            assert_eq!(at(&other.next_event().await, "diff.title"), &format!("title {number}"));
        }
    };
    let ((mut socket, mut view), ()) = tokio::join!(reading, writing);
    for event in socket.events(&server).await {
        view.take(&event);
    }
    assert_eq!(view.rows.len(), 6_000);
    assert_eq!(view.rows, listed(&mut socket, "comments", &json!({})).await);
}

/// A generator that is good enough to choose by.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

/// One write: several rows and several kinds, as it comes.
fn write(random: &mut Random) -> String {
    // A key that PostgreSQL's sequence has given out already.
    let key = 1 + random.below(100);
    match random.below(6) {
        0 | 1 => adding(usize::try_from(random.below(5) + 1).expect("small")),
        2 => format!("UPDATE comments SET score = (score + 3) % 10 WHERE id % 7 = {}", random.below(7)),
        3 => format!("UPDATE comments SET topic_id = 3 - topic_id WHERE id >= {key}"),
        4 => format!("DELETE FROM comments WHERE id = {key}; {}", adding(1)),
        _ => format!(
            "UPDATE comments SET body = 'y{key}' WHERE id % 11 = {}; DELETE FROM comments WHERE id > 150;
             UPDATE comments SET id = {key} WHERE id = (SELECT max(id) FROM comments)
             AND NOT EXISTS (SELECT 1 FROM comments WHERE id = {key})",
            random.below(11)
        ),
    }
}

/// Clients with filters of all sorts come and go, with and without a cursor, while others write: from `done` on the rows
/// of each are those that the database answers.
#[tokio::test]
async fn clients_that_come_and_go_know_what_the_database_knows() {
    let server = with_limits(|limits| {
        limits.snapshot_rows = 7;
        limits.outbox_frames = 16;
        limits.feed_rows = 2_000;
    })
    .await;
    server.write(adding(100)).await;
    let filters = [
        json!({}),
        json!({"score__gte": 4}),
        json!({"topic": 1}),
        json!({"text": "X1"}),
        json!({"not__score__in": [1, 2, 3]}),
        json!({"id__range": [20, 90], "topic": 2}),
        json!({"body__regex": "[13579]$"}),
    ];
    let writing = async {
        let mut random = Random(7);
        let mut own = server.connection();
        for number in 0..300 {
            let sql = write(&mut random);
            if number % 4 == 0 {
                own.transact(&sql).expect("a commit");
            } else {
                server.write(sql).await;
            }
            tokio::task::yield_now().await;
        }
    };
    let clients = filters.iter().enumerate().map(|(number, filter)| {
        let server = &server;
        async move {
            let mut random = Random(number as u64 + 100);
            let mut view = View::new("id");
            for _ in 0..15 {
                let mut socket = Socket::open(server).await;
                let mut with = json!({"payload": filter});
                match view.cursor.clone() {
                    Some(cursor) if random.below(3) > 0 => with["since"] = cursor.into(),
                    _ => view.begin(),
                }
                if random.below(4) == 0 {
                    with["form"] = "full".into();
                }
                view.subscribed(&subscribe(&mut socket, with).await);
                for _ in 0..random.below(25) {
                    // Where it is whole, a ping's reply comes even when nobody writes.
                    if view.is_whole() {
                        for event in
                            socket.some_events(usize::try_from(random.below(9)).expect("small")).await
                        {
                            view.take(&event);
                        }
                    } else if view.cursor.is_none() {
                        view.take(&socket.next_event().await);
                    }
                }
                view.interrupted();
            }
            view
        }
    });
    let ((), views) = tokio::join!(writing, join_all(clients));
    let mut reader = Socket::open(&server).await;
    for (mut view, filter) in views.into_iter().zip(&filters) {
        let mut socket = Socket::open(&server).await;
        let mut with = json!({"payload": filter});
        if let Some(cursor) = &view.cursor {
            with["since"] = cursor.clone().into();
        }
        view.subscribed(&subscribe(&mut socket, with).await);
        for event in socket.events(&server).await {
            view.take(&event);
        }
        assert!(view.is_whole());
        assert_eq!(view.rows, listed(&mut reader, "comments", filter).await, "{filter}");
    }
}

/// Pages wait for the client; what is drained by a ping that is not answered yet is all there is.
#[tokio::test]
async fn a_server_that_ends_closes_sockets_in_the_midst_of_a_snapshot() {
    let server = with_limits(|limits| {
        limits.snapshot_rows = 5;
        limits.outbox_frames = 2;
    })
    .await;
    server.write(adding(1_000)).await;
    let mut socket = Socket::open(&server).await;
    subscribe(&mut socket, json!({})).await;
    server.realtime().drain().await;
    loop {
        match socket.receive().await {
            Incoming::Text(text) => assert!(text.contains(r#""done":false"#), "{text}"),
            Incoming::Close(code) => break assert_eq!(code, 1001),
            other => panic!("{other:?}"),
        }
    }
}
