//! What fuzzing starts from, and what it has found, through the kernel as well.

use super::twins::{Hook, Twins};
use crate::packets::{Medley, PORTS, Side};
use crate::runner::Case;
use crate::skip::Need;
use anyhow::{Context, Result, ensure};
use std::fs;
use std::path::{Path, PathBuf};

/// The seeds of the fuzz target that sends frames through every way of forwarding.
const SEEDS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/corpus/packet_pipeline");

/// The kernel's test run takes nothing shorter than an Ethernet header.
const SHORTEST: usize = 14;

pub(super) fn cases() -> Vec<Case> {
    let name = "differential::corpus::what_is_fuzzed_ends_alike";
    vec![Case::new(name, || send_all(Path::new(SEEDS))).needs(&[Need::Root])]
}

fn send_all(folder: &Path) -> Result<()> {
    let mut twins = Twins::load(Hook::Xdp, Medley::tables(), PORTS)?;
    let seeds = seeds(folder)?;
    ensure!(!seeds.is_empty(), "no seeds in {}", folder.display());
    for seed in seeds {
        let frame = fs::read(&seed)?;
        if frame.len() >= SHORTEST {
            drop(twins.send(Side::Balance, &frame).with_context(|| seed.display().to_string())?);
        }
    }
    twins.compare()
}

/// In an order that is always the same, as records are made on the way.
fn seeds(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut seeds = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    seeds.sort_unstable();
    Ok(seeds)
}
