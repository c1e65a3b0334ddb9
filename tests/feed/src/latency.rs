//! From a commit to the frame at one subscriber, one write at a time.

use std::time::{Duration, Instant};

use diesel::connection::SimpleConnection as _;
use diesel_async::{AsyncConnection as _, AsyncPgConnection, SimpleAsyncConnection as _};
use realtime_tests::{OwnConnection, Server, Setup};
use serde_json::json;

use crate::options::{Failure, Kind};
use crate::report::{Report, milliseconds, percentile};
use crate::subscriber::Subscriber;

/// Who writes.
#[derive(Clone, Copy)]
enum Writer {
    /// `POST` over a connection that stays open, from sending it on.
    Rest,
    /// `Realtime::write`, from the end of its closure on: the commit is part of it.
    Service,
    /// A connection of the application's own, from its commit on, which calls `Realtime::wake`.
    Woken,
    /// The same without, as another process would.
    Other,
    /// So too, when there has been nothing to tell for a while: the service then looks less often.
    AfterQuiet,
}

impl Writer {
    const ALL: [(Self, &'static str); 5] = [
        (Self::Service, "Realtime::write, from before its commit"),
        (Self::Woken, "own connection, then wake()"),
        (Self::Other, "another process"),
        (Self::AfterQuiet, "another process, after a quiet second"),
        (Self::Rest, "POST, from sending it"),
    ];

    /// Between two writes, so that the server has come to rest: of an odd length, or the writes would keep step with polls.
    fn pause(self) -> Duration {
        Duration::from_micros(if matches!(self, Self::AfterQuiet) { 1_213_711 } else { 3_711 })
    }

    /// Writes before those that count.
    fn warm_up(self) -> usize {
        if matches!(self, Self::AfterQuiet) { 0 } else { 50 }
    }
}

enum Own {
    Sqlite(OwnConnection),
    Postgres(Box<AsyncPgConnection>),
}

impl Own {
    async fn commit(&mut self, sql: &str) -> Result<Instant, Failure> {
        match self {
            Self::Sqlite(connection) => connection.batch_execute(sql)?,
            Self::Postgres(connection) => connection.batch_execute(sql).await?,
        }
        Ok(Instant::now())
    }
}

pub(crate) async fn run(databases: &[Kind], seconds: u64) -> Result<(), Failure> {
    let mut report = Report::new("latency", &["database", "writer", "writes", "p50 ms", "p99 ms", "max ms"]);
    for kind in databases {
        let store = kind.store();
        let server = Setup::on(&store).workers(1).start().await;
        let mut own = match kind {
            Kind::Sqlite => Own::Sqlite(server.connection()),
            Kind::Postgres => Own::Postgres(Box::new(AsyncPgConnection::establish(&store.url()).await?)),
        };
        let http = reqwest::Client::builder().no_proxy().build()?;
        for (writer, name) in Writer::ALL {
            let mut latencies = measure(*kind, &server, writer, &mut own, &http, seconds).await?;
            latencies.sort_unstable();
            let [p50, p99, max] = [50, 99, 100].map(|percent| milliseconds(percentile(&latencies, percent)));
            report.add(
                vec![
                    kind.name().to_owned(),
                    name.to_owned(),
                    latencies.len().to_string(),
                    format!("{p50:.3}"),
                    format!("{p99:.3}"),
                    format!("{max:.3}"),
                ],
                json!({"database": kind.name(), "writer": name, "writes": latencies.len(), "p50_ms": p50, "p99_ms": p99, "max_ms": max}),
            );
        }
    }
    report.print();
    Ok(())
}

async fn measure(
    kind: Kind,
    server: &Server,
    writer: Writer,
    own: &mut Own,
    http: &reqwest::Client,
    seconds: u64,
) -> Result<Vec<Duration>, Failure> {
    const SQL: &str = "INSERT INTO comments (topic_id, author_id, body, created_at)
        VALUES (1, 1, 'One comment among many, about as long as people write them.', '2026-01-01 00:00:00')";
    let subscriber = Subscriber::of_comments(server.address())?;
    let url = format!("http://{}/api/comments/", server.address());
    let body = json!({"topic_id": 1, "body": "One comment among many, about as long as people write them."});
    let mut latencies = Vec::new();
    let end = Instant::now() + Duration::from_secs(seconds);
    let mut written = 0;
    while Instant::now() < end || latencies.is_empty() {
        tokio::time::sleep(writer.pause()).await;
        let from = match (writer, kind) {
            (Writer::Rest, _) => {
                let from = Instant::now();
                let status = http.post(&url).json(&body).send().await?.status();
                if status != 201 {
                    return Err(format!("a comment was answered with {status}").into());
                }
                from
            }
            (Writer::Service, Kind::Sqlite) => {
                let write = server.realtime().write(|connection| {
                    connection.batch_execute(SQL).map_err(|error| error.to_string())?;
                    Ok::<_, String>(Instant::now())
                });
                write.await.map_err(|error| error.to_string())?
            }
            (Writer::Service, Kind::Postgres) => {
                let write = server.realtime().write_postgres(|connection| {
                    Box::pin(async move {
                        connection.batch_execute(SQL).await.map_err(|error| error.to_string())?;
                        Ok::<_, String>(Instant::now())
                    })
                });
                write.await.map_err(|error| error.to_string())?
            }
            (Writer::Woken, _) => {
                let committed = own.commit(SQL).await?;
                server.realtime().wake();
                committed
            }
            (Writer::Other | Writer::AfterQuiet, _) => own.commit(SQL).await?,
        };
        let arrival = subscriber.next()?;
        written += 1;
        if written > writer.warm_up() {
            // The feed may find a commit before its own connection knows of it.
            latencies.push(arrival.at.saturating_duration_since(from));
        }
    }
    Ok(latencies)
}
