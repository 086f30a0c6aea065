//! The rights that the kernel programs take, and which of them this process lacks.

use std::fs;

/// What loading and attaching them takes, by the number of its bit.
/// Source: Linux, include/uapi/linux/capability.h.
const NEEDED: [(u32, &str); 3] = [(39, "CAP_BPF"), (12, "CAP_NET_ADMIN"), (38, "CAP_PERFMON")];
/// The right that stands for those for programs.
const SYS_ADMIN: u32 = 21;
/// The right that it does not stand for.
const NET_ADMIN: u32 = 12;

/// The rights that are needed and missing. Inside a container all may seem to be there.
pub(super) fn missing() -> Vec<&'static str> {
    fs::read_to_string("/proc/self/status")
        .ok()
        .and_then(|status| effective(&status))
        .map_or_else(Vec::new, lacking)
}

fn effective(status: &str) -> Option<u64> {
    let set = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(set.trim(), 16).ok()
}

fn lacking(effective: u64) -> Vec<&'static str> {
    let has = |bit: u32| effective >> bit & 1 == 1;
    let lacks = |bit: u32| !has(bit) && (bit == NET_ADMIN || !has(SYS_ADMIN));
    NEEDED.iter().filter(|(bit, _)| lacks(*bit)).map(|(_, name)| *name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rights_that_are_missing_are_named() {
        let all = 1 << 39 | 1 << 12 | 1 << 38;
        let rows: [(u64, &[&str]); 6] = [
            (0, &["CAP_BPF", "CAP_NET_ADMIN", "CAP_PERFMON"]),
            (all, &[]),
            (u64::MAX, &[]),
            (all & !(1 << 38), &["CAP_PERFMON"]),
            (1 << 21, &["CAP_NET_ADMIN"]),
            (1 << 21 | 1 << 12, &[]),
        ];
        for (effective, expected) in rows {
            assert_eq!(lacking(effective), expected, "{effective:x}");
        }
    }

    #[test]
    fn the_effective_set_is_read_from_what_the_kernel_says_of_a_process() {
        let status =
            "CapInh:\t0000000000000001\nCapPrm:\t0000000000000003\nCapEff:\t000000c000001000\nCapBnd:\t0\n";
        assert_eq!(effective(status), Some(0xc0_0000_1000));
        assert_eq!(effective("Name:\tx\n"), None);
    }
}
