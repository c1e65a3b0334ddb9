//! The options and the rounds: which server is measured when.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Parser, Subcommand, ValueEnum};

use crate::load::{Load, Plan, Sample};
use crate::process::{Begin, Cores, Dir, Server, become_child, exec_forum, raise_file_limit};
use crate::{forum, naive, raw, stalled, storm, table};

/// How long one measurement starts broadcasts: CPU time comes in ticks of 10 ms, and a default run has to stay short.
const BUDGET: Duration = Duration::from_secs(3);
/// Broadcasts before a measurement that are not counted, at least.
const WARM_UP: usize = 10;

/// A server that can be measured.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Mode {
    Raw,
    Naive,
    Forum,
}

impl Mode {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Naive => "naive",
            Self::Forum => "forum",
        }
    }
}

/// Fan-out of one live topic to many subscribers: a raw epoll loop, a naive actor lobby and the forum, measured in
/// turn on loopback, each server in a process of its own pinned apart from the load generator.
#[derive(Parser)]
#[command(name = "realtime-bench-fanout")]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Options {
    #[command(subcommand)]
    other: Option<Other>,

    /// Subscribers of the topic
    #[arg(long, default_value_t = 1000, value_parser = positive(100_000))]
    pub(crate) connections: u64,
    /// Times every server is measured; medians are printed
    #[arg(long, default_value_t = 5, value_parser = positive(1000))]
    pub(crate) rounds: u64,
    /// Broadcasts of a measurement, times its window; none is started after 3 s
    #[arg(long, default_value_t = 200, value_parser = positive(10_000))]
    pub(crate) broadcasts: u64,
    /// Broadcasts in flight, comma-separated
    #[arg(long, default_value = "1,16", value_delimiter = ',', value_parser = positive(256))]
    pub(crate) windows: Vec<u64>,
    /// Servers to measure; ratios need `raw`
    #[arg(long, value_enum, default_value = "raw,naive,forum", value_delimiter = ',')]
    pub(crate) modes: Vec<Mode>,
    /// The forum's binary [default: next to this program]
    #[arg(long, value_name = "PATH")]
    pub(crate) forum: Option<PathBuf>,

    /// Be this server
    #[arg(long, hide = true)]
    child: Option<Mode>,
    /// On this CPU
    #[arg(long, hide = true)]
    child_cpu: Option<usize>,
    /// With this database
    #[arg(long, hide = true, default_value = "sqlite::memory:")]
    child_database: String,
}

/// What else is measured, of the forum alone.
#[derive(Subcommand)]
enum Other {
    /// What the others pay for clients that stop reading, and what becomes of those
    Stalled(stalled::Options),
    /// How soon all clients are live and right again that come back at once
    Storm(storm::Options),
}

pub(crate) fn positive(most: u64) -> clap::builder::RangedU64ValueParser {
    clap::builder::RangedU64ValueParser::new().range(1..=most)
}

/// One measurement of one server.
pub(crate) struct Measurement {
    pub(crate) round: u64,
    pub(crate) mode: Mode,
    pub(crate) window: u64,
    pub(crate) sample: Sample,
    /// Resident bytes per connection: when all were connected and idle, and after this measurement.
    pub(crate) rss_idle: u64,
    pub(crate) rss_after: u64,
}

/// Does what the command line says: the whole benchmark, or being one of its servers.
pub(crate) fn run() -> Result<(), String> {
    let options = match Options::try_parse() {
        Ok(options) => options,
        Err(error) if !error.use_stderr() => {
            return say(&error.to_string());
        }
        Err(error) => {
            let text = error.to_string();
            let line = text.lines().next().unwrap_or_default();
            return Err(line.trim_start_matches("error: ").to_owned());
        }
    };
    let forum = match &options.forum {
        Some(path) => path.clone(),
        None => std::env::current_exe().map_err(|error| error.to_string())?.with_file_name("forum"),
    };
    if let Some(mode) = options.child {
        return serve(mode, &options, &forum);
    }
    let needs_forum = options.other.is_some() || options.modes.contains(&Mode::Forum);
    if needs_forum && !forum.is_file() {
        return Err(format!("no forum at {}: run `cargo build --release -p forum` first", forum.display()));
    }
    match &options.other {
        Some(Other::Stalled(options)) => stalled::measure(options, &forum),
        Some(Other::Storm(options)) => storm::measure(options, &forum),
        None => measure(&options, &forum),
    }
}

pub(crate) fn say(text: &str) -> Result<(), String> {
    std::io::stdout().write_all(text.as_bytes()).map_err(|error| format!("writing the results: {error}"))
}

fn serve(mode: Mode, options: &Options, forum: &Path) -> Result<(), String> {
    become_child(options.child_cpu)?;
    match mode {
        Mode::Raw => raw::serve(),
        Mode::Naive => naive::serve(),
        Mode::Forum => Err(exec_forum(forum, &options.child_database)),
    }
}

fn measure(options: &Options, forum: &Path) -> Result<(), String> {
    raise_file_limit(options.connections as usize)?;
    let cores = Cores::split()?;
    say(&table::setting(options, cores))?;

    let mut measurements = Vec::new();
    for round in 0..options.rounds {
        // Each server comes first, in the middle and last: whoever else uses the machine is not always on one.
        let mut modes = options.modes.clone();
        modes.rotate_left(round as usize % options.modes.len());
        for mode in modes {
            eprintln!("round {} of {}: {}", round + 1, options.rounds, mode.name());
            let dir = Dir::new()?;
            let cpu = cores.map(|cores| cores.server);
            let mut server =
                Server::start(&Begin { mode, cpu, forum, dir: &dir, database: None, options: &[] })
                    .map_err(|error| format!("starting {}: {error}", mode.name()))?;
            measure_server(options, cores, round, mode, &server, &mut measurements)
                .map_err(|error| server.explain(&format!("{}: {error}", mode.name())))?;
        }
    }
    say(&table::results(options, cores, &measurements))
}

fn measure_server(
    options: &Options,
    cores: Option<Cores>,
    round: u64,
    mode: Mode,
    server: &Server,
    measurements: &mut Vec<Measurement>,
) -> Result<(), String> {
    let connections = options.connections as usize;
    // Before the first look at the memory: hashing the password takes some, once.
    let token = (mode == Mode::Forum).then(|| forum::log_in(server.addr)).transpose()?;
    let rss_empty = server.rss()?;
    let mut load = Load::connect(mode, server.addr, token.as_deref(), connections, cores.is_some())?;
    let rss = || Ok::<_, String>(server.rss()?.saturating_sub(rss_empty) / options.connections);
    let rss_idle = rss()?;
    for &window in &options.windows {
        let warm_up = WARM_UP.max(window as usize);
        load.run(&Plan { window: window as usize, broadcasts: warm_up, budget: BUDGET }, server)?;
        let broadcasts = (options.broadcasts * window) as usize;
        let sample = load.run(&Plan { window: window as usize, broadcasts, budget: BUDGET }, server)?;
        measurements.push(Measurement { round, mode, window, sample, rss_idle, rss_after: rss()? });
    }
    Ok(())
}
