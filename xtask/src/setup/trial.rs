//! Proves a toolchain by compiling a program of a few lines, before a stamp says that it works.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::stamp::Toolchain;
use crate::bpf;

const MANIFEST: &str = r#"[package]
name = "trial"
version = "0.0.0"
edition = "2024"

[profile.release]
debug = 2
lto = true
panic = "abort"

[workspace]
"#;

const PROGRAM: &str = r#"#![no_std]
#![no_main]

#[unsafe(no_mangle)]
#[unsafe(link_section = "xdp")]
pub extern "C" fn pass(_context: *mut core::ffi::c_void) -> u32 {
    2
}

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo) -> ! {
    loop {}
}
"#;

/// Compiles the trial program; the folder is removed afterwards.
pub(super) fn build(folder: &Path, toolchain: &Toolchain) -> Result<()> {
    let trial = folder.join("trial");
    fs::create_dir_all(trial.join("src"))?;
    fs::write(trial.join("Cargo.toml"), MANIFEST)?;
    fs::write(trial.join("src/main.rs"), PROGRAM)?;
    bpf::compile(toolchain, &trial.join("Cargo.toml"), &trial.join("target"))
        .context("a trial program does not build")?;
    fs::remove_dir_all(&trial).context("cannot remove the trial program")
}
