//! Copies what logical replication sends into the log: each row with the number of its transaction, and how far has been
//! copied in the same transaction, so that no end of the process loses or repeats any.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use diesel::pg::Pg;
use diesel::result::{Error as DieselError, QueryResult};
use diesel::sql_types::BigInt;
use diesel_async::{
    AnsiTransactionManager, AsyncConnectionCore as _, AsyncPgConnection, TransactionManager as _,
};
use futures_util::FutureExt as _;
use pgwire_replication::{Lsn, ReplicationClient, ReplicationEvent};
use realtime_core::__private::read;
use realtime_core::log::postgres::{self as log, Capture, Captured, SlotState};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, timeout};

use super::LogError;
use super::connection::{Target, first, load};
use super::feed::Progress;
use super::marker::Marker;

/// Rows that are written by one statement, at most.
const ROWS: usize = 1_024;

/// Bytes of rows after which they are written.
const BYTES: usize = 1 << 20;

/// Rows after which a transaction of ours ends where one of theirs does.
const TRANSACTION_ROWS: usize = 8_192;

/// What the server has sent and nobody has taken yet, at most.
const MESSAGES: usize = 256;

/// How often the server is told how far has been copied, at most: those who follow another service wait for that.
const STATUS_EVERY: Duration = Duration::from_millis(10);

/// How long is waited before a stream that has ended is begun again.
const RETRY: Duration = Duration::from_millis(200);

/// How often is looked whether the service that copies still does, and how far it is where somebody waits for it.
const FOLLOW_EVERY: Duration = Duration::from_millis(200);
const FOLLOW_CLOSELY: Duration = Duration::from_millis(3);

/// How long the copying may stand still while somebody waits for it.
const STILL: Duration = Duration::from_secs(30);

/// How long a stream may be broken while somebody waits for it.
const BROKEN: Duration = Duration::from_secs(5);

const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE";

/// How far has been copied, for those who wait for it.
#[derive(Debug)]
pub(super) struct Copied {
    /// A place in the server's log: every transaction that ended before it is in ours.
    place: watch::Sender<u64>,
    /// Rows that this service has copied.
    rows: AtomicU64,
    /// Does this service copy, or another one?
    flows: AtomicBool,
    /// Since when the stream is broken.
    broken_at: Mutex<Option<Instant>>,
    /// Counts what it has done: it may take long, as long as it goes on.
    steps: AtomicU64,
    /// Those who wait for a place.
    waiting: AtomicUsize,
    asked: Notify,
}

impl Copied {
    pub(super) fn new() -> Self {
        Self {
            place: watch::Sender::new(0),
            rows: AtomicU64::new(0),
            flows: AtomicBool::new(true),
            broken_at: Mutex::new(None),
            steps: AtomicU64::new(0),
            waiting: AtomicUsize::new(0),
            asked: Notify::new(),
        }
    }

    pub(super) fn place(&self) -> u64 {
        *self.place.borrow()
    }

    pub(super) fn rows(&self) -> u64 {
        self.rows.load(Ordering::Acquire)
    }

    pub(super) fn steps(&self) -> u64 {
        self.steps.load(Ordering::Relaxed)
    }

    fn flows(&self) -> bool {
        self.flows.load(Ordering::Relaxed)
    }

    /// Has it been broken for longer than it takes to begin it anew?
    pub(super) fn is_broken(&self) -> bool {
        let broken_at = *self.broken_at.lock().unwrap_or_else(PoisonError::into_inner);
        broken_at.is_some_and(|at| at.elapsed() >= BROKEN)
    }

    /// The stream flows from now on, or does not. Did it before?
    fn set_flows(&self, flows: bool) -> bool {
        let mut broken_at = self.broken_at.lock().unwrap_or_else(PoisonError::into_inner);
        *broken_at = if flows { None } else { broken_at.or_else(|| Some(Instant::now())) };
        self.flows.swap(flows, Ordering::Relaxed)
    }

    fn advance(&self, place: u64) {
        self.place.send_if_modified(|known| {
            let is_further = place > *known;
            *known = place.max(*known);
            is_further
        });
    }

    /// Something has been done that brings nobody's place nearer yet.
    fn goes_on(&self) {
        self.steps.fetch_add(1, Ordering::Relaxed);
        self.place.send_modify(|_| ());
    }

    /// Waits until everything before a place has been copied, for as long as the copying goes on.
    pub(super) async fn reach(&self, place: u64) -> Result<(), LogError> {
        let mut copied = self.place.subscribe();
        if *copied.borrow_and_update() >= place {
            return Ok(());
        }
        let _waiting = Waiting::of(self);
        while *copied.borrow_and_update() < place {
            let patience = if self.flows() { STILL } else { BROKEN };
            if timeout(patience, copied.changed()).await.is_err() {
                return Err(LogError::Still);
            }
        }
        Ok(())
    }
}

/// Counts one who waits, however he ends.
struct Waiting<'a>(&'a Copied);

impl<'a> Waiting<'a> {
    fn of(copied: &'a Copied) -> Self {
        copied.waiting.fetch_add(1, Ordering::Relaxed);
        copied.asked.notify_one();
        Self(copied)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Reads the stream; or waits for its turn, while another service does.
pub(super) struct Copier {
    pub(super) target: Target,
    pub(super) marker: Arc<Marker>,
    pub(super) copied: Arc<Copied>,
    pub(super) capture: Capture,
    pub(super) watch: log::Watch,
    pub(super) publication: String,
}

/// A stream that has begun.
pub(super) struct Stream {
    client: ReplicationClient,
    slot: String,
    /// What the log says has been copied.
    noted: u64,
}

/// What has been read of the stream and is not yet committed.
struct Open {
    connection: AsyncPgConnection,
    copied: Arc<Copied>,
    /// The transaction that the stream is in the midst of, of its number 32 bits; and the whole of it, once asked for.
    xid: Option<u32>,
    whole_xid: Option<u64>,
    rows: Vec<(u64, Captured)>,
    bytes: usize,
    /// Rows that have been written in a transaction that has not ended.
    written: usize,
    /// Everything before it has been read.
    place: u64,
}

impl Copier {
    /// Begins the stream where the log ends. None where another service reads it.
    pub(super) async fn begin(&mut self) -> Result<Option<Stream>, LogError> {
        let mut connection = self.marker.connect().await?;
        let Some(state) = self.state(&mut connection).await? else { return Ok(None) };
        self.stream(state).await.map(Some)
    }

    /// Where the copying stands; nothing where another service copies. A slot that is lost is replaced.
    async fn state(&self, connection: &mut AsyncPgConnection) -> Result<Option<SlotState>, LogError> {
        loop {
            let state = first(connection, log::slot_state(), SlotState::read).await?;
            let state = state.ok_or(LogError::NoSlot)?;
            if state.is_active {
                self.copied.advance(state.confirmed);
                return Ok(None);
            }
            if state.watch != log::watch_id(&self.watch) {
                return Err(LogError::AnotherWatch);
            }
            if state.is_usable {
                return Ok(Some(state));
            }
            tracing::error!(
                slot = state.slot,
                "the replication slot is gone or has fallen too far behind; whoever follows a table begins anew"
            );
            replace_slot(connection, &state.slot, &self.watch).await?;
        }
    }

    async fn stream(&mut self, state: SlotState) -> Result<Stream, LogError> {
        let SlotState { slot, copied, .. } = state;
        let config = self.target.replication(&slot, &self.publication);
        let config = config
            .with_binary(true)
            .with_start_lsn(Lsn::from_u64(copied))
            .with_buffer_size(MESSAGES)
            .with_status_interval(STATUS_EVERY);
        let mut client = ReplicationClient::connect(config).await?;
        client.wait_started().await?;
        self.capture.restart();
        Ok(Stream { client, slot, noted: copied })
    }

    /// Copies for as long as the runtime lives. A stream that ends is begun again, by this service or another one.
    pub(super) async fn run(mut self, stream: Option<Stream>, progress: Arc<Progress>) {
        let mut stream = stream;
        loop {
            let ended = match stream.take() {
                Some(stream) => self.copy(stream, &progress).await,
                None => self.follow().await.map(|turn| stream = Some(turn)),
            };
            // A service that was about to end has committed what it had read: it is not read again.
            if matches!(ended, Err(LogError::AnotherCopied)) {
                continue;
            }
            if let Err(error) = ended {
                if self.copied.set_flows(false) {
                    tracing::error!(%error, "logical replication has ended; trying on");
                    self.copied.goes_on();
                    progress.wake();
                }
                tokio::time::sleep(RETRY).await;
            }
        }
    }

    /// Waits for as long as another service copies, and begins the stream then.
    async fn follow(&mut self) -> Result<Stream, LogError> {
        let mut connection = self.marker.connect().await?;
        loop {
            if let Some(state) = self.state(&mut connection).await? {
                return self.stream(state).await;
            }
            self.copied.set_flows(true);
            if self.copied.waiting.load(Ordering::Relaxed) > 0 {
                tokio::time::sleep(FOLLOW_CLOSELY).await;
            } else {
                let _ = timeout(FOLLOW_EVERY, self.copied.asked.notified()).await;
            }
        }
    }

    /// Copies until the stream ends.
    async fn copy(&mut self, mut stream: Stream, progress: &Progress) -> Result<(), LogError> {
        let mut open = Open {
            connection: self.marker.connect().await?,
            copied: Arc::clone(&self.copied),
            xid: None,
            whole_xid: None,
            rows: Vec::new(),
            bytes: 0,
            written: 0,
            place: 0,
        };
        // What another service has copied, or a commit whose answer was lost, is to be looked at too.
        self.copied.rows.fetch_add(1, Ordering::AcqRel);
        self.copied.set_flows(true);
        self.copied.goes_on();
        progress.wake();
        loop {
            let event = match stream.client.recv().now_or_never() {
                Some(event) => event?,
                None => {
                    self.end(&mut open, &mut stream, progress).await?;
                    stream.client.recv().await?
                }
            };
            match event {
                Some(ReplicationEvent::Begin { xid, .. }) => {
                    (open.xid, open.whole_xid) = (Some(xid), None);
                    self.capture.begin();
                }
                Some(ReplicationEvent::XLogData { data, .. }) => {
                    if let Some(row) = self.capture.read(&data)? {
                        open.push(row).await?;
                    }
                }
                Some(ReplicationEvent::Commit { end_lsn, .. }) => {
                    open.xid = None;
                    open.place = open.place.max(end_lsn.as_u64());
                    if open.written + open.rows.len() >= TRANSACTION_ROWS {
                        self.end(&mut open, &mut stream, progress).await?;
                    }
                }
                Some(ReplicationEvent::KeepAlive { wal_end, .. }) if open.xid.is_none() => {
                    open.place = open.place.max(wal_end.as_u64());
                }
                Some(_) => {}
                None => return Ok(()),
            }
        }
    }

    /// Commits what has been read of whole transactions, and says so: first here, then to the server.
    async fn end(&self, open: &mut Open, stream: &mut Stream, progress: &Progress) -> Result<(), LogError> {
        if open.xid.is_some() {
            return Ok(());
        }
        let rows = if open.written == 0 {
            self.end_at_once(open, stream).await?
        } else {
            self.end_written(open, stream).await?
        };
        // Nothing is written where nothing came: the server would send word of that, and so on.
        if open.place > self.copied.place() {
            self.copied.rows.fetch_add(rows as u64, Ordering::AcqRel);
            self.copied.advance(open.place);
        }
        stream.client.update_applied_lsn(Lsn::from_u64(open.place));
        if rows > 0 {
            progress.wake();
        }
        Ok(())
    }

    /// Commits rows of which none is written yet: most often one statement is all.
    async fn end_at_once(&self, open: &mut Open, stream: &mut Stream) -> Result<usize, LogError> {
        let rows = std::mem::take(&mut open.rows);
        open.bytes = 0;
        let count = rows.len();
        if count > 0 {
            let copy = log::copy_noted(rows, &stream.slot, &self.watch, stream.noted, open.place);
            if open.connection.execute_returning_count(copy).await? == 0 {
                return Err(LogError::AnotherCopied);
            }
            stream.noted = open.place;
        }
        Ok(count)
    }

    /// Commits the transaction that has been begun for more rows than one statement takes.
    async fn end_written(&self, open: &mut Open, stream: &mut Stream) -> Result<usize, LogError> {
        open.write().await?;
        let note = log::note_copied(&stream.slot, &self.watch, stream.noted, open.place);
        let noted = first(&mut open.connection, note, |_| Ok(())).await?;
        noted.ok_or(LogError::AnotherCopied)?;
        AnsiTransactionManager::commit_transaction(&mut open.connection).await?;
        stream.noted = open.place;
        Ok(std::mem::take(&mut open.written))
    }
}

/// Puts another slot in the place of one that is lost. What happened in between is not known: those who follow a table are
/// told that.
async fn replace_slot(
    connection: &mut AsyncPgConnection,
    slot: &str,
    watch: &log::Watch,
) -> Result<(), LogError> {
    load(connection, log::lock_slot(), |_| Ok(())).await?;
    let state = first(connection, log::slot_state(), SlotState::read).await?;
    if state.is_some_and(|state| !state.is_usable) {
        let begun = new_slot(connection, slot).await?;
        AnsiTransactionManager::begin_transaction_sql(connection, BEGIN).await?;
        connection.execute_returning_count(log::begin_copying(slot, watch, begun)).await?;
        connection.execute_returning_count(log::lose(watch)).await?;
        AnsiTransactionManager::commit_transaction(connection).await?;
    }
    load(connection, log::unlock_slot(), |_| Ok(())).await?;
    Ok(())
}

/// Makes a slot, in the place of one that may be there. Gives the place where it begins.
pub(super) async fn new_slot(connection: &mut AsyncPgConnection, slot: &str) -> QueryResult<u64> {
    connection.execute_returning_count(log::forget_slot()).await?;
    load(connection, log::drop_slot(slot), |_| Ok(())).await?;
    let begun = first(connection, log::create_slot(slot), |columns| read::<i64, BigInt, Pg>(columns, 0));
    Ok(begun.await?.ok_or(DieselError::NotFound)?.unsigned_abs())
}

impl Open {
    async fn whole_xid(&mut self) -> Result<u64, LogError> {
        let xid = self.xid.ok_or(LogError::Message(log::MessageError::Malformed))?;
        if let Some(whole) = self.whole_xid {
            return Ok(whole);
        }
        // Those of one stretch are near each other, but not those of a day.
        let near = match self.rows.last() {
            Some((near, _)) => *near,
            None => self.next_transaction().await?,
        };
        Ok(*self.whole_xid.insert(log::whole_xid(xid, near)))
    }

    async fn next_transaction(&mut self) -> Result<u64, LogError> {
        let next = first(&mut self.connection, log::next_transaction(), |columns| {
            read::<i64, BigInt, Pg>(columns, 0)
        });
        Ok(next.await?.ok_or(DieselError::NotFound)?.unsigned_abs())
    }

    async fn push(&mut self, row: Captured) -> Result<(), LogError> {
        let xid = self.whole_xid().await?;
        self.bytes += row.size();
        self.rows.push((xid, row));
        if self.rows.len() >= ROWS || self.bytes >= BYTES {
            self.write().await?;
        }
        Ok(())
    }

    /// Writes the rows, in a transaction that is begun where there is none.
    async fn write(&mut self) -> Result<(), LogError> {
        if self.rows.is_empty() {
            return Ok(());
        }
        let rows = std::mem::take(&mut self.rows);
        self.bytes = 0;
        let (count, is_first) = (rows.len(), self.written == 0);
        if is_first {
            AnsiTransactionManager::begin_transaction_sql(&mut self.connection, BEGIN).await?;
        }
        self.connection.execute_returning_count(log::copy(rows)).await?;
        self.written += count;
        self.copied.goes_on();
        Ok(())
    }
}
