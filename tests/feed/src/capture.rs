//! What the change log's triggers cost those who write: the same inserts into the same table with and without them.

use std::time::{Duration, Instant};

use diesel::connection::SimpleConnection as _;
use diesel::prelude::*;
use diesel::sqlite::SqliteConnection;
use diesel_async::{AsyncConnection as _, AsyncPgConnection};
use futures_util::future::try_join_all;
use realtime_tests::{Setup, Store};
use rustix::time::{ClockId, clock_gettime};
use serde_json::json;

use crate::options::{Failure, Kind};
use crate::report::{Report, percentile};

/// Each is measured so many times, in turn, and each time compared with what came right before or after it, so that what
/// else the machine does is the same for both.
const ROUNDS: u32 = 25;

/// Rows of one transaction where there are several.
const BULK: usize = 100;

macro_rules! comments {
    ($($table:ident)*) => { $(
        diesel::table! {
            $table (id) {
                id -> BigInt,
                topic_id -> Integer,
                author_id -> Integer,
                body -> Text,
                created_at -> Timestamp,
            }
        }
    )* };
}

comments!(comments plain_comments);

const BODY: &str =
    "One comment among many, about as long as people write them when they have something to say.";

/// The row that is inserted.
macro_rules! row {
    ($table:ident, $at:expr) => {
        diesel::insert_into($table::table).values((
            $table::topic_id.eq(1),
            $table::author_id.eq(1),
            $table::body.eq(BODY),
            $table::created_at.eq($at),
        ))
    };
}

/// The same as `comments`, and nobody watches it.
const PLAIN_SQLITE: &str = "CREATE TABLE plain_comments (
    id INTEGER PRIMARY KEY NOT NULL,
    topic_id INTEGER NOT NULL REFERENCES topics (id) ON DELETE CASCADE,
    author_id INTEGER NOT NULL REFERENCES users (id),
    body TEXT NOT NULL,
    score INTEGER NOT NULL DEFAULT 0,
    rating DOUBLE,
    status TEXT NOT NULL DEFAULT 'published',
    edited_at TIMESTAMP,
    created_at TIMESTAMP NOT NULL
)";
const PLAIN_POSTGRES: &str = "CREATE TABLE plain_comments (
    LIKE comments INCLUDING DEFAULTS INCLUDING INDEXES INCLUDING IDENTITY,
    FOREIGN KEY (topic_id) REFERENCES topics (id) ON DELETE CASCADE,
    FOREIGN KEY (author_id) REFERENCES users (id)
)";

/// What came of inserting as fast as it goes for a time.
#[derive(Clone, Copy)]
struct Inserted {
    rows: usize,
    time: Duration,
    /// What the thread that inserts has used of a processor; on PostgreSQL others do the work.
    processor: Option<Duration>,
}

impl Inserted {
    fn per_second(self) -> f64 {
        self.rows as f64 / self.time.as_secs_f64()
    }

    fn processor_for_each(self) -> Option<f64> {
        Some(self.processor?.as_secs_f64() / self.rows as f64)
    }
}

/// The median.
fn middle(mut figures: Vec<f64>) -> f64 {
    figures.sort_unstable_by(f64::total_cmp);
    percentile(&figures, 50)
}

pub(crate) async fn run(databases: &[Kind], seconds: u64) -> Result<(), Failure> {
    let mut report = Report::new(
        "capture",
        &["database", "inserts", "service", "without/s", "with/s", "cost %", "of the processor %"],
    );
    let time = Duration::from_secs(seconds) / ROUNDS / 2;
    for kind in databases {
        let store = kind.store();
        // Whoever starts a service on it makes the tables and the triggers.
        drop(Setup::on(&store).workers(1).start().await);
        store.connection().batch_execute(if *kind == Kind::Sqlite {
            PLAIN_SQLITE
        } else {
            PLAIN_POSTGRES
        })?;
        for follows in [false, true] {
            let service = if follows { Some(Setup::on(&store).workers(1).start().await) } else { None };
            for (clients, bulk, name) in
                [(1, 1, "1 row each"), (8, 1, "1 row each, 8 clients"), (1, BULK, "100 rows each")]
            {
                if *kind == Kind::Sqlite && clients > 1 {
                    // One connection writes at a time.
                    continue;
                }
                let mut connections = Vec::new();
                if *kind == Kind::Postgres {
                    for _ in 0..clients {
                        connections.push(AsyncPgConnection::establish(&store.url()).await?);
                    }
                }
                let mut pairs = Vec::new();
                for round in 0..ROUNDS {
                    let mut pair = [None; 2];
                    // Whoever comes first may find the disk or the processor busier than who comes second.
                    let first = usize::from(round % 2 == 1);
                    for captured in [first, 1 - first] {
                        pair[captured] = Some(match kind {
                            Kind::Sqlite => on_sqlite(&store, captured == 1, bulk, time)?,
                            Kind::Postgres => {
                                on_postgres(&mut connections, captured == 1, bulk, time).await?
                            }
                        });
                    }
                    pairs.extend(pair[0].zip(pair[1]));
                }
                let without = middle(pairs.iter().map(|(without, _)| without.per_second()).collect());
                let with = middle(pairs.iter().map(|(_, with)| with.per_second()).collect());
                let ratios = pairs.iter().map(|(without, with)| with.per_second() / without.per_second());
                let cost = 100.0 * (1.0 - middle(ratios.collect()));
                let processor: Option<Vec<f64>> = pairs
                    .iter()
                    .map(|(without, with)| Some(without.processor_for_each()? / with.processor_for_each()?))
                    .collect();
                let processor = processor.map(|ratios| 100.0 * (1.0 - middle(ratios)));
                let service = if follows { "follows" } else { "none" };
                report.add(
                    vec![
                        kind.name().to_owned(),
                        name.to_owned(),
                        service.to_owned(),
                        format!("{without:.0}"),
                        format!("{with:.0}"),
                        format!("{cost:.0}"),
                        processor.map_or_else(String::new, |processor| format!("{processor:.0}")),
                    ],
                    json!({
                        "database": kind.name(), "inserts": name, "service": service,
                        "without_per_s": without.round(), "with_per_s": with.round(), "cost_percent": cost.round(),
                        "processor_percent": processor.map(f64::round),
                    }),
                );
            }
            drop(service);
        }
    }
    report.print();
    Ok(())
}

fn on_sqlite(store: &Store, captured: bool, bulk: usize, time: Duration) -> Result<Inserted, Failure> {
    let mut connection = SqliteConnection::establish(&store.path().to_string_lossy())?;
    connection.batch_execute(
        "PRAGMA busy_timeout = 10000; PRAGMA synchronous = NORMAL; PRAGMA foreign_keys = ON; PRAGMA wal_checkpoint(TRUNCATE)",
    )?;
    let now = chrono::DateTime::UNIX_EPOCH.naive_utc();
    let insert = |connection: &mut SqliteConnection| {
        if captured {
            RunQueryDsl::execute(row!(comments, now), connection)
        } else {
            RunQueryDsl::execute(row!(plain_comments, now), connection)
        }
    };
    let (start, used, mut rows) = (Instant::now(), used(), 0);
    while start.elapsed() < time {
        if bulk == 1 {
            insert(&mut connection)?;
        } else {
            connection.immediate_transaction(|connection| {
                (0..bulk).try_for_each(|_| insert(connection).map(drop))
            })?;
        }
        rows += bulk;
    }
    Ok(Inserted { rows, time: start.elapsed(), processor: Some(self::used().saturating_sub(used)) })
}

/// Processor time of this thread.
fn used() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

async fn on_postgres(
    connections: &mut [AsyncPgConnection],
    captured: bool,
    bulk: usize,
    time: Duration,
) -> Result<Inserted, Failure> {
    let start = Instant::now();
    let inserting = connections.iter_mut().map(|connection| async move {
        let now = chrono::DateTime::UNIX_EPOCH.naive_utc();
        let mut rows = 0;
        while start.elapsed() < time {
            if bulk > 1 {
                diesel_async::SimpleAsyncConnection::batch_execute(connection, "BEGIN").await?;
            }
            for _ in 0..bulk {
                if captured {
                    diesel_async::RunQueryDsl::execute(row!(comments, now), connection).await?;
                } else {
                    diesel_async::RunQueryDsl::execute(row!(plain_comments, now), connection).await?;
                }
            }
            if bulk > 1 {
                diesel_async::SimpleAsyncConnection::batch_execute(connection, "COMMIT").await?;
            }
            rows += bulk;
        }
        Ok::<_, diesel::result::Error>(rows)
    });
    let rows: usize = try_join_all(inserting).await?.into_iter().sum();
    Ok(Inserted { rows, time: start.elapsed(), processor: None })
}
