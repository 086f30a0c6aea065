//! A rustc from Debian's packages, unpacked into the toolchain folder.
//!
//! The packages conflict with Debian's own `rustc` and `rustup`, so they are never installed: `dpkg -x` needs no
//! root and touches nothing outside the folder. Unpacking happens under another name and ends with a rename, so
//! an interrupted run leaves nothing that looks complete.

mod plan;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use self::plan::{Catalogue, Plan};
use super::compiler::Compiler;
use super::{probe, say};
use crate::apt::{self, Apt};
use crate::process;

/// The compiler, and `core` built for BPF. Everything else follows from their dependencies.
const ROOTS: [&str; 2] = ["rustc-web", "libstd-rust-web-dev-bpf"];

/// The compiler of an earlier run whose set-up ended later.
pub(super) fn unpacked(folder: &Path) -> Vec<Result<Compiler>> {
    let place = place(folder);
    if place.is_dir() { vec![compiler(&place)] } else { Vec::new() }
}

/// Downloads and unpacks the packages.
pub(super) fn install(folder: &Path) -> Vec<Result<Compiler>> {
    vec![run(folder).context("Debian packages")]
}

fn place(folder: &Path) -> PathBuf {
    folder.join("debian")
}

fn run(folder: &Path) -> Result<Compiler> {
    let mut apt = Apt::open(folder)?;
    let plan = plan(&mut apt)?;
    say(format_args!(
        "unpacking rustc {} with its core for BPF, privately into {} (nothing is installed system-wide): {}",
        plan.release,
        place(folder).display(),
        plan.packages.join(" ")
    ));
    unpack(&mut apt, &plan.packages, folder)?;
    compiler(&place(folder))
}

fn plan(apt: &mut Apt) -> Result<Plan> {
    apt.want(ROOTS[0])?;
    let release =
        apt.candidate(ROOTS[0])?.with_context(|| format!("apt has no candidate for {}", ROOTS[0]))?;
    let depends = apt.depends(&ROOTS)?;
    let shown = apt.show(&plan::names(&depends))?;
    let plan = Catalogue::parse(&depends, &shown).plan(release, &ROOTS, &apt::installed()?);
    plan.judge()?;
    Ok(plan)
}

fn unpack(apt: &mut Apt, packages: &[String], folder: &Path) -> Result<()> {
    let (staged, finished) = (folder.join("debian.new"), place(folder));
    for leftover in [&staged, &finished].into_iter().filter(|path| path.exists()) {
        fs::remove_dir_all(leftover).with_context(|| format!("cannot remove {}", leftover.display()))?;
    }
    let downloads = staged.join("packages");
    fs::create_dir_all(&downloads)?;
    apt.download(packages, &downloads)?;
    for package in fs::read_dir(&downloads)? {
        process::output(Command::new("dpkg").arg("-x").arg(package?.path()).arg(&staged))?;
    }
    fs::remove_dir_all(&downloads)?;
    write_wrapper(&staged.join("rustc"))?;
    fs::rename(&staged, &finished).with_context(|| format!("cannot rename {}", staged.display()))
}

/// A script that tells the unpacked rustc where its libraries and its sysroot are. It finds them from its own
/// path, so it is right before and after the rename.
fn write_wrapper(path: &Path) -> Result<()> {
    let libraries = probe::multiarch_libraries(Path::new("$here/usr"));
    let script = format!(
        "#!/bin/sh\nhere=${{0%/*}}\nLD_LIBRARY_PATH=\"{}\" exec \"$here/usr/bin/rustc\" --sysroot \"$here/usr\" \"$@\"\n",
        libraries.display()
    );
    fs::write(path, script)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))?;
    Ok(())
}

fn compiler(place: &Path) -> Result<Compiler> {
    let usr = place.join("usr");
    ensure!(usr.join("bin/rustc").is_file(), "no rustc in {}", usr.display());
    let libraries = probe::multiarch_libraries(&usr);
    probe::prebuilt("Debian's packages, unpacked", place.join("rustc"), &usr, Some(libraries))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wrapper_passes_its_own_folder_as_sysroot_and_keeps_arguments_whole() {
        let folder = tempfile::tempdir().unwrap();
        let bin = folder.path().join("with space/usr/bin");
        fs::create_dir_all(&bin).unwrap();
        fs::write(bin.join("rustc"), "#!/bin/sh\nprintf '%s|' \"$@\"\n").unwrap();
        fs::set_permissions(bin.join("rustc"), fs::Permissions::from_mode(0o755)).unwrap();
        let wrapper = folder.path().join("with space/rustc");
        write_wrapper(&wrapper).unwrap();
        let printed = process::output(Command::new(&wrapper).args(["-vV", "two words"])).unwrap();
        assert_eq!(printed, format!("--sysroot|{}/with space/usr|-vV|two words|", folder.path().display()));
    }

    #[test]
    fn a_folder_without_a_rustc_is_no_compiler() {
        let folder = tempfile::tempdir().unwrap();
        assert!(unpacked(folder.path()).is_empty());
        fs::create_dir(place(folder.path())).unwrap();
        assert!(unpacked(folder.path()).remove(0).is_err());
    }
}
