//! What finding a request's route costs with one host and with ten thousand, and what a request's fields cost on their way.
//!
//! Needs neither root nor a kernel. The tables are compiled by the product's own code from text of its own configuration; all rows
//! are measured in turns, round by round, so that a slow minute of the machine slows all of them.

mod work;

use anyhow::{Context, Result, ensure};
use clap::Parser;
use lb_benches::samples::Samples;
use serde::Serialize;
use std::fs;
use std::hint::black_box;
use std::path::PathBuf;
use std::time::Instant;
use work::{Asked, Heads, Table};

/// What a route and a head cost.
#[derive(Parser)]
struct Arguments {
    /// Write the report as JSON here, too.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Rounds, each of which measures every row once.
    #[arg(long, default_value_t = 31, value_parser = clap::value_parser!(u16).range(3..))]
    rounds: u16,
    /// Requests of a row in a round.
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1000..))]
    requests: u32,
}

/// A row of the report.
#[derive(Serialize)]
struct Line {
    work: String,
    ns: f64,
    spread: [f64; 2],
}

/// What the cost with the most hosts may be, as times the cost with one.
const BAR: f64 = 1.10;

fn main() -> Result<()> {
    let Arguments { json, rounds, requests } = Arguments::parse();
    let tables = [1, 100, 10_000].map(Table::new).into_iter().collect::<Result<Vec<_>>>()?;
    let mut heads = Heads::default();
    let mut lines: Vec<(String, Samples)> = Vec::new();
    for _ in 0..rounds {
        for table in &tables {
            for asked in Asked::ALL {
                let name = format!("route, {} hosts, {}", table.hosts, asked.title());
                record(&mut lines, name, timed(requests, |number| _ = black_box(table.find(asked, number))));
            }
        }
        record(
            &mut lines,
            "fields of a request, 9 of them".into(),
            timed(requests, |_| _ = black_box(heads.send())),
        );
        record(
            &mut lines,
            "the same, copied as they are".into(),
            timed(requests, |_| _ = black_box(heads.copy())),
        );
    }
    let lines: Vec<Line> = lines.into_iter().map(|(work, samples)| line(work, &samples)).collect();
    for Line { work, ns, spread: [least, most], .. } in &lines {
        println!("{work:<42} {ns:>8.1} ns  [{least:.1}, {most:.1}]");
    }
    if let Some(path) = json {
        let text = serde_json::to_string_pretty(&lines)? + "\n";
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    check(&lines)
}

/// Nanoseconds a request.
fn timed(requests: u32, mut request: impl FnMut(u32)) -> f64 {
    let began = Instant::now();
    (0..requests).for_each(&mut request);
    began.elapsed().as_secs_f64() * 1e9 / f64::from(requests)
}

fn record(lines: &mut Vec<(String, Samples)>, work: String, sample: f64) {
    match lines.iter_mut().find(|(known, _)| *known == work) {
        Some((_, samples)) => samples.push(sample),
        None => lines.push((work, Samples::from_iter([sample]))),
    }
}

fn line(work: String, samples: &Samples) -> Line {
    Line { work, ns: samples.median(), spread: samples.spread() }
}

/// The cost must not grow with the number of hosts.
fn check(lines: &[Line]) -> Result<()> {
    let cost = |hosts| {
        let work = format!("route, {hosts} hosts, {}", Asked::One.title());
        lines.iter().find(|line| line.work == work).map_or(f64::NAN, |line| line.ns)
    };
    let ratio = cost(10_000) / cost(1);
    ensure!(
        ratio <= BAR,
        "FAIL: a route of 10,000 hosts costs {ratio:.2} times that of one; the bar is {BAR}"
    );
    println!("PASS: a route of 10,000 hosts costs {ratio:.2} times that of one; the bar is {BAR}");
    Ok(())
}
