//! Whoever writes to the database, every subscriber is told.

use std::collections::BTreeSet;
use std::process::{Command, Stdio};
use std::time::Duration;

use realtime_tests::{Server, Setup, Socket, Store, at, on_postgres, position};
use serde_json::{Value as Json, json};

const COLUMNS: &str = "INSERT INTO comments (topic_id, author_id, body, created_at) VALUES";

fn insert(bodies: &[&str]) -> String {
    let rows: Vec<String> =
        bodies.iter().map(|body| format!("(1, 1, '{body}', '2026-01-01 00:00:00')")).collect();
    format!("{COLUMNS} {}", rows.join(", "))
}

/// What events say, without subscription and cursor.
fn shown(events: &[Json]) -> Json {
    let show = |event: &Json| {
        let what = if event["data"].is_object() { at(event, "data.body") } else { &event["diff"] };
        json!([event["action"], event["pk"], what])
    };
    events.iter().map(show).collect()
}

/// All events of one batch carry one cursor, and all but its last one say that more follow.
#[track_caller]
fn assert_one_batch(events: &[Json]) {
    let (last, rest) = events.split_last().expect("a batch has an event");
    assert!(rest.iter().all(|event| event["more"] == true), "{events:?}");
    assert_eq!(last.get("more"), None, "{events:?}");
    assert!(events.iter().all(|event| event["cursor"] == last["cursor"]), "{events:?}");
}

#[tokio::test]
async fn every_way_of_writing_is_seen_by_every_subscriber() {
    let server = Server::start().await;
    let mut subscribers = Vec::new();
    for _ in 0..4 {
        subscribers.push(Socket::subscribed(&server, "comments", json!({})).await);
    }
    let mut writer = Socket::open(&server).await;
    let mut own = server.connection();

    server.create("comments", json!({"topic_id": 1, "body": "by REST"})).await;
    let reply = writer
        .request(json!({"stream": "comments/create", "payload": {"topic_id": 1, "body": "by socket"}}))
        .await;
    assert_eq!(reply["status"], 201);
    server.write(insert(&["by the service"])).await;
    own.batch_execute(&insert(&["by an own connection, woken"])).expect("a commit");
    server.realtime().wake();
    for subscriber in &mut subscribers {
        subscriber.catch_up(&server).await;
    }
    own.batch_execute(&insert(&["by an own connection"])).expect("a commit");

    for subscriber in &mut subscribers {
        let expected = json!([
            ["create", 1, "by REST"],
            ["create", 2, "by socket"],
            ["create", 3, "by the service"],
            ["create", 4, "by an own connection, woken"],
            ["create", 5, "by an own connection"],
        ]);
        assert_eq!(shown(&subscriber.events(&server).await), expected);
    }
}

#[tokio::test]
async fn another_connections_commit_is_seen_without_being_asked_for() {
    let server = Server::start().await;
    let mut subscriber = Socket::subscribed(&server, "comments", json!({})).await;
    let mut own = server.connection();
    for number in 0..20 {
        own.batch_execute(&insert(&[&format!("{number}")])).expect("a commit");
        // Nothing else is sent to the server meanwhile.
        let event = subscriber.next_event().await;
        assert_eq!(*at(&event, "data.body"), number.to_string());
    }
}

#[tokio::test]
async fn a_wake_makes_another_connections_commit_seen_at_once() {
    // Without being woken the service would not look for an hour.
    let server =
        Setup::file().configure(|connect| connect.poll_interval(Duration::from_secs(3_600))).start().await;
    let mut subscriber = Socket::subscribed(&server, "comments", json!({})).await;
    let mut own = server.connection();
    for number in 0..20 {
        own.batch_execute(&insert(&[&format!("{number}")])).expect("a commit");
        server.realtime().wake();
        assert_eq!(*at(&subscriber.next_event().await, "data.body"), number.to_string());
    }
    own.batch_execute(&insert(&["before a write"])).expect("a commit");
    server.create("comments", json!({"topic_id": 1, "body": "a write"})).await;
    for body in ["before a write", "a write"] {
        assert_eq!(
            *at(&subscriber.next_event().await, "data.body"),
            body,
            "a write of the service looks too"
        );
    }
}

#[tokio::test]
async fn the_sqlite3_program_is_a_writer_like_any_other() {
    if on_postgres() {
        return;
    }
    let server = Server::start().await;
    let mut subscriber = Socket::subscribed(&server, "comments", json!({})).await;
    let script = format!(
        "PRAGMA busy_timeout = 10000; {}; UPDATE comments SET body = upper(body); DELETE FROM comments WHERE body = 'A'; \
         INSERT OR REPLACE INTO comments (id, topic_id, author_id, body, created_at) \
         VALUES (2, 1, 1, 'C', '2026-01-01 00:00:00');",
        insert(&["a", "b"])
    );
    let ran = Command::new("sqlite3").arg(server.store().path()).arg(script).stdout(Stdio::null()).status();
    assert!(ran.expect("the program sqlite3, which tests/run installs").success());
    let events = subscriber.events(&server).await;
    let mut rows: Vec<Json> = Vec::new();
    for event in events {
        match event["action"].as_str() {
            Some("create") => rows.push(event["data"].clone()),
            Some("update") => {
                let row = rows.iter_mut().find(|row| row["id"] == event["pk"]).expect("a row that is known");
                for (name, value) in event["diff"].as_object().expect("a diff") {
                    row[name] = value.clone();
                }
            }
            _ => rows.retain(|row| row["id"] != event["pk"]),
        }
    }
    // One commit or four: however many of them one look found.
    assert_eq!(rows.len(), 1);
    assert_eq!((&rows[0]["id"], &rows[0]["body"]), (&json!(2), &json!("C")));
    assert_eq!(rows, [server.read("/api/comments/2/").await]);
}

#[tokio::test]
async fn a_bulk_update_is_one_event_for_each_row_that_changed() {
    let server = Server::start().await;
    server.write(insert(&["a", "b", "c", "d", "e"])).await;
    server.write("UPDATE comments SET score = 9 WHERE id IN (2, 4)").await;
    let mut subscriber = Socket::subscribed(&server, "comments", json!({})).await;
    let mut high = Socket::subscribed(&server, "comments", json!({"min_score": 9})).await;
    let mut own = server.connection();

    own.batch_execute("UPDATE comments SET score = 9").expect("a commit");
    let events = subscriber.events(&server).await;
    let diff = json!({"score": 9});
    assert_eq!(shown(&events), json!([["update", 1, diff], ["update", 3, diff], ["update", 5, diff]]));
    assert_one_batch(&events);
    let events = high.events(&server).await;
    assert_eq!(shown(&events), json!([["create", 1, "a"], ["create", 3, "c"], ["create", 5, "e"]]));
    assert_one_batch(&events);

    let deleted = own.batch_execute("DELETE FROM topics WHERE id = 1");
    deleted.expect("the comments are deleted by the cascade");
    let events = subscriber.events(&server).await;
    assert_eq!(events.len(), 5, "{events:?}");
    assert!(events.iter().all(|event| event["action"] == "delete"));
    assert_one_batch(&events);
}

#[tokio::test]
async fn what_is_rolled_back_is_not_told() {
    let server = Server::start().await;
    let mut subscriber = Socket::subscribed(&server, "comments", json!({})).await;
    let mut own = server.connection();

    own.batch_execute(&format!("BEGIN; {}; UPDATE comments SET score = 1; ROLLBACK;", insert(&["gone"])))
        .expect("SQL");
    let sql = insert(&["gone too"]);
    assert!(server.write_and(sql, || Err("given up".to_owned())).await.is_err());
    let sql = insert(&["and gone"]);
    let panicked = server.write_and(sql, || panic!("a closure of the application panics"));
    assert!(panicked.await.is_err());
    let answer = server.send("POST", "/api/comments/", &json!({"topic_id": 99, "body": "refused"})).await;
    assert_eq!(answer.status, 400);
    // A savepoint that is rolled back inside of a transaction that is not.
    let half = format!(
        "BEGIN; {}; SAVEPOINT half; {}; ROLLBACK TO half; COMMIT;",
        insert(&["stays"]),
        insert(&["goes"])
    );
    own.batch_execute(&half).expect("SQL");

    let list = server.read("/api/comments/").await;
    assert_eq!(list["count"], 1);
    // PostgreSQL does not give out a key again that a rollback has taken back.
    let key = at(&list, "results.0.id");
    assert_eq!(shown(&subscriber.events(&server).await), json!([["create", key, "stays"]]));
}

#[tokio::test]
async fn several_changes_of_a_row_in_one_transaction_are_one() {
    let server = Server::start().await;
    server.write(insert(&["first", "second", "third", "fourth"])).await;
    let mut subscriber = Socket::subscribed(&server, "comments", json!({})).await;
    let script = format!(
        "UPDATE comments SET score = 1 WHERE id = 1; UPDATE comments SET score = 2, rating = 0.5 WHERE id = 1;
         {}; UPDATE comments SET body = 'made and changed' WHERE id = 5;
         {}; DELETE FROM comments WHERE id = 6;
         UPDATE comments SET score = 3 WHERE id = 2; UPDATE comments SET score = 0 WHERE id = 2;
         UPDATE comments SET score = 4 WHERE id = 3; DELETE FROM comments WHERE id = 3;
         DELETE FROM comments WHERE id = 4;
         INSERT INTO comments (id, topic_id, author_id, body, created_at) VALUES (4, 1, 2, 'again', '2026-01-01 00:00:00');",
        insert(&["made"]),
        insert(&["made and gone"])
    );
    let expected = json!([
        ["update", 1, {"score": 2, "rating": 0.5}],
        ["create", 5, "made and changed"],
        ["delete", 3, {}],
        ["update", 4, {"author_id": 2, "body": "again"}],
    ]);
    let by_service = |events: &[Json]| {
        let show = |event: &Json| {
            let what = match event["action"].as_str() {
                Some("create") => at(event, "data.body").clone(),
                Some("update") => event["diff"].clone(),
                _ => json!({}),
            };
            json!([event["action"], event["pk"], what])
        };
        events.iter().map(show).collect::<Json>()
    };
    server.write(script).await;
    let events = subscriber.events(&server).await;
    assert_eq!(by_service(&events), expected);
    assert_one_batch(&events);
}

#[tokio::test]
async fn several_changes_in_one_transaction_of_another_connection_are_one() {
    let server = Server::start().await;
    server.write(insert(&["first", "second"])).await;
    let mut subscriber = Socket::subscribed(&server, "comments", json!({})).await;
    let mut own = server.connection();
    let transaction = format!(
        "BEGIN; UPDATE comments SET score = 1 WHERE id = 1; {}; UPDATE comments SET score = 2 WHERE id = 1;
         DELETE FROM comments WHERE id = 2; COMMIT;",
        insert(&["third"])
    );
    own.batch_execute(&transaction).expect("a commit");
    let events = subscriber.events(&server).await;
    let diff = json!({"score": 2});
    assert_eq!(shown(&events), json!([["update", 1, diff], ["create", 3, "third"], ["delete", 2, null]]));
    assert_one_batch(&events);
}

#[tokio::test]
async fn a_statement_that_changes_nothing_is_no_event() {
    let server = Server::start().await;
    server.write(insert(&["a"])).await;
    let mut subscriber = Socket::subscribed(&server, "comments", json!({})).await;
    let mut own = server.connection();
    own.batch_execute("UPDATE comments SET body = body, score = score + 0; UPDATE comments SET score = 0")
        .expect("SQL");
    server.write("UPDATE comments SET id = id").await;
    let same = server.send("PATCH", "/api/comments/1/", &json!({"body": "a", "score": 0})).await;
    assert_eq!(same.status, 200, "{}", same.text);
    let events = subscriber.events(&server).await;
    let told: Vec<&Json> = events.iter().map(|event| &event["diff"]).collect();
    assert!(told.is_empty(), "{told:?}");
}

#[tokio::test]
async fn an_upsert_and_a_changed_key_are_told_as_what_they_do() {
    let server = Server::start().await;
    server.write("INSERT INTO labels (name, code) VALUES ('a', '1'), ('b', '2')").await;
    let mut subscriber = Socket::subscribed(&server, "labels", json!({})).await;
    let mut own = server.connection();
    own.batch_execute(
        "INSERT INTO labels (name, code) VALUES ('a', '3'), ('c', '4') ON CONFLICT (name) DO UPDATE SET code = excluded.code",
    )
    .expect("SQL");
    subscriber.catch_up(&server).await;
    own.batch_execute("UPDATE labels SET name = 'z' WHERE name = 'b'").expect("SQL");
    subscriber.catch_up(&server).await;
    // What SQLite's `INSERT OR REPLACE` does, PostgreSQL needs two statements for.
    let replace = if on_postgres() {
        "DELETE FROM labels WHERE code = '4'; INSERT INTO labels (name, code) VALUES ('d', '4')"
    } else {
        "INSERT OR REPLACE INTO labels (name, code) VALUES ('d', '4')"
    };
    server.write(replace).await;
    let events = subscriber.events(&server).await;
    let show = |event: &Json| {
        let (whole, diff) = (event.get("data"), event.get("diff"));
        json!([event["action"], event["pk"], whole.or(diff)])
    };
    assert_eq!(
        events.iter().map(show).collect::<Json>(),
        json!([
            ["update", "a", {"code": "3"}],
            ["create", "c", {"name": "c", "code": "4", "weight": 1}],
            ["delete", "b", null],
            ["create", "z", {"name": "z", "code": "2", "weight": 1}],
            ["delete", "c", null],
            ["create", "d", {"name": "d", "code": "4", "weight": 1}],
        ])
    );
}

#[tokio::test]
async fn what_was_written_while_nobody_served_is_not_told_to_who_comes_later() {
    let store = Store::fresh();
    let first = Setup::on(&store).start().await;
    first.create("comments", json!({"topic_id": 1, "body": "before"})).await;
    let cursor = first.get("/api/comments/").await.header("realtime-cursor").to_owned();
    let mut own = first.connection();
    drop(first);
    own.batch_execute(&insert(&["between"])).expect("a commit");

    let second = Setup::on(&store).start().await;
    let mut subscriber = Socket::open(&second).await;
    let (_, joined) = subscriber.subscribe("comments", json!({})).await;
    assert!(joined > position(&cursor), "the feed has gone on");
    let list = second.get("/api/comments/").await;
    assert_eq!(list.json["count"], 2);
    let resume = json!({"stream": "comments/subscribe", "payload": {"topic": 1}, "since": cursor});
    let mut resumed = Socket::open(&second).await;
    assert_eq!(resumed.request(resume).await["data"]["recovered"], true, "it is the same feed");
    assert_eq!(shown(&resumed.events(&second).await), json!([["create", 2, "between"]]));
    second.create("comments", json!({"topic_id": 1, "body": "after"})).await;
    assert_eq!(shown(&subscriber.events(&second).await), json!([["create", 3, "after"]]));
}

#[tokio::test]
async fn subscribers_on_different_workers_are_sent_the_same_bytes() {
    let server = Setup::file().workers(4).start().await;
    let mut subscribers = Vec::new();
    for _ in 0..12 {
        subscribers.push(Socket::subscribed(&server, "comments", json!({"topic": 1})).await);
    }
    let mut own = server.connection();
    for number in 0..10 {
        server.create("comments", json!({"topic_id": 1, "body": format!("ü {number}"), "rating": 0.1})).await;
        server.send("PATCH", &format!("/api/comments/{}/", 2 * number + 1), &json!({"score": number})).await;
        own.batch_execute(&insert(&["raw"])).expect("a commit");
        subscribers[0].catch_up(&server).await;
    }
    server.write("DELETE FROM comments").await;
    let mut told = BTreeSet::new();
    for subscriber in &mut subscribers {
        subscriber.catch_up(&server).await;
        let mut texts = Vec::new();
        for _ in 0..49 {
            texts.push(subscriber.next_event_text().await);
        }
        told.insert(texts);
        subscriber.assert_silent(&server).await;
    }
    assert_eq!(told.len(), 1, "twelve subscribers were told different things");
}

#[tokio::test]
async fn many_writers_at_once_lose_nothing() {
    let server = Server::start().await;
    let mut subscriber = Socket::subscribed(&server, "labels", json!({})).await;
    let by_rest = async {
        for number in 0..50 {
            server.create("labels", json!({"name": format!("rest {number}")})).await;
        }
    };
    let by_socket = async {
        let mut socket = Socket::open(&server).await;
        for number in 0..50 {
            let name = format!("socket {number}");
            let reply = socket.request(json!({"stream": "labels/create", "payload": {"name": name}})).await;
            assert_eq!(reply["status"], 201, "{reply}");
        }
    };
    let by_service = async {
        for number in 0..50 {
            server.write(format!("INSERT INTO labels (name) VALUES ('service {number}')")).await;
        }
    };
    let mut own = server.connection();
    let by_connection = async {
        let writing = tokio::task::spawn_blocking(move || {
            for number in 0..50 {
                own.batch_execute(&format!("INSERT INTO labels (name) VALUES ('own {number}')"))
                    .expect("a commit");
            }
        });
        writing.await.expect("no panic");
    };
    tokio::join!(by_rest, by_socket, by_service, by_connection);
    let events = subscriber.events(&server).await;
    let positions: Vec<u64> =
        events.iter().map(|event| position(event["cursor"].as_str().expect("a cursor"))).collect();
    assert!(positions.is_sorted(), "cursors go forward: {positions:?}");
    for who in ["rest", "socket", "service", "own"] {
        let names: Vec<&str> = events
            .iter()
            .filter_map(|event| event["pk"].as_str())
            .filter(|name| name.starts_with(who))
            .collect();
        let expected: Vec<String> = (0..50).map(|number| format!("{who} {number}")).collect();
        assert_eq!(names, expected, "each writer's own order is kept");
    }
    assert_eq!(events.len(), 200);
}

/// A change that nobody can read cannot be told: who should have seen it begins anew rather than miss it.
#[tokio::test]
async fn a_change_that_cannot_be_read_ends_the_sockets_that_should_have_seen_it() {
    let server = Server::start().await;
    server.write(insert(&["a"])).await;
    let mut concerned = Socket::subscribed(&server, "comments", json!({})).await;
    let mut feed = Socket::subscribed(&server, "topic-feed", json!({"topic": 1})).await;
    let mut other = Socket::subscribed(&server, "labels", json!({})).await;
    let mut own = server.connection();
    own.batch_execute("UPDATE comments SET status = 'unheard of', body = 'b'").expect("a commit");
    // Not even a snapshot can be read.
    assert_eq!(concerned.closed().await, Some(1011));
    let event = feed.next_event().await;
    assert_eq!(event["diff"], json!({"body": "b"}), "the status is no field of this stream");
    other.assert_silent(&server).await;
    own.batch_execute("UPDATE comments SET status = 'draft'").expect("a commit");
    let mut again = Socket::subscribed(&server, "comments", json!({})).await;
    server.write("UPDATE comments SET score = 1").await;
    assert_eq!(again.next_event().await["diff"], json!({"score": 1}));
}

/// SQLite calls the newest trigger first: one that is made while the service runs would change a row again before the log
/// had what it was called for, and a new unique index lets more rows be replaced.
#[tokio::test]
async fn the_log_follows_a_schema_that_changes_while_the_service_runs() {
    if on_postgres() {
        return;
    }
    let server = Server::start().await;
    let mut subscriber = Socket::subscribed(&server, "labels", json!({})).await;
    let stamp = |name: &str, weight: i32| {
        format!(
            "CREATE TRIGGER stamp_{name} AFTER INSERT ON labels WHEN NEW.name LIKE '{name}%' BEGIN \
             UPDATE labels SET weight = {weight} WHERE name = NEW.name; END"
        )
    };
    let mut own = server.connection();
    own.batch_execute(&stamp("a", 7)).expect("a commit");
    // Whatever the service commits next.
    server.create("labels", json!({"name": "first"})).await;
    server.write(stamp("b", 8)).await;
    own.batch_execute("INSERT INTO labels (name) VALUES ('a1'), ('b1')").expect("a commit");
    let events = subscriber.events(&server).await;
    let told: Vec<Json> =
        events.iter().map(|event| json!([event["action"], event["pk"], event["data"]["weight"]])).collect();
    let weight = events[0]["data"]["weight"].clone();
    assert_eq!(
        told,
        [json!(["create", "first", weight]), json!(["create", "a1", 7]), json!(["create", "b1", 8])]
    );

    server.write("CREATE UNIQUE INDEX of_code ON labels (code)").await;
    own.batch_execute("UPDATE labels SET code = name; PRAGMA recursive_triggers = OFF").expect("a commit");
    subscriber.events(&server).await;
    own.batch_execute("UPDATE OR REPLACE labels SET code = 'b1' WHERE name = 'a1'").expect("a commit");
    let told: Vec<Json> =
        subscriber.events(&server).await.iter().map(|event| json!([event["action"], event["pk"]])).collect();
    assert_eq!(told, [json!(["delete", "b1"]), json!(["update", "a1"])]);
    assert!(server.realtime().is_ready());
}

/// What the log cannot follow is in nobody's way but those who write to what has gone.
#[tokio::test]
async fn a_table_that_goes_while_the_service_runs_takes_no_other_along() {
    if on_postgres() {
        return;
    }
    let server = Server::start().await;
    let mut subscriber = Socket::subscribed(&server, "labels", json!({})).await;
    server.connection().batch_execute("PRAGMA foreign_keys = OFF; DROP TABLE comments").expect("a commit");
    server.create("labels", json!({"name": "a"})).await;
    server.create("labels", json!({"name": "b"})).await;
    assert_eq!(subscriber.events(&server).await.len(), 2);
    assert_eq!(server.get("/api/comments/").await.status, 500);
}
