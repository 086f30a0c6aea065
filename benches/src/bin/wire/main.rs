//! Forwarding from a wire to a wire: packets of one flow and of a million come by a veth as fast as a CPU can send them, and leave by
//! another; beside a program that only redirects, and the kernel's routing.
//!
//! Method: `benches/README.md`. Needs root; everything is in namespaces of its own and goes with it.

mod ways;

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
use ways::{Flows, Way};

/// What a forwarded packet costs from a wire to a wire.
#[derive(Parser)]
struct Arguments {
    /// Write the report as JSON here, too.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Rounds to take the median of; in each, every way has every number of flows once.
    #[arg(long, default_value_t = 9, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Milliseconds that packets are sent for.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u64).range(50..=5000))]
    sample_ms: u64,
}

/// A way in the report.
#[derive(Serialize)]
struct Row {
    name: &'static str,
    flows: u32,
    /// Forwarded packets a second, in millions.
    mpps: f64,
    /// Nanoseconds a packet, made, sent, forwarded and dropped at the end.
    ns: f64,
    /// The least and the greatest.
    spread: [f64; 2],
    /// Nanoseconds over the floor with as many flows.
    over_floor: f64,
    /// Packets sent, and of them those that came out at the other wire.
    sent: u64,
    forwarded: u64,
}

#[derive(Serialize)]
struct Report {
    machine: Machine,
    rows: Vec<Row>,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let cpus = Cpus::part()?;
    let rows = cpus.beside(|| measure(&arguments, cpus.flood))?;
    let report = Report { machine: Machine::pinned()?, rows };
    print!("{report}");
    if let Some(path) = &arguments.json {
        let text = serde_json::to_string_pretty(&report)?;
        fs::write(path, text + "\n").with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

/// What was measured of a way with so many flows.
#[derive(Default)]
struct Measured {
    samples: Samples,
    sent: u64,
    forwarded: u64,
}

fn measure(arguments: &Arguments, cpu: usize) -> Result<Vec<Row>> {
    let ways = ways::all()?;
    let works: Vec<_> = ways.iter().flat_map(|way| Flows::ALL.map(|flows| (way.as_ref(), flows))).collect();
    let mut measured: Vec<Measured> = works.iter().map(|_| Measured::default()).collect();
    for _ in 0..arguments.rounds {
        for ((way, flows), measured) in works.iter().zip(&mut measured) {
            round(*way, *flows, measured, Duration::from_millis(arguments.sample_ms), cpu)?;
        }
    }
    // The floor comes first, with as many flows in the same order.
    let floors: Vec<f64> =
        measured.iter().take(Flows::ALL.len()).map(|floor| floor.samples.median()).collect();
    let rows = works.iter().zip(&measured).zip(floors.iter().cycle());
    rows.map(|(((way, flows), measured), floor)| row((*way, *flows), measured, *floor)).collect()
}

#[allow(clippy::cast_precision_loss, reason = "frames of some seconds")]
fn round(way: &dyn Way, flows: Flows, measured: &mut Measured, lasting: Duration, cpu: usize) -> Result<()> {
    let (namespace, link, shape) = way.entrance(flows)?;
    let before = way.forwarded()?;
    let flood = Flood::start(namespace, link, &[shape], cpu)?;
    std::thread::sleep(lasting);
    let sent = flood.stop()?;
    measured.samples.push(sent.took.as_secs_f64() * 1e9 / sent.total() as f64);
    measured.sent += sent.total();
    measured.forwarded += way.forwarded()? - before;
    Ok(())
}

/// Share of what was sent that must have come out; the rest found a queue full.
const FORWARDED: f64 = 0.9;

#[allow(clippy::cast_precision_loss, reason = "frames of some seconds")]
fn row((way, flows): (&dyn Way, Flows), measured: &Measured, floor: f64) -> Result<Row> {
    let (name, ns) = (way.name(), measured.samples.median());
    let &Measured { sent, forwarded, .. } = measured;
    let share = forwarded as f64 / sent as f64;
    ensure!(share >= FORWARDED, "of {sent} packets {forwarded} came out of {name}");
    let (mpps, spread) = (1e3 / ns * share, measured.samples.spread());
    Ok(Row { name, flows: flows.number(), mpps, ns, spread, over_floor: ns - floor, sent, forwarded })
}

impl Display for Report {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        let Machine { kernel, cpu_model, cpus, pinned_to, .. } = &self.machine;
        writeln!(formatter, "Linux {kernel}, {cpu_model}, {cpus} CPUs, all packets on CPU {pinned_to}\n")?;
        let titles = ("forwarded by", "flows", "Mpps", "ns", "spread", "over floor", "came out of");
        let (name, flows, mpps, ns, spread, over, out) = titles;
        writeln!(formatter, "{name:24}{flows:>9}{mpps:>7}{ns:>8}{spread:>16}{over:>12}{out:>24}")?;
        for Row { name, flows, mpps, ns, spread: [least, most], over_floor, sent, forwarded } in &self.rows {
            let (spread, out) = (format!("{least:.0}–{most:.0}"), format!("{forwarded} of {sent}"));
            let figures = format!("{mpps:>7.2}{ns:>8.1}{spread:>16}{over_floor:>12.1}{out:>24}");
            writeln!(formatter, "{name:24}{flows:>9}{figures}")?;
        }
        Ok(())
    }
}
