//! What goes wrong around the service: a disk that is full, a database that is locked or does not answer, a clock that
//! jumps. Each is said, and got over without a restart, and nothing is lost.

use std::time::Duration;

use realtime_actix::{ChangeSource, Limits};
use realtime_tests::postgres::{self, Database};
use realtime_tests::{
    Key, OwnConnection, Relay, Server, Setup, Socket, Store, View, WAIT, at, change_source, on_postgres,
    within,
};
use serde_json::{Value as Json, json};
use tokio::time::Instant;

/// A comment that no page has room for.
fn large() -> Json {
    json!({"topic_id": 1, "body": "x".repeat(10_000)})
}

fn label(name: &str) -> Json {
    json!({ "name": name })
}

async fn until_ready(server: &Server, ready: bool) {
    let deadline = Instant::now() + WAIT;
    while server.realtime().is_ready() != ready {
        assert!(Instant::now() < deadline, "nobody notices");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// What cannot be done at present is said to be so.
async fn assert_unavailable(server: &Server, method: &str, path: &str, body: &Json) {
    let answer = server.send(method, path, body).await;
    assert_eq!((answer.status, &answer.json["code"]), (503, &json!("unavailable")), "{}", answer.text);
    assert_eq!(answer.header("retry-after"), "1");
}

/// The keys of events, all of which say that something was made.
fn made(events: &[Json]) -> Vec<&Json> {
    assert!(events.iter().all(|event| event["action"] == "create"), "{events:?}");
    events.iter().map(|event| &event["pk"]).collect()
}

/// What a service's connection does: `PRAGMA`s are for SQLite alone.
async fn pragma(server: &Server, pragma: &str) {
    server.write(format!("PRAGMA {pragma}")).await;
}

/// SQLite finds no page for a row, in the midst of a transaction.
#[tokio::test]
async fn a_sqlite_database_that_is_full_can_be_read_and_is_written_to_when_there_is_room() {
    if on_postgres() {
        return;
    }
    let server = Server::start().await;
    let mut subscriber = Socket::subscribed(&server, "comments", json!({})).await;
    assert_eq!(server.create("comments", large()).await["id"], 1);
    // The least that it can be: as many as there are.
    pragma(&server, "max_page_count = 1").await;
    for _ in 0..3 {
        assert_unavailable(&server, "POST", "/api/comments/", &large()).await;
    }
    assert!(!server.realtime().is_ready());
    let reply = subscriber.request(json!({"stream": "comments/create", "payload": large()})).await;
    assert_eq!((&reply["status"], at(&reply, "error.code")), (&json!(503), &json!("unavailable")));
    assert_eq!(server.read("/api/comments/").await["count"], 1);
    let late = Socket::subscribed(&server, "comments", json!({})).await;
    // Meanwhile the service tries by itself. Whether it has or not makes no difference.
    tokio::time::sleep(Duration::from_millis(500)).await;

    pragma(&server, "max_page_count = 1000000").await;
    until_ready(&server, true).await;
    let id = server.create("comments", large()).await["id"].clone();
    for mut socket in [subscriber, late] {
        let events = socket.events(&server).await;
        assert_eq!(made(&events).last(), Some(&&id), "{events:?}");
        assert!(events.len() <= 2, "what was refused is not told: {events:?}");
    }
}

/// Another one keeps the only place of a writer.
#[tokio::test]
async fn a_sqlite_database_that_others_keep_locked_is_waited_for() {
    if on_postgres() {
        return;
    }
    let server = Server::start().await;
    let mut subscriber = Socket::subscribed(&server, "labels", json!({})).await;
    pragma(&server, "busy_timeout = 20").await;
    let mut own: OwnConnection = server.connection();
    own.batch_execute("BEGIN IMMEDIATE; INSERT INTO labels (name) VALUES ('by another')").expect("SQL");
    assert_unavailable(&server, "POST", "/api/labels/", &label("refused")).await;
    until_ready(&server, false).await;
    assert_eq!(server.read("/api/labels/").await["count"], 0);
    assert_unavailable(&server, "POST", "/api/labels/", &label("refused too")).await;
    own.batch_execute("COMMIT").expect("a commit");
    until_ready(&server, true).await;
    server.create("labels", label("after")).await;
    assert_eq!(made(&subscriber.events(&server).await), ["by another", "after"]);
}

/// The log is a table of the database's, and may be damaged as such. What the row told nobody knows, so who follows its table
/// is told that, and begins anew.
#[tokio::test]
async fn a_row_of_the_log_that_cannot_be_read_is_made_good_by_a_snapshot() {
    if on_postgres() && change_source() == ChangeSource::Replication {
        // Others cannot get at the rows before they are told.
        return;
    }
    let server = Server::start().await;
    let mut socket = Socket::open(&server).await;
    let mut view = View::new("name");
    let subscribe = json!({"stream": "labels", "action": "subscribe", "snapshot": true});
    view.subscribed(&socket.request(subscribe).await["data"]);
    let mut other = Socket::subscribed(&server, "comments", json!({})).await;
    let image = if on_postgres() { "after = '\\x00'" } else { "after_1 = NULL" };
    for (round, damage) in ["operation = 77", image, "layout = -1"].into_iter().enumerate() {
        server.create("labels", label(&format!("{round} before"))).await;
        while view.rows.len() < 3 * round + 1 || !view.is_whole() {
            view.take(&socket.receive_json().await);
        }
        let since = view.cursor.clone().expect("a cursor");
        let away = view.clone();
        server
            .connection()
            .transact(&format!(
                "INSERT INTO labels (name) VALUES ('{round} damaged'); \
                 UPDATE realtime_log SET {damage} WHERE seq = (SELECT max(seq) FROM realtime_log)"
            ))
            .expect("a commit");
        while view.lagged.1 <= round || !view.is_whole() {
            view.take(&socket.receive_json().await);
        }
        let poll = server.get(&format!("/api/labels/changes?since={since}")).await;
        assert_eq!((poll.status, &poll.json["code"]), (410, &json!("gone")), "{}", poll.text);
        // Who comes back from before it has missed what nobody can tell him.
        for snapshot in [true, false] {
            let (mut back, mut again) = (away.clone(), Socket::open(&server).await);
            let subscribe =
                json!({"stream": "labels", "action": "subscribe", "since": since, "snapshot": snapshot});
            let reply = again.request(subscribe).await;
            assert_eq!(at(&reply, "data.recovered"), false, "{reply}");
            if !snapshot {
                again.assert_silent(&server).await;
                continue;
            }
            back.subscribed(&reply["data"]);
            while !back.is_whole() {
                back.take(&again.receive_json().await);
            }
            assert_eq!(back.rows, view.rows);
        }
        server.create("labels", label(&format!("{round} then"))).await;
        for event in socket.events(&server).await {
            view.take(&event);
        }
        let names: Vec<Key> = server.read("/api/labels/?limit=100").await["results"]
            .as_array()
            .expect("rows")
            .iter()
            .map(|row| Key::of(&row["name"]))
            .collect();
        assert_eq!(view.rows.keys().cloned().collect::<Vec<_>>(), names);
        assert_eq!((view.lagged.1, names.len()), (round + 1, 3 * round + 3));
        if damage == "layout = -1" {
            // Nobody can say whose row it was.
            assert_eq!(other.next_event().await["type"], "lagged");
        } else {
            other.assert_silent(&server).await;
        }
        assert!(server.realtime().is_ready());
    }
}

/// The network has lost its way: nothing is refused, nothing is answered.
#[tokio::test]
async fn a_postgres_that_does_not_answer_is_not_waited_for() {
    if !on_postgres() {
        return;
    }
    let store = Store::postgres();
    let (relay, through) = Relay::before(&store.url()).await;
    // What a connection may take is what an answer may.
    let server = Setup::on(&Store::at(&format!("{through}?connect_timeout=1"))).start().await;
    let mut subscriber = Socket::subscribed(&server, "labels", json!({})).await;
    server.create("labels", label("before")).await;
    relay.hold();
    // Whoever asks before it is noticed is not left alone either.
    assert_unavailable(&server, "GET", "/api/labels/", &Json::Null).await;
    until_ready(&server, false).await;
    for (method, path) in
        [("GET", "/api/labels/before/"), ("POST", "/api/labels/"), ("DELETE", "/api/labels/before/")]
    {
        assert_unavailable(&server, method, path, &label("refused")).await;
    }
    let reply = subscriber.request(json!({"stream": "labels/list"})).await;
    assert_eq!(reply["status"], 503);
    store.connection().batch_execute("INSERT INTO labels (name) VALUES ('by another')").expect("a commit");
    relay.release();
    until_ready(&server, true).await;
    server.create("labels", label("after")).await;
    assert_eq!(made(&subscriber.events(&server).await), ["before", "by another", "after"]);
}

/// A limit for the size of files stands for a disk that is full: what they are told is the same but for the reason.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_postgres_whose_disk_is_full_can_be_read_and_is_written_to_when_there_is_room() {
    /// More than what the server itself has to write at once.
    const MOST: u64 = 24 << 20;

    if !on_postgres() {
        return;
    }
    let mut machine = postgres::Server::start();
    let database = Database::create_on(machine.url());
    database.psql(realtime_tests::POSTGRES_SCHEMA);
    database.psql(
        "INSERT INTO comments (topic_id, author_id, body, created_at)
         SELECT 1, 1, repeat('x', 1900), '2026-01-01Z' FROM generate_series(1, 14000)",
    );
    let store = Store::of(database);
    let server = Setup::on(&store).start().await;
    let mut subscriber = Socket::subscribed(&server, "comments", json!({})).await;
    machine.limit_files(Some(MOST));
    let refused = async {
        // What there is room for yet is written.
        for _ in 0..100 {
            let answer = server
                .send("POST", "/api/comments/", &json!({"topic_id": 1, "body": "x".repeat(1_900)}))
                .await;
            if answer.status != 201 {
                return answer;
            }
        }
        panic!("it is never full");
    };
    let answer = refused.await;
    assert_eq!((answer.status, &answer.json["code"]), (503, &json!("unavailable")), "{}", answer.text);
    assert!(!server.realtime().is_ready());
    assert_eq!(server.get("/api/comments/?limit=1&count=false").await.status, 200);
    let before = subscriber.events(&server).await.len();

    machine.limit_files(None);
    let id = server.create("comments", large()).await["id"].clone();
    assert!(server.realtime().is_ready(), "a write has shown it");
    let events = subscriber.events(&server).await;
    assert_eq!(made(&events), [&id], "after {before}");
}

/// The process may write no further than this into a file, as on a disk that is full: commits fail, not statements.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_sqlite_whose_disk_takes_no_more_is_gone_on_with_when_it_does() {
    use std::process::Stdio;

    use tokio::io::{AsyncBufReadExt as _, BufReader};
    use tokio::process::Command;

    if on_postgres() {
        return;
    }
    let store = Store::sqlite();
    // Without the signal the write itself fails.
    let mut child = Command::new("sh")
        .args(["-c", r#"trap "" XFSZ; exec "$0" "$1""#, env!("CARGO_BIN_EXE_server")])
        .arg(store.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("the server's program");
    let mut lines = BufReader::new(child.stdout.take().expect("its output")).lines();
    let line = within("the server to start", lines.next_line()).await.expect("a line").expect("an address");
    let url = format!("http://{line}/api/labels/");
    let http = reqwest::Client::builder().no_proxy().build().expect("an HTTP client");
    let create = |name: String| {
        let request = http.post(&url).json(&label(&name));
        async { within("an answer", request.send()).await.expect("an answer").status().as_u16() }
    };
    let pid = rustix::process::Pid::from_raw(child.id().expect("it runs").try_into().expect("a process"));
    let limit = |most: Option<u64>| {
        let limit = rustix::process::Rlimit { current: most, maximum: None };
        rustix::process::prlimit(pid, rustix::process::Resource::Fsize, limit).expect("a limit");
    };
    let mut answered: Vec<String> = Vec::new();
    for round in 0..3 {
        let name = format!("{round} before");
        assert_eq!(create(name.clone()).await, 201);
        answered.push(name);
        let wal =
            std::fs::metadata(format!("{}-wal", store.path().display())).expect("a log of SQLite").len();
        limit(Some(wal + 1));
        let statuses = [create(format!("{round} lost")).await, create(format!("{round} lost too")).await];
        assert_eq!(statuses, [503, 503]);
        assert_eq!(http.get(&url).send().await.expect("an answer").status().as_u16(), 200);
        // Meanwhile the service tries by itself. Whether it has or not makes no difference.
        tokio::time::sleep(Duration::from_millis(500)).await;
        limit(None);
        let name = format!("{round} after");
        let deadline = Instant::now() + WAIT;
        // The first one may still find the connection in doubt.
        while create(name.clone()).await != 201 {
            assert!(Instant::now() < deadline, "it is not used again");
        }
        answered.push(name);
    }
    let list: Json = serde_json::from_str(
        &http
            .get(format!("{url}?ordering=name"))
            .send()
            .await
            .expect("an answer")
            .text()
            .await
            .expect("text"),
    )
    .expect("JSON");
    let mut names: Vec<&str> =
        list["results"].as_array().expect("rows").iter().filter_map(|row| row["name"].as_str()).collect();
    names.sort_unstable();
    answered.sort_unstable();
    assert_eq!(names, answered, "what was refused was not done, what was answered was");
}

/// What was noted at a time, by whichever clock, is noted so many days later.
fn jump(own: &mut OwnConnection, days: i32) {
    let sql = if on_postgres() {
        format!("UPDATE realtime_mark SET at = at - interval '{days} days'")
    } else {
        // What the next look would have noted is noted now.
        format!(
            "INSERT OR IGNORE INTO realtime_time SELECT max(seq), CAST(strftime('%s') AS INTEGER) FROM realtime_log;
             UPDATE realtime_time SET at = at - {days} * 86400"
        )
    };
    own.batch_execute(&sql).expect("SQL");
}

/// Ahead by days, everything is too old to be kept; back by days, nothing is. Who follows notices neither, and who comes
/// back is told what he has missed or begins anew.
#[tokio::test]
async fn a_clock_that_jumps_costs_nobody_a_change() {
    for days in [3, -3] {
        let store = Store::fresh();
        let setup = || {
            let mut limits = Limits::default().without_rates();
            limits.feed_seconds = 60;
            Setup::on(&store).configure(move |connect| connect.limits(limits))
        };
        let server = setup().start().await;
        let mut live = Socket::subscribed(&server, "labels", json!({})).await;
        let mut view = View::new("name");
        let mut socket = Socket::open(&server).await;
        let subscribe = json!({"stream": "labels", "action": "subscribe", "snapshot": true});
        view.subscribed(&socket.request(subscribe.clone()).await["data"]);
        view.take(&socket.next_event().await);
        for number in 0..10 {
            server.create("labels", label(&format!("before {number}"))).await;
            view.take(&socket.next_event().await);
        }
        drop(socket);
        server.create("labels", label("missed")).await;
        assert_eq!(live.events(&server).await.len(), 11);
        let mut own = server.connection();
        let server = if on_postgres() {
            jump(&mut own, days);
            server
        } else {
            // The clock is read at the start only.
            drop(server);
            jump(&mut own, days);
            setup().start().await
        };

        let deadline = Instant::now() + WAIT;
        let mut number = 0;
        let since = view.cursor.clone().expect("a cursor");
        let (recovered, view) = loop {
            number += 1;
            server.create("labels", label(&format!("after {number}"))).await;
            let mut socket = Socket::open(&server).await;
            let mut view = view.clone();
            let mut with = subscribe.clone();
            with["since"] = since.clone().into();
            let data = socket.request(with).await["data"].clone();
            view.subscribed(&data);
            while !view.is_whole() {
                view.take(&socket.next_event().await);
            }
            for event in socket.events(&server).await {
                view.take(&event);
            }
            if days < 0 || data["recovered"] == false {
                break (data["recovered"].clone(), view);
            }
            // What is too old is looked for once a second.
            assert!(Instant::now() < deadline, "the log is not shortened");
        };
        assert_eq!(recovered, days < 0);
        if on_postgres() {
            assert_eq!(live.events(&server).await.len(), number);
        }
        let list = server.read("/api/labels/?limit=1000").await;
        let rows = list["results"].as_array().expect("rows");
        let names: Vec<Key> = rows.iter().map(|row| Key::of(&row["name"])).collect();
        assert_eq!(view.rows.keys().cloned().collect::<Vec<_>>(), names);
    }
}
