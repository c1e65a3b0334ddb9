//! How soon all clients are live and right again that come back at once, and what that costs the database.
//!
//! The clients have left at different moments, much has happened since, and the server has been killed. First all come
//! back with their cursors; then, once more, all begin anew with a snapshot. The forum has two workers, and shares the
//! machine's cores with the clients.

use std::path::Path;
use std::time::{Duration, Instant};

use realtime_tests::postgres;
use serde_json::{Value, json};

use crate::crowd::{Crowd, Start, TOPICS};
use crate::process::{Begin, Dir, Server, raise_file_limit};
use crate::rounds::{Mode, positive, say};
use crate::table;

/// The characters of a comment.
const LENGTH: usize = 100;

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Clients that come back
    #[arg(long, default_value_t = 10_000, value_parser = positive(100_000))]
    connections: u64,
    /// Comments that they have missed
    #[arg(long, default_value_t = 2_000, value_parser = positive(1_000_000))]
    missed: u64,
    /// What the forum keeps its rows in; a PostgreSQL server is started for it
    #[arg(long, value_enum, default_value = "sqlite")]
    database: Backend,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Backend {
    Sqlite,
    Postgres,
}

impl Backend {
    fn name(self) -> &'static str {
        match self {
            Self::Sqlite => "sqlite",
            Self::Postgres => "postgres",
        }
    }
}

/// What coming back was like.
struct Return {
    /// Until the last one followed what it asked for, and until the last one was right.
    following: Duration,
    right: Duration,
    /// Until a comment in each topic was with everybody, from when it was sent.
    live: Duration,
    /// Parts of the log that were read, the rows in them, and how many of those twice.
    parts: usize,
    rows: i64,
    twice: i64,
    pages: usize,
    cpu: Duration,
}

pub(crate) fn measure(options: &Options, forum: &Path) -> Result<(), String> {
    raise_file_limit(options.connections as usize)?;
    say(&format!(
        "{}{} clients of {TOPICS} topics, {} comments missed, {}\n\n",
        table::machine_line(None),
        options.connections,
        options.missed,
        options.database.name(),
    ))?;
    let dir = Dir::new()?;
    let log = [("FORUM_WORKERS", "2"), ("FORUM_LOG", "warn,realtime_actix::database=debug")];
    // Ends with this function, and all that is in it.
    let postgres = matches!(options.database, Backend::Postgres).then(postgres::Server::start);
    let database = postgres.as_ref().map(|server| postgres::Database::create_on(server.url()));
    let url = database.as_ref().map(postgres::Database::url);
    let begin =
        Begin { mode: Mode::Forum, cpu: None, forum, dir: &dir, database: url.as_deref(), options: &log };
    let start = || Server::start(&begin);

    let mut server = start()?;
    let mut crowd = before(options, &server).map_err(|error| server.explain(&error))?;
    let mut returns = Vec::new();
    for (name, way) in [("since", Start::Since), ("snapshot", Start::Snapshot)] {
        eprintln!("all come back: {name}");
        drop(server);
        server = start()?;
        let back = come_back(&mut crowd, &server, way).map_err(|error| server.explain(&error))?;
        returns.push((name, back));
        crowd.leave();
    }
    report(options, &returns)?;
    match returns.iter().map(|(_, back)| back.twice).sum() {
        0 => Ok(()),
        twice => Err(format!("{twice} rows of the log were read twice")),
    }
}

/// Clients that have seen different things, and leave; and what they miss.
fn before(options: &Options, server: &Server) -> Result<Crowd, String> {
    let mut crowd = Crowd::new(server.addr, LENGTH)?;
    let mut said = 0;
    for number in 0..options.connections {
        crowd.add(false)?;
        // All hear of it who are there already.
        if number % 64 == 63 {
            crowd.open_posts()?;
            say_some(&mut crowd, &mut said, 1)?;
            crowd.until("before", |tally| tally.missing == [0, 0])?;
        }
    }
    crowd.leave();
    crowd.open_posts()?;
    say_some(&mut crowd, &mut said, options.missed)?;
    crowd.until("what is missed", |_| true)?;
    Ok(crowd)
}

fn say_some(crowd: &mut Crowd, said: &mut usize, count: u64) -> Result<(), String> {
    for _ in 0..count {
        while !crowd.say(*said % TOPICS)? {
            crowd.turn(Duration::from_millis(10))?;
        }
        *said += 1;
    }
    Ok(())
}

fn come_back(crowd: &mut Crowd, server: &Server, way: Start) -> Result<Return, String> {
    crowd.moved(server.addr)?;
    let (all, cpu, start) = (crowd.len(), server.cpu()?, Instant::now());
    crowd.come_back(way)?;
    crowd.until("coming back", |tally| tally.following == all)?;
    let following = start.elapsed();
    crowd.until("what was missed", |tally| tally.missing == [0, 0])?;
    let right = start.elapsed();
    let cpu = server.cpu()? - cpu;
    let now = Instant::now();
    let mut said = 0;
    crowd.open_posts()?;
    say_some(crowd, &mut said, TOPICS as u64)?;
    crowd.until("what happens now", |tally| tally.missing == [0, 0])?;
    let live = now.elapsed();
    let mut parts = read_parts(&server.log());
    parts.sort_unstable();
    let rows = parts.iter().map(|(after, to)| to - after).sum();
    let (mut reached, mut twice) = (0, 0);
    for (after, to) in &parts {
        twice += (reached.min(*to) - after).max(0);
        reached = reached.max(*to);
    }
    let pages = server.log().matches("a page of a snapshot is read").count();
    Ok(Return { following, right, live, parts: parts.len(), rows, twice, pages, cpu })
}

/// From where to where the log was read for those who catch up.
fn read_parts(log: &str) -> Vec<(i64, i64)> {
    let field = |line: &str, name: &str| {
        line.split_whitespace().find_map(|word| word.strip_prefix(name)?.strip_prefix('=')?.parse().ok())
    };
    let lines = log.lines().filter(|line| line.contains("the log is read for those who catch up"));
    lines.filter_map(|line| Some((field(line, "after")?, field(line, "to")?))).collect()
}

fn report(options: &Options, returns: &[(&str, Return)]) -> Result<(), String> {
    let mut out = "\
back with  all follow s  all right s  then live ms  CPU s  parts of the log     rows  rows twice  pages of snapshots
"
    .to_owned();
    for (name, back) in returns {
        out += &format!(
            "{name:<9} {:>13.2} {:>12.2} {:>13.1} {:>6.2} {:>17} {:>8} {:>11} {:>19}\n",
            back.following.as_secs_f64(),
            back.right.as_secs_f64(),
            back.live.as_secs_f64() * 1e3,
            back.cpu.as_secs_f64(),
            back.parts,
            back.rows,
            back.twice,
            back.pages,
        );
    }
    let returned = |(name, back): &(&str, Return)| -> Value {
        json!({
            "back_with": name, "following_s": back.following.as_secs_f64(), "right_s": back.right.as_secs_f64(),
            "live_ms": back.live.as_secs_f64() * 1e3, "cpu_s": back.cpu.as_secs_f64(), "log_parts": back.parts,
            "log_rows": back.rows, "log_rows_twice": back.twice, "snapshot_pages": back.pages,
        })
    };
    let json = json!({
        "benchmark": "storm", "machine": table::machine_json(None), "database": options.database.name(),
        "connections": options.connections, "topics": TOPICS, "missed": options.missed,
        "returns": returns.iter().map(returned).collect::<Vec<_>>(),
    });
    say(&format!("{out}\nRight: every client has every comment of its topic, once.\n\n{json}\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_read_is_found_in_a_log() {
        let log = "2026 DEBUG realtime_actix::database: the log is read for those who catch up after=3 to=17\n\
                   2026 DEBUG realtime_actix::database: a page of a snapshot is read\nafter=1 to=2";
        assert_eq!(read_parts(log), [(3, 17)]);
    }
}
