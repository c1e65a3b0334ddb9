//! A server as its own process: started on its own core, measured through `/proc`, always ended.
//!
//! The load generator costs as much CPU as a server, so the two never share a core where there are two, and only the
//! server's own process is counted. Each child sets its core and "end when the parent ends" itself and then becomes
//! the server: doing that from the parent between fork and exec would need `unsafe`.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Resource, Rlimit, Signal, getrlimit, set_parent_process_death_signal, setrlimit};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::rounds::Mode;

/// How long a server may take to print its address; the forum creates and fills its database before it does.
const START_TIMEOUT: Duration = Duration::from_secs(20);

/// The two cores of a run; `None` where only one is allowed.
#[derive(Clone, Copy)]
pub(crate) struct Cores {
    pub(crate) server: usize,
    pub(crate) load: usize,
}

impl Cores {
    /// Two allowed CPUs, of two physical cores if there are such, and this thread put on the second.
    pub(crate) fn split() -> Result<Option<Self>, String> {
        let allowed =
            sched_getaffinity(None).map_err(|error| format!("reading the CPU affinity: {error}"))?;
        let mut cpus = (0..CpuSet::MAX_CPU).filter(|cpu| allowed.is_set(*cpu));
        let Some(server) = cpus.next() else { return Ok(None) };
        let others: Vec<usize> = cpus.collect();
        let siblings = |cpu: usize| {
            fs::read_to_string(format!("/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list"))
                .unwrap_or_else(|_| cpu.to_string())
        };
        let apart = others.iter().find(|cpu| siblings(**cpu) != siblings(server));
        let Some(&load) = apart.or(others.first()) else { return Ok(None) };
        pin(load)?;
        Ok(Some(Self { server, load }))
    }
}

fn pin(cpu: usize) -> Result<(), String> {
    let mut set = CpuSet::new();
    set.set(cpu);
    sched_setaffinity(None, &set).map_err(|error| format!("pinning to CPU {cpu}: {error}"))
}

/// Raises the limit of open files as far as it goes, and says whether `connections` fit.
pub(crate) fn raise_file_limit(connections: usize) -> Result<(), String> {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })
        .map_err(|error| format!("raising the limit of open files: {error}"))?;
    match limit.maximum {
        // The margin is for triggers, the server's database and libraries.
        Some(most) if most < connections as u64 + 100 => {
            Err(format!("{connections} connections do not fit the hard limit of {most} open files"))
        }
        _ => Ok(()),
    }
}

/// What a child does before it becomes a server.
pub(crate) fn become_child(cpu: Option<usize>) -> Result<(), String> {
    set_parent_process_death_signal(Some(Signal::KILL))
        .map_err(|error| format!("asking to end with the parent: {error}"))?;
    cpu.map_or(Ok(()), pin)
}

/// What a server says first, and [`Server::start`] waits for.
pub(crate) fn announce(addr: SocketAddr) -> std::io::Result<()> {
    writeln!(std::io::stdout(), "listening on http://{addr}")
}

/// Replaces this process with the forum. Returns only if that failed.
pub(crate) fn exec_forum(forum: &Path, database_url: &str) -> String {
    let mut command = Command::new(forum);
    command.args(["--listen", "127.0.0.1:0", "--database-url", database_url]);
    command.args(["--demo-data", "--limits", "off"]);
    format!("running {}: {}", forum.display(), command.exec())
}

/// Where servers have their files; dropping it removes them.
pub(crate) struct Dir(PathBuf);

impl Dir {
    pub(crate) fn new() -> Result<Self, String> {
        let dir = std::env::temp_dir().join(format!("realtime-bench-fanout-{}", std::process::id()));
        fs::create_dir_all(&dir).map_err(|error| format!("creating {}: {error}", dir.display()))?;
        Ok(Self(dir))
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        // Where that fails there is nothing left to be done about it.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// How a server is started.
pub(crate) struct Begin<'a> {
    pub(crate) mode: Mode,
    /// The core that it stays on.
    pub(crate) cpu: Option<usize>,
    pub(crate) forum: &'a Path,
    pub(crate) dir: &'a Dir,
    /// The URL of its database; `None` for a file in that directory.
    pub(crate) database: Option<&'a str>,
    /// The forum's options, as it takes them from its environment.
    pub(crate) options: &'a [(&'a str, &'a str)],
}

/// A running server; dropping it ends the process.
pub(crate) struct Server {
    child: Child,
    pub(crate) addr: SocketAddr,
    log: PathBuf,
}

impl Server {
    /// Starts a server and waits until it has said where it listens.
    pub(crate) fn start(begin: &Begin<'_>) -> Result<Self, String> {
        let child = Self::spawn(begin)?;
        // From here on the drop ends it, whatever happens.
        let addr = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut server = Self { child, addr, log: begin.dir.0.join("stderr") };
        server.addr = server.first_line().map_err(|error| server.explain(&error))?;
        Ok(server)
    }

    fn spawn(begin: &Begin<'_>) -> Result<Child, String> {
        let dir = &begin.dir.0;
        let exe = std::env::current_exe().map_err(|error| format!("finding this program: {error}"))?;
        let stderr = File::create(dir.join("stderr")).map_err(|error| format!("creating a log: {error}"))?;
        let mut command = Command::new(exe);
        command.args(["--child", begin.mode.name()]).arg("--forum").arg(begin.forum);
        let file = || format!("sqlite://{}", dir.join("x.db").display());
        command.arg("--child-database").arg(begin.database.map_or_else(file, str::to_owned));
        if let Some(cpu) = begin.cpu {
            command.args(["--child-cpu", &cpu.to_string()]);
        }
        command.env("NO_COLOR", "1").env("FORUM_WORKERS", "1").envs(begin.options.iter().copied());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(stderr);
        command.spawn().map_err(|error| format!("starting the server: {error}"))
    }

    fn first_line(&mut self) -> Result<SocketAddr, String> {
        let stdout = self.child.stdout.as_mut().ok_or("no standard output")?;
        let deadline = Instant::now() + START_TIMEOUT;
        let mut line = Vec::new();
        while !line.contains(&b'\n') {
            let left = deadline.saturating_duration_since(Instant::now());
            let timeout = Timespec::try_from(left).map_err(|error| error.to_string())?;
            let ready = poll(&mut [PollFd::new(&*stdout, PollFlags::IN)], Some(&timeout));
            if ready.map_err(|error| error.to_string())? == 0 {
                return Err(format!("no address within {} s", START_TIMEOUT.as_secs()));
            }
            let mut bytes = [0; 256];
            match stdout.read(&mut bytes).map_err(|error| error.to_string())? {
                0 => return Err("it ended before it printed an address".to_owned()),
                read => line.extend_from_slice(&bytes[..read]),
            }
        }
        let text = String::from_utf8_lossy(&line);
        let first = text.lines().next().unwrap_or_default();
        let addr = first.strip_prefix("listening on http://").and_then(|addr| addr.parse().ok());
        addr.ok_or_else(|| format!("first line `{first}`, not `listening on http://ADDR`"))
    }

    /// User and system time of the process so far. The kernel gives it in ticks of 10 ms.
    pub(crate) fn cpu(&self) -> Result<Duration, String> {
        let stat = self.proc("stat")?;
        // The name in parentheses may hold anything; after it, user and system time are fields 11 and 12.
        let fields = stat.rsplit_once(')').map(|(_, rest)| rest.split_whitespace().skip(11).take(2));
        let ticks: Option<u64> =
            fields.and_then(|fields| fields.map(|ticks| ticks.parse::<u64>().ok()).sum());
        let ticks = ticks.ok_or("unreadable /proc/PID/stat")?;
        Ok(Duration::from_millis(ticks * 1000 / rustix::param::clock_ticks_per_second()))
    }

    /// Resident memory in bytes, from `smaps_rollup`: the counters elsewhere are off by up to 64 pages per core.
    pub(crate) fn rss(&self) -> Result<u64, String> {
        let rollup = self.proc("smaps_rollup")?;
        let line = rollup.lines().find_map(|line| line.strip_prefix("Rss:"));
        let kib =
            line.and_then(|line| line.split_whitespace().next()).and_then(|kib| kib.parse::<u64>().ok());
        Ok(kib.ok_or("unreadable /proc/PID/smaps_rollup")? * 1024)
    }

    fn proc(&self, name: &str) -> Result<String, String> {
        let path = format!("/proc/{}/{name}", self.child.id());
        fs::read_to_string(&path).map_err(|error| format!("reading {path}: {error}"))
    }

    /// What it has said to standard error.
    pub(crate) fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// Adds to an error what the server itself had to say: whether it ended, and its last line.
    pub(crate) fn explain(&mut self, error: &str) -> String {
        // A process that has just closed its output needs a moment to be gone.
        std::thread::sleep(Duration::from_millis(50));
        let ended = match self.child.try_wait() {
            Ok(Some(status)) => format!("; the server ended with {status}"),
            _ => String::new(),
        };
        let log = self.log();
        let last = log.lines().rev().find(|line| !line.trim().is_empty());
        let last = last
            .map(|line| format!("; its last words: {}", line.trim_start_matches("realtime-bench-fanout: ")))
            .unwrap_or_default();
        format!("{error}{ended}{last}")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Errors here mean that it is already gone.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
