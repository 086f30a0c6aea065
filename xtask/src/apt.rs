//! Asks apt and dpkg, and downloads packages.
//!
//! Where apt's package lists are missing or too old, fresh ones go into our own folder: the user's lists stay as
//! they are, and no root is needed.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::process;
use crate::setup::say;

/// Only what a package cannot run without.
const HARD_ONLY: [&str; 6] =
    ["--no-recommends", "--no-suggests", "--no-conflicts", "--no-breaks", "--no-replaces", "--no-enhances"];

/// apt with the system's package lists, or with our own.
pub(crate) struct Apt {
    folder: PathBuf,
    options: Vec<String>,
}

impl Apt {
    pub(crate) fn open(folder: &Path) -> Result<Self> {
        for program in ["apt-get", "apt-cache", "dpkg", "dpkg-query"] {
            ensure!(process::find_program(program).is_some(), "there is no {program}");
        }
        // Root would hand downloads to the user `_apt`, who may not write into our folder.
        let options = vec!["APT::Sandbox::User=root".to_owned()];
        Ok(Self { folder: folder.join("apt"), options })
    }

    /// Makes sure that apt knows the package, if need be from fresh lists.
    pub(crate) fn want(&mut self, package: &str) -> Result<()> {
        if self.candidate(package)?.is_none() {
            self.refresh(&format!("apt's package lists here do not have {package}"))?;
        }
        Ok(())
    }

    /// The version apt would install.
    pub(crate) fn candidate(&self, package: &str) -> Result<Option<String>> {
        Ok(parse_candidate(&process::output(self.cache("policy").arg(package))?))
    }

    /// The dependencies of the packages, and theirs, and so on.
    pub(crate) fn depends(&self, packages: &[&str]) -> Result<String> {
        process::output(self.cache("depends").arg("--recurse").args(HARD_ONLY).args(packages))
    }

    pub(crate) fn show(&self, packages: &[&str]) -> Result<String> {
        process::output(self.cache("show").arg("--no-all-versions").args(packages))
    }

    /// Downloads into a folder. Lists that name files which the mirror no longer has are refreshed once.
    pub(crate) fn download(&mut self, packages: &[String], into: &Path) -> Result<()> {
        if self.try_download(packages, into).is_err() {
            self.refresh("the download failed, perhaps because apt's package lists are old")?;
            self.try_download(packages, into)?;
        }
        Ok(())
    }

    fn try_download(&self, packages: &[String], into: &Path) -> Result<()> {
        process::output(self.get("download").arg("--quiet").args(packages).current_dir(into))?;
        Ok(())
    }

    fn refresh(&mut self, reason: &str) -> Result<()> {
        say(format_args!(
            "{reason}: fetching fresh lists into {} (the system's stay)",
            self.folder.display()
        ));
        let (lists, cache) = (self.folder.join("lists"), self.folder.join("cache"));
        for folder in [lists.join("partial"), cache.join("archives/partial")] {
            fs::create_dir_all(folder)?;
        }
        self.options.truncate(1);
        self.options.push(format!("Dir::State::lists={}", lists.display()));
        self.options.push(format!("Dir::Cache={}", cache.display()));
        process::output(self.get("update").arg("--quiet")).context("cannot fetch apt's package lists")?;
        Ok(())
    }

    fn cache(&self, action: &str) -> Command {
        self.program("apt-cache", action)
    }

    fn get(&self, action: &str) -> Command {
        self.program("apt-get", action)
    }

    /// In plain English, because the output is read.
    fn program(&self, name: &str, action: &str) -> Command {
        let mut command = Command::new(name);
        command.arg(action).env("LC_ALL", "C");
        for option in &self.options {
            command.args(["-o", option]);
        }
        command
    }
}

/// The names of the packages that are installed completely.
pub(crate) fn installed() -> Result<BTreeSet<String>> {
    let mut dpkg = Command::new("dpkg-query");
    Ok(parse_installed(&process::output(dpkg.args(["-W", "-f", "${db:Status-Status} ${Package}\\n"]))?))
}

fn parse_installed(text: &str) -> BTreeSet<String> {
    text.lines().filter_map(|line| line.strip_prefix("installed ")).map(str::to_owned).collect()
}

fn parse_candidate(policy: &str) -> Option<String> {
    let version = policy.lines().find_map(|line| line.trim().strip_prefix("Candidate: "))?;
    (version != "(none)").then(|| version.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_without_a_candidate_has_none() {
        assert_eq!(
            parse_candidate("x:\n  Installed: (none)\n  Candidate: 1.96.0-1\n"),
            Some("1.96.0-1".to_owned())
        );
        assert_eq!(parse_candidate("x:\n  Installed: 1\n  Candidate: (none)\n"), None);
        assert_eq!(parse_candidate(""), None, "apt says nothing about a package it has never heard of");
    }

    #[test]
    fn removed_packages_with_configuration_left_are_not_installed() {
        let installed = parse_installed("installed libz3-4\nconfig-files libedit2\n");
        assert!(installed.contains("libz3-4") && !installed.contains("libedit2"));
    }
}
