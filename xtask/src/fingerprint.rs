//! A fingerprint of the sources that the BPF object is made from, so that a daemon is never built around an object of
//! other sources: it would load, read tables of another layout, and balance nothing. The daemon's build script includes
//! this file.

use std::path::{Path, PathBuf};
use std::{fs, io};

/// What the BPF object is made from, below the workspace's root.
pub(crate) const SOURCES: [&str; 5] =
    ["lb-common/Cargo.toml", "lb-common/src", "lb-ebpf/Cargo.lock", "lb-ebpf/Cargo.toml", "lb-ebpf/src"];

/// The fingerprint of the sources below a workspace's root: names and contents.
pub(crate) fn of_sources(root: &Path) -> io::Result<String> {
    let mut files = Vec::new();
    SOURCES.iter().try_for_each(|source| collect(&root.join(source), &mut files))?;
    files.sort();
    let mut hash = Fnv::default();
    for file in files {
        hash.add(file.strip_prefix(root).unwrap_or(&file).to_string_lossy().as_bytes());
        hash.add(&fs::read(&file)?);
    }
    Ok(format!("{:016x}", hash.0))
}

fn collect(path: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    if !path.is_dir() {
        files.push(path.to_owned());
        return Ok(());
    }
    fs::read_dir(path)?.try_for_each(|entry| collect(&entry?.path(), files))
}

/// FNV-1a of 64 bits: enough to tell an edit, and the same in every version of the standard library.
/// Source: draft-eastlake-fnv.
struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Fnv {
    fn add(&mut self, bytes: &[u8]) {
        // The length, so that a byte cannot move from one file to the next unseen.
        for byte in (bytes.len() as u64).to_le_bytes().iter().chain(bytes) {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
}
