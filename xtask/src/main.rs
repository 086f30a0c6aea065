//! The commands of this repository: set-up, build, demo, tests, benches and lint, each in one word.
//!
//! Everything here may use `anyhow`: an error ends the command, and its chain is printed once, at the top.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking"))]

mod apt;
mod bench;
mod bpf;
mod build;
mod demo;
mod fingerprint;
mod fuzz;
mod process;
mod profile;
mod setup;
mod test;
mod vm;
mod workspace;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::test::Suite;
use crate::workspace::Workspace;

/// Set up, build, show, test and measure lb.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Find what compiling for BPF needs, or install it into a folder of the project
    Setup,
    /// Set up, compile the BPF programs, then the daemon that embeds them
    Build,
    /// Set up, build and show what lb does, with real traffic in network namespaces
    Demo {
        /// Leave everything running afterwards, until Ctrl-C, and say what to try
        #[arg(long)]
        keep: bool,
    },
    /// Set up, build and run every suite; the last line is the sum of all of them
    Test {
        /// Run these suites only
        suites: Vec<Suite>,
    },
    /// Set up, build and run one bench, e.g. `cargo xtask bench datapath --json out.json`
    Bench {
        /// The bench to run
        name: String,
        /// Handed to the bench as they are
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Set up, build and try lb on other kernels, in virtual machines
    Vm {
        /// Try these series instead, e.g. `6.1`: those that apt has a package of Debian's cloud kernel for
        #[arg(long = "kernel", value_name = "SERIES", value_parser = vm::parse_series)]
        kernels: Vec<String>,
        /// Run only cases whose name contains this
        filter: Option<String>,
    },
    /// Build the fuzz targets and run one, or all of them one after the other
    Fuzz {
        /// The target to run
        target: Option<String>,
        /// How long each runs
        #[arg(long, default_value_t = 60)]
        seconds: u64,
    },
    /// Record what the daemon does under load, by which release builds of this compiler are optimised then
    Profile,
    /// Check format, clippy and, where installed, cargo-deny
    Lint,
}

fn main() -> ExitCode {
    match run(&Arguments::parse().command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: &Command) -> Result<ExitCode> {
    let workspace = Workspace::locate()?;
    match command {
        Command::Setup => setup::run(&workspace)?,
        Command::Build => build::run(&workspace)?,
        Command::Demo { keep } => demo::run(&workspace, *keep)?,
        Command::Bench { name, arguments } => bench::run(&workspace, name, arguments)?,
        Command::Test { suites } => return Ok(test::run(&workspace, suites)),
        Command::Vm { kernels, filter } => {
            return Ok(test::on_kernels(&workspace, kernels, filter.as_deref()));
        }
        Command::Fuzz { target, seconds } => {
            fuzz::run(&workspace, target.as_deref(), Duration::from_secs(*seconds))?;
        }
        Command::Profile => profile::record(&workspace)?,
        Command::Lint => return Ok(test::lint(&workspace)),
    }
    Ok(ExitCode::SUCCESS)
}
