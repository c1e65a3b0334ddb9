//! What clients that stop reading cost the others, and what becomes of themselves.
//!
//! A hundred topics have as many followers each, and comments come at a steady rate. In turn everybody reads for some
//! seconds, and one of a hundred does not. What the server spends on a delivery to those who read is compared within each
//! such pair. Then those who stalled read on: each has to have every comment of its topic in the end, once.

use std::path::Path;
use std::time::{Duration, Instant};

use clap::ValueEnum;
use serde_json::{Value, json};

use crate::crowd::{Crowd, TOPICS, Tally};
use crate::process::{Begin, Cores, Dir, Server, raise_file_limit};
use crate::rounds::{Mode, positive, say};
use crate::table;

/// How often comments are sent.
const STEP: Duration = Duration::from_millis(10);
/// The characters of a comment: so that those who stall are behind soon.
const LENGTH: usize = 1_000;

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Followers of the hundred topics; one of a hundred stalls
    #[arg(long, default_value_t = 10_000, value_parser = positive(100_000))]
    connections: u64,
    /// Comments each second
    #[arg(long, default_value_t = 1_000, value_parser = positive(100_000))]
    rate: u64,
    /// Pairs of a time in which all read and one in which some do not
    #[arg(long, default_value_t = 5, value_parser = positive(100))]
    pairs: u64,
    /// Seconds of each
    #[arg(long, default_value_t = 8, value_parser = positive(30))]
    seconds: u64,
    /// What becomes of those who stall
    #[arg(long, value_enum, default_value = "resync")]
    lag: Lag,
    /// Bytes that wait for one of them, at most
    #[arg(long, default_value_t = 48 << 10, value_parser = positive(1 << 30))]
    outbox_bytes: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Lag {
    Resync,
    Disconnect,
}

/// One time of either kind.
struct Sample {
    cpu: Duration,
    deliveries: usize,
    rate: f64,
    p50: f64,
    p99: f64,
    /// How much the server's memory has grown, for each of those who stall.
    growth: f64,
}

impl Sample {
    fn us_each(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / self.deliveries.max(1) as f64
    }
}

pub(crate) fn measure(options: &Options, forum: &Path) -> Result<(), String> {
    raise_file_limit(options.connections as usize)?;
    let cores = Cores::split()?;
    let stalling = options.connections / 100;
    let lag = if options.lag == Lag::Resync { "resync" } else { "disconnect" };
    say(&format!(
        "{}{} followers of {TOPICS} topics, {stalling} of whom stall; {} comments/s of {LENGTH} characters; \
         outbox of {} bytes, lag = {lag}\n\n",
        table::machine_line(cores),
        options.connections,
        options.rate,
        options.outbox_bytes,
    ))?;
    let dir = Dir::new()?;
    let outbox = options.outbox_bytes.to_string();
    let environment = [("FORUM_LAG", lag), ("FORUM_OUTBOX_BYTES", &outbox)];
    let cpu = cores.map(|cores| cores.server);
    let mut server = Server::start(&Begin {
        mode: Mode::Forum,
        cpu,
        forum,
        dir: &dir,
        database: None,
        options: &environment,
    })?;
    let measured = pairs(options, &server).map_err(|error| server.explain(&error))?;
    report(options, cores, lag, &measured)
}

/// The pairs, and what became of those who stalled.
fn pairs(options: &Options, server: &Server) -> Result<(Vec<(Sample, Sample)>, Tally), String> {
    let mut crowd = Crowd::new(server.addr, LENGTH)?;
    for number in 0..options.connections {
        // One of each topic in turn.
        crowd.add(number < options.connections / 100)?;
    }
    flow(options, &mut crowd, server, false, Duration::from_secs(2))?;
    let span = Duration::from_secs(options.seconds);
    let mut pairs = Vec::new();
    for pair in 0..options.pairs {
        eprintln!("pair {} of {}", pair + 1, options.pairs);
        // Each kind comes first as often as second.
        let first = flow(options, &mut crowd, server, pair % 2 == 1, span)?;
        let second = flow(options, &mut crowd, server, pair % 2 == 0, span)?;
        pairs.push(if pair % 2 == 0 { (first, second) } else { (second, first) });
    }
    Ok((pairs, std::mem::take(&mut crowd.tally)))
}

/// Comments for a while.
fn flow(
    options: &Options,
    crowd: &mut Crowd,
    server: &Server,
    stalls: bool,
    span: Duration,
) -> Result<Sample, String> {
    crowd.open_posts()?;
    crowd.tally.latencies.clear();
    let rss = server.rss()?;
    if stalls {
        crowd.stall()?;
    }
    let (cpu, start) = (server.cpu()?, Instant::now());
    let mut said = 0;
    while start.elapsed() < span {
        let steps = start.elapsed().as_millis() / STEP.as_millis();
        let due = (steps as f64 * STEP.as_secs_f64() * options.rate as f64) as u64;
        // What the server does not keep up with is not made up for.
        while said < due && crowd.say(said as usize % TOPICS)? {
            said += 1;
        }
        crowd.turn(Duration::from_millis(2))?;
    }
    let rate = said as f64 / start.elapsed().as_secs_f64();
    crowd.until("those who read", |tally| tally.missing[0] == 0)?;
    let cpu = server.cpu()? - cpu;
    let growth = (server.rss()? as f64 - rss as f64) / (options.connections / 100).max(1) as f64;
    if stalls {
        crowd.read_on()?;
    }
    let all = crowd.len();
    crowd.until("those who stalled", |tally| tally.missing == [0, 0] && tally.following == all)?;
    let latencies = &mut crowd.tally.latencies;
    let deliveries = latencies.len();
    let mut percentile = |percent: usize| match deliveries {
        0 => 0.0,
        _ => {
            f64::from(*latencies.select_nth_unstable((deliveries * percent / 100).min(deliveries - 1)).1)
                / 1e3
        }
    };
    let (p50, p99) = (percentile(50), percentile(99));
    // All are told while all read.
    let deliveries = if stalls { deliveries } else { deliveries + said as usize * all / 100 / TOPICS };
    Ok(Sample { cpu, deliveries, rate, p50, p99, growth })
}

const HEADER: &str = "\
pair          comments/s  deliveries  CPU us each   p50 ms   p99 ms  growth KiB for each that stalls
";

fn line(name: &str, sample: &Sample) -> String {
    format!(
        "{name:<12} {:>11.0} {:>11} {:>12.2} {:>8.2} {:>8.2} {:>10.1}\n",
        sample.rate,
        sample.deliveries,
        sample.us_each(),
        sample.p50,
        sample.p99,
        sample.growth / 1024.0,
    )
}

fn report(
    options: &Options,
    cores: Option<Cores>,
    lag: &str,
    (pairs, tally): &(Vec<(Sample, Sample)>, Tally),
) -> Result<(), String> {
    let mut out = HEADER.to_owned();
    for (number, (calm, stalled)) in pairs.iter().enumerate() {
        out += &line(&format!("{} all read", number + 1), calm);
        out += &line(&format!("{} stalled", number + 1), stalled);
    }
    let of = |figure: fn(&(Sample, Sample)) -> f64| table::median(pairs.iter().map(figure).collect());
    let rise = of(|(calm, stalled)| stalled.us_each() / calm.us_each() - 1.0);
    let p99 = of(|(calm, stalled)| stalled.p99 / calm.p99);
    // What grows also while all read is not theirs.
    let growth = of(|(calm, stalled)| stalled.growth - calm.growth);
    let [events, snapshots] = tally.lagged;
    let [cut_off, ended] = tally.cut_off;
    out += &format!(
        "\nmedian of the pairs: CPU for each delivery to the others {:+.1} %, their p99 x {p99:.2}, growth for each that \
         stalls {:.1} KiB\nthose who stalled, in all: told that they lag {} times ({events} went on from the log, \
         {snapshots} from a snapshot), closed with 4408 {cut_off} times, ended without {ended} times; each was right in \
         the end\n",
        rise * 100.0,
        growth / 1024.0,
        events + snapshots,
    );
    let sample = |sample: &Sample| -> Value {
        json!({
            "comments_per_s": sample.rate, "deliveries": sample.deliveries, "cpu_us_per_delivery": sample.us_each(),
            "p50_ms": sample.p50, "p99_ms": sample.p99, "growth_bytes_per_stalled": sample.growth,
        })
    };
    let json = json!({
        "benchmark": "stalled", "machine": table::machine_json(cores), "connections": options.connections, "lag": lag,
        "outbox_bytes": options.outbox_bytes, "rate": options.rate,
        "cpu_rise": rise, "p99_ratio": p99, "growth_bytes_per_stalled": growth,
        "lagged_events": events, "lagged_snapshots": snapshots, "closed_4408": cut_off, "ended": ended,
        "pairs": pairs.iter().map(|(calm, stalled)| json!({"all_read": sample(calm), "stalled": sample(stalled)})).collect::<Vec<_>>(),
    });
    say(&format!("{out}\n{json}\n"))
}
