//! SQLite: one thread that writes, a few connections that read.

mod glance;
mod readers;
mod schema;
mod transaction;
mod writer;

use std::path::PathBuf;
use std::sync::Arc;

use chrono::{SubsecRound as _, Utc};
use diesel::connection::{LoadConnection as _, SimpleConnection as _};
use diesel::result::Error as DieselError;
use diesel::sqlite::SqliteConnection;
use diesel::{Connection as _, ConnectionError};
use futures_util::FutureExt as _;
use realtime_core::action::{self, Failure, Outcome, Refusal, Request};
use realtime_core::commit;
use realtime_core::cursor::{Cursor, Epoch, Position};
use realtime_core::log::sqlite::{self as log, Reader};
use realtime_core::selection::Selection;
use realtime_core::sql::Table;
use realtime_core::{Context, PageKey, Principal};
use tokio::sync::mpsc;

use self::glance::Glance;
use self::readers::Readers;
use self::transaction::{SqliteTransaction, failure_of};
pub(crate) use self::writer::Pace;
use self::writer::Writer;
use super::turns::Turns;
use super::{Done, WriteError, Written};
use crate::gate::Gate;
use realtime_core::change::Batch;

type Backend = diesel::sqlite::Sqlite;

/// Rows of the log that are read at once for one who has missed them, and what of their last transaction is more.
const MISSED_ROWS: usize = 512;

/// Where a SQLite database is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Location {
    File(PathBuf),
    /// In memory, seen by the writer's connection only.
    Memory,
}

impl Location {
    /// Reads `sqlite://PATH` or `sqlite::memory:`.
    pub(crate) fn parse(url: &str) -> Option<Self> {
        match url.strip_prefix("sqlite:")? {
            ":memory:" | "//:memory:" => Some(Self::Memory),
            rest => {
                let path = rest.strip_prefix("//").unwrap_or(rest);
                (!path.is_empty()).then(|| Self::File(path.into()))
            }
        }
    }

    fn connect(&self) -> Result<SqliteConnection, ConnectionError> {
        let mut connection = match self {
            Self::Memory => SqliteConnection::establish(":memory:"),
            // Diesel would read a path that begins with `file:` as a URI.
            Self::File(path) => SqliteConnection::establish(
                &std::path::absolute(path).unwrap_or_else(|_| path.clone()).to_string_lossy(),
            ),
        }?;
        // `recursive_triggers`: without it a row that `INSERT OR REPLACE` removes is not seen by the triggers of views.
        connection
            .batch_execute(
                "PRAGMA busy_timeout = 5000; PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; \
                 PRAGMA foreign_keys = ON; PRAGMA recursive_triggers = ON;",
            )
            .and_then(|()| realtime_core::sql::sqlite::register_functions(&mut connection))
            .map_err(ConnectionError::CouldntSetupConfiguration)?;
        Ok(connection)
    }
}

/// What the application runs on the connection before the change log is looked at: its migrations.
pub(crate) type Prepare =
    Box<dyn FnOnce(&mut SqliteConnection) -> Result<(), Box<dyn std::error::Error + Send + Sync>> + Send>;

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
    Database(#[from] diesel::result::Error),
    #[error("the change log is not up to date; run these statements in a migration:\n{0}")]
    Outstanding(String),
    #[error("the writer thread cannot be started: {0}")]
    Thread(#[from] std::io::Error),
}

/// Opens the database and says which statements would bring its change log up to date.
pub(crate) fn outstanding(
    location: &Location,
    tables: &[Table<Backend>],
    prepare: Option<Prepare>,
) -> Result<Vec<String>, OpenError> {
    let mut connection = location.connect()?;
    if let Some(prepare) = prepare {
        prepare(&mut connection).map_err(OpenError::Prepare)?;
    }
    Ok(log::outstanding(&mut connection, &log::Watch::over(tables))?)
}

/// How a database is opened.
pub(crate) struct Options {
    pub(crate) location: Location,
    pub(crate) tables: Vec<Table<Backend>>,
    pub(crate) prepare: Option<Prepare>,
    /// Bring the change log up to date rather than insist that it is?
    pub(crate) install: bool,
    pub(crate) pace: Pace,
    /// The number of reading connections.
    pub(crate) readers: usize,
}

/// An open SQLite database.
pub(crate) struct Sqlite {
    tables: Arc<[Table<Backend>]>,
    writer: Writer,
    readers: Option<Readers>,
    turns: Turns,
    /// What its cursors bear.
    epoch: Epoch,
}

impl Sqlite {
    /// Opens the database, brings the change log up to date and starts the writer thread, which publishes every batch
    /// of changes from now on. Blocks.
    pub(crate) fn open(
        options: Options,
        feed: mpsc::Sender<Batch>,
    ) -> Result<(Self, (Epoch, PageKey), Position), OpenError> {
        let mut connection = options.location.connect()?;
        if let Some(prepare) = options.prepare {
            prepare(&mut connection).map_err(OpenError::Prepare)?;
        }
        let watch = log::Watch::over(&options.tables);
        connection.immediate_transaction(|connection| {
            let statements = log::outstanding(connection, &watch)?;
            if !options.install && !statements.is_empty() {
                return Err(OpenError::Outstanding(statements.join(";\n") + ";"));
            }
            for statement in &statements {
                connection.batch_execute(statement)?;
            }
            Ok(())
        })?;
        let mut random = [0; PageKey::BYTES];
        getrandom::fill(&mut random)
            .map_err(|error| DieselError::QueryBuilderError(error.to_string().into()))?;
        let begun = connection.immediate_transaction::<_, DieselError, _>(|connection| {
            Ok((log::begin_epoch(connection)?, log::page_key(connection, &random)?))
        })?;
        let glance = Glance::at(&options.location);
        let turns = Turns::of(options.readers);
        let readers = match options.location {
            Location::Memory => None,
            Location::File(_) => Some(Readers::new(options.location, options.readers)),
        };
        let (writer, position) = Writer::start(
            connection,
            glance,
            options.tables.clone(),
            feed,
            (watch, options.install),
            &options.pace,
        )?;
        let epoch = begun.0;
        Ok((Self { tables: options.tables.into(), writer, readers, turns, epoch }, begun, position))
    }

    /// Carries out a request that reads, and says at which position its answer is true.
    pub(crate) async fn read(
        &self,
        request: Request,
        principal: Principal,
    ) -> Result<(Outcome, Position), Refusal> {
        let tables = Arc::clone(&self.tables);
        self.read_with(move |connection| {
            let position = marked_position(connection)?;
            run(connection, &tables, &request, &principal)
                .map(|done| (done.outcome, position))
                .map_err(Stop::Refusal)
        })
        .await
    }

    /// Is the position the end of a transaction, and does the log hold everything after it?
    pub(crate) async fn reaches_back_to(
        &self,
        cursor: Cursor,
        is_wanted: impl Fn() -> bool,
    ) -> Result<bool, Refusal> {
        let _turn = self.turns.to_ask().await?;
        if !is_wanted() {
            return Ok(false);
        }
        let epoch = self.epoch;
        self.read_with(move |connection| {
            // Another process may have begun an epoch since, but what this one has handed out it knows.
            Ok((cursor.epoch == epoch || log::knows(connection, cursor)?)
                && log::reaches_back_to(connection, cursor.position)?)
        })
        .await
    }

    /// What the log has after a position, up to another one, or the first of it; `None` where the log no longer holds it.
    pub(crate) async fn read_log(&self, after: Position, until: Position) -> Result<Option<Batch>, Refusal> {
        let tables = Arc::clone(&self.tables);
        self.read_with(move |connection| {
            if !log::reaches_back_to(connection, after)? {
                return Ok(None);
            }
            // Anew each time: another process may have laid rows out otherwise meanwhile.
            let reader = Reader::new(connection, tables.to_vec())?;
            let read = reader.read_part(connection, after, until, MISSED_ROWS)?;
            for (resource, reason) in &read.corrupt {
                tracing::error!(resource = resource.0, reason, "a row of the change log cannot be read");
            }
            Ok(Some(read.batch))
        })
        .await
    }

    /// Runs code of the application in a transaction that only reads.
    pub(crate) async fn look<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut SqliteConnection) -> T + Send + 'static,
    ) -> Result<T, Refusal> {
        let read = move |connection: &mut SqliteConnection| {
            connection.transaction(|connection| Ok::<_, Stop>(work(connection)))
        };
        if let Some(readers) = &self.readers {
            return readers.run(read).await.map_err(Stop::into_refusal);
        }
        match self.writer.run(read).await {
            Ok(written) => Ok(written.value),
            Err(error) => Err(given_up(error, Stop::into_refusal)),
        }
    }

    /// Rows of a resource, and the position that they are true at. They are read one by one, so that no more of them are
    /// in memory than are wanted.
    pub(crate) async fn select<S: Selection>(&self, selection: S, epoch: Epoch) -> Result<S::Found, Refusal> {
        let _turn = self.turns.to_select().await?;
        let tables = Arc::clone(&self.tables);
        self.read_with(move |connection| {
            let mut selection = selection;
            let position = marked_position(connection)?;
            let table = &tables[selection.resource().0];
            let statement =
                selection.statement(table).map_err(|error| Stop::Refusal(Refusal::Fault(Box::new(error))))?;
            let at: Vec<usize> = (0..table.descriptor().fields.len()).collect();
            for row in connection.load(statement)? {
                let row = table.decode(&log::Cells(&row?), &at).map_err(DieselError::DeserializationError)?;
                if !selection.push(row) {
                    break;
                }
            }
            Ok(selection.finish(Cursor { epoch, position }))
        })
        .await
    }

    /// Runs a closure in one read transaction, so that what it reads belongs together.
    async fn read_with<T: Send + 'static>(
        &self,
        read: impl FnOnce(&mut SqliteConnection) -> Result<T, Stop> + Clone + Send + 'static,
    ) -> Result<T, Refusal> {
        let read = move |connection: &mut SqliteConnection| connection.transaction(read);
        if let Some(readers) = &self.readers {
            match readers.run(read.clone()).await {
                Err(Stop::BetweenMarks) => {}
                result => return result.map_err(Stop::into_refusal),
            }
        }
        // The writer marks what other connections have committed and lets none of them commit before it has read.
        match self.writer.run(read).await {
            Ok(written) => Ok(written.value),
            Err(error) => Err(given_up(error, Stop::into_refusal)),
        }
    }

    /// Carries out a request that writes.
    pub(crate) async fn write(
        &self,
        requests: Vec<Request>,
        principal: Principal,
        gate: Option<Gate>,
    ) -> Result<Written<Vec<Done>>, (usize, Refusal)> {
        let asked = Arc::new((Arc::clone(&self.tables), requests, principal));
        let in_commit = Arc::clone(&asked);
        let job = move |connection: &mut SqliteConnection| {
            let (tables, requests, principal) = asked.as_ref();
            let carried_out = requests.iter().enumerate().map(|(at, request)| {
                run(connection, tables, request, principal).map_err(|refusal| (at, refusal))
            });
            carried_out.collect()
        };
        let explain = move |connection: &mut SqliteConnection, done: Vec<Done>, error| {
            let (tables, requests, principal) = in_commit.as_ref();
            let context = Context { principal, now: Utc::now().trunc_subsecs(6) };
            let touched: Vec<_> = done.into_iter().map(|done| done.touched).collect();
            let mut transaction = SqliteTransaction::new(connection);
            let written = (requests.as_slice(), touched.as_slice());
            let refused = commit::refused(&mut transaction, tables, written, &context, failure_of(error))
                .now_or_never();
            WriteError::Refused(refused.unwrap_or_else(|| (0, had_to_wait())))
        };
        self.writer.run_explained(job, explain, gate).await.map_err(|error| match error {
            WriteError::Refused((at, refusal)) => {
                if matches!(refusal, Refusal::Unavailable(_)) {
                    self.writer.doubt();
                }
                (at, refusal)
            }
            error => (0, given_up(error, |(_, refusal)| refusal)),
        })
    }

    /// Carries out a request in an open transaction of the application's. One that is refused leaves it as it was.
    pub(crate) fn write_in(
        &self,
        connection: &mut SqliteConnection,
        request: &Request,
        principal: &Principal,
    ) -> Result<Done, Refusal> {
        let done = connection.transaction(|connection| {
            run(connection, &self.tables, request, principal).map_err(Stop::Refusal)
        });
        done.map_err(Stop::into_refusal)
    }

    /// Runs code of the application in a transaction of the writer thread.
    pub(crate) async fn run<T, E>(
        &self,
        job: impl FnOnce(&mut SqliteConnection) -> Result<T, E> + Send + 'static,
    ) -> Result<Written<T>, WriteError<E>>
    where
        T: Send + 'static,
        E: Send + 'static,
    {
        self.writer.run(job).await
    }

    /// Looks for other connections' commits at once.
    pub(crate) fn wake(&self) {
        self.writer.wake();
    }

    /// Does the writer thread live and reach its database?
    pub(crate) fn is_ready(&self) -> bool {
        self.writer.is_ready()
    }

    /// Finishes the writes that wait and ends the writer thread. Blocks.
    pub(crate) fn close(&self) {
        self.writer.close();
    }
}

/// The position that a read transaction sees, which must be one that may be named.
fn marked_position(connection: &mut SqliteConnection) -> Result<Position, Stop> {
    let position = log::newest(connection)?;
    if log::is_marked(connection, position)? { Ok(position) } else { Err(Stop::BetweenMarks) }
}

/// How a read transaction ends early.
enum Stop {
    Refusal(Refusal),
    Database(diesel::result::Error),
    /// Another connection has committed what no mark follows yet: the position is not one that may be named.
    BetweenMarks,
}

impl From<diesel::result::Error> for Stop {
    fn from(error: diesel::result::Error) -> Self {
        Self::Database(error)
    }
}

impl Stop {
    fn into_refusal(self) -> Refusal {
        match self {
            Self::Refusal(refusal) => refusal,
            Self::BetweenMarks => Refusal::Fault("the writer left the log without a mark".into()),
            Self::Database(error) => match failure_of(error) {
                Failure::Unavailable(source) => Refusal::Unavailable(source),
                Failure::Fault(source) => Refusal::Fault(source),
                _ => Refusal::Fault("a constraint failed while reading".into()),
            },
        }
    }
}

/// What a job that was not committed is answered with.
fn given_up<E>(error: WriteError<E>, refused: impl FnOnce(E) -> Refusal) -> Refusal {
    match error {
        WriteError::Refused(error) => refused(error),
        WriteError::Constraint(_) => commit::constraint().into(),
        WriteError::Unavailable(source) => Refusal::Unavailable(source),
        WriteError::Panicked => Refusal::Fault("the job panicked".into()),
    }
}

fn had_to_wait() -> Refusal {
    Refusal::Fault("a SQLite transaction had to wait".into())
}

fn run(
    connection: &mut SqliteConnection,
    tables: &[Table<Backend>],
    request: &Request,
    principal: &Principal,
) -> Result<Done, Refusal> {
    // Microseconds: what every database keeps, so that a stored time is the time that was answered.
    let context = Context { principal, now: Utc::now().trunc_subsecs(6) };
    let failed = |error| Stop::Database(error).into_refusal();
    let from = request.silent.then(|| log::newest(connection)).transpose().map_err(failed)?;
    let mut transaction = SqliteTransaction::new(connection);
    let outcome = action::run(&mut transaction, tables, request, &context)
        .now_or_never()
        .unwrap_or_else(|| Err(had_to_wait()))?;
    let (after_commit, touched) = transaction.into_parts();
    if let Some(from) = from {
        log::forget_after(connection, from).map_err(failed)?;
    }
    Ok(Done { outcome, after_commit, touched })
}
