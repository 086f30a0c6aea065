//! Installs the pinned bpf-linker into the toolchain folder, built against the LLVM of the chosen rustc.
//!
//! Linking against that very library (not some LLVM of the system) means that any rustc with a shared LLVM will
//! do: no LLVM development packages, and no bitcode that is newer than the linker.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::compiler::{Compiler, Llvm};
use super::say;
use crate::process;

/// The version of bpf-linker that the BPF programs are built and tested with.
pub(super) const VERSION: &str = "0.13.0";

/// Builds the linker and returns its path.
pub(super) fn install(folder: &Path, compiler: &Compiler) -> Result<PathBuf> {
    say(format_args!(
        "building bpf-linker {VERSION} (makes BPF objects from LLVM bitcode) against the LLVM {} of {}; \
         this takes about a minute",
        compiler.llvm.major, compiler.name
    ));
    let prefix = lay_out_llvm(folder, &compiler.llvm).context("cannot lay out LLVM for bpf-linker")?;
    let (root, target_dir) = (folder.join("linker"), folder.join("linker-build"));
    let mut cargo = process::clean_cargo(&process::host_cargo());
    cargo
        .args(["install", "bpf-linker", "--version", VERSION, "--locked", "--quiet", "--force"])
        .args(["--no-default-features", "--features", &format!("llvm-{}", compiler.llvm.major)])
        .arg("--root")
        .arg(&root)
        .arg("--target-dir")
        .arg(&target_dir)
        .env("LLVM_PREFIX", prefix);
    // The system's linker follows LLVM's own dependencies, some of which may lie in our folder only.
    if let Some(libraries) = &compiler.library_path {
        cargo.env("LD_LIBRARY_PATH", libraries);
    }
    process::run(&mut cargo).context("bpf-linker does not build")?;
    fs::remove_dir_all(target_dir)?;
    Ok(root.join("bin/bpf-linker"))
}

/// A prefix with nothing but LLVM's library, under the name to link by and the name to load by.
fn lay_out_llvm(folder: &Path, llvm: &Llvm) -> Result<PathBuf> {
    let prefix = folder.join("llvm");
    let libraries = prefix.join("lib");
    if prefix.exists() {
        fs::remove_dir_all(&prefix)?;
    }
    fs::create_dir_all(&libraries)?;
    for name in ["libLLVM.so", &llvm.soname] {
        symlink(&llvm.library, libraries.join(name))?;
    }
    Ok(prefix)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn llvm_is_laid_out_anew_each_time() {
        let folder = tempfile::tempdir().unwrap();
        for library in ["/first/libLLVM.so.22.1", "/second/libLLVM.so.22.1"] {
            let llvm = Llvm { major: 22, soname: "libLLVM.so.22.1".to_owned(), library: library.into() };
            let prefix = lay_out_llvm(folder.path(), &llvm).unwrap();
            for name in ["libLLVM.so", "libLLVM.so.22.1"] {
                assert_eq!(fs::read_link(prefix.join("lib").join(name)).unwrap(), Path::new(library));
            }
        }
    }
}
