//! What stands in the way of starting is said in one line; and the example program's end, as its clients see it.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;

use diesel::Connection as _;
use diesel::connection::SimpleConnection as _;
use diesel::sqlite::SqliteConnection;
use realtime_actix::{ChangeLog, ChangeSource, Connect, Realtime};
use realtime_tests::{
    AllResources as _, Handshake, Incoming, POSTGRES_SCHEMA, SCHEMA, Server, Setup, Socket, Store,
    change_source, on_postgres, start_error, within,
};
use serde_json::json;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;

fn in_memory() -> Connect {
    Realtime::connect("sqlite::memory:")
}

#[tokio::test]
async fn a_table_or_a_column_that_is_missing_is_named() {
    let error = start_error(in_memory().all_resources()).await;
    assert!(error.contains("has no table") && error.lines().count() == 1, "{error}");
    let without_titles = in_memory()
        .prepare(|connection| {
            connection.batch_execute(SCHEMA)?;
            Ok(connection.batch_execute("ALTER TABLE topics RENAME COLUMN title TO heading")?)
        })
        .all_resources();
    let error = start_error(without_titles).await;
    assert!(error.contains("\"topics\" has no column \"title\""), "{error}");
}

#[tokio::test]
async fn a_database_in_utf_16_is_refused() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("wide.db");
    let mut own = SqliteConnection::establish(path.to_str().expect("text")).expect("a connection");
    own.batch_execute("PRAGMA encoding = 'UTF-16le'")
        .and_then(|()| own.batch_execute(SCHEMA))
        .expect("the tables");
    let error = start_error(Realtime::connect(format!("sqlite://{}", path.display())).all_resources()).await;
    assert!(error.contains("the encoding of the database is UTF-16le; only in UTF-8"), "{error}");
}

#[tokio::test]
async fn a_url_of_no_known_database_and_two_resources_of_one_stream_are_refused() {
    let error = start_error(Realtime::connect("oracle://x").all_resources()).await;
    assert!(error.contains("oracle://x") && error.contains("sqlite://PATH"), "{error}");
    let replicated = in_memory().all_resources().change_source(ChangeSource::Replication);
    let error = start_error(replicated).await;
    assert!(error.contains("SQLite has no logical replication"), "{error}");
    let error = start_error(in_memory().all_resources().all_resources()).await;
    assert!(error.contains("two resources have the stream"), "{error}");
}

#[tokio::test]
async fn an_origin_that_no_page_has_is_refused() {
    for origin in ["*", "null", "https://friend.example/"] {
        let allowing = in_memory().all_resources().allow_origin("https://app.example").allow_origin(origin);
        let error = start_error(allowing).await;
        assert!(error.contains(&format!("no page has the origin {origin:?}")), "{error}");
    }
}

#[tokio::test]
async fn a_migration_can_bring_the_change_log() {
    let store = Store::fresh();
    let url = store.url();
    let mut own = store.connection();
    own.batch_execute(if on_postgres() { POSTGRES_SCHEMA } else { SCHEMA }).expect("the tables");
    let source = if on_postgres() { change_source() } else { ChangeSource::Triggers };
    let connect = || Realtime::connect(&url).all_resources().change_source(source);

    let error = start_error(connect().change_log(ChangeLog::Expect)).await;
    let says_what = error.contains("CREATE TABLE") && error.contains("realtime_log");
    assert!(says_what, "it says what to run: {error}");
    let sql = connect().outstanding_sql().expect("the statements");
    own.batch_execute(&sql).expect("they run");
    assert_eq!(connect().outstanding_sql().expect("the statements"), "");

    let server: Server =
        Setup::on(&store).configure(|connect| connect.change_log(ChangeLog::Expect)).start().await;
    let mut socket = Socket::subscribed(&server, "topics", json!({})).await;
    server
        .write("INSERT INTO topics (title, owner_id, created_at) VALUES ('x', 1, '2026-01-01 00:00:00')")
        .await;
    assert_eq!(socket.next_event().await["action"], "create");
}

#[tokio::test]
async fn a_file_that_is_no_database_and_a_path_that_cannot_be_opened_are_named() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let letter = directory.path().join("letter.txt");
    std::fs::write(&letter, "this is a letter, not a database, and it is to stay one").expect("a file");
    let at = |path: &Path| Realtime::connect(format!("sqlite://{}", path.display())).all_resources();
    for path in [letter.as_path(), directory.path(), &directory.path().join("no/such/folder/x.db")] {
        let error = start_error(at(path)).await;
        assert!(error.contains(&path.display().to_string()) && error.lines().count() == 1, "{error}");
        let error = at(path).outstanding_sql().expect_err("there is nothing to look at").to_string();
        assert!(error.contains(&path.display().to_string()) && error.lines().count() == 1, "{error}");
    }
    let kept = std::fs::read_to_string(&letter).expect("the letter");
    assert_eq!(kept, "this is a letter, not a database, and it is to stay one");
}

#[tokio::test]
async fn a_url_must_say_which_database() {
    for url in ["", "sqlite", "sqlite:", "sqlite://", "forum.db", "mysql://x/y", "http://x"] {
        let error = start_error(Realtime::connect(url).all_resources()).await;
        assert!(error.contains(&format!("{url:?}")) && error.lines().count() == 1, "{error}");
    }
}

#[tokio::test]
async fn what_the_application_prepares_may_fail() {
    let connect = in_memory().prepare(|_| Err("the migrations are at odds".into())).all_resources();
    let error = start_error(connect).await;
    assert!(error.contains("the migrations are at odds"), "{error}");
}

#[tokio::test]
async fn the_example_program_closes_its_sockets_with_1001_when_it_is_told_to_end() {
    // The program is another package's: it lies beside the folder of this test.
    let test = std::env::current_exe().expect("this program's path");
    let profile = test.parent().and_then(Path::parent).expect("the folder of the profile");
    let program = profile.join("forum");
    if !program.exists() {
        let target = profile.parent().expect("the target folder");
        let built = std::process::Command::new(env!("CARGO"))
            .args(["build", "--quiet", "--package", "forum", "--target-dir"])
            .arg(target)
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .status();
        assert!(built.expect("cargo runs").success());
    }
    let mut running = Command::new(program)
        .args(["--listen", "127.0.0.1:0", "--database-url", "sqlite::memory:", "--log", "off"])
        .env_clear()
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("the program runs");
    let output = running.stdout.take().expect("its output");
    let line = within("a first line", BufReader::new(output).lines().next_line()).await;
    let line = line.expect("text").expect("a first line");
    let address: SocketAddr = line
        .strip_prefix("listening on http://")
        .and_then(|address| address.parse().ok())
        .expect("an address");

    let mut sockets = Vec::new();
    for _ in 0..3 {
        let (mut socket, _) = Handshake::to("/api/ws").open_at(address).await.expect("a socket");
        socket.subscribe("comments", json!({})).await;
        sockets.push(socket);
    }
    let pid = running.id().expect("it runs").to_string();
    let told = within("kill", Command::new("kill").args(["-s", "TERM", &pid]).status()).await;
    assert!(told.expect("kill runs").success());
    for socket in &mut sockets {
        assert_eq!(socket.closed().await, Some(1001));
    }
    for socket in &mut sockets {
        assert_eq!(socket.receive().await, Incoming::End);
    }
    let status = within("the program to end", running.wait()).await.expect("it ends");
    assert_eq!(status.code(), Some(0));
}
