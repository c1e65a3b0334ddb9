//! What the log covers, and what may be in its way.

use std::collections::{BTreeMap, BTreeSet};

use diesel::backend::Backend;
use sha2::{Digest, Sha256};

use crate::sql::Table;

/// The tables that are watched and, of each, the columns that some resource names, in a fixed order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Watch {
    pub(super) tables: BTreeMap<&'static str, Vec<&'static str>>,
}

impl Watch {
    /// Watches what the resources show. What none of them names is never in the log.
    pub fn over<DB: Backend>(tables: &[Table<DB>]) -> Self {
        let mut columns: BTreeMap<&'static str, BTreeSet<&'static str>> = BTreeMap::new();
        for table in tables {
            let named = columns.entry(table.descriptor().table).or_default();
            named.extend(table.descriptor().fields.iter().map(|field| field.column));
        }
        Self {
            tables: columns
                .into_iter()
                .map(|(table, columns)| (table, columns.into_iter().collect()))
                .collect(),
        }
    }

    /// The columns of the widest table.
    #[cfg(feature = "sqlite")]
    pub(super) fn width(&self) -> usize {
        self.tables.values().map(Vec::len).max().unwrap_or(0)
    }
}

/// Names a table and its columns in six bytes, the same on every machine, so that printed SQL can bear it.
pub(super) fn layout_id(table: &str, columns: &[&str]) -> i64 {
    let mut hash = Sha256::new();
    for name in std::iter::once(&table).chain(columns) {
        hash.update(name.as_bytes());
        hash.update([0]);
    }
    hash.finalize()[..6].iter().fold(0, |id, byte| (id << 8) | i64::from(*byte))
}

pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

pub(super) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// Why the log cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// A mounted resource's table does not exist.
    #[error("the database has no table {0:?}; create it (run the migrations) before starting")]
    NoTable(String),
    /// A mounted resource names a column that its table does not have.
    #[error("the table {table:?} has no column {column:?}, which the resource names")]
    NoColumn {
        /// The table.
        table: String,
        /// The missing column.
        column: String,
    },
    /// The database keeps text in UTF-16, whose bytes SQLite orders otherwise than code points are.
    #[error("the encoding of the database is {0}; only in UTF-8 is text ordered by code point")]
    Encoding(String),
    /// What a resource is mounted on is a view or something else that has no rows of its own.
    #[error("{0:?} is no table: only tables have triggers that see every row")]
    NotATable(String),
    /// A column's type has no binary form, in which the log keeps values.
    #[error("the column {column:?} of {table:?} is of a type that has no binary form")]
    NotBinary {
        /// The table.
        table: String,
        /// The column.
        column: String,
    },
    /// The server is too old.
    #[error("PostgreSQL {0} is too old; 13 or newer is needed")]
    OldServer(i32),
    /// The server only replays what another one writes.
    #[error("the server is a standby, which cannot be written to; give the URL of the primary")]
    Standby,
    /// The server is too old for logical replication as we read it.
    #[error("PostgreSQL {0} is too old to be followed by logical replication; 14 or newer is needed")]
    OldForReplication(i32),
    /// The server does not log what logical replication needs.
    #[error(
        "logical replication needs `wal_level = logical` and the server has `{0}`: \
         run ALTER SYSTEM SET wal_level = 'logical' and restart it"
    )]
    WalLevel(String),
    /// The role may not replicate.
    #[error("the role {0} may not replicate: run ALTER ROLE {0} REPLICATION as a superuser")]
    NotReplicating(String),
    /// Logical replication does not send what the server computes.
    #[error(
        "the column {column:?} of {table:?} is generated, which logical replication does not send: \
         take it out of the resource or follow the database by triggers"
    )]
    Generated {
        /// The table.
        table: String,
        /// The column.
        column: String,
    },
    /// There is nowhere to put the log.
    #[error("the search path names no schema that exists, so there is no place for the change log")]
    NoSchema,
    /// The database refused.
    #[error("the database refused: {0}")]
    Database(#[from] diesel::result::Error),
}
