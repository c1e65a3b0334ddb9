//! Benchmark: how soon a commit is with a subscriber, how many rows a second go through, what a service costs that has
//! nothing to do, and what writers pay for the change log.
//!
//! ```text
//! cargo run --release -p realtime-bench-feed -- latency      # or throughput, idle, capture
//! ```
//!
//! Each prints a table, one line of JSON and the machine. The server runs in this process with one worker, on a file in
//! the temporary directory or on a PostgreSQL server that is started for it, so that one clock measures both ends. The
//! figures are explained in `docs/performance.md`.

#![cfg_attr(unix, expect(clippy::print_stdout, reason = "the figures are what it is run for"))]

#[cfg(unix)]
mod capture;
#[cfg(unix)]
mod idle;
#[cfg(unix)]
mod latency;
#[cfg(unix)]
mod options;
#[cfg(unix)]
mod report;
#[cfg(unix)]
mod subscriber;
#[cfg(unix)]
mod throughput;

#[cfg(unix)]
use options::run;

#[cfg(not(unix))]
fn run() -> Result<(), String> {
    Err("it runs on Unix only: it needs the clock of a process".to_owned())
}

fn main() {
    if let Err(message) = run() {
        eprintln!("realtime-bench-feed: {message}");
        std::process::exit(2);
    }
}
