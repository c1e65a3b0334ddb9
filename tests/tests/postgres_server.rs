//! The private PostgreSQL server of the tests.

use realtime_tests::postgres::{Database, Server};

#[test]
fn each_test_has_a_database_of_its_own() {
    let (one, other) = (Database::create(), Database::create());
    one.psql("CREATE TABLE notes (id int);\nINSERT INTO notes VALUES (1), (2)");
    assert_eq!(one.psql("SELECT id, 'x' FROM notes ORDER BY id"), "1|x\n2|x\n");
    assert_eq!(other.psql("SELECT count(*) FROM pg_tables WHERE tablename = 'notes'"), "0\n");
}

#[test]
fn a_server_can_be_stopped_and_started_again() {
    let mut server = Server::start();
    let database = Database::create_on(server.url());
    database.psql("CREATE TABLE notes (id int)");
    server.stop();
    server.start_again();
    assert_eq!(database.psql("SELECT count(*) FROM notes"), "0\n");
}
