//! Decides which packages to unpack, from what apt and dpkg say. No effects in this file.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::setup::compiler::{Refusal, Report};

/// Packages whose private copy must be complete, so that a later change of the system cannot break it.
const OWN: [&str; 3] = ["rustc-web", "libstd-rust", "libllvm"];

/// The C library belongs to the machine's dynamic loader; a private copy of it would crash every program.
const NEVER: [&str; 2] = ["libc6", "libc6.1"];

/// What to unpack, and which rustc comes of it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) release: String,
    pub(super) packages: Vec<String>,
}

/// Dependencies and sections of packages, as apt lists them.
#[derive(Default)]
pub(super) struct Catalogue<'a> {
    depends: BTreeMap<&'a str, Vec<&'a str>>,
    libraries: BTreeSet<&'a str>,
}

/// The packages that `apt-cache depends --recurse` speaks of, without virtual ones.
pub(super) fn names(depends: &str) -> Vec<&str> {
    depends.lines().filter(|line| is_name(line)).collect()
}

fn is_name(line: &str) -> bool {
    line.starts_with(|first: char| first.is_ascii_alphanumeric())
}

impl<'a> Catalogue<'a> {
    /// Reads the output of `apt-cache depends --recurse` and of `apt-cache show`.
    pub(super) fn parse(depends: &'a str, shown: &'a str) -> Self {
        Self { depends: parse_depends(depends), libraries: parse_libraries(shown) }
    }

    /// Everything to unpack: the roots, Rust's own libraries, and the shared libraries among their dependencies
    /// that the machine has not installed. Compilers, interpreters and headers are left to the machine.
    pub(super) fn plan(&self, release: String, roots: &[&'a str], installed: &BTreeSet<String>) -> Plan {
        let mut queue: VecDeque<&str> = roots.iter().copied().collect();
        let mut chosen = BTreeSet::new();
        while let Some(package) = queue.pop_front() {
            if chosen.insert(package) {
                let depends = self.depends.get(package).into_iter().flatten().copied();
                queue.extend(depends.filter(|name| self.is_wanted(name, installed)));
            }
        }
        Plan { release, packages: chosen.into_iter().map(str::to_owned).collect() }
    }

    fn is_wanted(&self, package: &str, installed: &BTreeSet<String>) -> bool {
        is_own(package)
            || (self.libraries.contains(package) && !installed.contains(package) && !NEVER.contains(&package))
    }
}

impl Plan {
    /// Whether the rustc of these packages will do, before anything is downloaded.
    pub(super) fn judge(&self) -> Result<(), Refusal> {
        let llvm = self.packages.iter().find_map(|name| name.strip_prefix("libllvm")).unwrap_or("none");
        let text = format!("release: {}\nLLVM version: {llvm}\n", self.release);
        Report::parse(&text).ok_or(Refusal::Unreadable)?.judge()
    }
}

fn is_own(package: &str) -> bool {
    OWN.iter().any(|family| package.starts_with(family))
}

fn parse_depends(text: &str) -> BTreeMap<&str, Vec<&str>> {
    let mut depends: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let mut package = "";
    for line in text.lines() {
        if is_name(line) {
            package = line;
        } else if let Some((_, name)) = line.split_once("Depends: ") {
            depends.entry(package).or_default().push(name);
        }
    }
    depends
}

fn parse_libraries(text: &str) -> BTreeSet<&str> {
    let mut libraries = BTreeSet::new();
    let mut package = "";
    for line in text.lines() {
        match line.split_once(": ") {
            Some(("Package", name)) => package = name,
            // Ubuntu writes `universe/libs`.
            Some(("Section", section)) if section.rsplit('/').next() == Some("libs") => {
                libraries.insert(package);
            }
            _ => {}
        }
    }
    libraries
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEPENDS: &str = "\
rustc-web
  Depends: libc6
  Depends: libstd-rust-web-dev
  Depends: gcc
  Depends: <libc-dev>
    libc6-dev
libstd-rust-web-dev-bpf
libstd-rust-web-dev
  Depends: libstd-rust-web-1.96
libstd-rust-web-1.96
  Depends: libllvm22
  Depends: libstdc++6
libllvm22
  Depends: libedit2
  Depends: libz3-4
libedit2
  Depends: libbsd0
 |Depends: libtinfo6
gcc
  Depends: libasan8
<libc-dev>
";

    const SHOWN: &str = "\
Package: libedit2
Section: libs

Package: libbsd0
Section: universe/libs

Package: libz3-4
Section: libs

Package: libtinfo6
Section: libs

Package: libstdc++6
Section: libs

Package: libc6
Section: libs

Package: libllvm22
Section: libs

Package: libasan8
Section: libs

Package: gcc
Section: devel
";

    fn plan(installed: &[&str]) -> Plan {
        let installed = installed.iter().map(|&name| name.to_owned()).collect();
        Catalogue::parse(DEPENDS, SHOWN).plan(
            "1.96.0".to_owned(),
            &["rustc-web", "libstd-rust-web-dev-bpf"],
            &installed,
        )
    }

    #[test]
    fn a_bare_machine_gets_every_library_but_no_compiler_and_no_libc() {
        let packages = plan(&[]).packages;
        for wanted in
            ["libstd-rust-web-1.96", "libllvm22", "libedit2", "libbsd0", "libtinfo6", "libz3-4", "libstdc++6"]
        {
            assert!(
                packages.iter().any(|package| package == wanted),
                "{wanted} is missing from {packages:?}"
            );
        }
        for left in ["gcc", "libasan8", "libc6", "<libc-dev>", "libc6-dev"] {
            assert!(!packages.iter().any(|package| package == left), "{left} must not be in {packages:?}");
        }
    }

    #[test]
    fn libraries_that_are_installed_are_not_downloaded() {
        let packages = plan(&["libedit2", "libz3-4", "libstdc++6", "libllvm22"]).packages;
        let expected = [
            "libllvm22",
            "libstd-rust-web-1.96",
            "libstd-rust-web-dev",
            "libstd-rust-web-dev-bpf",
            "rustc-web",
        ];
        assert_eq!(packages, expected, "LLVM is the toolchain's own and stays; the others are there already");
    }

    #[test]
    fn the_release_and_llvm_are_judged_before_the_download() {
        assert_eq!(plan(&[]).judge(), Ok(()));
        let old = Plan { release: "1.85.0+dfsg3-1".to_owned(), ..plan(&[]) };
        assert_eq!(old.judge(), Err(Refusal::TooOld("1.85.0+dfsg3-1".to_owned())));
        let other = Plan { packages: vec!["libllvm19".to_owned()], ..plan(&[]) };
        assert_eq!(other.judge(), Err(Refusal::Llvm(19)));
    }

    #[test]
    fn a_plan_without_llvm_is_unreadable() {
        assert_eq!(Plan { packages: Vec::new(), ..plan(&[]) }.judge(), Err(Refusal::Unreadable));
    }

    #[test]
    fn virtual_packages_have_no_name_to_ask_for() {
        assert!(names(DEPENDS).contains(&"libedit2"));
        assert!(!names(DEPENDS).contains(&"<libc-dev>"));
    }
}
