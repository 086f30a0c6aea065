//! What a packet costs in the kernel, path by path, beside the floors that no program of its kind can go below.
//!
//! Method: `benches/README.md`. Needs root, attaches nothing and leaves nothing behind.

mod alone;
mod change;
mod floors;
mod guard;
mod house;
mod measure;
mod paths;
mod report;
mod verifier;
mod wrapper;

use anyhow::{Context, Result, ensure};
use clap::Parser;
use lb_benches::machine::Machine;
use lb_common::abi::{Stage, StageSet};
use lb_userspace::kernel::Datapath;
use measure::Measured;
use std::fs;
use std::path::PathBuf;
use wrapper::BenchObject;

/// Nanoseconds a packet in the kernel's own test run, beside floors measured in the same run.
#[derive(Parser)]
struct Arguments {
    /// Write the report as JSON here, too.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Rounds to take the median of; in each, every program runs once.
    #[arg(long, default_value_t = 11, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Milliseconds a program runs in a round.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=1000))]
    sample_ms: u32,
    /// Measure only the paths whose name contains this.
    #[arg(long, default_value = "", value_name = "TEXT")]
    filter: String,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let machine = Machine::pinned()?;
    let mut datapath =
        Datapath::load(&house::settings(), StageSet::of(&Stage::ALL)).context("the programs under test")?;
    house::furnish(&mut datapath.tables)?;
    let bench = BenchObject::read()?;
    let measured = run(&arguments, &mut datapath, &bench)?;
    let programs = verifier::facts(&mut datapath.programs)?;
    let change = change::measure(&mut datapath.tables)?;
    let report = report::Report::new(machine, &measured, change, programs);
    print!("{report}");
    if let Some(path) = &arguments.json {
        let text = serde_json::to_string_pretty(&report)?;
        fs::write(path, text + "\n").with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

fn run(arguments: &Arguments, datapath: &mut Datapath, bench: &BenchObject) -> Result<Measured> {
    let wanted = paths::all().into_iter().filter(|path| path.name.contains(&arguments.filter));
    let mut floor_programs = floors::Programs::load(bench)?;
    let mut cases = floors::FLOORS
        .iter()
        .map(|floor| floor_programs.case(bench, floor))
        .chain(wanted.map(|path| paths::case(datapath, bench, path)))
        .collect::<Result<Vec<_>>>()?;
    let alone = alone::paths(datapath)?.into_iter().filter(|case| case.name().contains(&arguments.filter));
    cases.extend(alone::floors(&mut floor_programs)?.into_iter().chain(alone));
    let floors = floors::FLOORS.len() + alone::FLOORS;
    ensure!(cases.len() > floors, "no path's name contains `{}`", arguments.filter);
    measure::rounds(&mut cases, &datapath.tables, arguments.rounds, arguments.sample_ms)
}
