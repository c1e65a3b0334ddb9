//! A table, a line of JSON, and the machine.

use std::time::Duration;

use realtime_tests::machine::machine;
use serde_json::{Value as Json, json};

/// The figures of one command.
pub(crate) struct Report {
    what: &'static str,
    head: &'static [&'static str],
    rows: Vec<Vec<String>>,
    json: Vec<Json>,
}

impl Report {
    pub(crate) fn new(what: &'static str, head: &'static [&'static str]) -> Self {
        Self { what, head, rows: Vec::new(), json: Vec::new() }
    }

    /// Adds a row of the table, and the same as JSON.
    pub(crate) fn add(&mut self, row: Vec<String>, json: Json) {
        self.rows.push(row);
        self.json.push(json);
    }

    pub(crate) fn print(self) {
        let width = |column: usize| {
            let cells = self.rows.iter().map(|row| row[column].chars().count());
            cells.chain([self.head[column].chars().count()]).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.head.len()).map(width).collect();
        let line = |cells: &mut dyn Iterator<Item = &str>| {
            let padded = cells.zip(&widths).enumerate().map(|(column, (cell, width))| {
                // Words to the left, figures to the right.
                if column < 2 { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
            });
            println!("{}", padded.collect::<Vec<_>>().join("  ").trim_end());
        };
        line(&mut self.head.iter().copied());
        for row in &self.rows {
            line(&mut row.iter().map(String::as_str));
        }
        let machine = machine();
        println!("{}", json!({"benchmark": self.what, "figures": self.json, "machine": machine}));
        println!("machine: {machine}");
    }
}

/// The place in an ordered list below which so many percent of it are.
pub(crate) fn percentile<T: Copy>(ordered: &[T], percent: usize) -> T {
    ordered[(ordered.len() * percent / 100).min(ordered.len() - 1)]
}

pub(crate) fn milliseconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}
