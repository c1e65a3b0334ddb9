//! What a run says: the machine, a table of medians, and the same as one line of JSON with every round in it.

use std::fs;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::process::Cores;
use crate::rounds::{Measurement, Mode, Options};

/// Less CPU time than this is too few of the kernel's ticks for a figure of three digits.
const ROUGH: Duration = Duration::from_millis(200);

/// Everything a reader needs to judge the figures that is not a figure.
struct Machine {
    cpu: String,
    cores: usize,
    kernel: String,
    rustc: String,
    load: String,
}

impl Machine {
    fn read() -> Self {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let field = |name: &str| {
            let line = cpuinfo.lines().find(|line| line.starts_with(name))?;
            line.split_once(':').map(|(_, value)| value.trim().to_owned())
        };
        let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
        let rustc = Command::new("rustc").arg("--version").output().ok();
        let rustc = rustc.filter(|output| output.status.success());
        Self {
            cpu: field("model name").unwrap_or_else(|| "unknown CPU".to_owned()),
            cores: cpuinfo.lines().filter(|line| line.starts_with("processor")).count(),
            kernel: rustix::system::uname().release().to_string_lossy().into_owned(),
            rustc: rustc.map_or_else(
                || "rustc unknown".to_owned(),
                |output| String::from_utf8_lossy(&output.stdout).trim().to_owned(),
            ),
            load: load.split(' ').next().unwrap_or("unknown").to_owned(),
        }
    }
}

/// The machine in one line, and where on it the processes are.
pub(crate) fn machine_line(cores: Option<Cores>) -> String {
    let machine = Machine::read();
    let pinned = match cores {
        Some(cores) => format!("server on CPU {}, load generator on CPU {}", cores.server, cores.load),
        None => "server and load generator on all CPUs".to_owned(),
    };
    format!(
        "{}, {} cores, Linux {}, {}\n{pinned}; loopback; load average at the start {}\n",
        machine.cpu, machine.cores, machine.kernel, machine.rustc, machine.load,
    )
}

/// The machine, for the line of JSON.
pub(crate) fn machine_json(cores: Option<Cores>) -> Value {
    let machine = Machine::read();
    json!({
        "cpu": machine.cpu, "cores": machine.cores, "kernel": machine.kernel, "rustc": machine.rustc,
        "load_average_at_end": machine.load,
        "server_cpu": cores.map(|cores| cores.server), "load_cpu": cores.map(|cores| cores.load),
    })
}

/// Says on what and how it is measured, before it takes its time.
pub(crate) fn setting(options: &Options, cores: Option<Cores>) -> String {
    let alone = if cores.is_none() {
        "ONE CPU for server and load generator: latencies are not comparable\n"
    } else {
        ""
    };
    format!(
        "{}{alone}{} connections, {} rounds, medians; ratios to raw within the round\n\n",
        machine_line(cores),
        options.connections,
        options.rounds
    )
}

const HEADER: &str = "\
window server  frame deliveries    wall   deliveries   deliveries      CPU      CPU      p50      p99      p99  RSS/conn  RSS/conn   frames
               bytes    a round       s           /s       /CPU-s  us each   vs raw       ms       ms   vs raw  idle KiB after KiB    /read
";

const FOOTER: &str = "
CPU vs raw: deliveries per CPU-second as a share of raw's, more is better. p99 vs raw: less is better.
Frames/read: how many a client reads at once, which is about how many the server writes at once.
";

/// The table and, as the last line, the JSON.
pub(crate) fn results(options: &Options, cores: Option<Cores>, measurements: &[Measurement]) -> String {
    let mut table = HEADER.to_owned();
    let mut results = Vec::new();
    for &window in &options.windows {
        for &mode in &options.modes {
            let row = Row { measurements, window, mode };
            table += &row.line();
            results.push(row.json());
        }
    }
    table += FOOTER;
    if measurements.iter().any(|one| one.sample.cpu < ROUGH) {
        table += "Some measurements took less than 0.2 s of CPU, which comes in ticks of 10 ms: use more broadcasts.\n";
    }
    let summary = json!({
        "benchmark": "fanout",
        "machine": machine_json(cores),
        "connections": options.connections,
        "rounds": options.rounds,
        "results": results,
    });
    format!("{table}\n{summary}\n")
}

type Figure = fn(&Measurement) -> f64;

fn frame_bytes(measurement: &Measurement) -> f64 {
    measurement.sample.frame_bytes as f64
}
fn broadcasts(measurement: &Measurement) -> f64 {
    measurement.sample.broadcasts as f64
}
fn deliveries(measurement: &Measurement) -> f64 {
    measurement.sample.deliveries as f64
}
fn wall(measurement: &Measurement) -> f64 {
    measurement.sample.wall.as_secs_f64()
}
fn per_second(measurement: &Measurement) -> f64 {
    deliveries(measurement) / wall(measurement)
}
fn per_cpu_second(measurement: &Measurement) -> f64 {
    deliveries(measurement) / cpu_seconds(measurement)
}
fn cpu_us(measurement: &Measurement) -> f64 {
    1e6 / per_cpu_second(measurement)
}
fn cpu_seconds(measurement: &Measurement) -> f64 {
    // A run shorter than the kernel's tick is no division by zero.
    measurement.sample.cpu.as_secs_f64().max(0.01)
}
fn p50_ms(measurement: &Measurement) -> f64 {
    measurement.sample.p50.as_secs_f64() * 1e3
}
fn p99_ms(measurement: &Measurement) -> f64 {
    measurement.sample.p99.as_secs_f64() * 1e3
}
fn rss_idle(measurement: &Measurement) -> f64 {
    measurement.rss_idle as f64
}
fn frames_per_read(measurement: &Measurement) -> f64 {
    measurement.sample.deliveries as f64 / measurement.sample.reads.max(1) as f64
}
fn rss_after(measurement: &Measurement) -> f64 {
    measurement.rss_after as f64
}

/// The rounds of one server at one window.
struct Row<'a> {
    measurements: &'a [Measurement],
    window: u64,
    mode: Mode,
}

impl Row<'_> {
    fn of(&self, mode: Mode) -> impl Iterator<Item = &Measurement> {
        let window = self.window;
        self.measurements.iter().filter(move |one| one.mode == mode && one.window == window)
    }

    fn median(&self, figure: Figure) -> f64 {
        median(self.of(self.mode).map(figure).collect())
    }

    /// The median of the rounds' ratios; `None` without raw in the run.
    fn versus_raw(&self, figure: Figure) -> Option<f64> {
        let ratios = self.of(self.mode).filter_map(|one| {
            let raw = self.of(Mode::Raw).find(|raw| raw.round == one.round)?;
            Some(figure(one) / figure(raw))
        });
        let ratios: Vec<f64> = ratios.collect();
        (!ratios.is_empty()).then(|| median(ratios))
    }

    fn line(&self) -> String {
        format!(
            "{:>6} {:<6} {:>6.0} {:>10.0} {:>7.2} {:>12.0} {:>12.0} {:>8.2} {:>8} {:>8.2} {:>8.2} {:>8} {:>9.1} {:>9.1} {:>8.1}\n",
            self.window,
            self.mode.name(),
            self.median(frame_bytes),
            self.median(deliveries),
            self.median(wall),
            self.median(per_second),
            self.median(per_cpu_second),
            self.median(cpu_us),
            ratio(self.versus_raw(per_cpu_second)),
            self.median(p50_ms),
            self.median(p99_ms),
            ratio(self.versus_raw(p99_ms)),
            self.median(rss_idle) / 1024.0,
            self.median(rss_after) / 1024.0,
            self.median(frames_per_read),
        )
    }

    fn json(&self) -> Value {
        let each = |figure: Figure| self.of(self.mode).map(figure).collect::<Vec<f64>>();
        json!({
            "server": self.mode.name(),
            "window": self.window,
            "frame_bytes": self.median(frame_bytes),
            "broadcasts": self.median(broadcasts),
            "deliveries": self.median(deliveries),
            "wall_s": self.median(wall),
            "deliveries_per_s": self.median(per_second),
            "deliveries_per_cpu_s": self.median(per_cpu_second),
            "cpu_us_per_delivery": self.median(cpu_us),
            "cpu_vs_raw": self.versus_raw(per_cpu_second),
            "p50_ms": self.median(p50_ms),
            "p99_ms": self.median(p99_ms),
            "p99_vs_raw": self.versus_raw(p99_ms),
            "rss_per_connection_idle": self.median(rss_idle),
            "rss_per_connection_after": self.median(rss_after),
            "frames_per_read": self.median(frames_per_read),
            "each_round": {
                "deliveries_per_cpu_s": each(per_cpu_second),
                "deliveries_per_s": each(per_second),
                "p50_ms": each(p50_ms),
                "p99_ms": each(p99_ms),
            },
        })
    }
}

pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 { values[middle] } else { (values[middle - 1] + values[middle]) / 2.0 }
}

fn ratio(value: Option<f64>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.2}"))
}
