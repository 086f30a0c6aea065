//! Debian's kernels for cloud machines, unpacked into a folder of the project. Nothing is installed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::apt::Apt;
use crate::process;

/// A kernel that can be booted.
#[derive(Debug)]
pub(super) struct Kernel {
    /// Its image.
    pub(super) image: PathBuf,
    /// The folder of its modules.
    pub(super) modules: PathBuf,
}

/// The kernel of a series: that of an earlier run, else from apt. An error is a reason to skip it.
pub(super) fn find(folder: &Path, series: &str) -> Result<Kernel> {
    let place = folder.join("kernels").join(series);
    if !place.is_dir() {
        fetch(folder, series, &place)?;
    }
    unpacked(&place)
}

/// The parts of an unpacked package.
fn unpacked(place: &Path) -> Result<Kernel> {
    let only = |folder: &str, start: &str| {
        let entries = fs::read_dir(place.join(folder)).into_iter().flatten().flatten();
        let mut paths = entries.map(|entry| entry.path());
        paths.find(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(start)))
    };
    let image = only("boot", "vmlinuz-").with_context(|| format!("no kernel in {}", place.display()))?;
    // Debian has moved it below /usr.
    let modules = only("lib/modules", "").or_else(|| only("usr/lib/modules", ""));
    let modules = modules.with_context(|| format!("no modules in {}", place.display()))?;
    Ok(Kernel { image, modules })
}

/// Downloads and unpacks under another name, so that an interrupted run leaves nothing that looks complete.
fn fetch(folder: &Path, series: &str, place: &Path) -> Result<()> {
    let mut apt = Apt::open(folder)?;
    let package = package(&mut apt, series)?;
    println!("vm: unpacking {package} into {} (nothing is installed)", place.display());
    // Not by its extension: the series 6.1 and 6.12 differ in nothing else.
    let staged = folder.join("kernels").join(format!("{series}.new"));
    if staged.exists() {
        fs::remove_dir_all(&staged)?;
    }
    let downloads = staged.join("packages");
    fs::create_dir_all(&downloads)?;
    apt.download(&[package], &downloads)?;
    for package in fs::read_dir(&downloads)? {
        process::output(Command::new("dpkg").arg("-x").arg(package?.path()).arg(&staged))?;
    }
    fs::remove_dir_all(&downloads)?;
    fs::rename(&staged, place).with_context(|| format!("cannot rename {}", staged.display()))
}

/// The package with the kernel itself: the release's own series has a plain name, others have their number in it.
fn package(apt: &mut Apt, series: &str) -> Result<String> {
    let names = ["linux-image-cloud-amd64".to_owned(), format!("linux-image-{series}-cloud-amd64")];
    apt.want(&names[0])?;
    for name in &names {
        if apt.candidate(name)?.is_some()
            && let Some(package) = parse_image(&apt.depends(&[name])?, series)
        {
            return Ok(package);
        }
    }
    anyhow::bail!("apt has no candidate for {}", names.join(" of this series, nor for "))
}

/// The kernel of a series among the dependencies of the package that leads to the newest one.
fn parse_image(depends: &str, series: &str) -> Option<String> {
    let start = format!("linux-image-{series}.");
    let mut names = depends.lines().filter_map(|line| line.trim().strip_prefix("Depends: "));
    names.find(|name| name.starts_with(&start)).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEPENDS: &str = "linux-image-cloud-amd64\n  Depends: linux-image-6.1.0-56-cloud-amd64\n\
                           linux-image-6.1.0-56-cloud-amd64\n  Depends: kmod\n |Depends: linux-initramfs-tool\n";

    #[test]
    fn the_package_of_a_series_is_told_from_those_of_longer_numbers() {
        assert_eq!(parse_image(DEPENDS, "6.1").as_deref(), Some("linux-image-6.1.0-56-cloud-amd64"));
        assert_eq!(parse_image(DEPENDS, "6.12"), None);
        assert_eq!(parse_image(&DEPENDS.replace("6.1.0", "6.12.3"), "6.1"), None);
    }

    #[test]
    fn an_unpacked_package_has_an_image_and_modules() {
        let place = tempfile::tempdir().unwrap();
        fs::create_dir_all(place.path().join("boot")).unwrap();
        fs::write(place.path().join("boot/config-6.1.0"), "").unwrap();
        assert!(unpacked(place.path()).unwrap_err().to_string().starts_with("no kernel in"));
        fs::write(place.path().join("boot/vmlinuz-6.1.0"), "").unwrap();
        assert!(unpacked(place.path()).unwrap_err().to_string().starts_with("no modules in"));
        fs::create_dir_all(place.path().join("usr/lib/modules/6.1.0")).unwrap();
        assert!(unpacked(place.path()).unwrap().modules.ends_with("usr/lib/modules/6.1.0"));
    }
}
