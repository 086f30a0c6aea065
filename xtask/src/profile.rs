//! Profile-guided optimisation: release builds know how often each branch of the daemon is taken.
//!
//! A profile is what a build that counts was seen to do under the loads of `bench l7 --train`. It fits one compiler, as it names
//! functions by symbols that have the compiler's version in them, so it is named by that, and with any other compiler the build does
//! without. A function that has changed since is compiled without, too, and nothing else is lost: a profile changes how fast the code
//! is, never what it does.
//! Source: rustc book, "Profile-guided Optimization".

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::workspace::Workspace;
use crate::{build, process};

/// Where users have flags that cargo takes alone.
const FLAGS_OF_THE_USER: [&str; 2] = ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS"];

/// A cargo command for a release build on this host, by the profile if there is one for its compiler. Flags of the user's own
/// (`RUSTFLAGS`, or `rustflags` of a target in cargo's settings) cargo takes alone.
pub(crate) fn release_cargo(workspace: &Workspace) -> Command {
    let mut cargo = process::host_command(workspace.root());
    if let Some(profile) = fitting(workspace) {
        // Without the second, functions that have changed since are told one by one.
        let flags =
            [format!("-Cprofile-use={}", profile.display()), "-Cllvm-args=-no-pgo-warn-mismatch".into()];
        cargo.arg("--config").arg(as_config(&flags));
    }
    cargo
}

/// Says by which profile the daemon is built.
pub(crate) fn tell(workspace: &Workspace) {
    if FLAGS_OF_THE_USER.iter().any(|name| env::var_os(name).is_some()) {
        println!("build: your own RUSTFLAGS are taken alone, without the recorded profile");
        return;
    }
    match Compiler::of_host() {
        Ok(compiler) if compiler.profile(workspace).exists() => {}
        Ok(compiler) => println!(
            "build: no profile is recorded for rustc {}, so the daemon takes up to a fifth more CPU a request; `cargo xtask profile` \
             records one",
            compiler.release
        ),
        Err(error) => println!("build: no profile is used: {error:#}"),
    }
}

/// Records a profile for the host's compiler: builds a daemon that counts, has it serve, and keeps what it counted.
pub(crate) fn record(workspace: &Workspace) -> Result<()> {
    let compiler = Compiler::of_host()?;
    let merger = compiler.merger()?;
    let folder = workspace.profile_target_dir();
    let counts = folder.join("counts");
    let mut counting = process::host_command(workspace.root());
    counting.arg("--config").arg(as_config(&[format!("-Cprofile-generate={}", counts.display())]));
    counting.env("CARGO_TARGET_DIR", &folder);
    for name in FLAGS_OF_THE_USER {
        counting.env_remove(name);
    }
    let daemon = build::daemon_by(workspace, counting)?;
    // Earlier daemons counted there, and build scripts just now.
    drop(fs::remove_dir_all(&counts));
    let mut bench = release_cargo(workspace);
    bench.args([
        "run",
        "--release",
        "--locked",
        "--quiet",
        "--package",
        "lb-benches",
        "--bin",
        "l7",
        "--",
        "--train",
    ]);
    process::run(bench.env("LB_DAEMON", daemon))?;
    let profile = compiler.profile(workspace);
    fs::create_dir_all(workspace.profile_dir())?;
    process::run(Command::new(merger).args(["merge", "--sparse", "-o"]).arg(&profile).arg(&counts))?;
    println!("recorded {}", profile.display());
    Ok(())
}

fn fitting(workspace: &Workspace) -> Option<PathBuf> {
    let profile = Compiler::of_host().ok()?.profile(workspace);
    profile.exists().then_some(profile)
}

/// Flags as one of cargo's settings.
fn as_config(flags: &[String]) -> String {
    let quoted: Vec<_> = flags.iter().map(|flag| format!("{flag:?}")).collect();
    format!("build.rustflags=[{}]", quoted.join(", "))
}

/// The compiler that release builds are made with.
#[derive(Debug, PartialEq, Eq)]
struct Compiler {
    rustc: PathBuf,
    release: String,
    commit: String,
    host: String,
}

impl Compiler {
    fn of_host() -> Result<Self> {
        let beside = process::host_cargo().with_file_name("rustc");
        let rustc = match env::var_os("RUSTC") {
            Some(named) => PathBuf::from(named),
            None if beside.is_file() => beside,
            None => PathBuf::from("rustc"),
        };
        let told = process::output(Command::new(&rustc).arg("-vV"))?;
        Self::parse(rustc, &told).with_context(|| format!("`rustc -vV` says {told:?}"))
    }

    fn parse(rustc: PathBuf, told: &str) -> Option<Self> {
        let field = |name| told.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
        let [release, commit, host] = ["release: ", "commit-hash: ", "host: "].map(field);
        Some(Self { rustc, release: release?, commit: commit?, host: host? })
    }

    /// Where a profile for it lies, if there is one.
    fn profile(&self, workspace: &Workspace) -> PathBuf {
        let commit: String = self.commit.chars().take(9).collect();
        workspace.profile_dir().join(format!("{}-{commit}-{}.profdata", self.release, self.host))
    }

    /// The program that makes a profile of counts. One of another LLVM does not read them.
    fn merger(&self) -> Result<PathBuf> {
        let sysroot = process::output(Command::new(&self.rustc).args(["--print", "sysroot"]))?;
        let tools = Path::new(sysroot.trim()).join("lib/rustlib").join(&self.host).join("bin");
        let merger = tools.join("llvm-profdata");
        if !merger.is_file() {
            bail!("rustc {} has no llvm-profdata: `rustup component add llvm-tools` adds it", self.release);
        }
        Ok(merger)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOLD: &str = "rustc 1.95.0 (59807616e 2026-04-14)\nbinary: rustc\ncommit-hash: 59807616e1fa2540724bfbac14d7976d7e4a3860\n\
                        commit-date: 2026-04-14\nhost: x86_64-unknown-linux-gnu\nrelease: 1.95.0\nLLVM version: 22.1.2\n";

    #[test]
    fn a_profile_is_named_by_all_that_its_symbols_depend_on() {
        let compiler = Compiler::parse("rustc".into(), TOLD).unwrap();
        let workspace = Workspace::locate().unwrap();
        let profile = compiler.profile(&workspace);
        assert!(
            profile.ends_with("profile/1.95.0-59807616e-x86_64-unknown-linux-gnu.profdata"),
            "{profile:?}"
        );
        assert_eq!(Compiler::parse("rustc".into(), "rustc 1.95.0\n"), None);
    }

    #[test]
    fn flags_reach_cargo_whatever_the_path_has_in_it() {
        let config = as_config(&["-Cprofile-use=/my \"own\" project/p".to_owned(), "-Cx".to_owned()]);
        assert_eq!(config, r#"build.rustflags=["-Cprofile-use=/my \"own\" project/p", "-Cx"]"#);
    }
}
