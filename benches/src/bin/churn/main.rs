//! What a million flows lose when their backends change: plain Maglev, Maglev with a table of recently used flows, and
//! `lb`. See `lb_tests::churn` for the model, `benches/README.md` for figures.
//!
//! A simulation: needs neither root nor a kernel, and the same seed gives the same counts anywhere.

use anyhow::{Context, Result, anyhow};
use clap::Parser;
use lb_tests::churn::{LRU_ENTRIES, Report, Scale, simulate};
use serde::Serialize;
use std::fs;
use std::path::PathBuf;
use std::time::Instant;

/// Flows broken needlessly by changes of backends, in several ways of finding a flow's backend.
#[derive(Parser)]
struct Arguments {
    /// Write the report as JSON here, too.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// What everything random is drawn from.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Flows over the whole time.
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    flows: u32,
    /// Backends at first.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u8).range(2..=100))]
    backends: u8,
}

/// A row of the report.
#[derive(Serialize)]
struct Line {
    way: &'static str,
    event: &'static str,
    times: u64,
    flows: u64,
    /// Flows that came to another backend than theirs, which was alive.
    broken: u64,
    /// Those of them that had been silent for longer than the idle time.
    silent: u64,
    /// Flows that the way remembered at once, at most, over all balancers and the whole time.
    entries_peak: usize,
}

fn main() -> Result<()> {
    let Arguments { json, seed, flows, backends } = Arguments::parse();
    let began = Instant::now();
    let report = simulate(&Scale { seed, flows, backends, lru_entries: LRU_ENTRIES })?;
    println!("{report}\nsimulated in {:.0?}", began.elapsed());
    if let Some(path) = json {
        let text = serde_json::to_string_pretty(&lines(&report))? + "\n";
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    report.check().map_err(|claim| anyhow!("FAIL: {claim}"))?;
    println!(
        "PASS: no change that left its backend alive broke a flow that was not silent for longer than the idle time,"
    );
    println!("      and no more was remembered than flows that began while their slot moved");
    Ok(())
}

fn lines(report: &Report) -> Vec<Line> {
    let line = |row: &lb_tests::churn::Row| Line {
        way: row.way,
        event: row.kind.label(),
        times: row.times,
        flows: row.flows,
        broken: row.broken,
        silent: row.silent,
        entries_peak: report.peak(row.way),
    };
    report.rows.iter().map(line).collect()
}
