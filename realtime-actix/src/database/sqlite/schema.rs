//! What the schema of the database has to do with its log, also where it changes while the service runs.

use diesel::connection::{Connection as _, LoadConnection as _, SimpleConnection as _};
use diesel::result::{Error as DieselError, QueryResult};
use diesel::sql_types::BigInt;
use diesel::sqlite::{Sqlite, SqliteConnection};
use realtime_core::__private::read;
use realtime_core::log::sqlite as log;
use realtime_core::sql::Statement;

/// The schema as it was last looked at.
pub(super) struct Schema {
    watch: log::Watch,
    /// Is the log brought up to date where it is not?
    install: bool,
    pub(super) version: i64,
    /// May a commit be refused?
    pub(super) defers: bool,
}

impl Schema {
    pub(super) fn new(
        connection: &mut SqliteConnection,
        (watch, install): (log::Watch, bool),
    ) -> QueryResult<Self> {
        let (version, defers) = (log::schema_version(connection)?, defers(connection)?);
        Ok(Self { watch, install, version, defers })
    }

    /// Looks whether the schema is another one, and brings the log up to date with it: SQLite calls the newest trigger
    /// first, so that one that the application makes meanwhile would come before those of the log, and a new unique index
    /// lets more rows be replaced. Gives its version then, and whether a commit may be refused.
    ///
    /// What is in the way of that is no reason to refuse what is written.
    pub(super) fn follow(&self, connection: &mut SqliteConnection) -> QueryResult<Option<(i64, bool)>> {
        if log::schema_version(connection)? == self.version {
            return Ok(None);
        }
        let brought = connection.transaction(|connection| {
            let statements = log::outstanding(connection, &self.watch)?;
            if self.install {
                for statement in &statements {
                    connection.batch_execute(statement)?;
                }
            }
            Ok::<_, log::InstallError>(statements)
        });
        match brought {
            Ok(statements) if statements.is_empty() => {}
            Ok(_) if self.install => {
                tracing::info!("the schema has changed; the change log is up to date with it");
            }
            Ok(statements) => tracing::warn!(
                statements = statements.join("; "),
                "the schema has changed, and the change log is not up to date with it: run these statements"
            ),
            Err(error) => {
                tracing::error!(%error, "the schema has changed, and the change log cannot follow it");
            }
        }
        Ok(Some((log::schema_version(connection)?, defers(connection)?)))
    }
}

/// Does a table refer to others by a key that is asked at the commit only? No pragma tells; that a name or a comment has
/// the word costs no more than commits.
fn defers(connection: &mut SqliteConnection) -> QueryResult<bool> {
    let statement = Statement::<Sqlite>::new(
        "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND sql LIKE '%deferred%'",
    );
    let mut rows = connection.load(statement)?;
    let row = rows.next().ok_or(DieselError::NotFound)??;
    let count = read::<i64, BigInt, Sqlite>(&log::Cells(&row), 0);
    Ok(count.map_err(DieselError::DeserializationError)? > 0)
}
