//! This program as the first process of a virtual machine, whose kernel is to be tried: it furnishes the machine, runs its
//! suites and switches the machine off.
//!
//! What it finds is what `cargo xtask vm` packed: itself as `/init`, the daemon, and modules in `/modules`, named in the order
//! in which they must be loaded. Its arguments and its environment come from the kernel's command line. Should it end early,
//! the kernel panics, which ends the machine too.

use std::fs::{self, File};
use std::path::Path;

use anyhow::{Context, Result};
use lb_userspace::kernel::Settings;
use lb_userspace::kernel::census::{Verified, verify_all};
use libtest_mimic::Arguments;
use nix::kmod::{ModuleInitFlags, finit_module};
use nix::mount::{MsFlags, mount};
use nix::sys::reboot::{RebootMode, reboot};
use nix::sys::utsname::uname;
use nix::unistd::getpid;

use crate::{runner, suites};

/// File systems that the suites and the daemon want, by type and place.
const FILE_SYSTEMS: [(&str, &str); 6] = [
    ("proc", "/proc"),
    ("sysfs", "/sys"),
    ("devtmpfs", "/dev"),
    ("bpf", "/sys/fs/bpf"),
    ("tmpfs", "/run"),
    ("tmpfs", "/tmp"),
];

/// Whether this is the first process of a machine.
#[must_use]
pub fn is_here() -> bool {
    getpid().as_raw() == 1
}

/// Runs everything and switches the machine off.
pub fn run(arguments: &Arguments) -> Result<()> {
    if let Err(error) = try_kernel(arguments) {
        println!("error: {error:#}");
    }
    reboot(RebootMode::RB_POWER_OFF).context("switching the machine off").map(drop)
}

fn try_kernel(arguments: &Arguments) -> Result<()> {
    furnish()?;
    let kernel = uname().context("asking for the kernel's release")?;
    println!("kernel {}", kernel.release().display());
    // With everything that settings can switch on: the most that the verifier can be asked.
    let verified = verify_all(&Settings { log_packets: true, ..Settings::default() })?;
    for program in &verified {
        println!("{}", describe(program));
    }
    // Who watches the console reads the result there; an exit code reaches nobody.
    let _ = libtest_mimic::run(
        arguments,
        runner::trials(suites::of_a_guest(verified, arguments.filter.is_some())),
    );
    Ok(())
}

fn furnish() -> Result<()> {
    for (kind, place) in FILE_SYSTEMS {
        fs::create_dir_all(place).with_context(|| format!("making {place}"))?;
        mount(Some(kind), place, Some(kind), MsFlags::empty(), None::<&str>)
            .with_context(|| format!("mounting {place}"))?;
    }
    let mut modules: Vec<_> =
        fs::read_dir("/modules").context("reading /modules")?.flatten().map(|entry| entry.path()).collect();
    modules.sort();
    modules.iter().try_for_each(|module| load(module))
}

fn load(module: &Path) -> Result<()> {
    let file = File::open(module).with_context(|| format!("opening {}", module.display()))?;
    finit_module(file, c"", ModuleInitFlags::empty()).with_context(|| format!("loading {}", module.display()))
}

/// A line of the table that an operator reads.
fn describe(program: &Verified) -> String {
    let Verified { name, verdict, took } = program;
    let seconds = took.as_secs_f32();
    match verdict {
        Ok(Some(instructions)) => {
            format!("{name:<16} {instructions:>7} instructions verified, {seconds:.2} s")
        }
        Ok(None) => format!("{name:<16} accepted, {seconds:.2} s"),
        Err(error) => format!("{name:<16} REFUSED after {seconds:.2} s: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lb_userspace::kernel::LoadError;
    use std::time::Duration;

    fn line(verdict: Result<Option<u32>, LoadError>) -> String {
        describe(&Verified { name: "lb_nat6".to_owned(), verdict, took: Duration::from_millis(1500) })
    }

    #[test]
    fn a_program_is_told_by_its_instructions_or_by_the_refusal() {
        assert_eq!(line(Ok(Some(1234))), "lb_nat6             1234 instructions verified, 1.50 s");
        assert_eq!(line(Ok(None)), "lb_nat6          accepted, 1.50 s");
        let refused = line(Err(LoadError::Starved));
        assert!(
            refused.starts_with("lb_nat6          REFUSED after 1.50 s: the kernel refused"),
            "{refused}"
        );
    }
}
