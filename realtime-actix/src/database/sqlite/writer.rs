//! The one thread that writes to a SQLite database, and reads the change log.
//!
//! Jobs that wait are carried out together: one transaction, one savepoint for each job, one commit. The rows that they
//! added to the log are read in the same transaction and published right after the commit. When nothing is to be
//! written, `PRAGMA data_version` tells whether another connection has committed.
//!
//! A commit can be refused by foreign keys that are deferred until then. Where there are some, each job has a transaction
//! of its own, so that none fails for another one.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use chrono::Utc;
use diesel::connection::SimpleConnection as _;
use diesel::result::{DatabaseErrorKind, Error as DieselError};
use diesel::sqlite::SqliteConnection;
use diesel::{Connection as _, QueryResult};
use realtime_core::change::Batch;
use realtime_core::cursor::Position;
use realtime_core::log::sqlite::{self as log, Reader};
use realtime_core::sql::Table;
use tokio::sync::{mpsc, oneshot};

use super::glance::{Glance, Seen};
use super::schema::Schema;
use crate::database::{WriteError, Written};
use crate::gate::Gate;

/// Jobs that share a commit, at most. More would make the first ones wait without making the rest cheaper.
const JOBS_PER_COMMIT: usize = 128;

/// Rows of the log that one commit removes, at most.
const PRUNED_PER_COMMIT: usize = 1_000;

const MINUTE: Duration = Duration::from_secs(60);

/// After so long without a commit there are fewer looks: each time that a thread wakes up costs, even where nothing is new.
const QUIET_AFTER: Duration = Duration::from_secs(1);

/// How many times longer it then is between two of them.
const QUIET_POLL: u32 = 8;

/// How long a database that cannot be used is left alone before it is tried again.
const RETRY: Duration = Duration::from_millis(200);

/// A job, without its types.
trait Job: Send {
    /// Runs it in its savepoint; `false` rolls back.
    fn run(&mut self, connection: &mut SqliteConnection) -> bool;
    /// A constraint refuses the commit of the transaction, which is still open.
    fn refused(&mut self, connection: &mut SqliteConnection, error: DieselError);
    /// The commit has succeeded. Called before its changes are published.
    fn committed(self: Box<Self>, position: Position);
    /// The commit has failed.
    fn failed(self: Box<Self>, reason: &str);
}

struct TypedJob<F, X, T, E> {
    work: Option<F>,
    explain: Option<X>,
    result: Option<Result<T, WriteError<E>>>,
    reply: oneshot::Sender<Result<Written<T>, WriteError<E>>>,
    gate: Option<Gate>,
}

impl<F, X, T, E> Job for TypedJob<F, X, T, E>
where
    F: FnOnce(&mut SqliteConnection) -> Result<T, E> + Send,
    X: FnOnce(&mut SqliteConnection, T, DieselError) -> WriteError<E> + Send,
    T: Send,
    E: Send,
{
    fn run(&mut self, connection: &mut SqliteConnection) -> bool {
        self.result = self.work.take().map(|work| work(connection).map_err(WriteError::Refused));
        matches!(self.result, Some(Ok(_)))
    }

    fn refused(&mut self, connection: &mut SqliteConnection, error: DieselError) {
        let (Some(Ok(value)), Some(explain)) = (self.result.take(), self.explain.take()) else { return };
        let explained = catch_unwind(AssertUnwindSafe(|| explain(connection, value, error)));
        self.result = Some(Err(explained.unwrap_or(WriteError::Panicked)));
    }

    fn committed(self: Box<Self>, position: Position) {
        let answer = match self.result {
            Some(Ok(value)) => Ok(Written { value, position, hold: self.gate.map(|gate| gate.hold()) }),
            Some(Err(error)) => Err(error),
            None => Err(WriteError::Panicked),
        };
        // Nobody waits any more where the client has left; the write stands.
        let _ = self.reply.send(answer);
    }

    fn failed(self: Box<Self>, reason: &str) {
        let answer = match self.result {
            Some(Err(error)) => error,
            _ => WriteError::Unavailable(reason.into()),
        };
        let _ = self.reply.send(Err(answer));
    }
}

enum Task {
    Job(Box<dyn Job>),
    Wake,
    Close,
}

/// How much the thread keeps, and how often it looks.
pub(crate) struct Pace {
    /// How often other processes' commits are looked for.
    pub(crate) poll: Duration,
    /// Jobs that may wait.
    pub(crate) waiting: usize,
    /// Rows that the log keeps.
    pub(crate) feed_rows: u32,
    /// Seconds for which it keeps them.
    pub(crate) feed_seconds: u32,
}

/// The handle of the writer thread.
pub(super) struct Writer {
    tasks: SyncSender<Task>,
    healthy: Arc<AtomicBool>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Writer {
    /// Starts the thread. The feed begins at the position that is returned.
    pub(super) fn start(
        mut connection: SqliteConnection,
        glance: Glance,
        tables: Vec<Table<diesel::sqlite::Sqlite>>,
        feed: mpsc::Sender<Batch>,
        watching: (log::Watch, bool),
        pace: &Pace,
    ) -> Result<(Self, Position), super::OpenError> {
        let reader = Reader::new(&mut connection, tables)?;
        // What was written while nobody watched ends here.
        let seen = connection.immediate_transaction(log::close_unmarked)?;
        let version = log::data_version(&mut connection)?;
        let schema = Schema::new(&mut connection, watching)?;
        let (tasks, inbox) = sync_channel(pace.waiting.max(1));
        let healthy = Arc::new(AtomicBool::new(true));
        let writing = Writing {
            connection,
            glance,
            reader,
            feed,
            seen,
            version,
            schema,
            behind: false,
            has_old_rows: false,
            feed_rows: i64::from(pace.feed_rows.max(1)),
            age: Age::new(pace.feed_seconds),
            healthy: Arc::clone(&healthy),
        };
        let poll = pace.poll;
        let thread = std::thread::Builder::new()
            .name("realtime-writer".into())
            .spawn(move || writing.run(&inbox, poll))?;
        Ok((Self { tasks, healthy, thread: Mutex::new(Some(thread)) }, seen))
    }

    /// Runs a closure in a transaction and waits for its commit.
    pub(super) async fn run<T, E>(
        &self,
        work: impl FnOnce(&mut SqliteConnection) -> Result<T, E> + Send + 'static,
    ) -> Result<Written<T>, WriteError<E>>
    where
        T: Send + 'static,
        E: Send + 'static,
    {
        self.run_explained(work, |_, _, error| WriteError::Constraint(error), None).await
    }

    /// The same, and says what it comes to where a constraint refuses the commit. The transaction is open then, with all
    /// that has been written.
    pub(super) async fn run_explained<T, E>(
        &self,
        work: impl FnOnce(&mut SqliteConnection) -> Result<T, E> + Send + 'static,
        explain: impl FnOnce(&mut SqliteConnection, T, DieselError) -> WriteError<E> + Send + 'static,
        gate: Option<Gate>,
    ) -> Result<Written<T>, WriteError<E>>
    where
        T: Send + 'static,
        E: Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let job = TypedJob { work: Some(work), explain: Some(explain), result: None, reply, gate };
        if self.tasks.try_send(Task::Job(Box::new(job))).is_err() {
            return Err(WriteError::Unavailable("the writer has too much to do or has ended".into()));
        }
        answer.await.unwrap_or_else(|_| Err(WriteError::Unavailable("the writer has ended".into())))
    }

    pub(super) fn wake(&self) {
        // Where the queue is full, the thread is awake.
        let _ = self.tasks.try_send(Task::Wake);
    }

    pub(super) fn is_ready(&self) -> bool {
        self.healthy.load(Ordering::Relaxed)
    }

    /// A write has found no room, or the database gone: until it can be written to again, it is not ready.
    pub(super) fn doubt(&self) {
        self.healthy.store(false, Ordering::Relaxed);
    }

    pub(super) fn close(&self) {
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            let _ = self.tasks.send(Task::Close);
            let _ = thread.join();
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.close();
    }
}

/// The thread's own state.
struct Writing {
    connection: SqliteConnection,
    glance: Glance,
    reader: Reader,
    feed: mpsc::Sender<Batch>,
    /// Everything up to here has been published.
    seen: Position,
    /// The last `data_version`.
    version: i64,
    schema: Schema,
    /// Are there changes that could not be published because the feed was full?
    behind: bool,
    /// Was there more to remove than one commit removes?
    has_old_rows: bool,
    feed_rows: i64,
    age: Age,
    healthy: Arc<AtomicBool>,
}

/// What is too old to be kept. Looked up seldom: between two looks the log keeps what becomes too old.
struct Age {
    keep: i64,
    every: Duration,
    /// The clock is read at the start only: one that is set while the program runs would make everything old at once.
    started: (Instant, i64),
    looked: Option<Instant>,
    /// Everything up to here is too old.
    position: Position,
}

impl Age {
    fn new(feed_seconds: u32) -> Self {
        let keep = i64::from(feed_seconds.max(1));
        let every = Duration::from_secs(u64::from(feed_seconds / 60)).clamp(Duration::from_secs(1), MINUTE);
        Self {
            keep,
            every,
            started: (Instant::now(), Utc::now().timestamp()),
            looked: None,
            position: Position(0),
        }
    }

    fn is_due(&self) -> bool {
        self.looked.is_none_or(|looked| looked.elapsed() >= self.every)
    }

    /// Notes how far the log has come, and finds out up to where it is too old.
    fn look(&mut self, connection: &mut SqliteConnection, position: Position) -> QueryResult<()> {
        let (at_start, clock) = self.started;
        let now = clock + i64::try_from(at_start.elapsed().as_secs()).unwrap_or(0);
        log::note_time(connection, position, now)?;
        self.position = log::position_at(connection, now - self.keep)?;
        self.looked = Some(Instant::now());
        Ok(())
    }
}

impl Writing {
    fn run(mut self, inbox: &Receiver<Task>, poll: Duration) {
        let mut last_commit = Instant::now();
        loop {
            let mut jobs: Vec<Box<dyn Job>> = Vec::new();
            let mut look = self.behind;
            let mut open = true;
            let pause = if !self.healthy.load(Ordering::Relaxed) {
                RETRY
            } else if last_commit.elapsed() < QUIET_AFTER {
                poll
            } else {
                poll.saturating_mul(QUIET_POLL)
            };
            match inbox.recv_timeout(pause) {
                Ok(task) => take(task, &mut jobs, &mut look, &mut open),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            while jobs.len() < JOBS_PER_COMMIT {
                match inbox.try_recv() {
                    Ok(task) => take(task, &mut jobs, &mut look, &mut open),
                    Err(_) => break,
                }
            }
            let changed = if jobs.is_empty() { self.glance.changed() } else { None };
            if !jobs.is_empty() || changed.is_some() {
                last_commit = Instant::now();
            }
            let done = if jobs.is_empty() { self.look(look, changed) } else { self.carry_out(jobs) };
            match done {
                Ok(true) => {
                    if !self.healthy.swap(true, Ordering::Relaxed) {
                        tracing::info!("the database can be used again");
                    }
                }
                Ok(false) => {}
                Err(error) => {
                    if self.healthy.swap(false, Ordering::Relaxed) {
                        tracing::error!(%error, "the database cannot be used; trying on");
                    }
                }
            }
            if !open {
                return;
            }
        }
    }

    /// Reads what other connections have committed, if they have. Is the database known to be usable?
    fn look(&mut self, anyway: bool, changed: Option<Seen>) -> QueryResult<bool> {
        let probes = !self.healthy.load(Ordering::Relaxed);
        let due = anyway || probes || self.has_old_rows || self.age.is_due();
        if changed.is_none() && !due {
            return Ok(false);
        }
        let version = log::data_version(&mut self.connection)?;
        let mut usable = false;
        if version != self.version || due {
            usable = self.commit(Vec::new(), probes)?;
            self.version = version;
        }
        if let Some(seen) = changed {
            self.glance.has_seen(seen);
        }
        Ok(usable)
    }

    /// All jobs together, or one by one. Has something been written?
    fn carry_out(&mut self, jobs: Vec<Box<dyn Job>>) -> QueryResult<bool> {
        if !self.schema.defers {
            return self.commit(jobs, false);
        }
        let mut written = Ok(false);
        for job in jobs {
            let committed = self.commit(vec![job], false);
            written = written.and_then(|before| Ok(committed? || before));
        }
        written
    }

    /// One transaction for all jobs; publishes what it and other connections have changed. Has something been written?
    fn commit(&mut self, mut jobs: Vec<Box<dyn Job>>, probes: bool) -> QueryResult<bool> {
        let (seen, reader, feed_rows, age) = (self.seen, &self.reader, self.feed_rows, &mut self.age);
        let alone = self.schema.defers && !jobs.is_empty();
        let schema = &self.schema;
        // The place is taken before the log is read: what is read can then be published.
        let place = self.feed.try_reserve();
        let readable = place.is_ok();
        let committed = self.connection.immediate_transaction(|connection| {
            // Rows that other connections have added since the last look count as one transaction.
            let mut position = log::close_unmarked(connection)?;
            let before = position;
            if probes {
                log::probe(connection)?;
            }
            for job in &mut jobs {
                let done = connection.transaction::<(), DieselError, _>(|connection| {
                    match catch_unwind(AssertUnwindSafe(|| job.run(connection))) {
                        Ok(true) => Ok(()),
                        Ok(false) => Err(DieselError::RollbackTransaction),
                        Err(_) => {
                            tracing::error!("a job panicked and was rolled back");
                            Err(DieselError::RollbackTransaction)
                        }
                    }
                });
                match done {
                    Ok(()) => position = log::mark(connection, position)?,
                    Err(DieselError::RollbackTransaction) => {}
                    Err(error) => return Err(error),
                }
            }
            let schema = schema.follow(connection)?;
            if age.is_due() {
                age.look(connection, position)?;
            }
            // What is not published yet is never removed.
            let oldest = Position(seen.0.min(age.position.0.max(position.0 - feed_rows)));
            let pruned = if oldest.0 > 0 { log::prune(connection, oldest, PRUNED_PER_COMMIT)? } else { 0 };
            let read = if readable && position > seen { Some(reader.read(connection, seen)?) } else { None };
            if alone {
                // A transaction whose commit is refused stays open, so that what it lacks can be looked for in it. Diesel,
                // which knows nothing of it, would end it; what it commits otherwise is an empty one.
                match connection.batch_execute("COMMIT; BEGIN") {
                    Err(error) if is_constraint(&error) => {
                        if let [job] = jobs.as_mut_slice() {
                            job.refused(connection, error);
                        }
                        return Err(DieselError::RollbackTransaction);
                    }
                    committed => committed?,
                }
            }
            Ok((read, position, pruned, probes || position > before, schema))
        });
        let (read, position, pruned, written, schema) = match committed {
            Ok(committed) => committed,
            Err(error) => {
                let refused = !jobs.is_empty()
                    && (matches!(error, DieselError::RollbackTransaction) || is_constraint(&error));
                for job in jobs {
                    job.failed(&error.to_string());
                }
                if refused {
                    // Where a constraint was met that no schema defers, the schema has changed, or a job has deferred it.
                    self.schema.defers = true;
                    // What others had committed was read in vain, and however many are refused, that does not wait.
                    drop(place);
                    return self.commit(Vec::new(), false);
                }
                return Err(error);
            }
        };
        for job in jobs {
            job.committed(position);
        }
        if let Some((version, defers)) = schema {
            self.schema.version = version;
            self.schema.defers |= defers;
        }
        self.behind = !readable && position > seen;
        self.has_old_rows = pruned == PRUNED_PER_COMMIT;
        if let (Some(read), Ok(place)) = (read, place) {
            for (resource, reason) in &read.corrupt {
                tracing::error!(resource = resource.0, reason, "a row of the change log cannot be read");
            }
            self.seen = read.batch.position;
            place.send(read.batch);
        }
        Ok(written)
    }
}

fn take(task: Task, jobs: &mut Vec<Box<dyn Job>>, look: &mut bool, open: &mut bool) {
    match task {
        Task::Job(job) => jobs.push(job),
        Task::Wake => *look = true,
        Task::Close => *open = false,
    }
}

fn is_constraint(error: &DieselError) -> bool {
    matches!(error, DieselError::DatabaseError(DatabaseErrorKind::ForeignKeyViolation, _))
}
