//! Looks at the compilers that are already on this machine, and changes nothing.

use std::env::consts::ARCH;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::compiler::{self, Compiler, Core, Llvm, Refusal, Report};
use crate::bpf;
use crate::process;

/// Every nightly that rustup knows, each a compiler or a refusal.
pub(super) fn nightlies(_folder: &Path) -> Vec<Result<Compiler>> {
    let Ok(list) = process::output(Command::new("rustup").args(["toolchain", "list"])) else {
        return Vec::new();
    };
    let names = compiler::parse_nightlies(&list);
    names.into_iter().map(|name| nightly(&name).context(name)).collect()
}

fn nightly(name: &str) -> Result<Compiler> {
    let sysroot = sysroot(Command::new("rustup").args(["run", name, "rustc"]))?;
    nightly_at(&sysroot, name)
}

/// The nightly in this folder, if it has the sources of `core`.
pub(super) fn nightly_at(sysroot: &Path, name: &str) -> Result<Compiler> {
    if !sysroot.join("lib/rustlib/src/rust/library/core").is_dir() {
        return Err(Refusal::NoSource(name.to_owned()).into());
    }
    let (rustc, cargo) = (sysroot.join("bin/rustc"), sysroot.join("bin/cargo"));
    inspect(Inspected { name, rustc, cargo, sysroot, core: Core::Source, library_path: None })
}

/// Every rustc of the system, each a compiler or a refusal.
pub(super) fn distribution(_folder: &Path) -> Vec<Result<Compiler>> {
    let mut found: Vec<PathBuf> = process::programs("rustc").chain(usual_place()).collect();
    found.sort();
    found.dedup();
    found.into_iter().map(|rustc| system_rustc(&rustc).context(rustc.display().to_string())).collect()
}

/// Looked at even when `PATH` has another rustc first or has been cut short.
fn usual_place() -> Option<PathBuf> {
    Some(PathBuf::from("/usr/bin/rustc")).filter(|path| path.is_file())
}

fn system_rustc(rustc: &Path) -> Result<Compiler> {
    let sysroot = sysroot(&mut Command::new(rustc))?;
    let name = &rustc.display().to_string();
    prebuilt(name, rustc.to_path_buf(), &sysroot, None)
}

/// A rustc with a prebuilt BPF core, driven by the user's cargo.
pub(super) fn prebuilt(
    name: &str,
    rustc: PathBuf,
    sysroot: &Path,
    library_path: Option<PathBuf>,
) -> Result<Compiler> {
    if !sysroot.join("lib/rustlib").join(bpf::TARGET).is_dir() {
        return Err(Refusal::NoPrebuiltCore.into());
    }
    let cargo = process::host_cargo();
    inspect(Inspected { name, rustc, cargo, sysroot, core: Core::Prebuilt, library_path })
}

struct Inspected<'a> {
    name: &'a str,
    rustc: PathBuf,
    cargo: PathBuf,
    sysroot: &'a Path,
    core: Core,
    library_path: Option<PathBuf>,
}

fn inspect(found: Inspected<'_>) -> Result<Compiler> {
    let text = process::output(Command::new(&found.rustc).arg("-vV"))?;
    let report = Report::parse(&text).ok_or(Refusal::Unreadable)?;
    report.judge()?;
    let (soname, library) = llvm_library(found.sysroot).ok_or(Refusal::StaticLlvm)?;
    Ok(Compiler {
        name: found.name.to_owned(),
        release: report.release,
        rustc: found.rustc,
        cargo: found.cargo,
        core: found.core,
        llvm: Llvm { major: report.llvm_major, soname, library },
        library_path: found.library_path,
    })
}

/// Asks the dynamic loader, because each distribution keeps LLVM somewhere else.
fn llvm_library(sysroot: &Path) -> Option<(String, PathBuf)> {
    let mut ldd = Command::new("ldd");
    ldd.arg(sysroot.join("bin/rustc")).env("LD_LIBRARY_PATH", multiarch_libraries(sysroot));
    let (soname, path) = compiler::parse_llvm_library(&process::output(&mut ldd).ok()?)?;
    Some((soname, path.canonicalize().ok()?))
}

/// Debian's folder for this machine's libraries under `/usr` or a copy of it.
pub(super) fn multiarch_libraries(usr: &Path) -> PathBuf {
    usr.join("lib").join(format!("{ARCH}-linux-gnu"))
}

fn sysroot(rustc: &mut Command) -> Result<PathBuf> {
    let path = process::output(rustc.args(["--print", "sysroot"]))?;
    Ok(PathBuf::from(path.trim()))
}
