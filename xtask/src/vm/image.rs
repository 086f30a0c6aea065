//! The first file system of a machine: our programs, the libraries they need, and the kernel's modules. There is no shell and
//! nobody to log in.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use super::cpio::Archive;
use super::module::Module;
use crate::process;

/// Packs the first process, the daemon and the modules, and writes the whole to a file.
pub(super) fn write(file: &Path, [init, daemon]: [&Path; 2], modules: &[Module]) -> Result<()> {
    let mut archive = Archive::default();
    let mut libraries = BTreeSet::new();
    for (path, program) in [("init", init), (DAEMON, daemon)] {
        archive.add(path, &stripped(program, &file.with_extension("stripped"))?);
        libraries.extend(parse_libraries(&process::output(Command::new("ldd").arg(program))?));
    }
    for library in libraries {
        let content = fs::read(&library).with_context(|| format!("cannot read {library}"))?;
        archive.add(library.trim_start_matches('/'), &content);
    }
    for (number, (name, content)) in modules.iter().enumerate() {
        archive.add(&format!("modules/{number:02}-{name}.ko"), content);
    }
    fs::write(file, archive.finish()).with_context(|| format!("cannot write {}", file.display()))
}

/// Where the daemon lies, without the slash in front.
pub(super) const DAEMON: &str = "bin/lb-userspace";

/// A program without what only a debugger reads: a machine's memory is small, and an emulated one unpacks slowly.
fn stripped(program: &Path, scratch: &Path) -> Result<Vec<u8>> {
    process::run(Command::new("strip").arg("-o").arg(scratch).arg(program))?;
    let content = fs::read(scratch)?;
    fs::remove_file(scratch)?;
    Ok(content)
}

/// The files that the loader would open, and the loader itself.
fn parse_libraries(ldd: &str) -> Vec<String> {
    let paths = ldd.lines().flat_map(str::split_whitespace).filter(|word| word.starts_with('/'));
    paths.map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_and_the_loader_are_taken_and_what_the_kernel_gives_is_not() {
        let ldd = "\tlinux-vdso.so.1 (0x7ffd)\n\tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x7f01)\n\
                   \t/lib64/ld-linux-x86-64.so.2 (0x7f02)\n";
        assert_eq!(parse_libraries(ldd), ["/lib/x86_64-linux-gnu/libc.so.6", "/lib64/ld-linux-x86-64.so.2"]);
    }
}
