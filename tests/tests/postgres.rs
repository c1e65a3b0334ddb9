//! What PostgreSQL alone does, and what may happen to its server.

use std::time::Duration;

use diesel_async::SimpleAsyncConnection as _;
use realtime_actix::{ChangeSource, Realtime};
use realtime_tests::postgres::{self, Database};
use realtime_tests::{
    AllResources as _, Server, Setup, Socket, Store, WAIT, at, change_source, position, start_error, within,
};
use serde_json::{Value as Json, json};
use tokio::time::Instant;

async fn server() -> Server {
    Setup::on(&Store::postgres()).start().await
}

fn labels(names: &[&str]) -> String {
    let rows: Vec<String> = names.iter().map(|name| format!("('{name}')")).collect();
    format!("INSERT INTO labels (name) VALUES {}", rows.join(", "))
}

/// What events say: action, key, and the diff of an update.
fn shown(events: &[Json]) -> Json {
    events.iter().map(|event| json!([event["action"], event["pk"], event["diff"]])).collect()
}

#[tokio::test]
async fn a_truncate_deletes_every_row() {
    let server = server().await;
    let mut own = server.connection();
    own.batch_execute(&labels(&["a", "b"])).expect("a commit");
    let mut subscriber = Socket::subscribed(&server, "labels", json!({})).await;
    own.batch_execute("TRUNCATE labels CASCADE").expect("a commit");
    let expected = json!([["delete", "a", null], ["delete", "b", null]]);
    assert_eq!(shown(&subscriber.events(&server).await), expected);
    own.batch_execute(&format!("{}; TRUNCATE labels CASCADE; {}", labels(&["c"]), labels(&["d"])))
        .expect("a commit");
    assert_eq!(shown(&subscriber.events(&server).await), json!([["create", "d", null]]));
}

/// A transaction that began before others committed deletes rows that it does not see.
#[tokio::test]
async fn the_followers_of_a_truncate_that_may_not_see_every_row_begin_anew() {
    let server = server().await;
    let mut subscriber = Socket::subscribed(&server, "labels", json!({})).await;
    let mut other = Socket::subscribed(&server, "topics", json!({})).await;
    let sql = "BEGIN ISOLATION LEVEL REPEATABLE READ; TRUNCATE labels CASCADE; COMMIT";
    server.connection().batch_execute(sql).expect("a commit");
    assert_eq!(subscriber.receive_json().await["type"], "lagged");
    other.assert_silent(&server).await;
}

#[tokio::test]
async fn a_prepared_transaction_is_told_when_it_is_committed() {
    let server = server().await;
    let mut subscriber = Socket::subscribed(&server, "labels", json!({})).await;
    let mut own = server.connection();
    own.batch_execute(&format!("BEGIN; {}; PREPARE TRANSACTION 'one'", labels(&["late"]))).expect("SQL");
    own.batch_execute(&format!("BEGIN; {}; PREPARE TRANSACTION 'two'", labels(&["never"]))).expect("SQL");
    own.batch_execute(&labels(&["early"])).expect("a commit");
    assert_eq!(shown(&subscriber.events(&server).await), json!([["create", "early", null]]));
    server.store().psql("COMMIT PREPARED 'one';\nROLLBACK PREPARED 'two'");
    assert_eq!(shown(&subscriber.events(&server).await), json!([["create", "late", null]]));
}

/// Neither its rights nor its settings make a difference.
#[tokio::test]
async fn whoever_writes_however_is_seen() {
    let server = server().await;
    let role = format!("writer_{}", std::process::id());
    server
        .store()
        .psql(&format!("CREATE ROLE {role};\nGRANT INSERT, UPDATE, DELETE, SELECT ON labels TO {role}"));
    let mut subscriber = Socket::subscribed(&server, "labels", json!({})).await;
    let mut own = server.connection();
    let writes = [
        format!("SET ROLE {role}; {}", labels(&["without rights on the log"])),
        format!(
            "SET client_encoding = 'LATIN1'; {}; UPDATE labels SET code = chr(8364) WHERE name = 'a'",
            labels(&["a"])
        ),
        format!("SET session_replication_role = replica; {}", labels(&["as replication does"])),
        "SET search_path = pg_catalog; INSERT INTO public.labels (name) VALUES ('elsewhere')".to_owned(),
        format!("BEGIN ISOLATION LEVEL SERIALIZABLE; {}; COMMIT", labels(&["serializable"])),
    ];
    for sql in &writes {
        own.batch_execute(sql).expect("a commit");
    }
    let events = subscriber.events(&server).await;
    assert_eq!(events.len(), writes.len(), "{events:?}");
    assert_eq!(at(&events[1], "data.code"), "€");
    server.store().psql(&format!("DROP OWNED BY {role};\nDROP ROLE {role}"));
}

#[tokio::test]
async fn what_the_applications_triggers_do_comes_after_what_they_were_called_for() {
    let server = server().await;
    server.store().psql(
        "CREATE FUNCTION heavier() RETURNS trigger LANGUAGE plpgsql AS
         'BEGIN IF NEW.weight < 3 THEN UPDATE labels SET weight = weight + 1 WHERE name = NEW.name; END IF; RETURN NULL; END';
\nCREATE TRIGGER \"A\" AFTER INSERT OR UPDATE ON labels FOR EACH ROW EXECUTE FUNCTION heavier()",
    );
    let mut subscriber = Socket::subscribed(&server, "labels", json!({})).await;
    let made = server.create("labels", json!({"name": "a"})).await;
    assert_eq!(made["weight"], 3);
    let events = subscriber.events(&server).await;
    assert_eq!(events.len(), 1, "{events:?}");
    assert_eq!(events[0]["data"], made);
}

/// Equal by their types, but not the same.
#[tokio::test]
async fn what_differs_in_its_bytes_is_a_change() {
    let server = server().await;
    server.write("INSERT INTO comments (topic_id, author_id, body, rating, created_at) VALUES (1, 1, 'x', 0, '2026-01-01Z')").await;
    let mut subscriber = Socket::subscribed(&server, "comments", json!({})).await;
    let mut own = server.connection();
    own.batch_execute("UPDATE comments SET rating = '-0'").expect("a commit");
    own.batch_execute("UPDATE comments SET rating = '-0', body = body").expect("a commit");
    subscriber.catch_up(&server).await;
    let log = "SELECT count(*) FROM realtime_log WHERE operation = 2";
    assert_eq!(server.store().psql(log), "1\n");
}

/// A failed statement that the closure passes over has rolled the transaction back.
#[tokio::test]
async fn a_transaction_that_has_failed_is_not_said_to_be_committed() {
    let server = server().await;
    let mut subscriber = Socket::subscribed(&server, "labels", json!({})).await;
    let sql = labels(&["a"]);
    let write = server.realtime().write_postgres::<(), String>(move |connection| {
        Box::pin(async move {
            connection.batch_execute(&sql).await.map_err(|error| error.to_string())?;
            let _ = connection.batch_execute("SELECT 1 / 0").await;
            Ok(())
        })
    });
    assert!(within("a write", write).await.is_err());
    assert_eq!(server.read("/api/labels/").await["count"], 0);
    subscriber.assert_silent(&server).await;
}

/// The log's positions are the database's, not a process's.
#[tokio::test]
async fn two_services_on_one_database_have_the_same_positions() {
    let store = Store::postgres();
    let (one, other) = (Setup::on(&store).start().await, Setup::on(&store).start().await);
    let mut first = Socket::subscribed(&one, "labels", json!({})).await;
    let mut second = Socket::subscribed(&other, "labels", json!({})).await;
    let mut cursors = Vec::new();
    for number in 0..20 {
        let writer = if number % 2 == 0 { &one } else { &other };
        writer.create("labels", json!({"name": format!("{number:02}")})).await;
        let event = first.next_event().await;
        assert_eq!(event["pk"], format!("{number:02}"));
        cursors.push(event["cursor"].as_str().expect("a cursor").to_owned());
    }
    let told = second.events(&other).await;
    let keys: Vec<&str> = told.iter().filter_map(|event| event["pk"].as_str()).collect();
    assert!(keys.is_sorted() && keys.len() == 20, "{keys:?}");
    let mut resumed = Socket::open(&other).await;
    let message = json!({"stream": "labels", "action": "subscribe", "since": cursors[9]});
    let reply = resumed.request(message).await;
    assert_eq!(at(&reply, "data.recovered"), true, "{reply}");
    assert_eq!(resumed.events(&other).await.len(), 10);
}

/// `OUTAGE_SECONDS` is for how long it is away, with a request of each kind every 100 ms; else for one of each.
#[tokio::test]
async fn a_server_that_goes_and_comes_back_loses_nothing() {
    let seconds = std::env::var("OUTAGE_SECONDS").ok().and_then(|seconds| seconds.parse().ok()).unwrap_or(0);
    let outage = Duration::from_secs(seconds);
    let mut machine = postgres::Server::start();
    let database = Database::create_on(machine.url());
    let server = Setup::on(&Store::of(database)).start().await;
    let mut subscriber = Socket::subscribed(&server, "labels", json!({})).await;
    server.create("labels", json!({"name": "before"})).await;
    machine.stop();
    let deadline = Instant::now() + WAIT;
    while server.realtime().is_ready() {
        assert!(Instant::now() < deadline, "nobody notices");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let (away, mut refused, mut slowest) = (Instant::now(), 0, Duration::ZERO);
    while refused == 0 || away.elapsed() < outage {
        for (method, path, body) in [
            ("GET", "/api/labels/", Json::Null),
            ("GET", "/api/labels/before/", Json::Null),
            ("POST", "/api/labels/", json!({"name": "lost"})),
        ] {
            let asked = Instant::now();
            let answer = server.send(method, path, &body).await;
            assert_eq!(
                (answer.status, &answer.json["code"]),
                (503, &json!("unavailable")),
                "{}",
                answer.text
            );
            (refused, slowest) = (refused + 1, slowest.max(asked.elapsed()));
        }
        assert!(!server.realtime().is_ready(), "there is no database");
        if !outage.is_zero() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
    machine.start_again();
    let back = Instant::now();
    let deadline = back + WAIT;
    while !server.realtime().is_ready() {
        assert!(Instant::now() < deadline, "it is not used again");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    eprintln!(
        "away for {:?}: {refused} requests were answered 503, the slowest after {slowest:?}; ready {:?} after the database",
        back - away,
        back.elapsed()
    );
    server.connection().batch_execute(&labels(&["by another"])).expect("a commit");
    server.create("labels", json!({"name": "after"})).await;
    let expected = ["before", "by another", "after"].map(|name| json!(["create", name, null]));
    assert_eq!(shown(&subscriber.events(&server).await), json!(expected));
    drop(server);
}

/// Writers may not wait until their commits are on the disk. What is told is there all the same.
#[tokio::test]
async fn what_is_told_is_still_so_after_a_crash_whatever_commits_wait_for() {
    let mut machine = postgres::Server::start();
    let database = Database::create_on(machine.url());
    let store = Store::of(database);
    // What commits do not wait for is written as late as can be.
    for sql in ["ALTER SYSTEM SET synchronous_commit = off", "ALTER SYSTEM SET wal_writer_delay = '10s'"] {
        store.connection().batch_execute(sql).expect("a superuser");
    }
    store.connection().batch_execute("SELECT pg_reload_conf()").expect("a superuser");
    let server = Setup::on(&store).start().await;
    let mut subscriber = Socket::subscribed(&server, "labels", json!({})).await;
    for name in ["one", "two", "three"] {
        server.create("labels", json!({ "name": name })).await;
    }
    let told = shown(&subscriber.events(&server).await);
    assert_eq!(told, json!(["one", "two", "three"].map(|name| json!(["create", name, null]))));
    machine.crash();
    machine.start_again();
    until_used(&server).await;
    assert_eq!(server.read("/api/labels/").await["count"], 3);
    server.create("labels", json!({"name": "after"})).await;
    assert_eq!(shown(&subscriber.events(&server).await), json!([["create", "after", null]]));
}

#[tokio::test]
async fn what_is_in_the_way_of_starting_is_said() {
    let store = Store::postgres();
    let connect = || Realtime::connect(store.url()).all_resources();
    let error = start_error(connect()).await;
    assert!(error.contains("has no table"), "{error}");
    store.psql(realtime_tests::POSTGRES_SCHEMA);
    store.psql("ALTER TABLE labels RENAME TO stored;\nCREATE VIEW labels AS SELECT * FROM stored");
    let error = start_error(connect()).await;
    assert!(error.contains("\"labels\" is no table"), "{error}");
    store.psql(
        "DROP VIEW labels;\nALTER TABLE stored RENAME TO labels;\nALTER TABLE labels RENAME weight TO mass",
    );
    let error = start_error(connect()).await;
    assert!(error.contains("\"labels\" has no column \"weight\""), "{error}");
    store.psql("ALTER TABLE labels RENAME mass TO weight");

    let role = format!("guest_{}", std::process::id());
    store.psql(&format!("CREATE ROLE {role} LOGIN;\nGRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}"));
    let error =
        start_error(Realtime::connect(store.url().replace("realtime@", &format!("{role}@"))).all_resources())
            .await;
    assert!(error.contains("permission denied") && error.contains("CREATE TABLE"), "{error}");
    store.psql(&format!("DROP OWNED BY {role};\nDROP ROLE {role}"));
}

/// Clients speak UTF-8, whatever the database does.
#[tokio::test]
async fn a_database_of_another_encoding_is_served_like_others() {
    let store = Store::of(Database::create_in("LATIN1"));
    let server = Setup::on(&store).start().await;
    let mut subscriber = Socket::subscribed(&server, "labels", json!({"name__istartswith": "É"})).await;
    let made = server.create("labels", json!({"name": "éa", "code": "ÿ"})).await;
    assert_eq!(server.read("/api/labels/%C3%A9a/").await, made);
    // As another program writes, whose encoding is that of the database.
    store.psql("UPDATE labels SET code = E'\\xe9'");
    let events = subscriber.events(&server).await;
    assert_eq!(shown(&events), json!([["create", "éa", null], ["update", "éa", {"code": "é"}]]));

    // An argument that the database could not even be told.
    assert_eq!(server.get("/api/labels/%E2%82%AC/").await.status, 404);
    assert_eq!(server.read("/api/labels/?name=%E2%82%AC").await["count"], 0);
    assert_eq!(server.read("/api/labels/?not__code__icontains=%E2%82%AC&ordering=-code").await["count"], 1);
    for body in [json!({"name": "b", "code": "€"}), json!({"name": "€", "code": "😀"})] {
        let refused = server.send("POST", "/api/labels/", &body).await;
        assert_eq!(refused.status, 400, "{}", refused.text);
        let lacking = json!(["The encoding of the database lacks a character of this value."]);
        assert_eq!(refused.json["errors"]["code"], lacking, "{}", refused.text);
    }
    let refused = server.send("PATCH", "/api/labels/%C3%A9a/", &json!({"code": "€"})).await;
    assert_eq!(refused.status, 400, "{}", refused.text);

    let store = Store::of(Database::create_in("SQL_ASCII"));
    store.psql(realtime_tests::POSTGRES_SCHEMA);
    let error = start_error(Realtime::connect(store.url()).all_resources()).await;
    assert!(
        error.contains("SQL_ASCII, so its texts may be no text: CREATE DATABASE .. ENCODING 'UTF8'"),
        "{error}"
    );
}

/// A copy of a database has the log of the original, whose transactions have other numbers.
#[tokio::test]
async fn a_copied_database_begins_its_log_anew() {
    let store = Store::postgres();
    let server = Setup::on(&store).start().await;
    server.create("labels", json!({"name": "a"})).await;
    let cursor = server.get("/api/labels/").await.header("realtime-cursor").to_owned();
    drop(server);
    let copy = Database::create_like(&store.url());
    let server = Setup::on(&Store::of(copy)).start().await;
    let mut socket = Socket::open(&server).await;
    let reply = socket.request(json!({"stream": "labels", "action": "subscribe", "since": cursor})).await;
    assert_eq!(at(&reply, "data.recovered"), false, "{reply}");
    server.create("labels", json!({"name": "b"})).await;
    assert_eq!(shown(&socket.events(&server).await), json!([["create", "b", null]]));
}

/// Waits until a service uses its database again.
async fn until_used(server: &Server) {
    let deadline = Instant::now() + WAIT;
    while !server.realtime().is_ready() || server.get("/api/labels/").await.status != 200 {
        assert!(Instant::now() < deadline, "it is not used again");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Is what came after the cursor told, and what is it?
async fn resumed(server: &Server, since: &str) -> (Json, Json) {
    let mut socket = Socket::open(server).await;
    let reply = socket.request(json!({"stream": "labels", "action": "subscribe", "since": since})).await;
    (at(&reply, "data.recovered").clone(), shown(&socket.events(server).await))
}

/// Adds a label. Gives the cursor after it.
async fn add(server: &Server, name: &str) -> String {
    server.create("labels", json!({ "name": name })).await;
    server.get("/api/labels/").await.header("realtime-cursor").to_owned()
}

fn created(names: &[&str]) -> Json {
    names.iter().map(|name| json!(["create", name, null])).collect()
}

/// Positions are given once more, for other changes.
#[tokio::test]
async fn files_that_are_set_back_to_an_earlier_state_are_told_from_their_past() {
    let mut machine = postgres::Server::start();
    let store = Store::of(Database::create_on(machine.url()));
    let server = Setup::on(&store).start().await;
    let early = add(&server, "a").await;
    drop(server);
    machine.stop();
    machine.keep_files();
    machine.start_again();
    let server = Setup::on(&store).start().await;
    // A restart is no change of course.
    assert_eq!(resumed(&server, &early).await, (json!(true), json!([])));
    add(&server, "b").await;
    let lost = add(&server, "c").await;

    // Whoever serves while it happens knows more than the database.
    machine.stop();
    machine.set_back();
    machine.start_again();
    let mut own = server.connection();
    own.batch_execute(&labels(&["d"])).expect("a commit");
    for name in ["e", "f", "g"] {
        own.batch_execute(&labels(&[name])).expect("a commit");
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert!(!server.realtime().is_ready(), "it is not the database of before");
    }
    drop(server);

    let server = Setup::on(&store).start().await;
    let late = add(&server, "h").await;
    assert!(position(&late) > position(&lost), "{late}, {lost}");
    assert_eq!(resumed(&server, &early).await, (json!(true), created(&["d", "e", "f", "g", "h"])));
    assert_eq!(resumed(&server, &lost).await, (json!(false), json!([])));
    assert_eq!(resumed(&server, &late).await, (json!(true), json!([])));
}

/// A recovery, like the promotion of a standby, ends on another timeline. What it has of the log goes on.
#[tokio::test]
async fn another_timeline_goes_on_where_the_old_one_ended() {
    let mut machine = postgres::Server::start_with("-c restore_command=false");
    let store = Store::of(Database::create_on(machine.url()));
    let server = Setup::on(&store).start().await;
    let early = add(&server, "a").await;
    machine.crash();
    machine.keep_files();
    machine.start_again();
    until_used(&server).await;
    let lost = add(&server, "b").await;
    drop(server);
    machine.stop();
    machine.set_back();
    machine.start_recovered();
    assert_eq!(store.psql("SELECT substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8)"), "00000002\n");
    let server = Setup::on(&store).start().await;
    add(&server, "c").await;
    add(&server, "d").await;
    assert_eq!(resumed(&server, &early).await, (json!(true), created(&["c", "d"])));
    assert_eq!(resumed(&server, &lost).await, (json!(false), json!([])));
}

/// The log of a dump is one of the past too.
#[tokio::test]
async fn a_dump_that_is_restored_is_told_from_its_past() {
    if change_source() == ChangeSource::Replication {
        // The slot is none of the dump's: the log begins anew.
        return;
    }
    let database = Database::create();
    let url = database.url();
    let server = Setup::on(&Store::at(&url)).start().await;
    let early = add(&server, "a").await;
    let dump = database.dump();
    add(&server, "b").await;
    let lost = add(&server, "c").await;
    drop(server);
    database.restore(&dump);
    let server = Setup::on(&Store::at(&url)).start().await;
    for name in ["d", "e", "f"] {
        add(&server, name).await;
    }
    assert_eq!(resumed(&server, &early).await, (json!(true), created(&["d", "e", "f"])));
    assert_eq!(resumed(&server, &lost).await, (json!(false), json!([])));
}

/// Each start of a service has cursors of its own, and those of others count as long as the database is what it was.
#[tokio::test]
async fn a_cursor_of_another_service_is_good_after_any_restart() {
    let mut machine = postgres::Server::start();
    let store = Store::of(Database::create_on(machine.url()));
    let (one, other) = (Setup::on(&store).start().await, Setup::on(&store).start().await);
    let before = add(&one, "a").await;
    machine.crash();
    machine.start_again();
    until_used(&one).await;
    until_used(&other).await;
    let after = add(&one, "b").await;
    drop(one);
    let third = Setup::on(&store).start().await;
    for server in [&other, &third] {
        assert_eq!(resumed(server, &before).await, (json!(true), created(&["b"])));
        assert_eq!(resumed(server, &after).await, (json!(true), json!([])));
    }
}
