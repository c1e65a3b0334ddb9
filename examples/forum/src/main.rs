//! The example application: a live forum from one derive on each Diesel model.

mod accounts;
mod auth;
mod database;
mod demo;
mod health;
mod identity;
mod models;
mod options;
mod page;
mod passwords;
mod schema;
mod throttle;

use std::io::Write as _;
use std::process::ExitCode;

use actix_cors::Cors;
use actix_web::middleware::Compress;
use actix_web::{App, HttpServer, web};
use auth::Auth;
use clap::Parser as _;
use database::Database;
use demo::Demo;
use identity::Sessions;
use models::{Comment, FeedItem, Note, Topic, User};
use options::{LagChoice, LimitsChoice, Options, Print, SourceChoice};
use realtime_actix::{ChangeSource, GroupCounts, Lag, Limits, Realtime, prepare_connection};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// Seconds that requests have to finish when the last socket of a stopping server has been closed.
const GRACE: u64 = 2;

// The server looks once a second whether it is done.
const _: () = assert!(options::DRAIN as u64 + GRACE + 1 < 10, "it ends within ten seconds");

#[actix_web::main]
async fn main() -> ExitCode {
    let options = match Options::try_parse() {
        Ok(options) => options,
        Err(error) if error.use_stderr() => {
            return refuse(error.to_string().lines().next().unwrap_or_default());
        }
        // `--help` and `--version`.
        Err(error) => error.exit(),
    };
    match run(options).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => refuse(&reason),
    }
}

fn refuse(reason: &str) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "forum: {}", reason.trim_start_matches("error: "));
    ExitCode::from(2)
}

async fn run(options: Options) -> Result<(), String> {
    let filter =
        EnvFilter::try_new(&options.log).map_err(|error| format!("--log {:?}: {error}", options.log))?;
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    if options.bus != "memory" {
        return Err(format!("--bus {:?} is not yet built; the only one so far is memory", options.bus));
    }
    let demo = if options.no_demo_data { Demo::Nothing } else { Demo::IfEmpty };
    let mut limits = match options.limits {
        LimitsChoice::Default => Limits::default(),
        LimitsChoice::Off => Limits::default().without_rates(),
    };
    limits.lag = match options.lag {
        LagChoice::Resync => Lag::Resync,
        LagChoice::Disconnect => Lag::Disconnect,
    };
    if let Some(bytes) = options.outbox_bytes {
        limits.outbox_bytes = bytes as usize;
    }
    limits.drain_ms = 1_000 * u64::from(options.drain);
    let source = match options.change_source {
        SourceChoice::Triggers => ChangeSource::Triggers,
        SourceChoice::Replication => ChangeSource::Replication,
    };
    let sessions = Sessions::default();
    let mut connect = Realtime::connect(&options.database_url)
        .prepare(move |connection| demo::prepare(connection, demo))
        .prepare_postgres(move |connection| Box::pin(demo::prepare_postgres(connection, demo)))
        .resource::<User>()
        .resource::<Topic>()
        .resource::<Comment>()
        .resource::<FeedItem>()
        .resource::<Note>()
        .limits(limits)
        .change_source(source)
        .authenticator(sessions.clone())
        .api("Forum", env!("CARGO_PKG_VERSION"));
    if let Some(print) = options.print {
        let description = match print {
            Print::Openapi => connect.openapi("/api"),
            Print::Asyncapi => connect.asyncapi("/api"),
        };
        return writeln!(std::io::stdout(), "{description}").map_err(|error| error.to_string());
    }
    for origin in &options.allow_origin {
        connect = connect.allow_origin(origin);
    }
    for proxy in &options.trust_proxy {
        connect = connect.trust_proxy(*proxy);
    }
    let realtime = connect.start().await.map_err(|error| error.to_string())?;

    let database = Database::of(realtime.clone(), &options.database_url);
    sessions.read_from(&database);
    identity::close_sockets_of_changed_users(&realtime);
    let auth =
        web::Data::new(Auth::new(realtime.clone(), database, options.limits == LimitsChoice::Default)?);

    let (mounted, origins) = (realtime.clone(), options.allow_origin.clone());
    let server = HttpServer::new(move || {
        App::new()
            .wrap(cors(&origins))
            .wrap(Compress::default())
            .configure(page::routes)
            .configure(|config| health::routes(config, &mounted))
            .configure(|config| auth::routes(config, &auth))
            .service(mounted.scope("/api"))
    })
    .on_connect(prepare_connection)
    .h1_allow_half_closed(false)
    .workers(options.workers.map_or_else(default_workers, usize::from))
    .shutdown_timeout(u64::from(options.drain) + GRACE)
    .disable_signals()
    .bind(options.listen)
    .map_err(|error| format!("cannot listen on {}: {error}", options.listen))?;

    let address = server.addrs().first().copied().unwrap_or(options.listen);
    let mut out = std::io::stdout();
    writeln!(out, "listening on http://{address}")
        .and_then(|()| out.flush())
        .map_err(|error| error.to_string())?;

    let running = server.run();
    let handle = running.handle();
    let stop = async {
        wait_for_signal().await?;
        let GroupCounts { groups, scanned, .. } = realtime.groups().await;
        tracing::info!(groups, scanned, "draining");
        // No connection is accepted any more while those that there are come to their ends.
        futures_util::future::join(realtime.drain(), handle.stop(true)).await;
        Ok::<(), String>(())
    };
    let (served, stopped) = futures_util::future::join(running, stop).await;
    realtime.close().await;
    served.map_err(|error| error.to_string()).and(stopped)
}

/// Lets the pages of other origins read answers, those that may open a socket.
fn cors(origins: &[String]) -> Cors {
    let cors = Cors::default()
        .allowed_methods(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"])
        .allowed_headers(["Authorization", "Content-Type", "If-Match", "If-None-Match", "Idempotency-Key"])
        .expose_headers(["ETag", "Idempotent-Replayed", "Link", "Location", "Realtime-Cursor", "Retry-After"])
        .supports_credentials()
        .max_age(600);
    origins.iter().fold(cors, |cors, origin| cors.allowed_origin(origin))
}

fn default_workers() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

async fn wait_for_signal() -> Result<(), String> {
    let listen = |kind| signal(kind).map_err(|error| error.to_string());
    let (mut terminate, mut interrupt) = (listen(SignalKind::terminate())?, listen(SignalKind::interrupt())?);
    futures_util::future::select(Box::pin(terminate.recv()), Box::pin(interrupt.recv())).await;
    Ok(())
}
