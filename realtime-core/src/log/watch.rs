//! What the log covers, and what may be in its way.

use std::collections::{BTreeMap, BTreeSet};

use diesel::backend::Backend;
use sha2::{Digest, Sha256};

use super::sighting::Eyes;
use crate::change::ResourceId;
use crate::resource::Descriptor;
use crate::sql::Table;

/// The tables that are watched and, of each, the columns that some resource names, in a fixed order; and the database
/// views, with the tables that they read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Watch {
    pub(super) tables: BTreeMap<&'static str, Vec<&'static str>>,
    pub(super) views: BTreeMap<&'static str, Viewed>,
}

/// A database view.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Viewed {
    pub(super) columns: Vec<&'static str>,
    /// In a fixed order: the log names them by their place.
    pub(super) links: Vec<Link>,
    /// The columns of each resource, by its stream; none of one that does not say what the view is made of.
    resources: BTreeMap<&'static str, Vec<&'static str>>,
}

/// A row of the table has a part in the view's rows that have the value of its column in theirs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Link {
    pub(super) table: &'static str,
    pub(super) column: &'static str,
    /// The column of the view.
    pub(super) of: &'static str,
}

impl Link {
    fn of(descriptor: &Descriptor) -> impl Iterator<Item = Self> {
        let fields = descriptor.fields;
        descriptor.bases.iter().map(|base| Self {
            table: base.table,
            column: base.column,
            of: fields[base.field].column,
        })
    }
}

impl Viewed {
    /// Can each resource tell what becomes of the view's rows? One that did not have a column by which they are found could
    /// not tell when a row is no longer found by it.
    pub(super) fn check(&self, view: &str) -> Result<(), InstallError> {
        for (stream, columns) in &self.resources {
            if columns.is_empty() {
                return Err(InstallError::NotATable(view.to_owned()));
            }
            if let Some(link) = self.links.iter().find(|link| !columns.contains(&link.of)) {
                return Err(InstallError::HiddenLink {
                    stream: (*stream).to_owned(),
                    view: view.to_owned(),
                    column: link.of.to_owned(),
                });
            }
        }
        Ok(())
    }

    /// Names the view, its columns and what it is made of.
    pub(super) fn layout(&self, view: &str) -> i64 {
        let links: Vec<String> =
            self.links.iter().map(|link| format!("{}.{}={}", link.table, link.column, link.of)).collect();
        let names: Vec<&str> = self.columns.iter().copied().chain(links.iter().map(String::as_str)).collect();
        layout_id(view, &names)
    }

    /// The tables that the view reads; of each, its columns with their places.
    pub(super) fn bases(&self) -> BTreeMap<&'static str, Vec<(usize, &Link)>> {
        let mut bases: BTreeMap<&'static str, Vec<(usize, &Link)>> = BTreeMap::new();
        for (place, link) in self.links.iter().enumerate() {
            bases.entry(link.table).or_default().push((place, link));
        }
        bases
    }
}

impl Watch {
    /// Watches what the resources show. What none of them names is never in the log.
    pub fn over<DB: Backend>(tables: &[Table<DB>]) -> Self {
        let mut columns: BTreeMap<&'static str, BTreeSet<&'static str>> = BTreeMap::new();
        let mut links: BTreeMap<&'static str, BTreeSet<Link>> = BTreeMap::new();
        let mut resources: BTreeMap<_, BTreeMap<_, Vec<_>>> = BTreeMap::new();
        for table in tables {
            let descriptor = table.descriptor();
            let named = columns.entry(descriptor.table).or_default();
            named.extend(descriptor.fields.iter().map(|field| field.column));
            let shown = descriptor.fields.iter().filter(|_| descriptor.is_over_view());
            let shown = shown.map(|field| field.column).collect();
            resources.entry(descriptor.table).or_default().insert(descriptor.stream, shown);
            if descriptor.is_over_view() {
                links.entry(descriptor.table).or_default().extend(Link::of(descriptor));
            }
        }
        let mut watch = Self::default();
        for (table, columns) in columns {
            let columns = columns.into_iter().collect();
            match links.remove(table) {
                None => _ = watch.tables.insert(table, columns),
                Some(links) => {
                    let links = links.into_iter().collect();
                    let resources = resources.remove(table).unwrap_or_default();
                    _ = watch.views.insert(table, Viewed { columns, links, resources });
                }
            }
        }
        watch
    }

    /// What the log covers: its layouts, each with its name and columns.
    pub(super) fn layouts(&self) -> impl Iterator<Item = (i64, &'static str, &[&'static str])> {
        let tables = self
            .tables
            .iter()
            .map(|(table, columns)| (layout_id(table, columns), *table, columns.as_slice()));
        let views =
            self.views.iter().map(|(view, viewed)| (viewed.layout(view), *view, viewed.columns.as_slice()));
        tables.chain(views)
    }

    /// Every table and view that is looked at.
    #[cfg(feature = "postgres")]
    pub(super) fn relations(&self) -> BTreeSet<&'static str> {
        let bases = self.views.values().flat_map(|viewed| viewed.links.iter().map(|link| link.table));
        self.tables.keys().chain(self.views.keys()).copied().chain(bases).collect()
    }

    /// The columns of the widest table.
    #[cfg(feature = "sqlite")]
    pub(super) fn width(&self) -> usize {
        self.layouts().map(|(_, _, columns)| columns.len()).max().unwrap_or(0)
    }
}

/// How each resource sees the rows of the view that it is over.
pub(super) struct EyesOf(Vec<Vec<usize>>);

impl EyesOf {
    pub(super) fn resources<DB: Backend>(tables: &[Table<DB>]) -> Self {
        let watch = Watch::over(tables);
        let links = tables.iter().map(|table| {
            let descriptor = table.descriptor();
            let links = watch.views.get(descriptor.table).map_or(&[][..], |viewed| &viewed.links);
            let field = |link: &Link| descriptor.fields.iter().position(|field| field.column == link.of);
            // All of them are there, or the start is refused ([`Viewed::check`]).
            links.iter().filter_map(field).collect()
        });
        Self(links.collect())
    }

    pub(super) fn of(&self, resource: ResourceId, descriptor: &Descriptor) -> Eyes<'_> {
        Eyes {
            resource,
            key: descriptor.key,
            fields: descriptor.fields.len(),
            links: self.0.get(resource.0).map_or(&[], Vec::as_slice),
        }
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
    #[error(
        "{0:?} is no table, and only tables have triggers that see every row; a resource over a view names the tables \
         that the view reads: #[realtime(view_of(comments(id)))]"
    )]
    NotATable(String),
    /// A resource names tables that its view reads, and what it is mounted on is no view.
    #[error("{0:?} is no view: a resource over a table has no `view_of`")]
    NotAView(String),
    /// A view reads a table whose changes would not be seen.
    #[error(
        "the view {view:?} reads the table {table:?}, whose changes would change its rows unseen: name it in \
         `view_of`, with the column whose value the view's rows have in one of theirs"
    )]
    UnnamedBase {
        /// The view.
        view: String,
        /// The table.
        table: String,
    },
    /// A resource over a view lacks a column by which the view's rows are found.
    #[error(
        "the resource {stream:?} over the view {view:?} has no field for the column {column:?}, by which the rows of the \
         view are found; give it one"
    )]
    HiddenLink {
        /// The resource's stream.
        stream: String,
        /// The view.
        view: String,
        /// The column of the view.
        column: String,
    },
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
