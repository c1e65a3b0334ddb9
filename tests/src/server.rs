//! A server in a thread of its own, with real sockets on a free port.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use actix_web::dev::ServerHandle;
use actix_web::{App, HttpServer};
use diesel::connection::SimpleConnection as _;
use diesel::prelude::*;
use diesel::sqlite::SqliteConnection;
use diesel_async::SimpleAsyncConnection as _;
use realtime_actix::{ChangeSource, Connect, Principal, Realtime, prepare_connection};
use tempfile::TempDir;
use tokio::sync::oneshot;

use crate::{ANN, Account, AllResources as _, POSTGRES_SCHEMA, SCHEMA, postgres, within};

type Configure = Box<dyn FnOnce(Connect) -> Connect + Send>;

/// The environment variable that makes the tests use PostgreSQL where it says `postgres`; SQLite otherwise.
pub const DATABASE: &str = "REALTIME_TEST_DATABASE";

/// The environment variable that makes the tests on PostgreSQL follow it by logical replication where it says
/// `replication`; by triggers otherwise.
pub const SOURCE: &str = "REALTIME_TEST_SOURCE";

/// Where the tests' changes come from on PostgreSQL.
pub fn change_source() -> ChangeSource {
    match std::env::var(SOURCE).as_deref() {
        Ok("replication") => ChangeSource::Replication,
        _ => ChangeSource::Triggers,
    }
}

/// Do the tests use PostgreSQL?
pub fn on_postgres() -> bool {
    std::env::var(DATABASE).is_ok_and(|database| database == "postgres")
}

/// A database, kept for as long as anybody has it. Clones are the same one.
#[derive(Clone, Debug)]
pub struct Store(Arc<Place>);

#[derive(Debug)]
enum Place {
    Memory,
    File {
        path: PathBuf,
        _directory: Option<TempDir>,
    },
    /// A PostgreSQL database of somebody else's.
    Elsewhere(String),
    Postgres(postgres::Database),
}

impl Store {
    /// A fresh one: a SQLite file in a temporary directory, or PostgreSQL where the environment says so.
    ///
    /// # Panics
    /// Where there can be none.
    pub fn fresh() -> Self {
        if on_postgres() { Self::postgres() } else { Self::sqlite() }
    }

    /// A fresh SQLite file in a temporary directory.
    ///
    /// # Panics
    /// Where there can be none.
    pub fn sqlite() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        Self(Arc::new(Place::File { path: directory.path().join("test.db"), _directory: Some(directory) }))
    }

    /// One in memory, which only the service can open: of SQLite, or a fresh one where the environment says PostgreSQL.
    pub fn memory() -> Self {
        if on_postgres() { Self::postgres() } else { Self(Arc::new(Place::Memory)) }
    }

    /// A database that stays: a SQLite file, or a PostgreSQL database by its URL.
    pub fn at(place: &str) -> Self {
        Self(Arc::new(if place.starts_with("postgres") {
            Place::Elsewhere(place.to_owned())
        } else {
            Place::File { path: place.into(), _directory: None }
        }))
    }

    /// A fresh one of PostgreSQL.
    pub fn postgres() -> Self {
        Self::of(postgres::Database::create())
    }

    /// A database of PostgreSQL.
    pub fn of(database: postgres::Database) -> Self {
        Self(Arc::new(Place::Postgres(database)))
    }

    /// Its URL.
    pub fn url(&self) -> String {
        match &*self.0 {
            Place::Memory => "sqlite::memory:".to_owned(),
            Place::File { path, .. } => format!("sqlite://{}", path.display()),
            Place::Postgres(database) => database.url(),
            Place::Elsewhere(url) => url.clone(),
        }
    }

    /// The database's file.
    ///
    /// # Panics
    /// Where it is none.
    pub fn path(&self) -> &Path {
        match &*self.0 {
            Place::File { path, .. } => path,
            _ => panic!("the database is no file"),
        }
    }

    /// Runs SQL with the `psql` program: see [`postgres::Database::psql`].
    ///
    /// # Panics
    /// Where it fails, or the database is not PostgreSQL.
    pub fn psql(&self, sql: &str) -> String {
        match &*self.0 {
            Place::Postgres(database) => database.psql(sql),
            _ => panic!("the database is not PostgreSQL"),
        }
    }

    /// A connection of the application's own, which the service knows nothing of.
    ///
    /// # Panics
    /// Where the database is in memory or cannot be opened.
    pub fn connection(&self) -> OwnConnection {
        match &*self.0 {
            Place::Memory => panic!("the database is in memory"),
            Place::File { path, .. } => {
                let mut connection =
                    SqliteConnection::establish(&path.to_string_lossy()).expect("the database");
                connection
                    .batch_execute("PRAGMA busy_timeout = 60000; PRAGMA foreign_keys = ON;")
                    .expect("pragmas");
                OwnConnection(Own::Sqlite(connection))
            }
            Place::Postgres(_) | Place::Elsewhere(_) => OwnConnection(Own::Postgres(self.url())),
        }
    }
}

/// A connection that is not the service's.
pub struct OwnConnection(Own);

enum Own {
    Sqlite(SqliteConnection),
    /// Each statement is another process.
    Postgres(String),
}

impl OwnConnection {
    /// Runs SQL.
    ///
    /// # Errors
    /// What the database said.
    pub fn batch_execute(&mut self, sql: &str) -> Result<(), String> {
        match &mut self.0 {
            Own::Sqlite(connection) => connection.batch_execute(sql).map_err(|error| error.to_string()),
            Own::Postgres(url) => postgres::execute(url, sql),
        }
    }

    /// Runs SQL in one transaction.
    ///
    /// # Errors
    /// What the database said.
    pub fn transact(&mut self, sql: &str) -> Result<(), String> {
        let begin = if matches!(self.0, Own::Sqlite(_)) { "BEGIN IMMEDIATE" } else { "BEGIN" };
        self.batch_execute(&format!("{begin}; {sql}; COMMIT"))
    }
}

/// A server before it is started.
#[must_use = "nothing happens until it is started"]
pub struct Setup {
    store: Store,
    workers: usize,
    configure: Vec<Configure>,
}

impl Setup {
    /// On a SQLite file in a temporary directory; on PostgreSQL where the environment says so.
    ///
    /// # Panics
    /// Where there can be no such database.
    pub fn file() -> Self {
        Self::on(&Store::fresh())
    }

    /// On a SQLite database in memory; on PostgreSQL where the environment says so.
    pub fn memory() -> Self {
        Self::on(&Store::memory())
    }

    /// On a database that may be there already.
    pub fn on(store: &Store) -> Self {
        Self { store: store.clone(), workers: 2, configure: Vec::new() }
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
        let url = self.store.url();
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
        Server { address, realtime, http, store: self.store, handle, thread: Some(thread) }
    }
}

type Started = Result<(SocketAddr, Realtime, ServerHandle), String>;

async fn serve(url: String, workers: usize, configure: Vec<Configure>, report: oneshot::Sender<Started>) {
    let source = if url.starts_with("postgres") { change_source() } else { ChangeSource::default() };
    let connect = Realtime::connect(url)
        .prepare(|connection| Ok(connection.batch_execute(SCHEMA)?))
        .prepare_postgres(|connection| {
            Box::pin(async move { Ok(connection.batch_execute(POSTGRES_SCHEMA).await?) })
        })
        .all_resources()
        .change_source(source)
        .everyone_is(Principal::user(ANN).with(Account { staff: true }));
    let connect = configure.into_iter().fold(connect, |connect, change| change(connect));
    let started = async {
        let realtime = connect.start().await.map_err(|error| error.to_string())?;
        let mounted = realtime.clone();
        let server = HttpServer::new(move || App::new().service(mounted.scope("/api")))
            .on_connect(prepare_connection)
            .h1_allow_half_closed(false)
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

/// A running server. Dropping it stops it.
pub struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) http: reqwest::Client,
    realtime: Realtime,
    store: Store,
    handle: ServerHandle,
    thread: Option<JoinHandle<()>>,
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

    /// Its database.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// A connection of the application's own, which the service knows nothing of.
    ///
    /// # Panics
    /// Where the database is in memory or cannot be opened.
    pub fn connection(&self) -> OwnConnection {
        self.store.connection()
    }

    /// Calls a function with the author of every comment that changes.
    pub fn on_comment(&self, observe: impl Fn(&Realtime, i32) + Send + 'static) {
        crate::models::on_comment(&self.realtime, observe);
    }

    /// Runs SQL in a transaction of the service.
    ///
    /// # Panics
    /// Where it fails.
    pub async fn write(&self, sql: impl Into<String>) {
        self.write_and(sql, || Ok(())).await.expect("the write succeeds");
    }

    /// Runs SQL and a function in a transaction of the service.
    ///
    /// # Errors
    /// What went wrong.
    pub async fn write_and(
        &self,
        sql: impl Into<String>,
        end: impl FnOnce() -> Result<(), String> + Send + 'static,
    ) -> Result<(), String> {
        let sql = sql.into();
        if matches!(*self.store.0, Place::Postgres(_) | Place::Elsewhere(_)) {
            let write = self.realtime.write_postgres(move |connection| {
                Box::pin(async move {
                    connection.batch_execute(&sql).await.map_err(|error| error.to_string())?;
                    end()
                })
            });
            within("a write", write).await.map_err(|error| error.to_string())
        } else {
            let write = self.realtime.write(move |connection| {
                connection.batch_execute(&sql).map_err(|error| error.to_string())?;
                end()
            });
            within("a write", write).await.map_err(|error| error.to_string())
        }
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
