//! Makes marks: the feed at each look, and a reader whose answer has to be true at one.

use diesel::result::{Error as DieselError, QueryResult};
use diesel_async::{AnsiTransactionManager, AsyncPgConnection, TransactionManager as _};
use realtime_core::cursor::{Epoch, Position};
use realtime_core::log::postgres::{self as log, Look, Mark, Origin, Stand};
use tokio::runtime::Handle;
use tokio::sync::Mutex;

use super::LogError;
use super::connection::{Target, first, on};

/// A transaction that keeps one snapshot.
const READ: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";

/// Marks that other processes may make while a reader tries to make his.
const ATTEMPTS: usize = 64;

pub(super) struct Marker {
    target: Target,
    /// Drives its connections.
    runtime: Handle,
    epoch: Epoch,
    /// One connection for all, so that no more than other processes can come in between.
    connection: Mutex<Option<AsyncPgConnection>>,
}

impl Marker {
    /// Its connections belong to the present runtime.
    pub(super) fn new(target: Target, epoch: Epoch) -> Self {
        Self { target, runtime: Handle::current(), epoch, connection: Mutex::new(None) }
    }

    /// Makes a mark if there is anything new, and tells the newest one.
    pub(super) async fn look(&self) -> Result<Look, LogError> {
        let mut slot = self.connection.lock().await;
        let connection = self.live(&mut slot).await?;
        match first(connection, log::look(), Look::read).await {
            Ok(Some(look)) => Ok(look),
            Ok(None) => Err(LogError::NoMark),
            Err(error) => {
                *slot = None;
                Err(error.into())
            }
        }
    }

    /// Begins a transaction that keeps one snapshot, and gives the position at which what it reads is true.
    ///
    /// Where it sees more than the newest mark, a mark is made of its own snapshot.
    pub(super) async fn begin_read(&self, reader: &mut AsyncPgConnection) -> Result<Position, LogError> {
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

    /// Connects to the log. What has taken its database's place meanwhile has other positions.
    pub(super) async fn connect(&self) -> Result<AsyncPgConnection, LogError> {
        let target = self.target.clone();
        let mut connection = on(&self.runtime, async move { target.connect_to_log().await }).await?;
        let origin = first(&mut connection, log::origin(), Origin::read).await?;
        match origin.and_then(|origin| origin.epoch()) {
            Some(epoch) if epoch == self.epoch => Ok(connection),
            _ => Err(LogError::AnotherLog),
        }
    }
}

async fn begin(reader: &mut AsyncPgConnection) -> QueryResult<Stand> {
    AnsiTransactionManager::begin_transaction_sql(reader, READ).await?;
    first(reader, log::stand(), Stand::read).await?.ok_or(DieselError::NotFound)
}
