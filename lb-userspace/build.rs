//! Tells the compiler where the BPF object to embed lies: `LB_EBPF_OBJECT`, else where `cargo xtask build` puts it.

use std::env;
use std::path::{Path, PathBuf};

const OBJECT: &str = "LB_EBPF_OBJECT";

fn main() {
    let object = env::var_os(OBJECT).map_or_else(usual_place, PathBuf::from);
    println!("cargo::rerun-if-env-changed={OBJECT}");
    // Also while the file is missing: cargo runs this again until it is there.
    println!("cargo::rerun-if-changed={}", object.display());
    if object.exists() {
        println!("cargo::rustc-env={OBJECT}={}", object.display());
    } else {
        println!("cargo::error=the BPF programs are not built yet: run `cargo xtask build`");
    }
}

fn usual_place() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("target").join("bpf/lb-ebpf")
}
