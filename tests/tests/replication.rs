//! Logical replication as the source of changes: what it needs, and what may happen to the slot, the stream and the services
//! that share them. What both sources must do alike is in the other tests, where `REALTIME_TEST_SOURCE=replication`.

use std::time::Duration;

use diesel_async::{AsyncConnection as _, AsyncPgConnection, SimpleAsyncConnection as _};
use realtime_actix::{ChangeSource, Connect, Realtime, RealtimeResource, policy::AllowAny};
use realtime_tests::postgres::{self, Database};
use realtime_tests::{
    AllResources as _, POSTGRES_SCHEMA, Server, Setup, Socket, Store, View, WAIT, at, start_error,
};
use serde_json::{Value as Json, json};
use tokio::time::Instant;

fn setup(store: &Store) -> Setup {
    Setup::on(store).configure(|connect| connect.change_source(ChangeSource::Replication))
}

async fn server() -> Server {
    setup(&Store::postgres()).start().await
}

fn labels(names: &[&str]) -> String {
    let rows: Vec<String> = names.iter().map(|name| format!("('{name}')")).collect();
    format!("INSERT INTO labels (name) VALUES {}", rows.join(", "))
}

fn keys(events: &[Json]) -> Vec<&str> {
    events.iter().filter_map(|event| event["pk"].as_str()).collect()
}

/// What concerns the slot of the database.
fn of_slot(store: &Store, expression: &str) -> String {
    let sql = format!("SELECT {expression} FROM pg_replication_slots JOIN realtime_slot ON slot_name = slot");
    store.psql(&sql).trim().to_owned()
}

/// Waits until something is so.
async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + WAIT;
    while !is_so() {
        assert!(Instant::now() < deadline, "{what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Drops the slot, whoever reads from it.
const LOSE_SLOT: &str = "DO $$ BEGIN LOOP BEGIN
    PERFORM pg_terminate_backend(active_pid) FROM pg_replication_slots JOIN realtime_slot ON slot_name = slot;
    PERFORM pg_drop_replication_slot(slot) FROM realtime_slot; EXIT;
    EXCEPTION WHEN object_in_use THEN PERFORM pg_sleep(0.001); END; END LOOP; END $$";

/// Ends the stream, not the slot.
const CUT: &str = "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots JOIN realtime_slot ON slot_name = slot";

#[tokio::test]
async fn what_the_server_or_the_role_lacks_is_said() {
    let connect = |url: &str| Realtime::connect(url).all_resources().change_source(ChangeSource::Replication);
    let machine = postgres::Server::start_with("-c wal_level=replica");
    let store = Store::of(Database::create_on(machine.url()));
    store.psql(POSTGRES_SCHEMA);
    let error = start_error(connect(&store.url())).await;
    assert!(error.contains("ALTER SYSTEM SET wal_level = 'logical'"), "{error}");
    let error = connect(&store.url()).outstanding_sql().expect_err("it cannot be").to_string();
    assert!(error.contains("ALTER SYSTEM SET wal_level = 'logical'"), "{error}");
    drop((store, machine));

    let machine = postgres::Server::start_with("-c max_replication_slots=2 -c max_wal_senders=1");
    let stores: Vec<Store> = (0..3).map(|_| Store::of(Database::create_on(machine.url()))).collect();
    for store in &stores {
        store.psql(POSTGRES_SCHEMA);
    }
    let url = stores[0].url();
    for (rights, expected) in [
        ("", "permission denied for schema public"),
        ("GRANT CREATE ON SCHEMA public TO guest", "ALTER ROLE \"guest\" REPLICATION"),
    ] {
        stores[0].psql(&format!(
            "DROP ROLE IF EXISTS guest;\nCREATE ROLE guest LOGIN;\n{}",
            if rights.is_empty() { "SELECT 1" } else { rights }
        ));
        let error = start_error(connect(&url.replace("realtime@", "guest@"))).await;
        assert!(error.contains(expected) || rights.is_empty() && error.contains("REPLICATION"), "{error}");
        stores[0].psql("DROP OWNED BY guest");
    }
    stores[0].psql("ALTER ROLE guest REPLICATION;\nGRANT CREATE ON SCHEMA public TO guest");
    for table in ["users", "topics", "comments", "labels"] {
        stores[0].psql(&format!("ALTER TABLE {table} OWNER TO guest"));
    }
    let error = start_error(connect(&url.replace("realtime@", "guest@"))).await;
    assert!(
        error.contains("permission denied for database") && error.contains("CREATE PUBLICATION"),
        "{error}"
    );
    stores[0].psql("REASSIGN OWNED BY guest TO realtime;\nDROP OWNED BY guest;\nDROP ROLE guest");

    let first = setup(&stores[0]).start().await;
    let error = start_error(connect(&stores[1].url())).await;
    assert!(error.contains("max_wal_senders"), "{error}");
    let error = start_error(connect(&stores[2].url())).await;
    assert!(error.contains("max_replication_slots"), "{error}");
    postgres_execute(&stores[1], LOSE_SLOT);
    drop(first);
    drop(setup(&stores[2]).start().await);

    stores[0].psql("ALTER TABLE labels DROP weight, ADD weight bigint GENERATED ALWAYS AS (7) STORED");
    let error = start_error(connect(&url)).await;
    assert!(error.contains("\"weight\" of \"labels\" is generated"), "{error}");
}

/// What another database of the server writes, or a table that nobody watches, is not to be kept for us.
#[tokio::test]
async fn the_server_need_not_keep_what_does_not_concern_anybody() {
    let server = server().await;
    let store = server.store();
    store.psql("CREATE TABLE other (text text)");
    for _ in 0..3 {
        store.psql("INSERT INTO other SELECT repeat('x', 1000) FROM generate_series(1, 1000)");
        let end = store.psql("SELECT pg_current_wal_insert_lsn()");
        let is_told = format!("confirmed_flush_lsn >= '{}'", end.trim());
        until("the server is not told", || of_slot(store, &is_told) == "t").await;
    }
    assert_eq!(store.psql("SELECT count(*) FROM realtime_log"), "0\n");
}

#[tokio::test]
async fn a_stream_that_is_cut_again_and_again_loses_and_repeats_nothing() {
    let server = server().await;
    let store = server.store().clone();
    let mut subscriber = Socket::subscribed(&server, "labels", json!({})).await;
    let cutting = tokio::task::spawn_blocking(move || {
        for number in 0..12 {
            let names: Vec<String> = (0..20).map(|at| format!("{number:02}-{at:02}")).collect();
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            // In one transaction, and each in its own.
            store.psql(&labels(&names[..10]));
            store.psql(CUT);
            store.psql(&names[10..].iter().map(|name| labels(&[name])).collect::<Vec<_>>().join(";\n"));
        }
    });
    let mut told = Vec::new();
    for _ in 0..240 {
        told.push(subscriber.next_event().await);
    }
    cutting.await.expect("it writes");
    told.extend(subscriber.events(&server).await);
    let keys = keys(&told);
    assert!(keys.is_sorted() && keys.len() == 240, "{keys:?}");
}

#[tokio::test]
async fn a_slot_that_is_lost_is_replaced_and_everybody_begins_anew() {
    let server = server().await;
    let store = server.store();
    let mut socket = Socket::open(&server).await;
    let mut view = View::new("name");
    let subscribe = json!({"stream": "labels", "action": "subscribe", "snapshot": true});
    view.subscribed(&socket.request(subscribe).await["data"]);
    while !view.is_whole() {
        view.take(&socket.receive_json().await);
    }
    server.create("labels", json!({"name": "before"})).await;
    while view.rows.is_empty() {
        view.take(&socket.receive_json().await);
    }
    // In one transaction, so that there is no stream in between.
    let lost = format!("{LOSE_SLOT}; {}", labels(&["in no log"]));
    postgres_execute(store, &lost);
    while view.rows.len() < 2 || !view.is_whole() {
        view.take(&socket.receive_json().await);
    }
    assert_eq!(view.lagged.1, 1, "it was told, with a snapshot");
    server.create("labels", json!({"name": "later"})).await;
    while view.rows.len() < 3 {
        view.take(&socket.receive_json().await);
    }
    assert_eq!(view.lagged.1, 1);
    assert!(server.realtime().is_ready());
}

fn postgres_execute(store: &Store, sql: &str) {
    store.connection().batch_execute(sql).expect("a commit");
}

#[tokio::test]
async fn a_slot_that_is_lost_while_nobody_serves_begins_an_epoch() {
    let store = Store::postgres();
    let server = setup(&store).start().await;
    server.create("labels", json!({"name": "before"})).await;
    let cursor = server.get("/api/labels/").await.header("realtime-cursor").to_owned();
    drop(server);
    postgres_execute(&store, LOSE_SLOT);
    store.psql(&labels(&["in no log"]));
    let server = setup(&store).start().await;
    let mut socket = Socket::open(&server).await;
    let reply = socket.request(json!({"stream": "labels", "action": "subscribe", "since": cursor})).await;
    assert_eq!(at(&reply, "data.recovered"), false, "{reply}");
    server.create("labels", json!({"name": "later"})).await;
    assert_eq!(keys(&socket.events(&server).await), ["later"]);
}

/// A connection with an open transaction that holds something until it is told to end.
async fn holder(store: &Store, holds: &str) -> AsyncPgConnection {
    let mut connection = AsyncPgConnection::establish(&store.url()).await.expect("a connection");
    connection.batch_execute(&format!("BEGIN; {holds}")).await.expect("a lock");
    connection
}

/// Writes until the server gives the slot up.
fn exceed(store: &Store) {
    for _ in 0..20 {
        store
            .psql("SELECT pg_logical_emit_message(TRUE, 'other', 'x');\nSELECT pg_switch_wal();\nCHECKPOINT");
        if of_slot(store, "wal_status") == "lost" {
            return;
        }
    }
    panic!("the slot is {}", of_slot(store, "wal_status"));
}

/// The server does not keep its log for a slot beyond `max_slot_wal_keep_size`: what it had not sent is never sent.
#[tokio::test]
async fn a_slot_that_has_fallen_too_far_behind_is_replaced_and_everybody_begins_anew() {
    let machine = postgres::Server::start_with("-c max_slot_wal_keep_size=16MB");
    let store = Store::of(Database::create_on(machine.url()));
    let server = setup(&store).start().await;
    let mut socket = Socket::open(&server).await;
    let mut view = View::new("name");
    let subscribe = json!({"stream": "labels", "action": "subscribe", "snapshot": true});
    view.subscribed(&socket.request(subscribe.clone()).await["data"]);
    server.create("labels", json!({"name": "before"})).await;
    while view.rows.is_empty() || !view.is_whole() {
        view.take(&socket.receive_json().await);
    }
    let before = view.clone();

    // Nobody can write to the log, so what comes is not taken.
    let mut holder = holder(&store, "LOCK TABLE realtime_log IN SHARE ROW EXCLUSIVE MODE").await;
    store.psql(&labels(&["already taken"]));
    let waits = "SELECT count(*) > 0 FROM pg_locks WHERE relation = 'realtime_log'::regclass AND NOT granted";
    until("nobody copies", || store.psql(waits) == "t\n").await;
    store.psql("UPDATE labels SET weight = 2");
    exceed(&store);
    store.psql("DELETE FROM labels WHERE name = 'before';\nINSERT INTO labels (name) VALUES ('in no log')");
    holder.batch_execute("ROLLBACK").await.expect("it ends");

    let names = |view: &View| -> Vec<String> {
        view.rows
            .values()
            .map(|row| format!("{} {}", row["name"].as_str().expect("a name"), row["weight"]))
            .collect()
    };
    let expected = ["already taken 2", "in no log 1"];
    while !view.is_whole() || names(&view) != expected {
        view.take(&socket.receive_json().await);
    }
    assert_eq!(view.lagged.1, 1, "it was told, with a snapshot");
    until("it is not ready", || server.realtime().is_ready()).await;
    // Whoever comes back from before it.
    let mut later = before;
    let mut resumed = Socket::open(&server).await;
    let mut message = subscribe;
    message["since"] = later.cursor.clone().into();
    later.subscribed(&resumed.request(message.clone()).await["data"]);
    while !later.is_whole() || names(&later) != expected {
        later.take(&resumed.receive_json().await);
    }
    server.create("labels", json!({"name": "later"})).await;
    for (view, socket) in [(&mut view, &mut socket), (&mut later, &mut resumed)] {
        while view.rows.len() < 3 {
            view.take(&socket.receive_json().await);
        }
        assert!(view.lagged.1 <= 1, "only once");
    }

    drop((socket, resumed, server));
    store.psql(&labels(&["while nobody served"]));
    exceed(&store);
    let server = setup(&store).start().await;
    let mut socket = Socket::open(&server).await;
    message["since"] = view.cursor.clone().into();
    let reply = socket.request(message).await;
    assert_eq!(at(&reply, "data.recovered"), false, "{reply}");
    // Positions begin anew as well.
    let mut view = View::new("name");
    view.subscribed(&reply["data"]);
    while !view.is_whole() {
        view.take(&socket.receive_json().await);
    }
    assert_eq!(view.rows.len(), 4);
    server.create("labels", json!({"name": "last"})).await;
    assert_eq!(keys(&socket.events(&server).await), ["last"]);
}

/// One of them copies, the others wait for their turn.
#[tokio::test]
async fn when_the_service_that_copies_ends_another_one_does() {
    let store = Store::postgres();
    let mut services = vec![setup(&store).start().await];
    let mut written = Vec::new();
    for round in 0..4 {
        services.push(setup(&store).start().await);
        let mut subscriber = Socket::subscribed(&services[1], "labels", json!({})).await;
        let names = ["a", "b", "c", "d", "e"].map(|name| format!("{round}{name}"));
        services[0].create("labels", json!({"name": names[0]})).await;
        services[1].create("labels", json!({"name": names[1]})).await;
        // A list of one that does not copy is true where it says.
        let list = services[1].get("/api/labels/?limit=1000").await;
        written.extend_from_slice(&names[..2]);
        assert_eq!(list.json["results"].as_array().map(Vec::len), Some(written.len()), "{}", list.text);
        store.psql(&labels(&[&names[2]]));
        drop(services.remove(0));
        store.psql(&labels(&[&names[3]]));
        services[0].create("labels", json!({"name": names[4]})).await;
        written.extend_from_slice(&names[2..]);
        assert_eq!(keys(&subscriber.events(&services[0]).await), names, "round {round}");
        // From the list's cursor on.
        let since = list.header("realtime-cursor");
        let message = json!({"stream": "labels", "action": "subscribe", "since": since});
        let mut resumed = Socket::open(&services[0]).await;
        let reply = resumed.request(message).await;
        assert_eq!(at(&reply, "data.recovered"), true, "{reply}");
        assert_eq!(keys(&resumed.events(&services[0]).await), names[2..], "round {round}");
    }
}

mod schema {
    diesel::table! {
        marks (id) {
            id -> Integer,
            text -> Text,
        }
    }
}
use schema::marks;

/// A resource of the next version.
#[derive(RealtimeResource)]
#[diesel(table_name = marks)]
#[realtime(permission = AllowAny)]
struct Mark {
    #[realtime(read_only)]
    id: i32,
    text: String,
}

/// The old version must not pass over rows that the new one watches.
#[tokio::test]
async fn a_service_with_other_resources_takes_the_copying_over() {
    let store = Store::postgres();
    let old = setup(&store).start().await;
    store.psql("CREATE TABLE marks (id serial PRIMARY KEY, text text NOT NULL)");
    let new = setup(&store).configure(Connect::resource::<Mark>).start().await;
    let mut subscriber = Socket::subscribed(&new, "marks", json!({})).await;
    store.psql("INSERT INTO marks (text) VALUES ('one');\nINSERT INTO marks (text) VALUES ('two')");
    assert_eq!(subscriber.next_event().await["data"]["text"], "one");
    assert_eq!(subscriber.next_event().await["data"]["text"], "two");
    drop(old);
    subscriber.assert_silent(&new).await;
}

/// A long value that an update leaves alone is not in the server's log a second time.
#[tokio::test]
async fn a_long_value_that_was_left_alone_is_known_all_the_same() {
    let server = server().await;
    server.store().psql("ALTER TABLE comments ALTER body SET STORAGE EXTERNAL");
    let body = "long ".repeat(2_000);
    let insert = format!(
        "INSERT INTO comments (topic_id, author_id, body, created_at) VALUES (1, 1, '{}', '2026-01-01Z')",
        body.trim_end()
    );
    server.write(insert).await;
    let mut subscriber = Socket::subscribed(&server, "comments", json!({"body__startswith": "long"})).await;
    server.write("UPDATE comments SET score = 5").await;
    let event = subscriber.next_event().await;
    assert_eq!(event["diff"], json!({"score": 5}), "{event}");
    server.write("DELETE FROM comments").await;
    assert_eq!(subscriber.next_event().await["action"], "delete");
}

/// Columns that nobody names come and go; of one that is missing it is told that rows are not known.
#[tokio::test]
async fn a_table_may_be_altered_while_it_is_followed() {
    let server = server().await;
    let store = server.store();
    postgres_execute(store, &labels(&["a"]));
    let mut subscriber = Socket::subscribed(&server, "labels", json!({})).await;
    postgres_execute(store, "ALTER TABLE labels ADD other text DEFAULT 'x', ADD first serial");
    postgres_execute(store, "UPDATE labels SET weight = 2, other = 'y'");
    assert_eq!(subscriber.next_event().await["diff"], json!({"weight": 2}));
    postgres_execute(store, "ALTER TABLE labels DROP other; UPDATE labels SET weight = 3");
    assert_eq!(subscriber.next_event().await["diff"], json!({"weight": 3}));
    let renamed = "ALTER TABLE labels RENAME code TO codes; UPDATE labels SET weight = 4; ALTER TABLE labels RENAME codes TO code";
    postgres_execute(store, renamed);
    assert_eq!(subscriber.receive_json().await["type"], "lagged");
}

/// It is copied in many statements and told as one.
#[tokio::test]
async fn a_large_transaction_is_told_whole() {
    let server = server().await;
    let store = server.store();
    let before = server.feed().await;
    let mut subscriber = Socket::subscribed(&server, "labels", json!({"weight__gte": 19_990})).await;
    postgres_execute(
        store,
        "INSERT INTO labels (name, weight) SELECT to_char(n, '00000'), n FROM generate_series(1, 20000) n",
    );
    let events = subscriber.events(&server).await;
    assert_eq!(events.len(), 11);
    let more: Vec<bool> = events.iter().map(|event| event["more"] == true).collect();
    assert_eq!(more, [vec![true; 10], vec![false]].concat());
    assert!(keys(&events).is_sorted());
    assert_eq!(server.feed().await - before, 20_000);
    assert_eq!(store.psql("SELECT count(*), count(DISTINCT xid) FROM realtime_log"), "20000|1\n");
}

/// Bytes of a process that are in memory, and the most that ever were since [`forget_peak`].
#[cfg(target_os = "linux")]
fn memory(pid: u32) -> [u64; 2] {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it lives");
    ["VmRSS:", "VmHWM:"].map(|name| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("it is told");
        line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") << 10
    })
}

#[cfg(target_os = "linux")]
fn forget_peak(pid: u32) {
    std::fs::write(format!("/proc/{pid}/clear_refs"), "5").expect("one's own process");
}

/// However large it is, only a part of it is in our memory while it is copied.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_huge_transaction_is_copied_in_little_memory() {
    use realtime_tests::{position, within};
    use tokio::io::{AsyncBufReadExt as _, BufReader};

    const ROWS: u32 = 200_000;
    const BYTES: u64 = 500;
    let store = Store::postgres();
    let mut server = tokio::process::Command::new(env!("CARGO_BIN_EXE_server"))
        // One statement may take long where the machine has other work.
        .arg(format!("{}?connect_timeout=60", store.url()))
        .env(realtime_tests::SOURCE, "replication")
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("the server's program");
    let pid = server.id().expect("it runs");
    let mut lines = BufReader::new(server.stdout.take().expect("its output")).lines();
    let address =
        within("the server to start", lines.next_line()).await.expect("a line").expect("an address");

    // It can end no transaction of its own, so all of it is there when it is waited for.
    let mut holder = holder(&store, "SELECT FROM realtime_slot FOR UPDATE").await;
    forget_peak(pid);
    let [before, _] = memory(pid);
    postgres_execute(
        &store,
        &format!(
            "SET session_replication_role = replica;
            INSERT INTO comments (topic_id, author_id, body, created_at)
            SELECT 1, 1, repeat('x', {BYTES}), '2026-01-01Z' FROM generate_series(1, {ROWS})"
        ),
    );
    let waits = "SELECT count(*) > 0 FROM pg_stat_activity WHERE datname = current_database() \
        AND wait_event_type = 'Lock' AND query LIKE 'UPDATE realtime_slot%'";
    until("it is not copied", || store.psql(waits) == "t\n").await;
    let [_, peak] = memory(pid);
    let grown = peak - before;
    assert!(
        grown < u64::from(ROWS) * BYTES / 4,
        "{} MiB more for {} MiB",
        grown >> 20,
        (u64::from(ROWS) * BYTES) >> 20
    );
    holder.batch_execute("ROLLBACK").await.expect("it ends");

    // A list waits until what it sees has been copied, and a poll says how far has been told.
    let http = reqwest::Client::builder().no_proxy().build().expect("an HTTP client");
    let get = async |path: &str| -> Json {
        let answer = http.get(format!("http://{address}/api/{path}")).send().await.expect("an answer");
        let (status, text) = (answer.status().as_u16(), answer.text().await.expect("a body"));
        assert_eq!(status, 200, "{path}: {text}");
        serde_json::from_str(&text).expect("JSON")
    };
    assert_eq!(get("comments/?limit=1").await["count"], ROWS);
    assert_eq!(store.psql("SELECT count(*), count(DISTINCT xid) FROM realtime_log"), format!("{ROWS}|1\n"));
    let told = async {
        while position(get("labels/changes").await["cursor"].as_str().expect("a cursor")) < u64::from(ROWS) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    within("it to be told", told).await;
    eprintln!(
        "{} MiB more while it was copied, {} MiB when it was told",
        grown >> 20,
        (memory(pid)[1] - before) >> 20
    );
    server.kill().await.expect("it can be killed");
}

/// A table that no longer logs whole rows is brought back to it by the next start; until then its followers are told what is
/// not known.
#[tokio::test]
async fn rows_that_the_server_does_not_send_whole_are_told_as_lost() {
    let server = server().await;
    let store = server.store().clone();
    postgres_execute(&store, &labels(&["a", "b"]));
    let mut subscriber = Socket::subscribed(&server, "labels", json!({})).await;
    postgres_execute(&store, "ALTER TABLE labels REPLICA IDENTITY DEFAULT");
    postgres_execute(&store, "UPDATE labels SET weight = 2 WHERE name = 'a'");
    assert_eq!(subscriber.receive_json().await["type"], "lagged");
    drop((subscriber, server));
    let server = setup(&store).start().await;
    let mut subscriber = Socket::subscribed(&server, "labels", json!({})).await;
    postgres_execute(&store, "UPDATE labels SET weight = 3 WHERE name = 'a'");
    assert_eq!(subscriber.next_event().await["diff"], json!({"weight": 3}));
}

#[tokio::test]
async fn a_partitioned_table_is_followed_as_a_whole() {
    let store = Store::postgres();
    store.psql(
        "CREATE TABLE labels (name text PRIMARY KEY, code text, weight bigint NOT NULL DEFAULT 1) PARTITION BY RANGE (name);
\nCREATE TABLE labels_a PARTITION OF labels FOR VALUES FROM ('a') TO ('n');
\nCREATE TABLE labels_n PARTITION OF labels FOR VALUES FROM ('n') TO ('zz')",
    );
    let server = setup(&store).start().await;
    let mut subscriber = Socket::subscribed(&server, "labels", json!({})).await;
    postgres_execute(&store, &labels(&["alpha"]));
    postgres_execute(&store, "INSERT INTO labels_n (name) VALUES ('omega')");
    postgres_execute(&store, "UPDATE labels SET weight = 2");
    postgres_execute(&store, "DELETE FROM labels_a");
    let events = subscriber.events(&server).await;
    let told: Vec<Json> = events.iter().map(|event| json!([event["action"], event["pk"]])).collect();
    let expected = [
        ["create", "alpha"],
        ["create", "omega"],
        ["update", "alpha"],
        ["update", "omega"],
        ["delete", "alpha"],
    ];
    assert_eq!(json!(told), json!(expected));
}

#[tokio::test]
async fn the_source_may_be_changed_and_leaves_nothing_behind() {
    let store = Store::postgres();
    let mut cursor = None;
    for (source, triggers, slots) in [
        (ChangeSource::Triggers, "12", "0"),
        (ChangeSource::Replication, "3", "1"),
        (ChangeSource::Triggers, "12", "0"),
    ] {
        let server = Setup::on(&store).configure(move |connect| connect.change_source(source)).start().await;
        let mut socket = Socket::open(&server).await;
        if let Some(cursor) = cursor {
            let message = json!({"stream": "labels", "action": "subscribe", "since": cursor});
            let reply = socket.request(message).await;
            assert_eq!(at(&reply, "data.recovered"), false, "{source:?}: {reply}");
        } else {
            socket.request(json!({"stream": "labels", "action": "subscribe"})).await;
        }
        postgres_execute(&store, "INSERT INTO labels (name) VALUES (gen_random_uuid())");
        assert_eq!(socket.next_event().await["action"], "create");
        let count = |sql: &str| store.psql(sql).trim().to_owned();
        assert_eq!(count("SELECT count(*) FROM pg_trigger WHERE tgname LIKE '!realtime%'"), triggers);
        let of_database = "SELECT count(*) FROM pg_replication_slots WHERE database = current_database()";
        assert_eq!(count(of_database), slots);
        assert_eq!(count("SELECT count(*) FROM pg_publication"), slots);
        cursor = Some(server.get("/api/labels/").await.header("realtime-cursor").to_owned());
    }
}
