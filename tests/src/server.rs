//! A server in a thread of its own, with real sockets on a free port.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;

use actix_web::dev::ServerHandle;
use actix_web::{App, HttpServer};
use diesel::connection::SimpleConnection as _;
use diesel::prelude::*;
use diesel::sqlite::SqliteConnection;
use realtime_actix::{Connect, Principal, Realtime, socket_options};
use tempfile::TempDir;
use tokio::sync::oneshot;

use crate::{ANN, Account, SCHEMA, SqliteResources as _, within};

type Configure = Box<dyn FnOnce(Connect) -> Connect + Send>;

/// A server before it is started.
#[must_use = "nothing happens until it is started"]
pub struct Setup {
    directory: Option<TempDir>,
    /// `None`: in memory.
    path: Option<PathBuf>,
    workers: usize,
    configure: Vec<Configure>,
}

impl Setup {
    /// On a SQLite file in a temporary directory.
    ///
    /// # Panics
    /// Where there can be no such directory.
    pub fn file() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("test.db");
        Self { directory: Some(directory), ..Self::at(&path) }
    }

    /// On a SQLite file that stays.
    pub fn at(path: &Path) -> Self {
        Self { directory: None, path: Some(path.to_owned()), workers: 2, configure: Vec::new() }
    }

    /// On a SQLite database in memory.
    pub fn memory() -> Self {
        Self { directory: None, path: None, workers: 2, configure: Vec::new() }
    }

    /// Sets the number of workers. The default is 2.
    pub fn workers(mut self, workers: usize) -> Self {
        self.workers = workers;
        self
    }

    /// Changes what the server is started with.
    pub fn configure(mut self, change: impl FnOnce(Connect) -> Connect + Send + 'static) -> Self {
        self.configure.push(Box::new(change));
        self
    }

    /// Starts it.
    ///
    /// # Panics
    /// Where it does not start.
    pub async fn start(self) -> Server {
        let url = self.path.as_deref().map_or_else(|| "sqlite::memory:".to_owned(), url_of);
        let (report, reported) = oneshot::channel();
        let (workers, configure) = (self.workers, self.configure);
        let thread = std::thread::spawn(move || {
            let system = actix_web::rt::System::new();
            system.block_on(serve(url, workers, configure, report));
            actix_web::rt::System::current().stop();
            // The arbiters of the system end before the thread does.
            let _ = system.run();
        });
        let (address, realtime, handle) = within("the server to start", reported)
            .await
            .expect("the server's thread lives")
            .expect("it starts");
        // No proxy of the environment may stand between a test and its server.
        let http = reqwest::Client::builder().no_proxy().build().expect("an HTTP client");
        Server {
            address,
            realtime,
            http,
            path: self.path,
            handle,
            thread: Some(thread),
            _directory: self.directory,
        }
    }
}

type Started = Result<(SocketAddr, Realtime, ServerHandle), String>;

async fn serve(url: String, workers: usize, configure: Vec<Configure>, report: oneshot::Sender<Started>) {
    let connect = Realtime::connect(url)
        .prepare(|connection| Ok(connection.batch_execute(SCHEMA)?))
        .all_resources()
        .everyone_is(Principal::user(ANN).with(Account { staff: true }));
    let connect = configure.into_iter().fold(connect, |connect, change| change(connect));
    let started = async {
        let realtime = connect.start().await.map_err(|error| error.to_string())?;
        let mounted = realtime.clone();
        let server = HttpServer::new(move || App::new().service(mounted.scope("/api")))
            .on_connect(socket_options)
            .workers(workers)
            .disable_signals()
            .bind("127.0.0.1:0")
            .map_err(|error| error.to_string())?;
        let address = server.addrs()[0];
        Ok((address, realtime, server.run()))
    };
    match started.await {
        Ok((address, realtime, running)) => {
            let _ = report.send(Ok((address, realtime.clone(), running.handle())));
            let _ = running.await;
            realtime.close().await;
        }
        Err(reason) => {
            let _ = report.send(Err(reason));
        }
    }
}

/// What a service that cannot be started says.
///
/// # Panics
/// Where it starts.
pub async fn start_error(connect: Connect) -> String {
    let (report, reported) = oneshot::channel();
    let thread = std::thread::spawn(move || {
        let system = actix_web::rt::System::new();
        let error = system.block_on(async { connect.start().await.err().map(|error| error.to_string()) });
        let _ = report.send(error);
        actix_web::rt::System::current().stop();
        let _ = system.run();
    });
    let error = within("the start to fail", reported).await.expect("the thread lives");
    thread.join().expect("the thread ends");
    error.expect("starting fails")
}

fn url_of(path: &Path) -> String {
    format!("sqlite://{}", path.display())
}

/// A running server. Dropping it stops it.
pub struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) http: reqwest::Client,
    realtime: Realtime,
    path: Option<PathBuf>,
    handle: ServerHandle,
    thread: Option<JoinHandle<()>>,
    _directory: Option<TempDir>,
}

impl Server {
    /// On a file, with nothing changed.
    pub async fn start() -> Self {
        Setup::file().start().await
    }

    /// The address it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The service that the server mounts.
    pub fn realtime(&self) -> &Realtime {
        &self.realtime
    }

    /// The database's file.
    ///
    /// # Panics
    /// Where the database is in memory.
    pub fn path(&self) -> &Path {
        self.path.as_deref().expect("the database is a file")
    }

    /// A connection of the application's own, which the service knows nothing of.
    ///
    /// # Panics
    /// Where the database is in memory or cannot be opened.
    pub fn connection(&self) -> SqliteConnection {
        let mut connection =
            SqliteConnection::establish(&self.path().to_string_lossy()).expect("the database");
        connection.batch_execute("PRAGMA busy_timeout = 10000; PRAGMA foreign_keys = ON;").expect("pragmas");
        connection
    }

    /// Calls a function with the author of every comment that changes.
    pub fn on_comment(&self, observe: impl Fn(&Realtime, i32) + Send + 'static) {
        crate::models::on_comment(&self.realtime, observe);
    }

    /// Runs SQL in a transaction of the service's writer.
    ///
    /// # Panics
    /// Where it fails.
    pub async fn write(&self, sql: impl Into<String>) {
        let sql = sql.into();
        within("a write", self.realtime.write(move |connection| connection.batch_execute(&sql)))
            .await
            .expect("the write succeeds");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The command is sent by the call; what it returns only tells when it has been carried out.
        drop(self.handle.stop(false));
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            if !std::thread::panicking() {
                ended.expect("the server's thread ends without a panic");
            }
        }
    }
}
