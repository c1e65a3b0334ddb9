//! On what a benchmark was run: without it a figure says nothing.

use std::fs;

/// The processor, how many threads it runs at once, the kernel, and how much else there was to do in the last minute.
pub fn machine() -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let processor = read("/proc/cpuinfo");
    let model = processor.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    format!(
        "{}, {} cores, kernel {}, load average {}",
        model.map_or("unknown processor", |(_, name)| name.trim()),
        std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        read("/proc/sys/kernel/osrelease").trim(),
        read("/proc/loadavg").split(' ').next().unwrap_or_default()
    )
}
