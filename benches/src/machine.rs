//! The machine a figure belongs to, and one CPU of it to stay on.

use anyhow::{Context, Result};
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;
use serde::Serialize;
use std::fs;

/// What a figure depends on besides the code.
#[derive(Clone, Debug, Serialize)]
pub struct Machine {
    /// Release of the running kernel.
    pub kernel: String,
    /// The processor's own name.
    pub cpu_model: String,
    /// Number of CPUs.
    pub cpus: usize,
    /// Whether the kernel obscures constants in compiled programs, which slows them down.
    pub jit_harden: String,
    /// What the kernel does against speculation at indirect calls and returns; it makes each of them dearer.
    pub spectre_v2: String,
    /// The CPU the bench ran on.
    pub pinned_to: usize,
}

impl Machine {
    /// Stays on the last of the CPUs allowed, which interrupts seldom go to, and describes the machine.
    pub fn pinned() -> Result<Self> {
        let pinned_to = pin().context("cannot stay on one CPU")?;
        let processors = fs::read_to_string("/proc/cpuinfo")?;
        Ok(Self {
            kernel: line("/proc/sys/kernel/osrelease"),
            cpu_model: parse_model(&processors).to_owned(),
            cpus: processors.lines().filter(|line| line.starts_with("processor")).count(),
            jit_harden: line("/proc/sys/net/core/bpf_jit_harden"),
            spectre_v2: line("/sys/devices/system/cpu/vulnerabilities/spectre_v2"),
            pinned_to,
        })
    }
}

fn pin() -> Result<usize> {
    let this = Pid::from_raw(0);
    let allowed = sched_getaffinity(this)?;
    let last = (0..CpuSet::count()).rev().find(|cpu| allowed.is_set(*cpu).unwrap_or(false));
    let cpu = last.context("no CPU is allowed")?;
    let mut only = CpuSet::new();
    only.set(cpu)?;
    sched_setaffinity(this, &only)?;
    Ok(cpu)
}

fn line(path: &str) -> String {
    fs::read_to_string(path).map_or_else(|_| "not told".to_owned(), |text| text.trim().to_owned())
}

/// The processor's name: x86 says "model name"; others have no such line.
fn parse_model(processors: &str) -> &str {
    let named = processors.lines().find_map(|line| line.strip_prefix("model name"));
    named.and_then(|rest| rest.split_once(": ")).map_or("not told", |(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_model_is_the_first_processors_name() {
        let text = "processor\t: 0\nmodel name\t: Some CPU: 3 GHz\n\nprocessor\t: 1\nmodel name\t: Other\n";
        assert_eq!(parse_model(text), "Some CPU: 3 GHz");
        assert_eq!(parse_model("processor\t: 0\n"), "not told");
    }
}
