//! Running other programs, cargo among them, with an environment that does not leak ours into theirs.

use std::env;
use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Output, Stdio};

use anyhow::{Context, Result, bail};

/// Variables that cargo and rustup set for `xtask` itself, or that a user sets for host builds. In a BPF build
/// they would choose the wrong compiler, target or flags.
const HOST_ONLY: [&str; 9] = [
    "RUSTC",
    "RUSTC_WRAPPER",
    "RUSTC_WORKSPACE_WRAPPER",
    "RUSTC_BOOTSTRAP",
    "RUSTDOC",
    "RUSTDOCFLAGS",
    "RUSTFLAGS",
    "LD_LIBRARY_PATH",
    "MAKEFLAGS",
];

/// `CARGO_` families that say where crates come from and how cargo talks, which hold for every build.
const CARGO_KEPT: [&str; 7] = [
    "CARGO_HOME",
    "CARGO_HTTP_",
    "CARGO_NET_",
    "CARGO_REGISTRIES_",
    "CARGO_REGISTRY_",
    "CARGO_SOURCE_",
    "CARGO_TERM_",
];

/// The cargo that runs `xtask`, so that one user's choice of toolchain holds for every host build.
pub(crate) fn host_cargo() -> PathBuf {
    env::var_os("CARGO").map_or_else(|| PathBuf::from("cargo"), PathBuf::from)
}

/// A cargo command for the host, with the user's flags and target folder but without what cargo told us about
/// the crate `xtask`.
pub(crate) fn host_command(root: &Path) -> Command {
    let mut command = Command::new(host_cargo());
    command.current_dir(root);
    remove_where(&mut command, describes_xtask);
    command
}

/// cargo with none of the host's compiler choices in its environment.
pub(crate) fn clean_cargo(cargo: &Path) -> Command {
    let mut command = Command::new(cargo);
    remove_where(&mut command, is_host_only);
    command
}

fn remove_where(command: &mut Command, leaks: fn(&str) -> bool) {
    for (name, _) in env::vars_os().filter(|(name, _)| name.to_str().is_some_and(leaks)) {
        command.env_remove(name);
    }
}

fn describes_xtask(name: &str) -> bool {
    ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_", "CARGO_PRIMARY_"]
        .iter()
        .any(|family| name.starts_with(family))
}

fn is_host_only(name: &str) -> bool {
    let of_cargo = name == "CARGO" || name.starts_with("CARGO_");
    (of_cargo && !CARGO_KEPT.iter().any(|kept| name.starts_with(kept))) || HOST_ONLY.contains(&name)
}

/// The same command, run only while no other process wants the CPU. Where `chrt` is missing it does not start.
pub(crate) fn at_leisure(command: &Command) -> Command {
    let mut idle = Command::new("chrt");
    idle.args(["--idle", "0"]).arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => idle.env(name, value),
            None => idle.env_remove(name),
        };
    }
    command.get_current_dir().map(|folder| idle.current_dir(folder));
    idle
}

/// Runs to the end with our standard streams.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("cannot start {}", describe(command)))?;
    if !status.success() {
        bail!("{} failed ({status})", describe(command));
    }
    Ok(())
}

/// Runs to the end and returns what was printed; the error carries the last line of standard error.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    Ok(String::from_utf8_lossy(&output_bytes(command)?).into_owned())
}

/// The same for what is no text.
pub(crate) fn output_bytes(command: &mut Command) -> Result<Vec<u8>> {
    let output = captured(command)?;
    if !output.status.success() {
        bail!("{} failed: {}", describe(command), last_line(&output.stderr));
    }
    Ok(output.stdout)
}

/// Runs to the end and hands on every line of standard output as it comes.
pub(crate) fn follow(command: &mut Command, mut read: impl FnMut(&str)) -> Result<ExitStatus> {
    let started = command.stdout(Stdio::piped()).spawn();
    let mut child = started.with_context(|| format!("cannot start {}", describe(command)))?;
    let output = child.stdout.take().context("a child without an output")?;
    for line in BufReader::new(output).split(b'\n') {
        read(&String::from_utf8_lossy(&line?));
    }
    Ok(child.wait()?)
}

/// Runs to the end with progress on standard error, and returns standard output.
pub(crate) fn output_with_progress(command: &mut Command) -> Result<String> {
    let output = command
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("cannot start {}", describe(command)))?;
    if !output.status.success() {
        bail!("{} failed ({})", describe(command), output.status);
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Whether the command starts and succeeds; what it prints is dropped.
pub(crate) fn succeeds(command: &mut Command) -> bool {
    captured(command).is_ok_and(|output| output.status.success())
}

fn captured(command: &mut Command) -> Result<Output> {
    command.output().with_context(|| format!("cannot start {}", describe(command)))
}

/// The program and its first argument: enough to recognise it, short enough for one line.
fn describe(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or(command.get_program());
    let first = command.get_args().next().unwrap_or(OsStr::new(""));
    format!("`{} {}`", program.display(), first.display()).replace(" `", "`")
}

fn last_line(stderr: &[u8]) -> String {
    let text = String::from_utf8_lossy(stderr);
    let line = text.lines().rev().find(|line| !line.trim().is_empty());
    line.unwrap_or("it says nothing about why").trim().to_owned()
}

/// The full path of a program, as the shell would find it.
pub(crate) fn find_program(name: &str) -> Option<PathBuf> {
    programs(name).next()
}

/// Every program of this name on `PATH`, in order.
pub(crate) fn programs(name: &str) -> impl Iterator<Item = PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders: Vec<PathBuf> = env::split_paths(&path).collect();
    folders.into_iter().map(move |folder| folder.join(name)).filter(|file| file.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bpf_build_forgets_the_hosts_compiler_and_flags() {
        for name in [
            "RUSTC",
            "RUSTFLAGS",
            "CARGO",
            "CARGO_ENCODED_RUSTFLAGS",
            "CARGO_BUILD_TARGET",
            "CARGO_TARGET_DIR",
        ] {
            assert!(is_host_only(name), "{name} must not reach the BPF build");
        }
    }

    #[test]
    fn a_bpf_build_keeps_where_crates_come_from() {
        for name in
            ["CARGO_HOME", "CARGO_NET_OFFLINE", "CARGO_SOURCE_X_REPLACE_WITH", "PATH", "HOME", "RUSTUP_HOME"]
        {
            assert!(!is_host_only(name), "{name} must reach the BPF build");
        }
    }

    #[test]
    fn a_host_build_keeps_the_users_target_folder_and_flags() {
        assert!(!describes_xtask("CARGO_TARGET_DIR"));
        assert!(!describes_xtask("RUSTFLAGS"));
        assert!(describes_xtask("CARGO_PKG_NAME"));
    }

    #[test]
    fn a_failing_program_is_quoted_by_its_last_line() {
        let error =
            output(Command::new("sh").args(["-c", "echo one >&2; echo two >&2; exit 3"])).unwrap_err();
        assert_eq!(error.to_string(), "`sh -c` failed: two");
    }

    #[test]
    fn output_is_followed_by_lines_even_if_it_is_not_utf8() {
        let mut lines = Vec::new();
        let mut command = Command::new("sh");
        command.args(["-c", r"printf 'one\n\377two\nthree'; exit 1"]);
        let status = follow(&mut command, |line| lines.push(line.to_owned())).unwrap();
        assert!(!status.success());
        assert_eq!(lines, ["one", "\u{fffd}two", "three"]);
    }

    #[test]
    fn what_runs_at_leisure_keeps_its_arguments_its_environment_and_its_folder() {
        let mut command = Command::new("sh");
        command.args(["-c", "exit 3"]).env("ADDED", "1").env_remove("GONE").current_dir("/");
        let idle = at_leisure(&command);
        assert_eq!(idle.get_args().collect::<Vec<_>>(), ["--idle", "0", "sh", "-c", "exit 3"]);
        assert!(idle.get_envs().eq(command.get_envs()));
        assert_eq!(idle.get_current_dir(), command.get_current_dir());
    }

    #[test]
    fn a_program_that_does_not_exist_is_named() {
        let error = run(&mut Command::new("/nowhere/to-be-found")).unwrap_err();
        assert!(error.to_string().contains("cannot start `to-be-found`"), "{error}");
    }
}
