//! What a process has used: CPU time, and memory that is its own.

use std::fs;

use anyhow::{Context, Result};
use nix::unistd::{SysconfVar, sysconf};

/// Seconds of CPU that a process and the children it waited for have used.
pub(crate) fn cpu_seconds(process: u32) -> Result<f64> {
    let text = fs::read_to_string(format!("/proc/{process}/stat")).context("the proxy has ended")?;
    let ticks = parse_ticks(&text).context("/proc/PID/stat is not as expected")?;
    let a_second = sysconf(SysconfVar::CLK_TCK)?.context("the kernel's ticks have no length")?;
    #[allow(clippy::cast_precision_loss, reason = "ticks of some minutes")]
    Ok(ticks as f64 / a_second as f64)
}

/// User and system ticks, those of children included. Source: proc(5), fields 14 to 17, behind a name in parentheses.
fn parse_ticks(text: &str) -> Option<u64> {
    let (_, behind) = text.rsplit_once(')')?;
    let fields = behind.split_whitespace().skip(11).take(4);
    fields.map(|field| field.parse::<u64>().ok()).sum()
}

/// Memory of a process in KiB, shared pages in parts (`Pss`).
pub(crate) fn memory_kib(process: u32) -> Result<f64> {
    let text = fs::read_to_string(format!("/proc/{process}/smaps_rollup")).context("the proxy has ended")?;
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:")).context("no Pss")?;
    Ok(line.trim().trim_end_matches("kB").trim().parse()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_found_behind_any_name() {
        let text = "12 (a) b) S 1 2 3 4 5 6 7 8 9 10 100 20 3 4 20 0 1";
        assert_eq!(parse_ticks(text), Some(127));
        assert_eq!(parse_ticks("12 (a"), None);
    }
}
