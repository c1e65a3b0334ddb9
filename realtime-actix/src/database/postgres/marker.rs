//! Makes marks: the feed at each look, and a reader whose answer has to be true at one.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use diesel::pg::Pg;
use diesel::result::{Error as DieselError, QueryResult};
use diesel_async::{
    AnsiTransactionManager, AsyncConnectionCore as _, AsyncPgConnection, TransactionManager as _,
};
use realtime_core::Columns;
use realtime_core::cursor::{Cursor, Epoch, Position};
use realtime_core::log::postgres::{self as log, Barrier, Look, Mark, Marked, Stand};
use tokio::runtime::Handle;
use tokio::sync::Mutex;

use super::LogError;
use super::connection::{Target, first, on};
use super::copier::Copied;

/// A transaction that keeps one snapshot.
const READ: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";

/// Marks that other processes may make while a reader tries to make his.
const ATTEMPTS: usize = 64;

pub(super) struct Marker {
    target: Target,
    /// Drives its connections.
    runtime: Handle,
    epoch: Epoch,
    /// The last position that has been told to anybody.
    reached: AtomicI64,
    /// One connection for all, so that no more than other processes can come in between.
    connection: Mutex<Option<AsyncPgConnection>>,
    /// How far the log has been filled, where it is not by the writers' own transactions.
    copied: Option<Arc<Copied>>,
    /// The rows of which the newest mark sees all.
    marked_rows: AtomicU64,
}

impl Marker {
    /// Its connections belong to the present runtime.
    pub(super) fn new(target: Target, epoch: Epoch, copied: Option<Arc<Copied>>) -> Self {
        Self {
            target,
            runtime: Handle::current(),
            epoch,
            reached: AtomicI64::new(0),
            connection: Mutex::new(None),
            copied,
            // None of a start: what was written before it is to be marked.
            marked_rows: AtomicU64::new(u64::MAX),
        }
    }

    /// Counts what has been copied, where the log is filled by logical replication.
    pub(super) fn copied(&self) -> u64 {
        self.copied.as_ref().map_or(0, |copied| copied.steps())
    }

    /// Makes a mark if there is anything new, and tells the newest one. `to_the_end` asks for everything that has been committed
    /// also where the log is filled later than that.
    pub(super) async fn look(&self, to_the_end: bool) -> Result<Look, LogError> {
        let mut slot = self.connection.lock().await;
        let reached = self.reached.load(Ordering::Acquire);
        let looked = async {
            let look = match &self.copied {
                Some(copied) => self.look_at_copied(&mut slot, copied, to_the_end).await?,
                None => {
                    let connection = self.live(&mut slot).await?;
                    first(connection, log::look(), Look::read).await?.ok_or(LogError::NoMark)?
                }
            };
            // Its tables may be emptied and filled again under this very connection.
            if look.position.0 < reached { Err(LogError::AnotherLog) } else { Ok(look) }
        };
        let looked = looked.await;
        match &looked {
            Ok(look) => self.reach(look.position),
            // The next one finds out what it is connected to.
            Err(_) => *slot = None,
        }
        looked
    }

    /// Notes a position that is told.
    fn reach(&self, position: Position) {
        self.reached.fetch_max(position.0, Ordering::AcqRel);
    }

    /// The same where the log is filled by logical replication: only what has been copied can be new.
    async fn look_at_copied(
        &self,
        slot: &mut Option<AsyncPgConnection>,
        copied: &Copied,
        to_the_end: bool,
    ) -> Result<Look, LogError> {
        if copied.is_broken() {
            return Err(LogError::Still);
        }
        let rows = copied.rows();
        let connection = self.live(slot).await?;
        if !to_the_end && self.marked_rows.load(Ordering::Acquire) == rows {
            let newest = first(connection, log::newest_mark(), Mark::read).await?;
            let Mark { position, snapshot } = newest.ok_or(LogError::NoMark)?;
            return Ok(Look { position, snapshot, overtaken: false });
        }
        let Barrier { snapshot, after } =
            first(connection, log::barrier(), Barrier::read).await?.ok_or(DieselError::NotFound)?;
        copied.reach(after).await?;
        let marked = first(connection, log::mark_snapshot(&snapshot), Marked::read).await?;
        let Marked { position, unseen } = marked.ok_or(LogError::NoMark)?;
        if let (Some(position), 0) = (position, unseen) {
            self.marked_rows.store(rows, Ordering::Release);
            return Ok(Look { position, snapshot, overtaken: false });
        }
        let newest = first(connection, log::newest_mark(), Mark::read).await?;
        let Mark { position, snapshot } = newest.ok_or(LogError::NoMark)?;
        Ok(Look { position, snapshot, overtaken: true })
    }

    /// As [`Marker::begin_read`], where the log is filled by logical replication: the reader may see what has not been copied
    /// yet.
    async fn begin_read_copied(
        &self,
        reader: &mut AsyncPgConnection,
        copied: &Copied,
    ) -> Result<Position, LogError> {
        let place = copied.place();
        let (stand, end) = begin_copied(reader).await?;
        // What was committed before its snapshot was taken had been copied before that.
        if stand.beyond == 0 && end <= place {
            return Ok(stand.newest);
        }
        AnsiTransactionManager::rollback_transaction(reader).await?;
        // Marks are made in the order in which their snapshots are taken, by this service at least.
        let mut slot = self.connection.lock().await;
        for _ in 0..ATTEMPTS {
            let (stand, _) = begin_copied(reader).await?;
            let connection = self.live(&mut slot).await?;
            let marked = async {
                let barrier = first(connection, log::barrier(), Barrier::read).await?;
                copied.reach(barrier.ok_or(DieselError::NotFound)?.after).await?;
                let marked = first(connection, log::mark_snapshot(&stand.snapshot), Marked::read).await?;
                Ok(marked.ok_or(LogError::NoMark)?.position)
            };
            match marked.await {
                Ok(Some(position)) => return Ok(position),
                Ok(None) => AnsiTransactionManager::rollback_transaction(reader).await?,
                Err(error) => {
                    *slot = None;
                    return Err(error);
                }
            }
        }
        Err(LogError::Overtaken)
    }

    /// Begins a transaction that keeps one snapshot, and gives the position at which what it reads is true.
    pub(super) async fn begin_read(&self, reader: &mut AsyncPgConnection) -> Result<Position, LogError> {
        let position = match &self.copied {
            // In a box: it would make the futures of requests so deep that the compiler refuses some of them.
            Some(copied) => Box::pin(self.begin_read_copied(reader, copied)).await?,
            None => self.begin_read_marked(reader).await?,
        };
        self.reach(position);
        Ok(position)
    }

    /// Where it sees more than the newest mark, a mark is made of its own snapshot.
    async fn begin_read_marked(&self, reader: &mut AsyncPgConnection) -> Result<Position, LogError> {
        let stand = begin(reader).await?;
        if stand.beyond == 0 {
            return Ok(stand.newest);
        }
        AnsiTransactionManager::rollback_transaction(reader).await?;
        let mut slot = self.connection.lock().await;
        for _ in 0..ATTEMPTS {
            let stand = begin(reader).await?;
            if stand.beyond == 0 {
                return Ok(stand.newest);
            }
            let mark: Mark = stand.mark();
            let connection = self.live(&mut slot).await?;
            let made = first(connection, log::make_mark(stand.newest, &mark), |_| Ok(())).await;
            match made {
                Ok(Some(())) => return Ok(mark.position),
                Ok(None) => AnsiTransactionManager::rollback_transaction(reader).await?,
                Err(error) => {
                    *slot = None;
                    return Err(error.into());
                }
            }
        }
        Err(LogError::Overtaken)
    }

    /// The connection, made anew where it has been lost.
    async fn live<'a>(
        &self,
        slot: &'a mut Option<AsyncPgConnection>,
    ) -> Result<&'a mut AsyncPgConnection, LogError> {
        let connection = match slot.take() {
            Some(connection) => connection,
            None => self.connect().await?,
        };
        Ok(slot.insert(connection))
    }

    /// Connects to the log. What has taken its database's place meanwhile, or what it has been set back to, has other
    /// positions.
    pub(super) async fn connect(&self) -> Result<AsyncPgConnection, LogError> {
        let target = self.target.clone();
        let mut connection = on(&self.runtime, async move { target.connect_to_log().await }).await?;
        connection.execute_returning_count(log::enter_run()).await?;
        let position = Position(self.reached.load(Ordering::Acquire));
        let kept = log::keep_epoch(Cursor { epoch: self.epoch, position });
        match first(&mut connection, kept, |_| Ok(())).await? {
            Some(()) => Ok(connection),
            None => Err(LogError::AnotherLog),
        }
    }
}

async fn begin(reader: &mut AsyncPgConnection) -> QueryResult<Stand> {
    AnsiTransactionManager::begin_transaction_sql(reader, READ).await?;
    first(reader, log::stand(), Stand::read).await?.ok_or(DieselError::NotFound)
}

async fn begin_copied(reader: &mut AsyncPgConnection) -> QueryResult<(Stand, u64)> {
    AnsiTransactionManager::begin_transaction_sql(reader, READ).await?;
    let read = |columns: &dyn Columns<Pg>| Ok((Stand::read(columns)?, log::stand_place(columns)?));
    first(reader, log::replicated_stand(), read).await?.ok_or(DieselError::NotFound)
}
