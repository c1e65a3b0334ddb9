//! Benchmark: fan-out of one live topic to many subscribers, against two baselines in the same run.
//!
//! ```text
//! cargo build --release -p forum && cargo run --release -p realtime-bench-fanout
//! ```
//!
//! With `-- stalled` and `-- storm` it measures something else of the forum: what clients that stop reading cost the
//! others, and how soon all clients are right again that come back at once (also with `--database postgres`).
//!
//! A figure such as "200,000 deliveries per CPU-second" says more about a machine than about a server. So each round
//! measures a raw epoll loop, a naive actor lobby and the forum one after the other, in turning order; ratios are
//! taken within the round and the median over the rounds is printed.
//!
//! Measured with one broadcast in flight (how fast is a lone event) and with several (what does pressure cost, where
//! servers may join frames into one write). The forum's part includes its real work: authentication, the SQLite
//! transaction, the feed, matching and encoding.
//!
//! Loopback counts the receiver's TCP work as the sender's; over a network card the kernel's share is smaller and
//! the ratios would be further from 1. One worker, no TLS, no compression.

#[cfg(target_os = "linux")]
mod client;
#[cfg(target_os = "linux")]
mod crowd;
#[cfg(target_os = "linux")]
mod forum;
#[cfg(target_os = "linux")]
mod load;
#[cfg(target_os = "linux")]
mod naive;
#[cfg(target_os = "linux")]
mod process;
#[cfg(target_os = "linux")]
mod raw;
#[cfg(target_os = "linux")]
mod rounds;
#[cfg(target_os = "linux")]
mod stalled;
#[cfg(target_os = "linux")]
mod storm;
#[cfg(target_os = "linux")]
mod table;
#[cfg(target_os = "linux")]
mod wire;

#[cfg(target_os = "linux")]
use rounds::run;

#[cfg(not(target_os = "linux"))]
fn run() -> Result<(), String> {
    Err("it runs on Linux only: it needs epoll, CPU affinity and /proc".to_owned())
}

fn main() {
    if let Err(message) = run() {
        eprintln!("realtime-bench-fanout: {message}");
        std::process::exit(2);
    }
}
