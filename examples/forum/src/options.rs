//! The command line, every option also as an environment variable.

use std::net::{IpAddr, SocketAddr};

use clap::{Parser, Subcommand, ValueEnum};
use realtime_actix::IpNet;

/// Seconds over which sockets are closed, where nothing else is said.
pub(crate) const DRAIN: u16 = 6;

/// A live forum: topics and comments that everybody sees change.
#[derive(Debug, Parser)]
#[command(version)]
pub(crate) struct Options {
    #[command(subcommand)]
    pub(crate) print: Option<Print>,

    /// Address to listen on; port 0 picks a free one
    #[arg(long, env = "FORUM_LISTEN", value_name = "ADDR", default_value = "127.0.0.1:8080")]
    pub(crate) listen: SocketAddr,

    /// Database: sqlite://PATH, sqlite::memory: or postgres://USER:PASSWORD@HOST/NAME
    #[arg(long, env = "FORUM_DATABASE_URL", value_name = "URL", default_value = "sqlite://forum.db")]
    pub(crate) database_url: String,

    /// Where changes come from on PostgreSQL
    #[arg(long, env = "FORUM_CHANGE_SOURCE", value_name = "SOURCE", default_value = "triggers")]
    pub(crate) change_source: SourceChoice,

    /// What wakes other nodes: only `memory` so far
    #[arg(long, env = "FORUM_BUS", value_name = "URL", default_value = "memory")]
    pub(crate) bus: String,

    /// Worker threads; the number of cores by default
    #[arg(long, env = "FORUM_WORKERS", value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) workers: Option<u16>,

    /// Fill an empty database with something to look at (the default)
    #[arg(long, env = "FORUM_DEMO_DATA", overrides_with = "no_demo_data")]
    pub(crate) demo_data: bool,

    /// Leave an empty database empty
    #[arg(long, env = "FORUM_NO_DEMO_DATA", overrides_with = "demo_data")]
    pub(crate) no_demo_data: bool,

    /// Another origin whose pages may open a socket; may be repeated
    #[arg(long, env = "FORUM_ALLOW_ORIGIN", value_name = "ORIGIN", value_delimiter = ',')]
    pub(crate) allow_origin: Vec<String>,

    /// Proxy, or network of proxies such as 10.0.0.0/8, that is believed which host and scheme the browser asked for, and
    /// from where; may be repeated
    #[arg(long, env = "FORUM_TRUST_PROXY", value_name = "ADDR", value_delimiter = ',', value_parser = network)]
    pub(crate) trust_proxy: Vec<IpNet>,

    /// `off` lifts the limits on rates, for load tests
    #[arg(long, env = "FORUM_LIMITS", value_name = "LIMITS", default_value = "default")]
    pub(crate) limits: LimitsChoice,

    /// What becomes of a client that does not keep up
    #[arg(long, env = "FORUM_LAG", value_name = "WHAT", default_value = "resync")]
    pub(crate) lag: LagChoice,

    /// Bytes that wait for one slow client, at most
    #[arg(long, env = "FORUM_OUTBOX_BYTES", value_name = "BYTES", value_parser = clap::value_parser!(u32).range(1024..))]
    pub(crate) outbox_bytes: Option<u32>,

    /// Seconds over which the sockets are closed when the program is told to end
    #[arg(long, env = "FORUM_DRAIN", value_name = "SECONDS", default_value_t = DRAIN, value_parser = clap::value_parser!(u16).range(0..=600))]
    pub(crate) drain: u16,

    /// What is logged to standard error, as a `tracing` filter
    #[arg(long, env = "FORUM_LOG", value_name = "FILTER", default_value = "info")]
    pub(crate) log: String,
}

/// A network, or the one of an address alone.
fn network(text: &str) -> Result<IpNet, &'static str> {
    let address = || text.parse::<IpAddr>().map(IpNet::from);
    text.parse().or_else(|_| address()).map_err(|_| "neither an address nor a network such as 10.0.0.0/8")
}

/// What is printed in the place of serving.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Subcommand)]
pub(crate) enum Print {
    /// Prints OpenAPI of the REST side, and ends
    Openapi,
    /// Prints AsyncAPI of the socket side, and ends
    Asyncapi,
}

/// Which limits hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LimitsChoice {
    /// Those of the protocol.
    Default,
    /// None on rates.
    Off,
}

/// What becomes of a client that does not keep up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LagChoice {
    /// It is told that it lags, and then what it has missed.
    Resync,
    /// It is closed with 4408.
    Disconnect,
}

/// Where changes come from on PostgreSQL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum SourceChoice {
    /// A log that triggers write.
    Triggers,
    /// Logical replication.
    Replication,
}
