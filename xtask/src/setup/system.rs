//! Small programs of the system that tests and the demo use, apart from the toolchain.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use nix::unistd::Uid;

use super::debian::apt::Apt;
use super::say;
use crate::process;

/// A program, the Debian package it is in, and why we want it.
struct Need {
    program: &'static str,
    package: &'static str,
    reason: &'static str,
}

const NEEDS: [Need; 1] = [Need {
    program: "curl",
    package: "curl",
    reason: "tests ask the balancer with an HTTP client that is not ours",
}];

/// Installs what is missing where that is harmless, else says what to install. Building works without these, so
/// a missing one is no error.
pub(super) fn offer(toolchain_folder: &Path) {
    let missing: Vec<&Need> =
        NEEDS.iter().filter(|need| process::find_program(need.program).is_none()).collect();
    for need in &missing {
        say(format_args!("{} is missing: {}", need.program, need.reason));
    }
    let packages: Vec<&str> = missing.iter().map(|need| need.package).collect();
    if !packages.is_empty()
        && let Err(error) = install(toolchain_folder, &packages)
    {
        say(format_args!("cannot install {} here ({error:#}), please do so yourself", packages.join(" ")));
    }
}

fn install(toolchain_folder: &Path, packages: &[&str]) -> Result<()> {
    ensure!(Uid::effective().is_root(), "only root may install packages");
    let mut apt = Apt::open(toolchain_folder)?;
    packages.iter().try_for_each(|package| apt.want(package))?;
    let simulated = process::output(install_command(&apt).arg("--simulate").args(packages))?;
    ensure!(removals(&simulated).is_empty(), "apt would remove {}", removals(&simulated).join(" "));
    say(format_args!("installing {} with apt-get", packages.join(" ")));
    process::output(install_command(&apt).arg("--yes").args(packages)).context("apt-get failed")?;
    Ok(())
}

fn install_command(apt: &Apt) -> Command {
    let mut command = apt.get("install");
    command.env("DEBIAN_FRONTEND", "noninteractive");
    command.args(["--no-install-recommends", "--no-remove", "--quiet"]);
    command
}

/// The packages that a simulated installation would remove.
fn removals(simulated: &str) -> Vec<&str> {
    let removed = simulated.lines().filter_map(|line| line.strip_prefix("Remv "));
    removed.filter_map(|rest| rest.split_whitespace().next()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn removals_are_seen_in_a_simulation() {
        let simulated = "Inst curl (7.88)\nRemv rustup [1.25] [rustc-web]\nConf curl (7.88)\n";
        assert_eq!(removals(simulated), ["rustup"]);
        assert!(removals("Inst curl (7.88)\nConf curl (7.88)\n").is_empty());
    }
}
