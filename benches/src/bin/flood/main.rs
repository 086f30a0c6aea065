//! A flood of new connections, as fast as a CPU can send it: how many a second `lb` drops, and what each costs, beside
//! nftables with the same bound and a program that drops all.
//!
//! Method: `benches/README.md`. Needs root; everything is in namespaces of its own and goes with it.

mod nft;
mod targets;

use std::fmt::{self, Display, Formatter};
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Parser;
use lb_benches::machine::Machine;
use lb_benches::samples::Samples;
use lb_tests::flood::{Cpus, Flood};
use serde::Serialize;
use targets::Target;

/// What it costs to drop a flood of new connections.
#[derive(Parser)]
struct Arguments {
    /// Write the report as JSON here, too.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Rounds to take the median of; in each, every way is flooded once.
    #[arg(long, default_value_t = 9, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Milliseconds of a flood.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u64).range(50..=5000))]
    sample_ms: u64,
}

/// A way of dropping in the report.
#[derive(Serialize)]
struct Row {
    name: &'static str,
    /// Dropped packets a second, in millions.
    mpps: f64,
    /// Nanoseconds a packet, made, sent, received and dropped.
    ns: f64,
    /// The least and the greatest.
    spread: [f64; 2],
    /// Nanoseconds over the floor: what to drop it takes.
    over_floor: f64,
    /// Packets sent, and of them those that were dropped for the bound.
    sent: u64,
    dropped: u64,
}

#[derive(Serialize)]
struct Report {
    machine: Machine,
    rows: Vec<Row>,
    skipped: Vec<String>,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let cpus = Cpus::part()?;
    let (rows, skipped) = cpus.beside(|| measure(&arguments, cpus.flood))?;
    let report = Report { machine: Machine::pinned()?, rows, skipped };
    print!("{report}");
    if let Some(path) = &arguments.json {
        let text = serde_json::to_string_pretty(&report)?;
        fs::write(path, text + "\n").with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

/// What was measured of a target.
#[derive(Default)]
struct Measured {
    samples: Samples,
    sent: u64,
}

fn measure(arguments: &Arguments, cpu: usize) -> Result<(Vec<Row>, Vec<String>)> {
    let (targets, skipped) = targets::all()?;
    let before = targets.iter().map(|target| target.dropped()).collect::<Result<Vec<_>>>()?;
    let mut measured: Vec<Measured> = targets.iter().map(|_| Measured::default()).collect();
    for _ in 0..arguments.rounds {
        for (target, measured) in targets.iter().zip(&mut measured) {
            round(target.as_ref(), measured, Duration::from_millis(arguments.sample_ms), cpu)?;
        }
    }
    let floor = measured.first().map_or(f64::NAN, |floor| floor.samples.median());
    let rows = targets.iter().map(AsRef::as_ref).zip(measured).zip(before);
    let row = |((target, measured), before): ((&dyn Target, Measured), Option<u64>)| {
        row(target, &measured, before, floor)
    };
    Ok((rows.map(row).collect::<Result<_>>()?, skipped))
}

#[allow(clippy::cast_precision_loss, reason = "frames of some seconds")]
fn round(target: &dyn Target, measured: &mut Measured, lasting: Duration, cpu: usize) -> Result<()> {
    let (namespace, link, shape) = target.entrance()?;
    let flood = Flood::start(namespace, link, &[shape], cpu)?;
    std::thread::sleep(lasting);
    let sent = flood.stop()?;
    measured.samples.push(sent.took.as_secs_f64() * 1e9 / sent.total() as f64);
    measured.sent += sent.total();
    Ok(())
}

/// Share of what was sent that must have been dropped for its reason; the rest found a queue full, or was let through.
const DROPPED: f64 = 0.9;

#[allow(clippy::cast_precision_loss, reason = "frames of some seconds")]
fn row(target: &dyn Target, measured: &Measured, before: Option<u64>, floor: f64) -> Result<Row> {
    let dropped = match (target.dropped()?, before) {
        (Some(after), Some(before)) => after - before,
        // The floor does not count.
        _ => measured.sent,
    };
    let (name, sent, ns) = (target.name(), measured.sent, measured.samples.median());
    ensure!(dropped as f64 >= DROPPED * sent as f64, "{name} dropped {dropped} of {sent} packets");
    Ok(Row {
        name,
        mpps: 1e3 / ns * dropped as f64 / sent as f64,
        ns,
        spread: measured.samples.spread(),
        over_floor: ns - floor,
        sent,
        dropped,
    })
}

impl Display for Report {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        let Machine { kernel, cpu_model, cpus, pinned_to, .. } = &self.machine;
        writeln!(formatter, "Linux {kernel}, {cpu_model}, {cpus} CPUs, the flood on CPU {pinned_to}\n")?;
        let titles = ("dropped by", "Mpps", "ns", "spread", "over floor", "dropped of");
        let (name, mpps, ns, spread, over, dropped) = titles;
        writeln!(formatter, "{name:24}{mpps:>7}{ns:>8}{spread:>16}{over:>12}{dropped:>24}")?;
        for Row { name, mpps, ns, spread: [least, most], over_floor, sent, dropped } in &self.rows {
            let (spread, dropped) = (format!("{least:.0}–{most:.0}"), format!("{dropped} of {sent}"));
            writeln!(formatter, "{name:24}{mpps:>7.2}{ns:>8.1}{spread:>16}{over_floor:>12.1}{dropped:>24}")?;
        }
        self.skipped.iter().try_for_each(|why| writeln!(formatter, "skipped: {why}"))
    }
}
