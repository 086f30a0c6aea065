//! Tries lb on other kernels: in virtual machines, all at once, each with a kernel of Debian's and nothing but our programs.
//!
//! What a machine prints is what the suites print everywhere, so it is read in the same way. What this host lacks for it is a
//! named skip.

mod cpio;
mod image;
mod kernel;
mod machine;
mod module;

use std::path::{Path, PathBuf};
use std::thread;

use anyhow::{Context, Result};

use self::machine::{Machine, explain, lacking};
use crate::test::{Report, Tally};
use crate::workspace::Workspace;
use crate::{bpf, process};

/// The series that are tried unless others are named: Debian's two latest.
const SERIES: [&str; 2] = ["6.1", "6.12"];
/// The last lines of a console that are shown again after a failure, where they are not mixed with another's.
const TAIL: usize = 40;

/// A series as a user names it: two numbers.
pub(crate) fn parse_series(text: &str) -> Result<String, String> {
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    match text.split_once('.') {
        Some((major, minor)) if is_number(major) && is_number(minor) => Ok(text.to_owned()),
        _ => Err("expected the first two numbers of a kernel's version, as in `6.1`".to_owned()),
    }
}

/// Tries the daemon on each series, or on the usual ones.
pub(crate) fn run(
    workspace: &Workspace,
    daemon: Option<&Path>,
    series: &[String],
    filter: Option<&str>,
) -> Tally {
    let usual = SERIES.map(str::to_owned);
    let series = if series.is_empty() { &usual[..] } else { series };
    if let Some(lacking) = lacking() {
        return series.iter().map(|one| Tally::skip(one, &lacking)).fold(Tally::default(), sum);
    }
    let Some((daemon, init)) = daemon.zip(build_init(workspace)) else { return Tally::failure("build") };
    let one = |series: &str| {
        let tally = attempt(workspace, series, [&init, daemon], filter);
        tally.unwrap_or_else(|error| Tally::failure(&format!("{error:#}"))).within(series)
    };
    thread::scope(|scope| {
        let trials: Vec<_> = series.iter().map(|series| scope.spawn(|| one(series))).collect();
        trials
            .into_iter()
            .map(|trial| trial.join().unwrap_or_else(|_| Tally::failure("vm")))
            .fold(Tally::default(), sum)
    })
}

fn sum(mut sum: Tally, one: Tally) -> Tally {
    sum.add(one);
    sum
}

/// The suites' program, which is a machine's first process. What went wrong is printed.
fn build_init(workspace: &Workspace) -> Option<PathBuf> {
    let mut cargo = process::host_command(workspace.root());
    cargo.args(["build", "--release", "--locked", "--package", "lb-tests", "--bin", "lb-tests"]);
    cargo.args(["--message-format", "json-render-diagnostics"]);
    let messages =
        process::output_with_progress(&mut cargo).inspect_err(|error| println!("{error:#}")).ok()?;
    bpf::executables(&messages).into_iter().find(|path| path.ends_with("lb-tests"))
}

/// One kernel: fetched, packed with our programs, booted.
fn attempt(
    workspace: &Workspace,
    series: &str,
    [init, daemon]: [&Path; 2],
    filter: Option<&str>,
) -> Result<Tally> {
    let kernel = match kernel::find(&workspace.toolchain_dir(), series) {
        Ok(kernel) => kernel,
        Err(reason) => return Ok(Tally::skip("kernel", &format!("{reason:#}"))),
    };
    let image = workspace.object_dir().with_file_name(format!("vm-{series}.cpio"));
    image::write(&image, init, daemon, &module::read(&kernel.modules)?).context("packing a machine")?;
    watch(series, &Machine { kernel: &kernel.image, image, filter })
}

/// Boots a machine, and shows and reads its console.
fn watch(series: &str, machine: &Machine<'_>) -> Result<Tally> {
    let (mut report, mut console) = (Report::default(), Vec::new());
    let ended = process::follow(&mut machine.command(), |line| {
        let line = line.trim_end();
        println!("{series:<5} {line}");
        report.read(line);
        console.push(line.to_owned());
    })?;
    let tally = report.finish("vm", ended.success());
    if tally.failed > 0 {
        println!(
            "\n{series}: the end of its console:\n{}",
            console[console.len().saturating_sub(TAIL)..].join("\n")
        );
    }
    if !ended.success() {
        println!("{series}: {}", explain(ended.code()));
    }
    Ok(tally)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_series_is_two_numbers() {
        assert_eq!(parse_series("6.12"), Ok("6.12".to_owned()));
        for other in ["6", "6.", ".1", "6.1.0", "6.x", "../6.1"] {
            assert!(parse_series(other).is_err(), "{other}");
        }
    }
}
