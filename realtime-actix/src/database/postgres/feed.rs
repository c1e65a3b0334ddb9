//! The feed: looks at the log, makes marks of what is new, and publishes it.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use diesel_async::AsyncPgConnection;
use realtime_core::change::Batch;
use realtime_core::cursor::Position;
use realtime_core::log::postgres::{self as log, Layout, LogRow, Mark, Read, Reader};
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, timeout};

use super::LogError;
use super::commits::Commits;
use super::connection::load;
use super::marker::Marker;

/// Rows of the log that are published at once, and what of the last mark is more.
const PUBLISHED_ROWS: i64 = 4_096;

/// Marks that are looked at for one part.
const MARKS: i64 = 512;

/// How long is waited for a database that cannot be used before it is tried again.
const RETRY: Duration = Duration::from_millis(200);

/// For how long a service counts as not ready after a write that found no room.
const FULL_FOR: Duration = Duration::from_secs(10);

/// What the feed tells those who ask.
#[derive(Debug)]
pub(super) struct Progress {
    /// The newest mark that is known of.
    newest: AtomicI64,
    /// What comes after it the feed reads yet.
    published: AtomicI64,
    healthy: AtomicBool,
    /// Counts the answers that the feed has got: a step may be long, as long as it goes on.
    answers: AtomicU64,
    /// Tells those who wait that it is no longer healthy.
    lost: Notify,
    /// When a write last found no room.
    full: Mutex<Option<Instant>>,
    closing: AtomicBool,
    wake: Notify,
}

impl Progress {
    pub(super) fn new(newest: Position) -> Self {
        Self {
            newest: AtomicI64::new(newest.0),
            published: AtomicI64::new(newest.0),
            healthy: AtomicBool::new(true),
            answers: AtomicU64::new(0),
            lost: Notify::new(),
            full: Mutex::new(None),
            closing: AtomicBool::new(false),
            wake: Notify::new(),
        }
    }

    pub(super) fn newest(&self) -> Position {
        Position(self.newest.load(Ordering::Acquire))
    }

    /// What comes after it the feed reads yet.
    pub(super) fn published(&self) -> Position {
        Position(self.published.load(Ordering::Acquire))
    }

    pub(super) fn publish(&self, position: Position) {
        self.published.store(position.0, Ordering::Release);
    }

    /// Has a last look been asked for?
    pub(super) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }

    /// A mark that is known of from now on.
    pub(super) fn reach(&self, position: Position) {
        self.newest.fetch_max(position.0, Ordering::AcqRel);
    }

    pub(super) fn is_healthy(&self) -> bool {
        self.healthy.load(Ordering::Relaxed)
    }

    /// Is the log followed, and can be written to, as far as is known?
    pub(super) fn is_ready(&self) -> bool {
        let full = *self.full.lock().unwrap_or_else(PoisonError::into_inner);
        self.is_healthy() && full.is_none_or(|at| at.elapsed() >= FULL_FOR)
    }

    /// A write has found room, or none.
    pub(super) fn found_room(&self, room: bool) {
        *self.full.lock().unwrap_or_else(PoisonError::into_inner) = (!room).then(Instant::now);
    }

    /// The database answers again, or does not.
    fn set_healthy(&self, healthy: bool) -> bool {
        let before = self.healthy.swap(healthy, Ordering::Relaxed);
        if before && !healthy {
            self.lost.notify_waiters();
        }
        before
    }

    /// Waits until the database does not answer.
    pub(super) async fn lost(&self) {
        loop {
            // Made before it is asked, so that nothing is missed in between.
            let lost = self.lost.notified();
            if !self.is_healthy() {
                return;
            }
            lost.await;
        }
    }

    /// Asks for a look at once.
    pub(super) fn wake(&self) {
        self.wake.notify_one();
    }

    /// Asks for a last look.
    pub(super) fn close(&self) {
        self.closing.store(true, Ordering::Release);
        self.wake();
    }
}

pub(super) struct Feed {
    pub(super) marker: Arc<Marker>,
    pub(super) commits: Arc<Commits>,
    pub(super) progress: Arc<Progress>,
    pub(super) reader: Reader,
    /// Reads the log; another one than the marker's, which readers wait for.
    pub(super) connection: Option<AsyncPgConnection>,
    pub(super) sender: mpsc::Sender<Batch>,
    /// Everything up to here has been published.
    pub(super) published: Mark,
    pub(super) poll: Duration,
    /// How long an answer may take before the database counts as gone.
    pub(super) patience: Duration,
}

impl Feed {
    /// Follows the log until it is closed or nobody listens any more.
    pub(super) async fn run(mut self) {
        let mut behind = false;
        loop {
            tokio::select! {
                () = self.progress.wake.notified() => {}
                () = tokio::time::sleep(self.poll) => {}
                // Where nobody takes batches any more, there is room for none, and the last step says so.
                _ = self.sender.reserve(), if behind => {}
            }
            let progress = Arc::clone(&self.progress);
            let closing = progress.is_closing();
            match self.attended_step(closing).await {
                Ok(is_behind) => {
                    behind = is_behind;
                    if !progress.set_healthy(true) {
                        tracing::info!("the database can be used again");
                    }
                }
                Err(error) => {
                    self.connection = None;
                    behind = false;
                    if progress.set_healthy(false) {
                        tracing::error!(%error, "the database cannot be used; trying on");
                    }
                    if !closing {
                        tokio::time::sleep(RETRY).await;
                    }
                }
            }
            if closing || self.sender.is_closed() {
                return;
            }
        }
    }

    /// Takes a step, and says so where the database lets it wait.
    async fn attended_step(&mut self, closing: bool) -> Result<bool, LogError> {
        let (progress, patience) = (Arc::clone(&self.progress), self.patience);
        let marker = Arc::clone(&self.marker);
        // A step may wait for the copying of much.
        let answers = || (progress.answers.load(Ordering::Relaxed), marker.copied());
        let step = self.step(closing);
        tokio::pin!(step);
        loop {
            let before = answers();
            if let Ok(done) = timeout(patience, &mut step).await {
                return done;
            }
            // It is waited for all the same: what was asked may be answered yet.
            if answers() == before && progress.set_healthy(false) {
                tracing::error!(?patience, "the database does not answer");
            }
        }
    }

    /// Looks, and publishes what there is room for. Is there more?
    async fn step(&mut self, closing: bool) -> Result<bool, LogError> {
        let look = self.marker.look(closing).await?;
        self.progress.answers.fetch_add(1, Ordering::Relaxed);
        if look.overtaken {
            self.progress.wake();
        }
        self.progress.reach(look.position);
        let sender = self.sender.clone();
        while self.published.position < look.position {
            // The place is taken before the log is read: what is read can then be published.
            let Ok(place) = sender.try_reserve() else { return Ok(true) };
            let mut connection = self.live().await?;
            // A transaction is read whole, which is one answer that may be long.
            let progress = Arc::clone(&self.progress);
            let goes_on = move || {
                progress.answers.fetch_add(1, Ordering::Relaxed);
            };
            let (after, up_to) = (&self.published, look.position);
            let (read, mark) =
                read_part(&mut connection, &mut self.reader, after, up_to, PUBLISHED_ROWS, goes_on).await?;
            self.progress.answers.fetch_add(1, Ordering::Relaxed);
            self.connection = Some(connection);
            for (resource, reason) in &read.corrupt {
                tracing::error!(resource = resource.0, reason, "a row of the change log cannot be read");
            }
            self.commits.hold(|xid| mark.snapshot.sees(xid));
            self.progress.publish(mark.position);
            self.published = mark;
            place.send(read.batch);
        }
        Ok(false)
    }

    async fn live(&mut self) -> Result<AsyncPgConnection, LogError> {
        match self.connection.take() {
            Some(connection) => Ok(connection),
            None => self.marker.connect().await,
        }
    }
}

/// Reads what lies between a mark and a position, or the first part of it, which ends at a mark. Gives that mark, and says of
/// each row that it has come.
pub(super) async fn read_part(
    connection: &mut AsyncPgConnection,
    reader: &mut Reader,
    after: &Mark,
    up_to: Position,
    enough: i64,
    goes_on: impl Fn(),
) -> Result<(Read, Mark), LogError> {
    let mut marks = load(connection, log::marks(after.position, up_to, MARKS), Mark::read).await?;
    // A mark is as many rows after the one before it as it sees more.
    let whole = marks.iter().position(|mark| mark.position.0 - after.position.0 >= enough);
    marks.truncate(whole.map_or(marks.len(), |last| last + 1));
    let last = marks.last().ok_or(LogError::NoMark)?.clone();
    let statement = log::rows(&after.snapshot, &last.snapshot);
    let rows = load(connection, statement, |columns| {
        goes_on();
        LogRow::read(columns)
    });
    let rows = rows.await?;
    if !reader.knows(&rows) {
        for layout in load(connection, log::layouts(), Layout::read).await? {
            reader.learn(&layout);
        }
    }
    Ok((reader.read(after, &marks, rows), last))
}
