//! The record of a finished set-up. It is written last, so whatever was interrupted before it never counts.

use std::fmt::{self, Display, Formatter};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::compiler::Compiler;
use super::linker;

const FILE: &str = "toolchain.json";

/// A compiler and a linker that were proved together on a trial program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Toolchain {
    pub(crate) compiler: Compiler,
    pub(crate) linker: PathBuf,
    linker_version: String,
}

impl Toolchain {
    pub(super) fn new(compiler: Compiler, linker: PathBuf) -> Self {
        Self { compiler, linker, linker_version: linker::VERSION.to_owned() }
    }

    /// Whether every file is still there and the linker is the pinned one.
    fn is_complete(&self) -> bool {
        let Compiler { rustc, cargo, llvm, .. } = &self.compiler;
        // A bare name is looked up on `PATH` and has no file to test.
        let is_there = |path: &PathBuf| path.is_relative() || path.exists();
        self.linker_version == linker::VERSION
            && [rustc, cargo, &llvm.library, &self.linker].into_iter().all(is_there)
    }
}

impl Display for Toolchain {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{} and bpf-linker {}", self.compiler, self.linker_version)
    }
}

/// The toolchain of an earlier set-up; none if it is missing, unreadable or no longer complete.
pub(super) fn read(folder: &Path) -> Option<Toolchain> {
    let text = fs::read_to_string(folder.join(FILE)).ok()?;
    let toolchain: Toolchain = serde_json::from_str(&text).ok()?;
    toolchain.is_complete().then_some(toolchain)
}

pub(super) fn write(folder: &Path, toolchain: &Toolchain) -> Result<()> {
    let staged = folder.join(format!("{FILE}.new"));
    fs::write(&staged, serde_json::to_string_pretty(toolchain)?)?;
    fs::rename(&staged, folder.join(FILE)).with_context(|| format!("cannot write {FILE}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::setup::compiler::{Core, Llvm};

    fn toolchain(folder: &Path) -> Toolchain {
        let file = |name: &str| {
            let path = folder.join(name);
            fs::write(&path, "").unwrap();
            path
        };
        let llvm = Llvm { major: 22, soname: "libLLVM.so.22.1".to_owned(), library: file("libLLVM.so.22.1") };
        let compiler = Compiler {
            name: "test".to_owned(),
            release: "1.96.0".to_owned(),
            rustc: file("rustc"),
            cargo: PathBuf::from("cargo"),
            core: Core::Prebuilt,
            llvm,
            library_path: None,
        };
        Toolchain::new(compiler, file("bpf-linker"))
    }

    #[test]
    fn a_stamp_reads_back_as_it_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let toolchain = toolchain(folder.path());
        write(folder.path(), &toolchain).unwrap();
        assert_eq!(read(folder.path()), Some(toolchain));
    }

    #[test]
    fn a_stamp_whose_files_are_gone_does_not_count() {
        let folder = tempfile::tempdir().unwrap();
        let toolchain = toolchain(folder.path());
        write(folder.path(), &toolchain).unwrap();
        fs::remove_file(&toolchain.compiler.llvm.library).unwrap();
        assert_eq!(read(folder.path()), None);
    }

    #[test]
    fn a_stamp_of_another_linker_does_not_count() {
        let folder = tempfile::tempdir().unwrap();
        let mut toolchain = toolchain(folder.path());
        toolchain.linker_version = "0.1.0".to_owned();
        write(folder.path(), &toolchain).unwrap();
        assert_eq!(read(folder.path()), None);
    }

    #[test]
    fn a_torn_stamp_does_not_count() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(FILE), "{\"compiler\":").unwrap();
        assert_eq!(read(folder.path()), None);
    }
}
