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

use anyhow::Result;

use self::kernel::Kernel;
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
        return sum(series.iter().map(|one| Tally::skip(one, &lacking)));
    }
    let Some((daemon, init)) = daemon.zip(build_init(workspace)) else { return Tally::failure("build") };
    // One after the other: apt works for one at a time.
    let found = series.iter().map(|one| (one, kernel::find(&workspace.toolchain_dir(), one)));
    let found: Vec<_> = found.collect();
    let image = |series: &str| workspace.object_dir().with_file_name(format!("vm-{series}.cpio"));
    let attempt = |(series, kernel): (&String, Result<Kernel>)| match kernel {
        Ok(kernel) => boot(series, &kernel, &image(series), [&init, daemon], filter),
        Err(reason) => Tally::skip("kernel", &format!("{reason:#}")),
    };
    thread::scope(|scope| {
        let trials = found.into_iter().map(|one| (one.0, scope.spawn(|| attempt(one))));
        let trials: Vec<_> = trials.collect();
        let joined = trials.into_iter().map(|(series, trial)| (series, trial.join()));
        sum(joined.map(|(series, tally)| tally.unwrap_or_else(|_| Tally::failure("vm")).within(series)))
    })
}

fn sum(tallies: impl Iterator<Item = Tally>) -> Tally {
    tallies.fold(Tally::default(), |mut sum, one| {
        sum.add(one);
        sum
    })
}

/// The suites' program, built as for the kernel suite, which is a machine's first process. What went wrong is printed.
fn build_init(workspace: &Workspace) -> Option<PathBuf> {
    let mut cargo = process::host_command(workspace.root());
    cargo.args(["build", "--locked", "--package", "lb-tests", "--bin", "lb-tests"]);
    cargo.args(["--message-format", "json-render-diagnostics"]);
    let messages =
        process::output_with_progress(&mut cargo).inspect_err(|error| println!("{error:#}")).ok()?;
    bpf::executables(&messages).into_iter().find(|path| path.ends_with("lb-tests"))
}

/// Packs our programs with a kernel's modules, boots the kernel, and tells what came of it.
fn boot(series: &str, kernel: &Kernel, image: &Path, programs: [&Path; 2], filter: Option<&str>) -> Tally {
    let packed = module::read(&kernel.modules).and_then(|modules| image::write(image, programs, &modules));
    let watched = packed.and_then(|()| watch(series, &Machine { kernel: &kernel.image, image, filter }));
    watched.unwrap_or_else(|error| Tally::failure(&format!("{error:#}")))
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
