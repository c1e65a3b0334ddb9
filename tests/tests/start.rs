//! What stands in the way of starting is said in one line.

use diesel::connection::SimpleConnection as _;
use diesel::{Connection as _, SqliteConnection};
use realtime_actix::{ChangeLog, Connect, Realtime};
use realtime_tests::{SCHEMA, Server, Setup, Socket, SqliteResources as _, start_error};
use serde_json::json;

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
async fn a_url_of_no_known_database_and_two_resources_of_one_stream_are_refused() {
    let error = start_error(Realtime::connect("oracle://x").all_resources()).await;
    assert!(error.contains("oracle://x") && error.contains("sqlite://PATH"), "{error}");
    let error = start_error(in_memory().all_resources().all_resources()).await;
    assert!(error.contains("two resources have the stream"), "{error}");
}

#[tokio::test]
async fn a_migration_can_bring_the_change_log() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("migrated.db");
    let url = format!("sqlite://{}", path.display());
    let path_text = path.to_str().expect("a path that is text");
    let mut own = SqliteConnection::establish(path_text).expect("a connection");
    own.batch_execute(SCHEMA).expect("the tables");
    let connect = || Realtime::connect(&url).all_resources();

    let error = start_error(connect().change_log(ChangeLog::Expect)).await;
    assert!(error.contains("CREATE TABLE realtime_log"), "it says what to run: {error}");
    let sql = connect().outstanding_sql().expect("the statements");
    own.batch_execute(&sql).expect("they run");
    assert_eq!(connect().outstanding_sql().expect("the statements"), "");

    let server: Server =
        Setup::at(&path).configure(|connect| connect.change_log(ChangeLog::Expect)).start().await;
    let mut socket = Socket::subscribed(&server, "topics", json!({})).await;
    server
        .write("INSERT INTO topics (title, owner_id, created_at) VALUES ('x', 1, '2026-01-01 00:00:00')")
        .await;
    assert_eq!(socket.next_event().await["action"], "create");
}
