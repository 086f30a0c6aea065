//! A rustc that can compile for BPF, and the verdict on whether one can. No effects in this file.

use std::fmt::{self, Display, Formatter};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::OLDEST_RUST;

/// Majors of LLVM that the pinned bpf-linker has a feature for. The linker must not be older than the bitcode.
const LINKABLE_LLVM: std::ops::RangeInclusive<u32> = 21..=23;

/// A rustc that can compile for BPF, with the cargo that drives it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Compiler {
    /// What people call it, e.g. `nightly-2026-05-20`.
    pub(crate) name: String,
    pub(crate) release: String,
    pub(crate) rustc: PathBuf,
    pub(crate) cargo: PathBuf,
    pub(crate) core: Core,
    pub(crate) llvm: Llvm,
    /// Where its shared libraries lie, if the dynamic loader does not know.
    pub(crate) library_path: Option<PathBuf>,
}

/// How the standard library's `core` for BPF comes about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Core {
    /// The distribution built it.
    Prebuilt,
    /// Cargo builds it from rust-src, which only a nightly does.
    Source,
}

/// The LLVM inside a rustc. bpf-linker is linked against the very same library, so the two cannot disagree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Llvm {
    pub(crate) major: u32,
    /// The name by which programs ask for the library (its SONAME).
    pub(crate) soname: String,
    pub(crate) library: PathBuf,
}

/// What `rustc -vV` says of itself.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Report {
    pub(super) release: String,
    pub(super) minor: u32,
    pub(super) llvm_major: u32,
}

/// Why a rustc will not do. The sentence continues after the compiler's name.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    #[error("it does not say which Rust and which LLVM it is")]
    Unreadable,
    #[error("Rust {0} is older than 1.{OLDEST_RUST}")]
    TooOld(String),
    #[error("its LLVM {0} is outside {first} to {last}, which bpf-linker takes", first = LINKABLE_LLVM.start(), last = LINKABLE_LLVM.end())]
    Llvm(u32),
    #[error("it has no rust-src (`rustup component add rust-src --toolchain {0}` adds it)")]
    NoSource(String),
    #[error("it has no prebuilt core for bpfel-unknown-none")]
    NoPrebuiltCore,
    #[error("its LLVM is no shared library, so bpf-linker cannot be built against it")]
    StaticLlvm,
}

impl Report {
    /// Reads the output of `rustc -vV`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let field = |name| text.lines().find_map(|line| line.strip_prefix(name));
        let release = field("release: ")?;
        let llvm_major = field("LLVM version: ")?.split('.').next()?.parse().ok()?;
        Some(Self { release: release.to_owned(), minor: rust_minor(release)?, llvm_major })
    }

    /// Whether this version of Rust and LLVM will do.
    pub(super) fn judge(&self) -> Result<(), Refusal> {
        if self.minor < OLDEST_RUST {
            return Err(Refusal::TooOld(self.release.clone()));
        }
        if !LINKABLE_LLVM.contains(&self.llvm_major) {
            return Err(Refusal::Llvm(self.llvm_major));
        }
        Ok(())
    }
}

/// The 96 of `1.96.0-nightly`, `1.96.0+dfsg1-1` and the like.
fn rust_minor(release: &str) -> Option<u32> {
    release.strip_prefix("1.")?.split('.').next()?.parse().ok()
}

/// LLVM's SONAME and path in the output of `ldd`.
pub(super) fn parse_llvm_library(ldd: &str) -> Option<(String, PathBuf)> {
    let line = ldd.lines().map(str::trim).find(|line| line.starts_with("libLLVM"))?;
    let (soname, rest) = line.split_once(" => ")?;
    let path = rest.rsplit_once(" (").map_or(rest, |(path, _address)| path);
    path.starts_with('/').then(|| (soname.to_owned(), PathBuf::from(path)))
}

/// The names of nightly toolchains in the output of `rustup toolchain list`.
pub(super) fn parse_nightlies(list: &str) -> Vec<String> {
    let names = list.lines().filter_map(|line| line.split_whitespace().next());
    names.filter(|name| name.starts_with("nightly")).map(str::to_owned).collect()
}

impl Display for Compiler {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{} (rustc {}, LLVM {})", self.name, self.release, self.llvm.major)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NIGHTLY: &str = "rustc 1.97.0-nightly (e50aa6fba 2026-05-19)\nbinary: rustc\nhost: x86_64-unknown-linux-gnu\n\
                           release: 1.97.0-nightly\nLLVM version: 22.1.4\n";

    fn report(minor: u32, llvm_major: u32) -> Report {
        Report { release: format!("1.{minor}.0"), minor, llvm_major }
    }

    #[test]
    fn rustc_says_which_rust_and_llvm_it_is() {
        let expected = Report { release: "1.97.0-nightly".to_owned(), minor: 97, llvm_major: 22 };
        assert_eq!(Report::parse(NIGHTLY), Some(expected));
        assert_eq!(Report::parse("rustc 1.60.0"), None);
    }

    #[test]
    fn an_old_rust_is_refused_by_its_version() {
        assert_eq!(report(85, 21).judge(), Err(Refusal::TooOld("1.85.0".to_owned())));
        assert_eq!(report(OLDEST_RUST, 22).judge(), Ok(()));
    }

    #[test]
    fn an_llvm_without_a_linker_is_refused() {
        assert_eq!(report(99, 24).judge(), Err(Refusal::Llvm(24)));
        assert_eq!(report(99, 20).judge(), Err(Refusal::Llvm(20)));
        assert_eq!(report(99, 23).judge(), Ok(()));
    }

    #[test]
    fn llvm_is_found_among_the_libraries_of_rustc() {
        let ldd = "\tlinux-vdso.so.1 (0x7ffd)\n\tlibz.so.1 => /lib/libz.so.1 (0x7f01)\n\
                   \tlibLLVM.so.22.1 => /my tools/lib/libLLVM.so.22.1 (0x7f02)\n";
        let library = PathBuf::from("/my tools/lib/libLLVM.so.22.1");
        assert_eq!(parse_llvm_library(ldd), Some(("libLLVM.so.22.1".to_owned(), library)));
    }

    #[test]
    fn an_llvm_that_is_static_or_missing_is_not_found() {
        assert_eq!(parse_llvm_library("\tlibc.so.6 => /lib/libc.so.6 (0x7f)\n"), None);
        assert_eq!(parse_llvm_library("\tlibLLVM.so.22.1 => not found\n"), None);
    }

    #[test]
    fn only_nightlies_are_taken_from_rustups_list() {
        let list = "stable-x86_64-unknown-linux-gnu (active, default)\nnightly-x86_64-unknown-linux-gnu\nnightly-2026-05-20-x86_64 (x)\n";
        assert_eq!(parse_nightlies(list), ["nightly-x86_64-unknown-linux-gnu", "nightly-2026-05-20-x86_64"]);
        assert!(parse_nightlies("no installed toolchains\n").is_empty());
    }

    #[test]
    fn a_refusal_says_how_to_mend_it() {
        let text = Refusal::NoSource("nightly-x".to_owned()).to_string();
        assert!(text.contains("rustup component add rust-src --toolchain nightly-x"), "{text}");
    }
}
