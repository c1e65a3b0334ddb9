//! The program in a process of its own, and requests to it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};

use diesel::connection::SimpleConnection as _;
use diesel::prelude::*;
use realtime_tests::{Handshake, Socket, Store, on_postgres, within};
use reqwest::header::HeaderMap;
use serde_json::{Value as Json, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

/// A running forum, on a database file of its own. It is ended with the test.
pub(crate) struct Forum {
    pub(crate) address: SocketAddr,
    child: Child,
    http: reqwest::Client,
    directory: TempDir,
    /// Where it is not a file in the directory.
    store: Option<Store>,
}

/// What a request was answered with.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    /// `null` where the body is empty.
    pub(crate) json: Json,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// The fields that the error is about.
    pub(crate) fn mistakes(&self) -> Vec<&str> {
        self.json["errors"].as_object().into_iter().flatten().map(|(name, _)| name.as_str()).collect()
    }
}

/// Somebody who is logged in.
pub(crate) struct Login {
    pub(crate) token: String,
    /// What the browser sends back.
    pub(crate) cookie: String,
    pub(crate) id: i64,
}

impl Login {
    pub(crate) fn bearer(&self) -> (&'static str, String) {
        ("authorization", format!("Bearer {}", self.token))
    }

    pub(crate) fn cookie(&self) -> (&'static str, String) {
        ("cookie", self.cookie.clone())
    }

    fn of(answer: &Answer) -> Self {
        let cookie = answer.header("set-cookie").split(';').next().expect("a cookie").to_owned();
        Self {
            token: answer.json["token"].as_str().expect("a token").to_owned(),
            cookie,
            id: answer.json["user"]["id"].as_i64().expect("a key"),
        }
    }
}

pub(crate) fn scratch() -> TempDir {
    tempfile::tempdir().expect("a temporary directory")
}

fn database(directory: impl AsRef<Path>) -> PathBuf {
    directory.as_ref().join("forum.db")
}

/// The database file in a directory, as another program opens it.
pub(crate) fn open(directory: impl AsRef<Path>) -> SqliteConnection {
    let path = database(directory);
    let mut connection = SqliteConnection::establish(&path.to_string_lossy()).expect("the database");
    connection.batch_execute("PRAGMA busy_timeout = 10000; PRAGMA foreign_keys = ON;").expect("pragmas");
    connection
}

impl Forum {
    pub(crate) async fn start() -> Self {
        Self::start_in(scratch(), &[]).await
    }

    pub(crate) async fn start_in(directory: TempDir, options: &[&str]) -> Self {
        let url = format!("sqlite://{}", database(&directory).display());
        Self::start_with((directory, None), &url, options).await
    }

    /// On a database that need not be SQLite.
    pub(crate) async fn start_on(store: &Store, options: &[&str]) -> Self {
        Self::start_with((scratch(), Some(store.clone())), &store.url(), options).await
    }

    async fn start_with((directory, store): (TempDir, Option<Store>), url: &str, options: &[&str]) -> Self {
        let log = std::fs::File::create(directory.path().join("log")).expect("a file for the log");
        let mut child = Command::new(env!("CARGO_BIN_EXE_forum"))
            .args(["--listen", "127.0.0.1:0", "--workers", "2", "--database-url", url])
            .args(options)
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .expect("the program runs");
        let output = child.stdout.take().expect("its output");
        let line = within("a first line", BufReader::new(output).lines().next_line()).await;
        let line = line.expect("text").expect("a first line");
        let address = line.strip_prefix("listening on http://").and_then(|address| address.parse().ok());
        let http = reqwest::Client::builder().no_proxy().build().expect("an HTTP client");
        Self { address: address.expect("an address"), child, http, directory, store }
    }

    /// Tells it to end, as an operator does.
    pub(crate) async fn terminate(&self) {
        let pid = self.child.id().expect("it runs").to_string();
        let told = Command::new("kill").args(["-s", "TERM", &pid]).status().await.expect("kill runs");
        assert!(told.success());
    }

    /// Ends it, and leaves its files.
    pub(crate) async fn stop(self) -> (ExitStatus, TempDir) {
        self.terminate().await;
        self.ended().await
    }

    /// Waits for its end, and leaves its files.
    pub(crate) async fn ended(mut self) -> (ExitStatus, TempDir) {
        (within("the program to end", self.child.wait()).await.expect("it ends"), self.directory)
    }

    /// Runs SQL as another program.
    pub(crate) fn write(&self, sql: &str) {
        match &self.store {
            None => open(&self.directory).batch_execute(sql).expect("the other program's write succeeds"),
            Some(store) => {
                // Times are in UTC, whatever the server's zone is.
                let zone = if on_postgres() { "SET TIME ZONE 'UTC';" } else { "" };
                let written = store.connection().batch_execute(&format!("{zone}{sql}"));
                written.expect("the other program's write succeeds");
            }
        }
    }

    /// How many rows a table of the file has.
    pub(crate) fn count(&self, table: &str) -> i64 {
        let count = diesel::dsl::sql::<diesel::sql_types::BigInt>(&format!("SELECT count(*) FROM {table}"));
        count.get_result(&mut open(&self.directory)).expect("a count")
    }

    pub(crate) async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&'static str, String)],
        body: impl Into<reqwest::Body>,
    ) -> Answer {
        let method = reqwest::Method::from_bytes(method.as_bytes()).expect("a method");
        let mut request = self.http.request(method, format!("http://{}{path}", self.address)).body(body);
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        let response = within("an answer", request.send()).await.expect("the request is answered");
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let text = within("a body", response.text()).await.expect("a body");
        let answer = Answer { status, headers, json: serde_json::from_str(&text).unwrap_or_default() };
        if status >= 400 {
            assert_eq!(answer.header("content-type"), "application/problem+json", "{path}: {text}");
            assert_eq!(answer.json["status"], status, "{path}: {text}");
        }
        answer
    }

    /// Sends JSON as somebody, or without a word of who it is.
    pub(crate) async fn ask(&self, method: &str, path: &str, login: Option<&Login>, body: Json) -> Answer {
        let mut headers: Vec<_> = login.map(Login::bearer).into_iter().collect();
        headers.push(("content-type", "application/json".to_owned()));
        let body = if body.is_null() { String::new() } else { body.to_string() };
        self.send(method, path, &headers, body).await
    }

    pub(crate) async fn post(&self, path: &str, login: Option<&Login>, body: Json) -> Answer {
        self.ask("POST", path, login, body).await
    }

    pub(crate) async fn log_in(&self, username: &str, password: &str) -> Login {
        let body = json!({"username": username, "password": password});
        let answer = self.post("/auth/login", None, body).await;
        assert_eq!(answer.status, 200, "{}", answer.json);
        Login::of(&answer)
    }

    /// Logs one of the demo users in.
    pub(crate) async fn demo(&self, username: &str) -> Login {
        self.log_in(username, &format!("demo-{username}")).await
    }

    pub(crate) async fn register(&self, username: &str, password: &str) -> Login {
        let body = json!({"username": username, "password": password});
        let answer = self.post("/auth/register", None, body).await;
        assert_eq!(answer.status, 201, "{}", answer.json);
        Login::of(&answer)
    }

    pub(crate) async fn socket(&self, login: Option<&Login>) -> Socket {
        let mut handshake = Handshake::to("/api/ws");
        if let Some(login) = login {
            let (name, value) = login.bearer();
            handshake = handshake.header(name, value);
        }
        handshake.open_at(self.address).await.expect("the server accepts the socket").0
    }

    /// The status of a handshake that is refused.
    pub(crate) async fn refuses(&self, handshake: Handshake) -> u16 {
        handshake.open_at(self.address).await.expect_err("the server refuses the socket").status
    }

    /// Everything that it has logged so far.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("log")).expect("the log")
    }

    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }
}
