//! The forum's database, whichever it is, and what its own statements are run on.

use diesel::SqliteConnection;
use diesel::result::{Error as DieselError, QueryResult};
use diesel_async::AsyncPgConnection;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use realtime_actix::{Realtime, ServiceError};

/// An open transaction.
pub(crate) enum Connection<'c> {
    Sqlite(&'c mut SqliteConnection),
    Postgres(&'c mut AsyncPgConnection),
}

/// Runs a statement on whichever connection it is: `run!(connection, execute, statement)`.
macro_rules! run {
    ($connection:expr, $method:ident, $statement:expr) => {
        match &mut $connection {
            $crate::database::Connection::Sqlite(connection) => {
                diesel::RunQueryDsl::$method($statement, &mut **connection)
            }
            $crate::database::Connection::Postgres(connection) => {
                diesel_async::RunQueryDsl::$method($statement, &mut **connection).await
            }
        }
    };
}
pub(crate) use run;

/// The service, for statements of the forum's own.
#[derive(Clone)]
pub(crate) struct Database {
    service: Realtime,
    is_postgres: bool,
}

impl Database {
    /// `url` is the one that the service was started on.
    pub(crate) fn of(service: Realtime, url: &str) -> Self {
        Self { service, is_postgres: is_postgres(url) }
    }

    /// Runs what only reads.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        work: impl for<'c> FnOnce(Connection<'c>) -> BoxFuture<'c, QueryResult<T>> + Send + 'static,
    ) -> Result<T, ServiceError<DieselError>> {
        if self.is_postgres {
            self.service.read_postgres(move |connection| work(Connection::Postgres(connection))).await
        } else {
            self.service.read(move |connection| at_once(work(Connection::Sqlite(connection)))).await
        }
    }

    /// Runs what writes; its changes are told at once.
    pub(crate) async fn write<T: Send + 'static>(
        &self,
        work: impl for<'c> FnOnce(Connection<'c>) -> BoxFuture<'c, QueryResult<T>> + Send + 'static,
    ) -> Result<T, ServiceError<DieselError>> {
        if self.is_postgres {
            self.service.write_postgres(move |connection| work(Connection::Postgres(connection))).await
        } else {
            self.service.write(move |connection| at_once(work(Connection::Sqlite(connection)))).await
        }
    }
}

/// Is a URL one of PostgreSQL?
fn is_postgres(url: &str) -> bool {
    url.starts_with("postgres://") || url.starts_with("postgresql://")
}

fn at_once<T>(work: BoxFuture<'_, QueryResult<T>>) -> QueryResult<T> {
    work.now_or_never().expect("statements on SQLite do not wait")
}
