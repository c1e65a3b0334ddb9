//! What is measured, and on which databases.

use clap::{Parser, ValueEnum};
use realtime_tests::Store;

use crate::{capture, idle, latency, throughput};

/// What can go wrong: a benchmark ends with it.
pub(crate) type Failure = Box<dyn std::error::Error + Send + Sync>;

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum What {
    /// From a commit to the frame at the subscriber
    Latency,
    /// Changed rows a second through feed, matching and one group
    Throughput,
    /// Of a service with nothing to do: processor and round trips
    Idle,
    /// Inserts with the change log's triggers against the same without
    Capture,
}

/// A database to be measured on.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    Sqlite,
    Postgres,
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Sqlite => "SQLite",
            Self::Postgres => "PostgreSQL",
        }
    }

    /// A fresh one.
    pub(crate) fn store(self) -> Store {
        match self {
            Self::Sqlite => Store::sqlite(),
            Self::Postgres => Store::postgres(),
        }
    }
}

/// From a commit to a subscriber: latency, throughput, the cost of idling, and what the change log costs its writers.
#[derive(Parser)]
#[command(name = "realtime-bench-feed")]
struct Options {
    #[arg(value_enum)]
    what: What,
    /// The databases, comma-separated
    #[arg(long, value_enum, default_value = "sqlite,postgres", value_delimiter = ',')]
    databases: Vec<Kind>,
    /// Seconds for which each figure is measured, about
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
}

pub(crate) fn run() -> Result<(), String> {
    let options = Options::parse();
    // Two threads: the subscriber and the server have their own.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.map_err(|error| error.to_string())?;
    let measuring = async {
        match options.what {
            What::Latency => latency::run(&options.databases, options.seconds).await,
            What::Throughput => throughput::run(&options.databases, options.seconds).await,
            What::Idle => idle::run(&options.databases, options.seconds).await,
            What::Capture => capture::run(&options.databases, options.seconds).await,
        }
    };
    runtime.block_on(measuring).map_err(|error| error.to_string())
}
