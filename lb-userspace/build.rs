//! Tells the compiler where the BPF object to embed lies: `LB_EBPF_OBJECT`, else where `cargo xtask build` puts it. One
//! that was made from other sources than there are now is refused.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

#[path = "../xtask/src/fingerprint.rs"]
mod fingerprint;

const OBJECT: &str = "LB_EBPF_OBJECT";

fn main() {
    println!("cargo::rerun-if-env-changed={OBJECT}");
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("");
    let folder = root.join("target/bpf");
    let named = env::var_os(OBJECT).map(PathBuf::from);
    let object = named.clone().unwrap_or_else(|| folder.join("lb-ebpf"));
    // Also while the file is missing: cargo runs this again until it is there.
    println!("cargo::rerun-if-changed={}", object.display());
    if !object.exists() {
        println!("cargo::error=the BPF programs are not built yet: run `cargo xtask build`");
    } else if named.is_none() && !is_current(&root, &folder.join("sources")) {
        println!("cargo::error=the BPF programs are older than their sources: run `cargo xtask build`");
    } else {
        println!("cargo::rustc-env={OBJECT}={}", object.display());
    }
}

/// Whether the object was made from the sources as they are. Whoever names an object vouches for it.
fn is_current(root: &Path, stamp: &Path) -> bool {
    for source in fingerprint::SOURCES {
        println!("cargo::rerun-if-changed={}", root.join(source).display());
    }
    println!("cargo::rerun-if-changed={}", stamp.display());
    let made_from = fs::read_to_string(stamp).unwrap_or_default();
    fingerprint::of_sources(root).is_ok_and(|sources| sources == made_from)
}
