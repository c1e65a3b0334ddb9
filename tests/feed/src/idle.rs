//! What a service costs that has nothing to do, with one subscriber: processor, and round trips to PostgreSQL.

use std::time::{Duration, Instant};

use realtime_tests::{Relay, Setup, Store};
use rustix::time::{ClockId, clock_gettime};
use serde_json::json;

use crate::options::{Failure, Kind};
use crate::report::Report;
use crate::subscriber::Subscriber;

/// How often the service looks for other processes' commits where it has been quiet, by default.
fn poll(kind: Kind) -> Duration {
    Duration::from_millis(match kind {
        Kind::Sqlite => 80,
        Kind::Postgres => 50,
    })
}

/// After the start, before it is measured.
const SETTLE: Duration = Duration::from_secs(2);

pub(crate) async fn run(databases: &[Kind], seconds: u64) -> Result<(), Failure> {
    let mut report = Report::new(
        "idle",
        &["database", "looks every", "seconds", "% of a core", "of it waking up", "round trips/look"],
    );
    for kind in databases {
        let store = kind.store();
        let server = Setup::on(&store).workers(1).start().await;
        let subscriber = Subscriber::of_comments(server.address())?;
        tokio::time::sleep(SETTLE).await;
        let (from, start) = (used(), Instant::now());
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        let percent = 100.0 * (used() - from).as_secs_f64() / start.elapsed().as_secs_f64();
        drop(subscriber);
        drop(server);
        let poll = poll(*kind);
        let waking = tokio::task::spawn_blocking(move || waking(poll)).await?;
        let trips = match kind {
            Kind::Sqlite => None,
            Kind::Postgres => Some(round_trips(&store, poll, seconds).await?),
        };
        report.add(
            vec![
                kind.name().to_owned(),
                format!("{} ms", poll.as_millis()),
                seconds.to_string(),
                format!("{percent:.3}"),
                format!("{waking:.3}"),
                trips.map_or_else(|| "none".to_owned(), |trips| format!("{trips:.3}")),
            ],
            json!({"database": kind.name(), "poll_ms": u64::try_from(poll.as_millis())?, "percent_of_a_core": percent, "percent_waking_up": waking, "round_trips_per_look": trips}),
        );
    }
    report.print();
    Ok(())
}

/// What a thread costs that does nothing but wake up as often: on a machine that has much else to do, most of it.
fn waking(poll: Duration) -> f64 {
    let used = || clock_gettime(ClockId::ThreadCPUTime);
    let (from, start) = (used(), Instant::now());
    while start.elapsed() < SETTLE {
        std::thread::sleep(poll);
    }
    let to = used();
    let seconds = (to.tv_sec - from.tv_sec) as f64 + (to.tv_nsec - from.tv_nsec) as f64 / 1e9;
    100.0 * seconds / start.elapsed().as_secs_f64()
}

/// Processor time of this process, all threads.
fn used() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// What the service says to PostgreSQL while it is idle: one message for each round trip.
async fn round_trips(store: &Store, poll: Duration, seconds: u64) -> Result<f64, Failure> {
    let (relay, through) = Relay::before(&store.url()).await;
    let server = Setup::on(&Store::at(&through)).workers(1).start().await;
    let subscriber = Subscriber::of_comments(server.address())?;
    tokio::time::sleep(SETTLE).await;
    let (from, start) = (relay.heard(), Instant::now());
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    let trips = relay.heard() - from;
    // Each look waits for the answer to the one before it, so there are a few less.
    let looks = start.elapsed().as_secs_f64() / poll.as_secs_f64();
    drop((subscriber, server));
    Ok(trips as f64 / looks)
}
