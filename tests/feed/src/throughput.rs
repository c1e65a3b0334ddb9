//! How many changed rows a second go through the feed, matching and one group to a subscriber.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use diesel::connection::SimpleConnection as _;
use diesel_async::SimpleAsyncConnection as _;
use futures_util::future::join_all;
use realtime_tests::{Server, Setup};
use serde_json::json;

use crate::options::{Failure, Kind};
use crate::report::{Report, milliseconds, percentile};
use crate::subscriber::Subscriber;

/// Rows that one transaction changes.
const ROWS: usize = 100;

/// Rows of the table.
const TABLE: usize = 10_000;

/// The rate that must be kept up with.
const GOAL: usize = 10_000;

/// Writes that wait at the same time where each changes one row.
const AT_ONCE: usize = 64;

/// The last score of the measurement before.
static SCORES: AtomicI64 = AtomicI64::new(1_000_000);

pub(crate) async fn run(databases: &[Kind], seconds: u64) -> Result<(), Failure> {
    let mut report = Report::new(
        "throughput",
        &[
            "database",
            "writes",
            "rows",
            "rows/s",
            "p50 ms",
            "p99 ms",
            "first half p50",
            "second half p50",
            "behind ms",
        ],
    );
    for kind in databases {
        let server = Setup::on(&kind.store()).workers(1).start().await;
        server
            .write(format!(
                "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {TABLE})
                 INSERT INTO comments (topic_id, author_id, body, created_at)
                 SELECT 1, 1, 'One comment among many, about as long as people write them.', '2026-01-01 00:00:00' FROM n"
            ))
            .await;
        tokio::time::sleep(Duration::from_millis(500)).await;
        for (rows, at_once, paced, name) in [
            (ROWS, 1, true, "100 rows each, paced at 10,000 rows/s"),
            (ROWS, 1, false, "100 rows each, as fast as it goes"),
            (10 * ROWS, 1, false, "1,000 rows each, as fast as it goes"),
            (1, AT_ONCE, false, "1 row each, 64 at once"),
        ] {
            let measured = measure(*kind, &server, rows, at_once, paced, seconds).await?;
            let rate = measured.rows as f64 / measured.took.as_secs_f64();
            let (early, late) = measured.latencies.split_at(measured.latencies.len() / 2);
            let median = |latencies: &[Duration]| {
                let mut ordered = latencies.to_vec();
                ordered.sort_unstable();
                milliseconds(percentile(&ordered, 50))
            };
            let mut ordered = measured.latencies.clone();
            ordered.sort_unstable();
            let [p50, p99] = [50, 99].map(|percent| milliseconds(percentile(&ordered, percent)));
            let behind = milliseconds(measured.behind);
            report.add(
                vec![
                    kind.name().to_owned(),
                    name.to_owned(),
                    measured.rows.to_string(),
                    format!("{rate:.0}"),
                    format!("{p50:.2}"),
                    format!("{p99:.2}"),
                    format!("{:.2}", median(early)),
                    format!("{:.2}", median(late)),
                    format!("{behind:.2}"),
                ],
                json!({
                    "database": kind.name(), "writes": name, "rows": measured.rows, "rows_per_s": rate.round(),
                    "p50_ms": p50, "p99_ms": p99, "first_half_p50_ms": median(early),
                    "second_half_p50_ms": median(late), "behind_ms": behind,
                }),
            );
        }
    }
    report.print();
    Ok(())
}

struct Measured {
    rows: usize,
    took: Duration,
    /// Of each round of writes: from the end of the writing to the last of its events.
    latencies: Vec<Duration>,
    /// From the last commit to the last event.
    behind: Duration,
}

async fn measure(
    kind: Kind,
    server: &Server,
    rows: usize,
    at_once: usize,
    paced: bool,
    seconds: u64,
) -> Result<Measured, Failure> {
    let subscriber = Subscriber::of_comments(server.address())?;
    let start = Instant::now();
    let (sender, written) = std::sync::mpsc::channel::<(i64, Instant)>();
    // The events of a round are counted while the next ones are written.
    let counting = std::thread::spawn(move || -> Result<(Subscriber, Vec<Duration>, Instant), String> {
        let mut latencies = Vec::new();
        let mut counts: HashMap<i64, (usize, Instant)> = HashMap::new();
        let mut last = Instant::now();
        for (round, committed) in written {
            while counts.get(&round).is_none_or(|(count, _)| *count < rows * at_once) {
                let arrival = subscriber.next().map_err(|error| {
                    let came = counts.get(&round).map_or(0, |(count, _)| *count);
                    format!(
                        "{error}; of round {round} {came} of {} events have come, {} rounds before it",
                        rows * at_once,
                        latencies.len()
                    )
                })?;
                let score = arrival.score.ok_or("an event without a score")?;
                let entry = counts.entry(score).or_insert((0, arrival.at));
                *entry = (entry.0 + 1, arrival.at);
            }
            let (_, at) = counts.remove(&round).ok_or("a round without events")?;
            latencies.push(at.saturating_duration_since(committed));
            last = at;
        }
        Ok((subscriber, latencies, last))
    });
    // No two measurements set the same score, so that each write is a change.
    let base_score = SCORES.fetch_add(1_000_000, Ordering::Relaxed);
    let mut round = 0;
    let mut last_commit = start;
    while start.elapsed() < Duration::from_secs(seconds) {
        round += 1;
        let base = usize::try_from(round)? * rows * at_once % TABLE;
        let writes = (0..at_once).map(|number| {
            let from = (base + number * rows) % TABLE + 1;
            let sql = format!(
                "UPDATE comments SET score = {} WHERE id BETWEEN {from} AND {}",
                base_score + round,
                from + rows - 1
            );
            write(kind, server, sql)
        });
        for result in join_all(writes).await {
            result?;
        }
        last_commit = Instant::now();
        sender.send((base_score + round, last_commit))?;
        if paced {
            let due = start + Duration::from_secs_f64(round as f64 * (rows * at_once) as f64 / GOAL as f64);
            tokio::time::sleep_until(due.into()).await;
        }
    }
    drop(sender);
    let counted = tokio::task::spawn_blocking(move || counting.join()).await?;
    let (_, latencies, last) = counted.map_err(|_| "counting panicked")??;
    Ok(Measured {
        rows: latencies.len() * rows * at_once,
        took: last - start,
        latencies,
        behind: last.saturating_duration_since(last_commit),
    })
}

async fn write(kind: Kind, server: &Server, sql: String) -> Result<(), Failure> {
    match kind {
        Kind::Sqlite => {
            let write = server
                .realtime()
                .write(move |connection| connection.batch_execute(&sql).map_err(|error| error.to_string()));
            write.await.map_err(|error| error.to_string())?;
        }
        Kind::Postgres => {
            let write = server.realtime().write_postgres(move |connection| {
                Box::pin(
                    async move { connection.batch_execute(&sql).await.map_err(|error| error.to_string()) },
                )
            });
            write.await.map_err(|error| error.to_string())?;
        }
    }
    Ok(())
}
