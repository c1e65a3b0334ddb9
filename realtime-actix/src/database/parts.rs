//! What a database is opened with, whichever it is: the resources in the form of every database that is compiled in, and
//! the one that the URL names.

use std::time::Duration;

#[cfg(feature = "postgres")]
use diesel::pg::Pg;
#[cfg(feature = "sqlite")]
use diesel::sqlite::Sqlite;
use realtime_core::change::Batch;
use realtime_core::cursor::Position;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
use realtime_core::sql::Table;
use realtime_core::{Descriptor, Hooks, Limits, LookupSet, RealtimeResource};
use tokio::sync::mpsc;

#[cfg(feature = "postgres")]
use super::postgres;
#[cfg(feature = "sqlite")]
use super::sqlite;
use super::{Backend, Database};
#[cfg(feature = "postgres")]
use crate::realtime::ChangeSource;

#[cfg(not(any(feature = "sqlite", feature = "postgres")))]
compile_error!("realtime-actix needs a database: turn on its feature `sqlite` or `postgres`");

/// A resource that can be kept in SQLite: asked for where the feature `sqlite` is on. The derive implements it.
#[cfg(feature = "sqlite")]
pub trait OnSqlite: realtime_core::ResourceOn<Sqlite> {}
#[cfg(feature = "sqlite")]
#[diagnostic::do_not_recommend]
impl<M: realtime_core::ResourceOn<Sqlite>> OnSqlite for M {}

/// A resource that can be kept in SQLite: asked for where the feature `sqlite` is on. The derive implements it.
#[cfg(not(feature = "sqlite"))]
pub trait OnSqlite {}
#[cfg(not(feature = "sqlite"))]
impl<M> OnSqlite for M {}

/// A resource that can be kept in PostgreSQL: asked for where the feature `postgres` is on. The derive implements it.
#[cfg(feature = "postgres")]
pub trait OnPostgres: realtime_core::ResourceOn<Pg> {}
#[cfg(feature = "postgres")]
#[diagnostic::do_not_recommend]
impl<M: realtime_core::ResourceOn<Pg>> OnPostgres for M {}

/// A resource that can be kept in PostgreSQL: asked for where the feature `postgres` is on. The derive implements it.
#[cfg(not(feature = "postgres"))]
pub trait OnPostgres {}
#[cfg(not(feature = "postgres"))]
impl<M> OnPostgres for M {}

/// The resources, and what the application does to a database before they are looked at.
#[derive(Default)]
pub(crate) struct Parts {
    descriptors: Vec<&'static Descriptor>,
    #[cfg(feature = "sqlite")]
    sqlite_tables: Vec<Table<Sqlite>>,
    #[cfg(feature = "sqlite")]
    pub(crate) prepare_sqlite: Option<sqlite::Prepare>,
    #[cfg(feature = "postgres")]
    postgres_tables: Vec<Table<Pg>>,
    #[cfg(feature = "postgres")]
    pub(crate) prepare_postgres: Option<postgres::Prepare>,
}

impl Parts {
    pub(crate) fn add<M: RealtimeResource + Hooks + OnSqlite + OnPostgres>(&mut self) {
        self.descriptors.push(M::DESCRIPTOR);
        #[cfg(feature = "sqlite")]
        self.sqlite_tables.push(Table::of::<M>());
        #[cfg(feature = "postgres")]
        self.postgres_tables.push(Table::of::<M>());
    }

    pub(crate) fn descriptors(&self) -> &[&'static Descriptor] {
        &self.descriptors
    }
}

/// How the database is opened.
pub(crate) struct Opening {
    /// Bring the change log up to date rather than insist that it is?
    pub(crate) install: bool,
    /// How often other processes' commits are looked for, where the application says so.
    pub(crate) poll: Option<Duration>,
    #[cfg(feature = "postgres")]
    pub(crate) connections: usize,
    #[cfg(feature = "postgres")]
    pub(crate) source: ChangeSource,
}

/// Where a database is.
enum Location {
    #[cfg(feature = "sqlite")]
    Sqlite(sqlite::Location),
    #[cfg(feature = "postgres")]
    Postgres(postgres::Target),
}

/// Why a database could not be opened.
#[derive(Debug)]
pub(crate) enum Refused {
    /// The URL is of no database that can be opened.
    Url(String),
    /// The database, as it may be shown, and the reason.
    Database(String, String),
}

impl Location {
    /// Where a URL leads, and how it may be shown: without a password.
    fn parse(url: &str) -> Result<(Self, String), Refused> {
        #[cfg(feature = "sqlite")]
        if let Some(location) = sqlite::Location::parse(url) {
            return Ok((Self::Sqlite(location), url.to_owned()));
        }
        #[cfg(not(feature = "sqlite"))]
        if url.starts_with("sqlite:") {
            return Err(Refused::Url(format!(
                "{url:?} needs the feature `sqlite` of realtime-actix, which is off"
            )));
        }
        #[cfg(feature = "postgres")]
        if let Some(target) = postgres::Target::parse(url) {
            return match target {
                Ok(target) => {
                    let shown = target.shown();
                    Ok((Self::Postgres(target), shown))
                }
                Err(error) => Err(Refused::Database("postgres://…".to_owned(), error.to_string())),
            };
        }
        #[cfg(not(feature = "postgres"))]
        if url.starts_with("postgres") {
            // Not the whole of it: it may have a password.
            return Err(Refused::Url(
                "a PostgreSQL database needs the feature `postgres` of realtime-actix, which is off"
                    .to_owned(),
            ));
        }
        let supported = [
            #[cfg(feature = "sqlite")]
            "sqlite://PATH, sqlite::memory:",
            #[cfg(feature = "postgres")]
            "postgres://USER@HOST/DATABASE",
        ];
        Err(Refused::Url(format!("{url:?} is not a database URL; supported are {}", supported.join(", "))))
    }

    /// Can changes come from there?
    #[cfg(feature = "postgres")]
    fn check(&self, source: ChangeSource) -> Result<(), Refused> {
        match (self, source) {
            (Self::Postgres(_), _) => Ok(()),
            #[cfg(feature = "sqlite")]
            (Self::Sqlite(_), ChangeSource::Triggers) => Ok(()),
            #[cfg(feature = "sqlite")]
            (Self::Sqlite(_), ChangeSource::Replication) => Err(Refused::Url(
                "SQLite has no logical replication: its changes come from triggers".to_owned(),
            )),
        }
    }
}

/// What the database of a URL cannot decide in SQL. Nothing is known of one that no URL is of.
pub(crate) fn undecided(url: &str) -> LookupSet {
    match Location::parse(url) {
        #[cfg(feature = "postgres")]
        Ok((Location::Postgres(_), _)) => <Pg as realtime_core::sql::Dialect>::UNDECIDED,
        _ => LookupSet::NONE,
    }
}

/// Says which statements would bring the change log of a database up to date. Blocks.
pub(crate) fn outstanding(
    url: &str,
    parts: Parts,
    #[cfg(feature = "postgres")] source: ChangeSource,
) -> Result<Vec<String>, Refused> {
    let (location, shown) = Location::parse(url)?;
    #[cfg(feature = "postgres")]
    location.check(source)?;
    match location {
        #[cfg(feature = "sqlite")]
        Location::Sqlite(location) => {
            sqlite::outstanding(&location, &parts.sqlite_tables, parts.prepare_sqlite)
                .map_err(|error| Refused::Database(shown, error.to_string()))
        }
        #[cfg(feature = "postgres")]
        Location::Postgres(target) => {
            postgres::outstanding(&target, &parts.postgres_tables, parts.prepare_postgres, source)
                .map_err(|error| Refused::Database(shown, error.to_string()))
        }
    }
}

/// Opens the database that a URL names. It publishes every batch of changes from the position on.
pub(crate) async fn open(
    url: &str,
    parts: Parts,
    opening: Opening,
    limits: &Limits,
    feed: mpsc::Sender<Batch>,
) -> Result<(Database, Position), Refused> {
    let (location, shown) = Location::parse(url)?;
    #[cfg(feature = "postgres")]
    location.check(opening.source)?;
    let descriptors = parts.descriptors().to_vec();
    match location {
        #[cfg(feature = "sqlite")]
        Location::Sqlite(location) => {
            let options = sqlite::Options {
                location,
                tables: parts.sqlite_tables,
                prepare: parts.prepare_sqlite,
                install: opening.install,
                pace: sqlite::Pace {
                    poll: opening.poll.unwrap_or(Duration::from_millis(10)),
                    waiting: limits.waiting_writes,
                    feed_rows: limits.feed_rows,
                    feed_seconds: limits.feed_seconds,
                },
                readers: std::thread::available_parallelism().map_or(2, usize::from).clamp(2, 8),
            };
            let opened = actix_web::web::block(move || sqlite::Sqlite::open(options, feed)).await;
            match opened {
                Ok(Ok((database, (epoch, page_key), position))) => {
                    Ok((Database::new(Backend::Sqlite(database), (epoch, page_key), descriptors), position))
                }
                Ok(Err(error)) => Err(Refused::Database(shown, error.to_string())),
                Err(error) => Err(Refused::Database(shown, error.to_string())),
            }
        }
        #[cfg(feature = "postgres")]
        Location::Postgres(target) => {
            let options = postgres::Options {
                target,
                tables: parts.postgres_tables,
                prepare: parts.prepare_postgres,
                install: opening.install,
                source: opening.source,
                poll: opening.poll.unwrap_or(Duration::from_millis(50)),
                waiting: limits.waiting_writes,
                feed_rows: limits.feed_rows,
                feed_seconds: limits.feed_seconds,
                connections: opening.connections,
            };
            match postgres::Postgres::open(options, feed).await {
                Ok((database, (epoch, page_key), position)) => {
                    Ok((Database::new(Backend::Postgres(database), (epoch, page_key), descriptors), position))
                }
                Err(error) => Err(Refused::Database(shown, error.to_string())),
            }
        }
    }
}
