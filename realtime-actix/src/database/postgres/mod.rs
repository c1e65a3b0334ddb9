//! PostgreSQL: a pool of connections for requests, and the feed, on threads of its own.
//!
//! Connections are driven and the log is followed on a runtime of its own, not on the workers, so that no worker's load
//! or end delays anybody else. A request is a task of its worker: one whose client has left is carried to its end, and a
//! panic ends nothing but itself.

mod commits;
mod connection;
mod copier;
mod feed;
mod install;
mod marker;
mod pruner;
mod transaction;

use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{SubsecRound as _, Utc};
use diesel::ConnectionError;
use diesel::pg::Pg;
use diesel::result::Error as DieselError;
use diesel::sql_types::{BigInt, Integer, Nullable};
use diesel_async::pooled_connection::deadpool::{Object, Pool};
use diesel_async::pooled_connection::{AsyncDieselConnectionManager, ManagerConfig, RecyclingMethod};
use diesel_async::{
    AnsiTransactionManager, AsyncConnectionCore as _, AsyncPgConnection, SimpleAsyncConnection as _,
    TransactionManager as _,
};
use futures_util::future::{BoxFuture, LocalBoxFuture};
use futures_util::{FutureExt as _, StreamExt as _};
use realtime_core::__private::read;
use realtime_core::action::{self, Failure, Operation, Outcome, Refusal, Request, Transaction as _};
use realtime_core::change::Batch;
use realtime_core::commit;
use realtime_core::cursor::{Cursor, Epoch, Position};
use realtime_core::log::postgres::{self as log, Capture, Mark, Reader};
use realtime_core::selection::Selection;
use realtime_core::sql::postgres::functions::{self, Encoding};
use realtime_core::sql::{Statement, Table};
use realtime_core::{Context, PageKey, Principal};
use tokio::runtime::{Handle, Runtime};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::{JoinError, JoinHandle};
use tokio::time::timeout;

use self::commits::Commits;
pub(crate) use self::connection::Target;
use self::connection::{first, on};
use self::copier::{Copied, Copier};
use self::feed::{Feed, Progress, read_part};
use self::install::Started;
use self::marker::Marker;
use self::pruner::Pruner;
use self::transaction::{PgTransaction, SAVEPOINT, failure_of, is_constraint, is_full};
use super::turns::{Turn, Turns};
use super::{Done, WriteError, Written};
use crate::gate::Gate;
use crate::realtime::ChangeSource;

/// Threads that drive connections, decode the log and encode nothing.
const THREADS: usize = 2;

/// Rows of the log that are read at once for one who has missed them, and what of their last mark is more.
const MISSED_ROWS: i64 = 512;

/// How long a request waits for a connection.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(10);

/// How long closing waits for requests that run.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(10);

/// Why a request is not carried out, or no longer waited for.
const SILENT: &str = "the database does not answer";

const READ: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
const WRITE: &str = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE";

/// What the application runs on a connection before the change log is looked at: its migrations.
pub(crate) type Prepare = Box<
    dyn for<'c> FnOnce(
            &'c mut AsyncPgConnection,
        ) -> BoxFuture<'c, Result<(), Box<dyn std::error::Error + Send + Sync>>>
        + Send,
>;

/// Why a database could not be opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    #[error(transparent)]
    Connect(#[from] ConnectionError),
    #[error(transparent)]
    Prepare(Box<dyn std::error::Error + Send + Sync>),
    #[error(transparent)]
    Install(#[from] log::InstallError),
    #[error(transparent)]
    Database(#[from] DieselError),
    #[error("the change log cannot be installed: {error}; the statement was: {statement}")]
    Refused { statement: String, error: DieselError },
    #[error("the change log is not up to date; run these statements in a migration:\n{0}")]
    Outstanding(String),
    #[error(transparent)]
    Log(#[from] LogError),
    #[error(
        "the replication slot cannot be made, which takes one of max_replication_slots and the end of the transactions that \
         write just then: {0}"
    )]
    Slot(DieselError),
    #[error("logical replication cannot begin, which takes one of max_wal_senders: {0}")]
    Stream(LogError),
    #[error("the pool cannot be made: {0}")]
    Pool(#[from] diesel_async::pooled_connection::deadpool::BuildError),
    #[error("the threads cannot be started: {0}")]
    Threads(#[from] std::io::Error),
    #[error("opening it panicked")]
    Panicked,
}

/// Why the log could not be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LogError {
    #[error(transparent)]
    Connect(#[from] ConnectionError),
    #[error(transparent)]
    Database(#[from] DieselError),
    #[error("the log has no marks where it should have")]
    NoMark,
    #[error(
        "another database has taken its place, or it has been set back: the service must be started anew"
    )]
    AnotherLog,
    #[error("others made marks all the time")]
    Overtaken,
    #[error("logical replication: {0}")]
    Stream(#[from] pgwire_replication::PgWireError),
    #[error("logical replication: {0}")]
    Message(#[from] log::MessageError),
    #[error("logical replication stands still")]
    Still,
    #[error("another service has copied the same; trying on")]
    AnotherCopied,
    #[error("a service with other resources has been started on the database; start this one anew")]
    AnotherWatch,
    #[error(
        "the log does not say where its copying stands: the service must be started anew, and begins a new epoch"
    )]
    NoSlot,
}

/// Opens the database and says which statements would bring its change log up to date. Blocks.
pub(crate) fn outstanding(
    target: &Target,
    tables: &[Table<Pg>],
    prepare: Option<Prepare>,
    source: ChangeSource,
) -> Result<Vec<String>, OpenError> {
    let asking = async {
        let mut connection = target.connect().await?;
        if let Some(prepare) = prepare {
            prepare(&mut connection).await.map_err(OpenError::Prepare)?;
        }
        Ok(install::outstanding(&mut connection, tables, source).await?.0)
    };
    // On a thread of its own: the caller's may belong to a runtime already.
    std::thread::scope(|scope| {
        let thread = scope.spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(asking)
        });
        thread.join().unwrap_or(Err(OpenError::Panicked))
    })
}

/// How a database is opened.
pub(crate) struct Options {
    pub(crate) target: Target,
    pub(crate) tables: Vec<Table<Pg>>,
    pub(crate) prepare: Option<Prepare>,
    /// Bring the change log up to date rather than insist that it is?
    pub(crate) install: bool,
    /// Where changes come from.
    pub(crate) source: ChangeSource,
    /// How often other processes' commits are looked for.
    pub(crate) poll: Duration,
    /// Requests that may wait or run.
    pub(crate) waiting: usize,
    /// Rows that the log keeps.
    pub(crate) feed_rows: u32,
    /// Seconds for which it keeps them.
    pub(crate) feed_seconds: u32,
    /// Connections for requests.
    pub(crate) connections: usize,
}

/// An open PostgreSQL database.
pub(crate) struct Postgres {
    shared: Arc<Shared>,
    handle: Handle,
    runtime: Mutex<Option<Runtime>>,
    feed: Mutex<Option<JoinHandle<()>>>,
}

/// What requests need.
struct Shared {
    tables: Arc<[Table<Pg>]>,
    source: ChangeSource,
    pool: Pool<AsyncPgConnection>,
    marker: Arc<Marker>,
    commits: Arc<Commits>,
    progress: Arc<Progress>,
    waiting: Arc<Semaphore>,
    most_waiting: u32,
    turns: Turns,
    /// May a commit be refused?
    defers: AtomicBool,
}

impl Postgres {
    /// Opens the database, brings the change log up to date and starts the feed, which publishes every batch of changes
    /// from now on.
    pub(crate) async fn open(
        options: Options,
        sender: mpsc::Sender<Batch>,
    ) -> Result<(Self, (Epoch, PageKey), Position), OpenError> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(THREADS)
            .thread_name("realtime-postgres")
            .enable_all()
            .build()?;
        let handle = runtime.handle().clone();
        match handle.spawn(start(options, sender)).await.unwrap_or(Err(OpenError::Panicked)) {
            Ok((shared, feed, begun)) => {
                let position = shared.progress.newest();
                let feed = Mutex::new(Some(handle.spawn(feed.run())));
                Ok((
                    Self { shared: Arc::new(shared), handle, runtime: Mutex::new(Some(runtime)), feed },
                    begun,
                    position,
                ))
            }
            Err(error) => {
                runtime.shutdown_background();
                Err(error)
            }
        }
    }

    /// Carries out a request that reads, and says at which position its answer is true. That is asked of lists only;
    /// with other answers it is a position that is not after them.
    pub(crate) async fn read(
        &self,
        request: Request,
        principal: Principal,
    ) -> Result<(Outcome, Position), Refusal> {
        let shared = Arc::clone(&self.shared);
        let permit = shared.permit().map_err(Refusal::Unavailable)?;
        self.carry_out(async move {
            let _permit = permit;
            let mut connection = shared.connection().await?;
            let result = async {
                let position = if matches!(request.operation, Operation::List(_)) {
                    shared.begin_read(&mut connection).await?
                } else {
                    shared.progress.newest()
                };
                let done = run(&mut connection, &shared.tables, &request, &principal, shared.source).await?;
                Ok((done.outcome, position))
            };
            let result = result.await;
            end_read(connection).await;
            result
        })
        .await
    }

    /// Is the position the end of a transaction, and does the log hold everything after it?
    pub(crate) async fn reaches_back_to(
        &self,
        cursor: Cursor,
        is_wanted: impl Fn() -> bool,
    ) -> Result<bool, Refusal> {
        let shared = Arc::clone(&self.shared);
        let turn = self.turn(shared.turns.to_ask()).await?;
        if !is_wanted() {
            return Ok(false);
        }
        self.carry_out(async move {
            let _turn = turn;
            let mut connection = shared.connection().await?;
            // The log holds what is after its oldest mark.
            Ok(first(&mut connection, log::known_mark(cursor), Mark::read).await?.is_some())
        })
        .await
    }

    /// What the log has after a position, up to another one, or the first of it; `None` where the log no longer holds it.
    pub(crate) async fn read_log(&self, after: Position, until: Position) -> Result<Option<Batch>, Refusal> {
        let shared = Arc::clone(&self.shared);
        self.carry_out(async move {
            let mut connection = shared.connection().await?;
            // One snapshot for all of it, so that nothing is pruned in between.
            let result = async {
                AnsiTransactionManager::begin_transaction_sql(&mut *connection, READ).await?;
                let Some(mark) = first(&mut connection, log::mark_at(after), Mark::read).await? else {
                    return Ok(None);
                };
                let mut reader = Reader::new(shared.tables.to_vec());
                let (read, _) =
                    read_part(&mut connection, &mut reader, &mark, until, MISSED_ROWS, || ()).await?;
                for (resource, reason) in &read.corrupt {
                    tracing::error!(resource = resource.0, reason, "a row of the change log cannot be read");
                }
                Ok(Some(read.batch))
            };
            let result = result.await;
            end_read(connection).await;
            result
        })
        .await
    }

    /// Rows of a resource, and the position that they are true at. They are taken one by one, so that no more of them are
    /// in memory than are wanted.
    pub(crate) async fn select<S: Selection>(
        &self,
        mut selection: S,
        epoch: Epoch,
    ) -> Result<S::Found, Refusal> {
        let shared = Arc::clone(&self.shared);
        let turn = self.turn(shared.turns.to_select()).await?;
        self.carry_out(async move {
            let _turn = turn;
            let mut connection = shared.connection().await?;
            let result = async {
                let position = shared.begin_read(&mut connection).await?;
                let table = &shared.tables[selection.resource().0];
                let statement =
                    selection.statement(table).map_err(|error| Refusal::Fault(Box::new(error)))?;
                let at: Vec<usize> = (0..table.descriptor().fields.len()).collect();
                let mut rows = connection.load(statement).await?;
                while let Some(row) = rows.next().await {
                    let row =
                        table.decode(&log::Cells(&row?), &at).map_err(DieselError::DeserializationError)?;
                    if !selection.push(row) {
                        break;
                    }
                }
                Ok(selection.finish(Cursor { epoch, position }))
            };
            let result = result.await;
            end_read(connection).await;
            result
        })
        .await
    }

    /// Carries out a request that writes.
    pub(crate) async fn write(
        &self,
        requests: Vec<Request>,
        principal: Principal,
        gate: Option<Gate>,
    ) -> Result<Written<Vec<Done>>, (usize, Refusal)> {
        let work = Requested { shared: Arc::clone(&self.shared), requests, principal, done: Vec::new() };
        self.shared.answers().map_err(|source| (0, Refusal::Unavailable(source)))?;
        let written = tokio::select! {
            biased;
            ended = actix_web::rt::spawn(self.transaction(work, gate)) => finished(ended),
            // It is carried to its end, whatever that will be: nobody can say now.
            () = self.shared.progress.lost() => Err(WriteError::Unavailable(SILENT.into())),
        };
        let written = written.map_err(|error| match error {
            WriteError::Refused((at, stop)) => (at, self.shared.refusal(stop)),
            WriteError::Constraint(_) => (0, commit::constraint().into()),
            WriteError::Unavailable(source) => (0, Refusal::Unavailable(source)),
            WriteError::Panicked => (0, Refusal::Fault("the request panicked".into())),
        });
        match &written {
            Ok(_) => self.shared.progress.found_room(true),
            Err((_, Refusal::Unavailable(source))) if is_full(source.as_ref()) => {
                self.shared.progress.found_room(false);
            }
            Err(_) => {}
        }
        written.map(|written| Written {
            value: written.value.done,
            position: written.position,
            hold: written.hold,
        })
    }

    /// Carries out a request in an open transaction of the application's. One that is refused leaves it as it was.
    pub(crate) async fn write_in(
        &self,
        connection: &mut AsyncPgConnection,
        request: &Request,
        principal: &Principal,
    ) -> Result<Done, Refusal> {
        let refused = |error| self.shared.refusal(Stop::Database(error));
        connection.batch_execute(&format!("SAVEPOINT {SAVEPOINT}")).await.map_err(refused)?;
        let transaction = PgTransaction::nested(connection);
        let done = run_in(transaction, &self.shared.tables, request, principal, self.shared.source).await;
        let end = match &done {
            Ok(_) => format!("RELEASE SAVEPOINT {SAVEPOINT}"),
            Err(_) => format!("ROLLBACK TO SAVEPOINT {SAVEPOINT}; RELEASE SAVEPOINT {SAVEPOINT}"),
        };
        connection.batch_execute(&end).await.map_err(refused)?;
        done
    }

    /// Runs code of the application in a transaction.
    pub(crate) async fn run<T, E>(
        &self,
        work: impl for<'c> FnOnce(&'c mut AsyncPgConnection) -> BoxFuture<'c, Result<T, E>> + Send + 'static,
    ) -> Result<Written<T>, WriteError<E>>
    where
        T: Send + 'static,
        E: Send + 'static,
    {
        finished(self.handle.spawn(self.transaction(Given(work), None)).await)
    }

    /// The same as a task of the caller's worker, whose future may stay on its thread.
    pub(crate) async fn run_here<T, E>(
        &self,
        work: impl for<'c> FnOnce(&'c mut AsyncPgConnection) -> LocalBoxFuture<'c, Result<T, E>> + 'static,
    ) -> Result<Written<T>, WriteError<E>>
    where
        T: 'static,
        E: 'static,
    {
        finished(actix_web::rt::spawn(self.transaction(GivenHere(work), None)).await)
    }

    /// Runs code of the application in a transaction that only reads.
    pub(crate) async fn look<T: Send + 'static>(
        &self,
        work: impl for<'c> FnOnce(&'c mut AsyncPgConnection) -> BoxFuture<'c, T> + Send + 'static,
    ) -> Result<T, Refusal> {
        let permit = self.shared.permit().map_err(Refusal::Unavailable)?;
        let shared = Arc::clone(&self.shared);
        let job = async move {
            let _permit = permit;
            let mut connection = shared.connection().await?;
            AnsiTransactionManager::begin_transaction_sql(&mut *connection, READ).await?;
            let value = AssertUnwindSafe(work(&mut connection)).catch_unwind().await;
            end_read(connection).await;
            value.map_err(|_| Stop::Refusal(Refusal::Fault("the closure panicked".into())))
        };
        self.ended(self.handle.spawn(job).await)
    }

    /// A transaction to be run as a task, which wakes the feed in the end.
    fn transaction<W: Work>(
        &self,
        work: W,
        gate: Option<Gate>,
    ) -> impl Future<Output = Transacted<W>> + use<W> {
        let shared = Arc::clone(&self.shared);
        async move {
            let _permit = shared.permit().map_err(WriteError::Unavailable)?;
            let written = shared.transact(work, gate).await?;
            shared.progress.wake();
            Ok(written)
        }
    }

    /// Waits for a turn, as long as the database answers: those who have one now would not end soon.
    async fn turn(&self, turn: impl Future<Output = Result<Turn, Refusal>>) -> Result<Turn, Refusal> {
        self.shared.answers().map_err(Refusal::Unavailable)?;
        tokio::select! {
            biased;
            turn = turn => turn,
            () = self.shared.progress.lost() => Err(Refusal::Unavailable(SILENT.into())),
        }
    }

    /// Carries out what reads as a task of the worker.
    async fn carry_out<T: 'static>(
        &self,
        job: impl Future<Output = Result<T, Stop>> + 'static,
    ) -> Result<T, Refusal> {
        self.shared.answers().map_err(Refusal::Unavailable)?;
        tokio::select! {
            biased;
            ended = actix_web::rt::spawn(job) => self.ended(ended),
            () = self.shared.progress.lost() => Err(Refusal::Unavailable(SILENT.into())),
        }
    }

    fn ended<T>(&self, result: Result<Result<T, Stop>, JoinError>) -> Result<T, Refusal> {
        match result {
            Ok(result) => result.map_err(|stop| self.shared.refusal(stop)),
            Err(error) if error.is_panic() => Err(Refusal::Fault("the request panicked".into())),
            Err(_) => Err(Refusal::Unavailable("the database has been closed".into())),
        }
    }

    /// Looks for other connections' commits at once.
    pub(crate) fn wake(&self) {
        self.shared.progress.wake();
    }

    /// Does the feed reach its database, and is there room to write?
    pub(crate) fn is_ready(&self) -> bool {
        self.shared.progress.is_ready()
    }

    /// Finishes the requests that run, publishes what they changed and ends the threads. Blocks.
    pub(crate) fn close(&self) {
        let feed = self.feed.lock().unwrap_or_else(PoisonError::into_inner).take();
        let runtime = self.runtime.lock().unwrap_or_else(PoisonError::into_inner).take();
        let (Some(feed), Some(runtime)) = (feed, runtime) else { return };
        runtime.block_on(async {
            let finished = async {
                let _ = self.shared.waiting.acquire_many(self.shared.most_waiting).await;
                self.shared.turns.all_finished().await;
            };
            // What is not finished in time is rolled back by the server.
            let _ = timeout(CLOSE_TIMEOUT, finished).await;
            self.shared.progress.close();
            let _ = timeout(CLOSE_TIMEOUT, feed).await;
        });
        runtime.shutdown_background();
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // Not waited for: this may be a thread of another runtime.
        if let Some(runtime) = self.runtime.lock().unwrap_or_else(PoisonError::into_inner).take() {
            runtime.shutdown_background();
        }
    }
}

async fn start(
    options: Options,
    sender: mpsc::Sender<Batch>,
) -> Result<(Shared, Feed, (Epoch, PageKey)), OpenError> {
    let mut connection = options.target.connect().await?;
    if let Some(prepare) = options.prepare {
        prepare(&mut connection).await.map_err(OpenError::Prepare)?;
    }
    let Started { mut epoch, page_key, replicated } =
        install::install(&mut connection, &options.tables, options.install, options.source).await?;
    let watch = log::Watch::over(&options.tables);
    if let Some(replicated) = &replicated {
        epoch = install::slot(&mut connection, replicated, &watch, epoch).await?;
    }
    let tables = in_its_encoding(&mut connection, options.tables).await?;
    let deferrable =
        first(&mut connection, deferrable(), |columns| read::<i64, BigInt, Pg>(columns, 0)).await?;
    drop(connection);
    let copied = replicated.is_some().then(|| Arc::new(Copied::new()));
    let marker = Arc::new(Marker::new(options.target.clone(), epoch, copied.clone()));
    // Whose position it is to know is told when it is known.
    let progress = Arc::new(Progress::new(Position(0)));
    if let Some((replicated, copied)) = replicated.zip(copied) {
        let mut copier = Copier {
            target: options.target.clone(),
            marker: Arc::clone(&marker),
            copied,
            capture: Capture::new(&watch, replicated.schema(), |table| replicated.schema_of(table)),
            watch,
            publication: replicated.publication(),
        };
        let stream = copier.begin().await.map_err(OpenError::Stream)?;
        tokio::spawn(copier.run(stream, Arc::clone(&progress)));
    }
    // What was written while nobody watched ends here.
    let position = marker.look(true).await?.position;
    let mut connection = marker.connect().await?;
    let published =
        first(&mut connection, log::mark_at(position), Mark::read).await?.ok_or(LogError::NoMark)?;
    progress.reach(position);
    progress.publish(position);
    let commits = Arc::new(Commits::default());
    let feed = Feed {
        marker: Arc::clone(&marker),
        commits: Arc::clone(&commits),
        progress: Arc::clone(&progress),
        reader: Reader::new(tables.clone()),
        connection: Some(connection),
        sender,
        published,
        poll: options.poll,
        patience: options.target.patience(),
    };
    let pruner = Pruner {
        marker: Arc::clone(&marker),
        progress: Arc::clone(&progress),
        rows: i64::from(options.feed_rows.max(1)),
        seconds: options.feed_seconds.max(1),
    };
    tokio::spawn(pruner.run());
    let target = options.target;
    let mut config = ManagerConfig::<AsyncPgConnection>::default();
    let runtime = Handle::current();
    config.custom_setup = Box::new(move |_| {
        let (target, runtime) = (target.clone(), runtime.clone());
        async move { on(&runtime, async move { target.connect().await }).await }.boxed()
    });
    // A connection that has ended or is in a transaction is found without asking the server.
    config.recycling_method = RecyclingMethod::Fast;
    let manager = AsyncDieselConnectionManager::new_with_config(String::new(), config);
    let pool = Pool::builder(manager).max_size(options.connections.max(1)).build()?;
    let most_waiting =
        u32::try_from(options.waiting.max(1)).unwrap_or(u32::MAX).min(Semaphore::MAX_PERMITS as u32);
    let shared = Shared {
        tables: tables.into(),
        source: options.source,
        pool,
        marker,
        commits,
        progress,
        waiting: Arc::new(Semaphore::new(most_waiting as usize)),
        turns: Turns::of(options.connections),
        most_waiting,
        defers: AtomicBool::new(deferrable.is_some_and(|count| count > 0)),
    };
    Ok((shared, feed, (epoch, page_key)))
}

/// The tables as they are in the encoding of the database.
async fn in_its_encoding(
    connection: &mut AsyncPgConnection,
    tables: Vec<Table<Pg>>,
) -> Result<Vec<Table<Pg>>, OpenError> {
    let code =
        first(connection, functions::encoding(), |columns| read::<i32, Integer, Pg>(columns, 0)).await?;
    let encoding = Encoding::from_code(code.ok_or(DieselError::NotFound)?);
    Ok(tables.into_iter().map(|table| table.in_encoding(encoding)).collect())
}

type Unavailable = Box<dyn std::error::Error + Send + Sync>;

impl Shared {
    /// While the feed waits for an answer in vain, so would everybody else.
    fn answers(&self) -> Result<(), Unavailable> {
        if self.progress.is_healthy() { Ok(()) } else { Err(SILENT.into()) }
    }

    /// To wait for a connection. Those who catch up need none: they have queues of their own.
    fn permit(&self) -> Result<tokio::sync::OwnedSemaphorePermit, Unavailable> {
        Arc::clone(&self.waiting)
            .try_acquire_owned()
            .map_err(|_| "too many requests wait for the database".into())
    }

    async fn connection(&self) -> Result<Object<AsyncPgConnection>, Stop> {
        match timeout(CONNECTION_TIMEOUT, self.pool.get()).await {
            Ok(Ok(connection)) => Ok(connection),
            Ok(Err(error)) => Err(Stop::Unavailable(Box::new(error))),
            Err(error) => Err(Stop::Unavailable(Box::new(error))),
        }
    }

    /// Begins a transaction that keeps one snapshot, and gives the position at which what it reads is true.
    async fn begin_read(&self, connection: &mut AsyncPgConnection) -> Result<Position, LogError> {
        let position = self.marker.begin_read(connection).await?;
        if position > self.progress.newest() {
            // What it sees is to be told at once, as the caller may wait for it.
            self.progress.wake();
        }
        Ok(position)
    }

    async fn transact<W: Work>(&self, work: W, gate: Option<Gate>) -> Transacted<W> {
        let unavailable = |error: DieselError| WriteError::Unavailable(Box::new(error));
        let mut connection = self.connection().await.map_err(|stop| match stop {
            Stop::Unavailable(source) => WriteError::Unavailable(source),
            _ => WriteError::Unavailable("there is no connection".into()),
        })?;
        AnsiTransactionManager::begin_transaction_sql(&mut *connection, WRITE).await.map_err(unavailable)?;
        let value = match AssertUnwindSafe(work.run(&mut connection)).catch_unwind().await {
            Ok(Ok(value)) => value,
            Ok(Err(error)) => {
                roll_back(connection).await;
                return Err(WriteError::Refused(error));
            }
            Err(_) => {
                tracing::error!("a transaction panicked and is rolled back");
                // Not back into the pool: whatever state it is in, closing it rolls back.
                drop(Object::take(connection));
                return Err(WriteError::Panicked);
            }
        };
        if self.defers.load(Ordering::Relaxed)
            && let Err(error) = connection.batch_execute(&settle()).await
        {
            if !is_constraint(&error) {
                roll_back(connection).await;
                return Err(unavailable(error));
            }
            let refused = AssertUnwindSafe(W::refused(&mut connection, value, error)).catch_unwind().await;
            roll_back(connection).await;
            return Err(refused.unwrap_or(WriteError::Panicked));
        }
        // Asked also for its own sake: a transaction of which a failed statement was passed over would be rolled back by
        // its commit without a word.
        let xid = first(&mut connection, transaction_id(), |columns| {
            read::<Option<i64>, Nullable<BigInt>, Pg>(columns, 0)
        });
        let xid = match xid.await {
            Ok(xid) => xid.flatten(),
            Err(error) => {
                roll_back(connection).await;
                return Err(unavailable(error));
            }
        };
        let place = gate.zip(xid).map(|(gate, xid)| self.commits.announce(xid.unsigned_abs(), gate));
        match AnsiTransactionManager::commit_transaction(&mut *connection).await {
            Ok(()) => {
                let hold = place.and_then(commits::Place::committed);
                Ok(Written { value, position: self.progress.newest(), hold })
            }
            Err(error) => {
                drop(Object::take(connection));
                if !is_constraint(&error) {
                    return Err(unavailable(error));
                }
                // The schema has changed.
                self.defers.store(true, Ordering::Relaxed);
                Err(WriteError::Constraint(error))
            }
        }
    }

    fn refusal(&self, stop: Stop) -> Refusal {
        match stop {
            Stop::Refusal(Refusal::Fault(source)) => self.fault(source),
            Stop::Refusal(refusal) => refusal,
            Stop::Unavailable(source) => Refusal::Unavailable(source),
            Stop::Log(LogError::Database(error)) | Stop::Database(error) => match failure_of(error) {
                Failure::Unavailable(source) => Refusal::Unavailable(source),
                Failure::Fault(source) => self.fault(source),
                _ => Refusal::Fault("a constraint failed while reading".into()),
            },
            Stop::Log(error) => Refusal::Unavailable(Box::new(error)),
        }
    }

    /// A failure that nobody has a name for, while the database cannot be used, is that it cannot.
    fn fault(&self, source: Box<dyn std::error::Error + Send + Sync>) -> Refusal {
        let of_the_database = source
            .downcast_ref::<DieselError>()
            .is_some_and(|error| matches!(error, DieselError::DatabaseError(..)));
        if of_the_database && !self.progress.is_healthy() {
            Refusal::Unavailable(source)
        } else {
            Refusal::Fault(source)
        }
    }
}

/// What a transaction came to.
type Transacted<W> = Result<Written<<W as Work>::Value>, WriteError<<W as Work>::Error>>;

/// What is done in a transaction.
trait Work: 'static {
    type Value: 'static;
    type Error: 'static;

    async fn run(self, connection: &mut AsyncPgConnection) -> Result<Self::Value, Self::Error>;

    /// What it comes to where a constraint refuses the commit. The transaction is open, with a savepoint from before the
    /// constraint was asked.
    async fn refused(
        connection: &mut AsyncPgConnection,
        value: Self::Value,
        error: DieselError,
    ) -> WriteError<Self::Error> {
        let _ = (connection, value);
        WriteError::Constraint(error)
    }
}

/// A closure of the application's.
struct Given<F>(F);

impl<F, T, E> Work for Given<F>
where
    F: for<'c> FnOnce(&'c mut AsyncPgConnection) -> BoxFuture<'c, Result<T, E>> + 'static,
    T: 'static,
    E: 'static,
{
    type Value = T;
    type Error = E;

    async fn run(self, connection: &mut AsyncPgConnection) -> Result<T, E> {
        (self.0)(connection).await
    }
}

/// A closure of the application's whose future stays on its thread.
struct GivenHere<F>(F);

impl<F, T, E> Work for GivenHere<F>
where
    F: for<'c> FnOnce(&'c mut AsyncPgConnection) -> LocalBoxFuture<'c, Result<T, E>> + 'static,
    T: 'static,
    E: 'static,
{
    type Value = T;
    type Error = E;

    async fn run(self, connection: &mut AsyncPgConnection) -> Result<T, E> {
        (self.0)(connection).await
    }
}

/// Requests of a client.
struct Requested {
    shared: Arc<Shared>,
    requests: Vec<Request>,
    principal: Principal,
    /// What those of them have come to that are carried out.
    done: Vec<Done>,
}

impl Work for Requested {
    type Value = Self;
    type Error = (usize, Stop);

    async fn run(mut self, connection: &mut AsyncPgConnection) -> Result<Self, (usize, Stop)> {
        self.done.reserve_exact(self.requests.len());
        for (at, request) in self.requests.iter().enumerate() {
            let carried_out =
                run(connection, &self.shared.tables, request, &self.principal, self.shared.source).await;
            self.done.push(carried_out.map_err(|refusal| (at, Stop::Refusal(refusal)))?);
        }
        Ok(self)
    }

    async fn refused(
        connection: &mut AsyncPgConnection,
        value: Self,
        error: DieselError,
    ) -> WriteError<(usize, Stop)> {
        let context = Context { principal: &value.principal, now: Utc::now().trunc_subsecs(6) };
        let touched: Vec<_> = value.done.into_iter().map(|done| done.touched).collect();
        let mut transaction = PgTransaction::nested_and_failed(connection);
        let written = (value.requests.as_slice(), touched.as_slice());
        let refused =
            commit::refused(&mut transaction, &value.shared.tables, written, &context, failure_of(error))
                .await;
        WriteError::Refused((refused.0, Stop::Refusal(refused.1)))
    }
}

/// What a task came to.
fn finished<T, E>(
    result: Result<Result<Written<T>, WriteError<E>>, JoinError>,
) -> Result<Written<T>, WriteError<E>> {
    match result {
        Ok(written) => written,
        Err(error) if error.is_panic() => Err(WriteError::Panicked),
        Err(_) => Err(WriteError::Unavailable("the database has been closed".into())),
    }
}

/// How a request ends early.
enum Stop {
    Refusal(Refusal),
    Database(DieselError),
    Log(LogError),
    Unavailable(Unavailable),
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Self::Refusal(refusal)
    }
}

impl From<DieselError> for Stop {
    fn from(error: DieselError) -> Self {
        Self::Database(error)
    }
}

impl From<LogError> for Stop {
    fn from(error: LogError) -> Self {
        Self::Log(error)
    }
}

/// The number of a transaction that has written.
fn transaction_id() -> Statement<Pg> {
    Statement::new("SELECT pg_current_xact_id_if_assigned()::text::bigint")
}

/// Asks constraints that are deferred. What they refuse can then be looked for, from the savepoint on; where a commit is
/// refused, everything is gone.
fn settle() -> String {
    format!("SAVEPOINT {SAVEPOINT}; SET CONSTRAINTS ALL IMMEDIATE")
}

/// Has the database constraints that a transaction may leave for its commit?
fn deferrable() -> Statement<Pg> {
    Statement::new("SELECT count(*) FROM pg_constraint WHERE condeferrable")
}

/// Ends a transaction that only read, if there is one.
async fn end_read(mut connection: Object<AsyncPgConnection>) {
    let status = AnsiTransactionManager::transaction_manager_status_mut(&mut *connection);
    if !matches!(status.transaction_depth(), Ok(None)) {
        roll_back(connection).await;
    }
}

async fn roll_back(mut connection: Object<AsyncPgConnection>) {
    if AnsiTransactionManager::rollback_transaction(&mut *connection).await.is_err() {
        // In doubt: closing it rolls back.
        drop(Object::take(connection));
    }
}

async fn run(
    connection: &mut AsyncPgConnection,
    tables: &[Table<Pg>],
    request: &Request,
    principal: &Principal,
    source: ChangeSource,
) -> Result<Done, Refusal> {
    run_in(PgTransaction::new(connection), tables, request, principal, source).await
}

async fn run_in(
    mut transaction: PgTransaction<'_>,
    tables: &[Table<Pg>],
    request: &Request,
    principal: &Principal,
    source: ChangeSource,
) -> Result<Done, Refusal> {
    // Microseconds: what every database keeps, so that a stored time is the time that was answered.
    let context = Context { principal, now: Utc::now().trunc_subsecs(6) };
    let failed = |failure| match failure {
        Failure::Unavailable(source) => Refusal::Unavailable(source),
        Failure::Fault(source) => Refusal::Fault(source),
        _ => Refusal::Fault("the log refuses to be silent".into()),
    };
    let from = match source {
        _ if !request.silent => None,
        ChangeSource::Triggers => Some(transaction.number(log::own_newest()).await.map_err(failed)?),
        ChangeSource::Replication => {
            transaction.execute(log::begin_silence()).await.map_err(failed)?;
            None
        }
    };
    let outcome = action::run(&mut transaction, tables, request, &context).await?;
    let silenced = match source {
        _ if !request.silent => Vec::new(),
        ChangeSource::Triggers => from.map(log::forget_own_after).into_iter().collect(),
        ChangeSource::Replication => log::end_silence(),
    };
    for statement in silenced {
        transaction.execute(statement).await.map_err(failed)?;
    }
    let (after_commit, touched) = transaction.into_parts();
    Ok(Done { outcome, after_commit, touched })
}
