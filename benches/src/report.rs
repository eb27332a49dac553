//! Tables for people, JSON for programs, and the goals at the end.

use std::fs;
use std::io;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::measure::Row;

/// All that was measured.
pub struct Report {
    tables: Vec<(String, Value)>,
    goals: Vec<Goal>,
    failures: usize,
    /// What was measured, and on what.
    heading: String,
}

struct Goal {
    work: String,
    bound: Bound,
    value: f64,
    by_median: Option<f64>,
}

/// What a goal asks for.
#[derive(Clone, Copy, Debug)]
pub enum Bound {
    AtLeast(f64),
    AtMost(f64),
}

impl Bound {
    fn holds(self, value: f64) -> bool {
        match self {
            Self::AtLeast(bound) => value >= bound,
            Self::AtMost(bound) => value <= bound,
        }
    }
}

impl Report {
    pub fn new() -> Self {
        Self {
            tables: Vec::new(),
            goals: Vec::new(),
            failures: 0,
            heading: String::new(),
        }
    }

    /// Says what it runs on.
    pub fn print_machine(&mut self) {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let cpu = read("/proc/cpuinfo")
            .lines()
            .find_map(|line| {
                line.strip_prefix("model name")?
                    .split(": ")
                    .nth(1)
                    .map(str::to_owned)
            })
            .unwrap_or_else(|| "unknown CPU".to_owned());
        let cores = std::thread::available_parallelism().map_or(0, usize::from);
        let load = read("/proc/loadavg");
        let load = load.split(' ').next().unwrap_or_default().to_owned();
        let said = |program: &str, arguments: &[&str]| {
            let output = Command::new(program).args(arguments).output().ok();
            let text = output.and_then(|output| String::from_utf8(output.stdout).ok());
            text.map_or("unknown".to_owned(), |text| text.trim().to_owned())
        };
        let folder = env!("CARGO_MANIFEST_DIR");
        let commit = said("git", &["-C", folder, "describe", "--always", "--dirty"]);
        let rustc = said("rustc", &["--version"]);
        self.heading = format!("commit {commit}, {rustc}, {cpu}, {cores} cores");
        println!("{}, load {load} at the start", self.heading);
        let machine = json!({
            "cpu": cpu, "cores": cores, "load": load, "commit": commit, "rustc": rustc,
        });
        self.tables.push(("machine".to_owned(), machine));
    }

    /// Prints the rows as a table, with their ratio to the first.
    pub fn add(&mut self, title: &str, rows: &[Row]) {
        println!("\n{title}");
        println!(
            "  {:<58} {:>9} {:>9} {:>9} {:>9} {:>7} {:>8}",
            "CPU ns each", "min", "median", "2 thr min", "2 thr med", "allocs", "bytes"
        );
        for row in rows {
            println!(
                "  {:<58} {:>9.1} {:>9.1} {:>9.1} {:>9.1} {:>7.2} {:>8.0}",
                row.name,
                row.min,
                row.median,
                row.min_on_two,
                row.median_on_two,
                row.allocations,
                row.bytes
            );
        }
        let rows = rows.iter().map(|row| {
            json!({
                "name": row.name, "min_ns": row.min, "median_ns": row.median,
                "two_threads_min_ns": row.min_on_two, "two_threads_median_ns": row.median_on_two,
                "allocations": row.allocations, "bytes": row.bytes,
            })
        });
        self.tables.push((title.to_owned(), rows.collect()));
    }

    /// Prints a table of another kind: a header, and rows that have as many cells.
    pub fn add_table(&mut self, title: &str, header: &[&str], rows: &[Vec<String>]) {
        println!("\n{title}");
        let width = |column: usize| {
            let cells = rows.iter().map(|row| row[column].chars().count());
            cells
                .chain([header[column].chars().count()])
                .max()
                .unwrap_or(0)
        };
        let widths: Vec<usize> = (0..header.len()).map(width).collect();
        let line = |cells: Vec<&str>| {
            let cells = cells.iter().zip(&widths).enumerate();
            let cells: Vec<String> = cells
                .map(|(column, (cell, width))| match column {
                    0 => format!("{cell:<width$}"),
                    _ => format!("{cell:>width$}"),
                })
                .collect();
            println!("  {}", cells.join("  "));
        };
        line(header.to_vec());
        for row in rows {
            line(row.iter().map(String::as_str).collect());
        }
        self.tables
            .push((title.to_owned(), json!({"header": header, "rows": rows})));
    }

    /// Measures a goal: how many times `row` costs what `base` costs.
    pub fn goal(&mut self, work: &str, row: &Row, base: &Row, bound: Bound) {
        let by_median = Some(row.median / base.median);
        self.push_goal(work, row.min / base.min, by_median, bound);
    }

    /// A goal whose number is known.
    pub fn goal_value(&mut self, work: &str, value: f64, bound: Bound) {
        self.push_goal(work, value, None, bound);
    }

    /// The goals on allocations.
    pub fn goal_allocations(&mut self, row: &Row, most: f64) {
        let work = format!("{}: allocations", row.name);
        self.push_goal(&work, row.allocations, None, Bound::AtMost(most));
    }

    /// Says that something could not be measured, so that no gap goes unseen.
    pub fn fail(&mut self, what: &str, why: impl std::fmt::Display) {
        println!("\nNOT MEASURED: {what}: {why}");
        let failure = json!({"what": what, "why": why.to_string()});
        self.tables.push(("not measured".to_owned(), failure));
        self.failures += 1;
    }

    pub fn failures(&self) -> usize {
        self.failures
    }

    pub fn print_goals(&self) {
        if self.goals.is_empty() {
            return;
        }
        println!("\ngoals: by the minimum of the rounds (by their median)");
        for goal in &self.goals {
            let verdict = if goal.bound.holds(goal.value) {
                "met  "
            } else {
                "SHORT"
            };
            let bound = match goal.bound {
                Bound::AtLeast(bound) => format!(">= {bound}"),
                Bound::AtMost(bound) => format!("<= {bound}"),
            };
            let median = goal
                .by_median
                .map_or(String::new(), |median| format!("({median:.2})"));
            println!(
                "  {verdict} {:<84} {bound:>8} {:>8.2} {median}",
                goal.work, goal.value
            );
        }
    }

    /// The goals as a table for `README.md`, whole: none is left out by hand.
    pub fn print_goals_markdown(&self) {
        println!("\n{}\n", self.heading);
        println!("| work | goal | by minimum | by median | |");
        println!("|---|---|---|---|---|");
        for goal in &self.goals {
            let bound = match goal.bound {
                Bound::AtLeast(bound) => format!("≥ {bound}"),
                Bound::AtMost(bound) => format!("≤ {bound}"),
            };
            let median = goal
                .by_median
                .map_or(String::new(), |median| format!("{median:.2}"));
            let verdict = if goal.bound.holds(goal.value) {
                "met"
            } else {
                "short"
            };
            println!(
                "| {} | {bound} | {:.2} | {median} | {verdict} |",
                goal.work, goal.value
            );
        }
    }

    pub fn write_json(&self, path: &Path) -> io::Result<()> {
        let goals = self.goals.iter().map(|goal| {
            let (kind, bound) = match goal.bound {
                Bound::AtLeast(bound) => ("at least", bound),
                Bound::AtMost(bound) => ("at most", bound),
            };
            json!({
                "work": goal.work, "kind": kind, "bound": bound, "value": goal.value,
                "by_median": goal.by_median, "met": goal.bound.holds(goal.value),
            })
        });
        let tables = self.tables.iter();
        let tables = tables.map(|(title, table)| json!({"title": title, "table": table}));
        let all = json!({"tables": tables.collect::<Value>(), "goals": goals.collect::<Value>()});
        fs::write(path, serde_json::to_vec_pretty(&all)?)
    }

    fn push_goal(&mut self, work: &str, value: f64, by_median: Option<f64>, bound: Bound) {
        self.goals.push(Goal {
            work: work.to_owned(),
            bound,
            value,
            by_median,
        });
    }
}
