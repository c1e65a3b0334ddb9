//! The program as whoever starts it sees it: its first line, its errors, its end.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

fn forum() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_forum"));
    command.env_remove("FORUM_DATABASE_URL").env_remove("FORUM_LISTEN").stdin(Stdio::null());
    command
}

/// A path of this test's own in the folder that cargo gives tests.
fn scratch(name: &str) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{}-{name}", std::process::id()));
    let _ = std::fs::remove_file(&path);
    path
}

/// Runs the program, which must refuse: exit 2, nothing on standard output, one line on standard error.
#[track_caller]
fn check_refusal(options: &[&str], expected: &str) {
    let output = forum().args(options).output().expect("the program runs");
    let errors = String::from_utf8(output.stderr).expect("text");
    assert_eq!(output.status.code(), Some(2), "{errors}");
    assert!(output.stdout.is_empty());
    assert_eq!(errors.lines().count(), 1, "{errors}");
    assert!(errors.contains(expected), "{errors:?} does not contain {expected:?}");
}

#[test]
fn what_cannot_be_done_is_said_in_one_line() {
    check_refusal(&["--listen", "nonsense"], "--listen");
    check_refusal(&["--workers", "0"], "--workers");
    check_refusal(&["--trust-proxy", "10.0.0.0/33"], "--trust-proxy");
    check_refusal(&["--trust-proxy", "proxy.example"], "neither an address nor a network");
    check_refusal(
        &["--database-url", "sqlite::memory:", "--allow-origin", "*"],
        "no page has the origin \"*\": write https://HOST",
    );
    check_refusal(&["--frobnicate"], "--frobnicate");
    check_refusal(&["--bus", "redis://127.0.0.1:1/"], "not yet built");
    check_refusal(
        &["--database-url", "postgres://nobody:secret@127.0.0.1:1/x"],
        "cannot open the database postgres://nobody@127.0.0.1:1/x",
    );
    check_refusal(&["--database-url", "postgres://nobody@127.0.0.1:1/x?sslmode=require"], "TLS");
    check_refusal(&["--database-url", "mysql://x"], "sqlite://PATH");
    check_refusal(&["--database-url", "sqlite:///no/such/folder/forum.db"], "unable to open");
    check_refusal(&["--database-url", "sqlite::memory:", "--log", "[["], "--log");
}

#[test]
fn a_foreign_file_is_no_database_and_is_left_as_it_is() {
    let path = scratch("foreign.db");
    std::fs::write(&path, "this is a letter, not a database").expect("a file");
    check_refusal(&["--database-url", &format!("sqlite://{}", path.display())], "not a database");
    assert_eq!(std::fs::read_to_string(&path).expect("the file"), "this is a letter, not a database");
}

#[test]
fn a_port_in_use_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("its address").to_string();
    check_refusal(&["--database-url", "sqlite::memory:", "--listen", &address, "--log", "off"], &address);
}

/// A regular expression across a relation is what PostgreSQL cannot decide.
#[test]
fn a_description_offers_what_its_database_decides() {
    for print in ["openapi", "asyncapi"] {
        let describe = |url: &str| {
            let output = forum().args(["--database-url", url, print]).output().expect("the program runs");
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            String::from_utf8(output.stdout).expect("text")
        };
        let (sqlite, postgres) = (describe("sqlite::memory:"), describe("postgres://nobody@127.0.0.1:1/x"));
        for (key, decided) in [
            ("\"topic__title__regex\"", false),
            ("\"topic__title__iregex\"", false),
            ("\"topic__title__istartswith\"", true),
            ("\"title__regex\"", true),
        ] {
            assert!(sqlite.contains(key), "{print}: {key}");
            assert_eq!(postgres.contains(key), decided, "{print}: {key}");
        }
    }
}

/// A running program, ended with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn it_says_where_it_listens_and_ends_well_on_sigterm() {
    let mut command = forum();
    command.args(["--listen", "127.0.0.1:0", "--database-url", "sqlite::memory:", "--log", "off"]);
    let mut running = Running(command.stdout(Stdio::piped()).spawn().expect("the program runs"));
    let mut line = String::new();
    let output = running.0.stdout.take().expect("its output");
    BufReader::new(output).read_line(&mut line).expect("a first line");
    let address = line.trim().strip_prefix("listening on http://").expect("the address").to_owned();

    let mut stream = TcpStream::connect(&address).expect("it listens");
    stream
        .write_all(b"GET /health/ready HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        .expect("a request");
    let mut status = String::new();
    BufReader::new(stream).read_line(&mut status).expect("an answer");
    assert_eq!(status.trim(), "HTTP/1.1 200 OK");

    let killed = Command::new("kill").arg(running.0.id().to_string()).status().expect("kill runs");
    assert!(killed.success());
    assert_eq!(running.0.wait().expect("it ends").code(), Some(0));
}
