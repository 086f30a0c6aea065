//! Runs every suite, one after another, and adds up what they report.
//!
//! A suite that fails does not stop the next one. The last line printed is the sum and nothing else.

mod report;
mod suite;
mod tally;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread;
use std::time::Instant;

use anyhow::Result;
use clap::ValueEnum;

pub(crate) use self::report::Report;
pub(crate) use self::suite::Suite;
pub(crate) use self::tally::Tally;
use crate::workspace::Workspace;
use crate::{build, fuzz, setup, vm};

/// `cargo xtask test`: sets up, builds, and runs the named suites, or all of them.
pub(crate) fn run(workspace: &Workspace, chosen: &[Suite]) -> ExitCode {
    heading("set-up and build");
    match prepare(workspace) {
        Ok(daemon) => run_suites(workspace, chosen_or_all(chosen), Some(&daemon)),
        Err(error) => {
            println!("error: {error:#}");
            finish(&Tally::failure("build"))
        }
    }
}

/// `cargo xtask vm`: sets up, builds, and tries these kernels, or those of the suite.
pub(crate) fn on_kernels(workspace: &Workspace, kernels: &[String], filter: Option<&str>) -> ExitCode {
    match prepare(workspace) {
        Ok(daemon) => finish(&vm::run(workspace, Some(&daemon), kernels, filter)),
        Err(error) => {
            println!("error: {error:#}");
            finish(&Tally::failure("build"))
        }
    }
}

/// `cargo xtask lint`: the suites that read code and run none of it.
pub(crate) fn lint(workspace: &Workspace) -> ExitCode {
    run_suites(workspace, &[Suite::Fmt, Suite::Clippy, Suite::Deny], None)
}

fn prepare(workspace: &Workspace) -> Result<PathBuf> {
    setup::run(workspace)?;
    build::daemon(workspace)
}

fn chosen_or_all(chosen: &[Suite]) -> &[Suite] {
    if chosen.is_empty() { Suite::value_variants() } else { chosen }
}

fn run_suites(workspace: &Workspace, suites: &[Suite], daemon: Option<&Path>) -> ExitCode {
    let mut sum = Tally::default();
    let compile_beside = suites.iter().find(|suite| suite.waits() && suites.contains(&Suite::Fuzz));
    thread::scope(|scope| {
        for suite in suites {
            if Some(suite) == compile_beside {
                scope.spawn(|| fuzz::compile_ahead(workspace));
            }
            sum.add(run_suite(workspace, *suite, daemon));
        }
    });
    finish(&sum)
}

fn run_suite(workspace: &Workspace, suite: Suite, daemon: Option<&Path>) -> Tally {
    heading(suite.title());
    let began = Instant::now();
    let tally = suite.run(workspace, daemon);
    println!("{}: {tally}, in {} s", suite.name(), began.elapsed().as_secs());
    tally
}

fn heading(title: &str) {
    println!("\n== {title}");
}

fn finish(sum: &Tally) -> ExitCode {
    println!();
    print!("{}", sum.details());
    println!("{sum}");
    if sum.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
