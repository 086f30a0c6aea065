//! Builds the fuzz targets with the instrumentation that libFuzzer wants, which stable Rust can make, and runs them.

use std::env;
use std::fs;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::test::Tally;
use crate::workspace::Workspace;
use crate::{build, process};

/// What is fuzzed, each a function of the crate `lb-fuzz`.
const TARGETS: [&str; 9] = [
    "request_head",
    "response_head",
    "chunked",
    "http2_session",
    "proxy_protocol",
    "config",
    "packet_parser",
    "packet_pipeline",
    "packet_stateful",
];

/// How long each target runs as a suite: long enough for the seeds and what lies next to them.
pub(crate) const IN_SUITE: Duration = Duration::from_secs(5);

/// Where chance begins in a suite: it tries the same inputs each time, so that what it finds is of the change that is tested.
const SEED_IN_SUITE: u32 = 1;

/// Counters of edges, a table of what they belong to, and the operands of comparisons. Source: LLVM, `SanitizerCoverage`.
const FLAGS: [&str; 7] = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "--cfg",
    "fuzzing",
];

/// Memory above which an input counts as a failure.
const MEMORY_MB: u32 = 1024;

/// `cargo xtask fuzz`: builds, then runs one target or all, each for so long.
pub(crate) fn run(workspace: &Workspace, target: Option<&str>, time: Duration) -> Result<()> {
    let chosen = chosen(target)?;
    if let Some(reason) = missing() {
        bail!("{reason}");
    }
    let built = compile(workspace)?;
    chosen.iter().try_for_each(|target| run_one(workspace, &built, target, time, None))
}

/// The same as a suite: every target one item.
pub(crate) fn run_suite(workspace: &Workspace) -> Tally {
    if let Some(reason) = missing() {
        return Tally::skip("fuzz", &reason);
    }
    match compile(workspace) {
        Err(error) => failed("build", &error),
        Ok(built) => run_side_by_side(workspace, &built),
    }
}

/// Compiles ahead of the suite, in time that no other suite wants. What goes wrong is told by the suite itself, which compiles what
/// is not there by then.
pub(crate) fn compile_ahead(workspace: &Workspace) {
    if missing().is_none()
        && let Ok((cargo, _)) = compiler(workspace)
    {
        process::succeeds(&mut process::at_leisure(&cargo));
    }
}

/// As many at once as there are CPUs: a fuzzer keeps one busy.
fn run_side_by_side(workspace: &Workspace, built: &Path) -> Tally {
    let (next, sum) = (AtomicUsize::new(0), Mutex::new(Tally::default()));
    let take_turns = || {
        while let Some(target) = TARGETS.get(next.fetch_add(1, Ordering::Relaxed)) {
            let ran = run_one(workspace, built, target, IN_SUITE, Some(SEED_IN_SUITE));
            let tally = ran.map_or_else(|error| failed(target, &error), |()| Tally::pass());
            sum.lock().unwrap_or_else(PoisonError::into_inner).add(tally);
        }
    };
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, NonZero::get) {
            scope.spawn(take_turns);
        }
    });
    sum.into_inner().unwrap_or_else(PoisonError::into_inner)
}

fn failed(name: &str, error: &anyhow::Error) -> Tally {
    println!("{error:#}");
    Tally::failure_that_says(&format!("fuzz {name}"), &format!("{error:#}"))
}

fn chosen(target: Option<&str>) -> Result<Vec<&str>> {
    let known = TARGETS.join(", ");
    match target {
        None => Ok(TARGETS.to_vec()),
        Some(target) if TARGETS.contains(&target) => Ok(vec![target]),
        Some(target) => bail!("no fuzz target `{target}`: there are {known}"),
    }
}

/// What libFuzzer, which is C++, cannot be built without.
fn missing() -> Option<String> {
    let compiler = env::var_os("CXX").map_or_else(|| PathBuf::from("c++"), PathBuf::from);
    let there = process::succeeds(Command::new(&compiler).arg("--version"));
    (!there).then(|| format!("libFuzzer needs a C++ compiler, and `{}` is missing", compiler.display()))
}

/// Compiles all targets; the folder they lie in.
fn compile(workspace: &Workspace) -> Result<PathBuf> {
    let (mut cargo, folder) = compiler(workspace)?;
    process::run(&mut cargo)?;
    Ok(folder)
}

/// What compiles all targets, and the folder they lie in then.
///
/// The target is named although it is the host's own, so that build scripts and macros are not instrumented.
fn compiler(workspace: &Workspace) -> Result<(Command, PathBuf)> {
    let triple = process::output(process::host_command(workspace.root()).args(["-vV"]))?;
    let triple =
        triple.lines().find_map(|line| line.strip_prefix("host: ")).context("cargo names no host")?;
    let folder = workspace.fuzz_target_dir();
    let mut cargo = process::host_command(workspace.root());
    cargo.args(["build", "--release", "--locked", "--quiet", "--target", triple, "--manifest-path"]);
    cargo.arg(folder_of(workspace).join("Cargo.toml")).arg("--target-dir").arg(&folder);
    build::with_any_programs(workspace, &mut cargo);
    cargo.env_remove("RUSTFLAGS").env("CARGO_ENCODED_RUSTFLAGS", FLAGS.join("\x1f"));
    Ok((cargo, folder.join(triple).join("release")))
}

fn folder_of(workspace: &Workspace) -> PathBuf {
    workspace.root().join("tests/fuzz")
}

/// What is found new goes to a folder of its own; the seeds in the repository are only read. The fuzzer talks much: it is quoted if
/// it found something. Without a seed, chance begins elsewhere each time.
fn run_one(
    workspace: &Workspace,
    built: &Path,
    target: &str,
    time: Duration,
    seed: Option<u32>,
) -> Result<()> {
    let found = workspace.fuzz_target_dir().join("corpus").join(target);
    let failures = workspace.fuzz_target_dir().join("artifacts").join(target);
    let seeds = folder_of(workspace).join("corpus").join(target);
    for folder in [&found, &failures] {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    println!("fuzzing {target} for {} s", time.as_secs());
    let mut fuzzer = Command::new(built.join(target));
    fuzzer.args([format!("-max_total_time={}", time.as_secs()), format!("-rss_limit_mb={MEMORY_MB}")]);
    fuzzer.args(["-timeout=10", "-verbosity=0", "-print_final_stats=1"]);
    fuzzer.args(seed.map(|seed| format!("-seed={seed}")));
    fuzzer.arg(format!("-artifact_prefix={}/", failures.display())).arg(&found).arg(&seeds);
    let output = fuzzer.output().with_context(|| format!("cannot start the fuzz target {target}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        print!("{said}");
        bail!("{target} broke a promise: {}; it lies in {}", verdict(&said), failures.display());
    }
    let inputs = said.lines().find_map(|line| line.strip_prefix("stat::number_of_executed_units:"));
    println!("{target}: {} inputs, every promise kept", inputs.unwrap_or("no").trim());
    Ok(())
}

/// What broke and the input that broke it, of all that a fuzzer says when it ends badly.
fn verdict(said: &str) -> String {
    let lines = said.lines().skip_while(|line| !line.contains(" panicked at "));
    let panic: Vec<_> = lines.take_while(|line| *line != "stack backtrace:").map(str::trim).collect();
    let trouble = || said.lines().find(|line| line.contains("ERROR: libFuzzer"));
    let what = if panic.is_empty() { trouble().unwrap_or("it ended").to_owned() } else { panic.join(" ") };
    let input = said.lines().find_map(|line| line.strip_prefix("Base64: ")).unwrap_or("unknown");
    format!("{what}; the input, in Base64: {input}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_has_what_broke_and_the_input() {
        let said = "INFO: Seed: 1\n\nthread '<unnamed>' (7) panicked at src/http.rs:38:9:\nassertion failed: one form\n  left: 1\n\
            stack backtrace:\n   0: a\n==7== ERROR: libFuzzer: deadly signal\nBase64: KiA=\n";
        let whole = "thread '<unnamed>' (7) panicked at src/http.rs:38:9: assertion failed: one form left: 1; \
            the input, in Base64: KiA=";
        assert_eq!(verdict(said), whole);
        let slow = "==7== ERROR: libFuzzer: timeout after 10 seconds\nBase64: KiA=\n";
        assert_eq!(
            verdict(slow),
            "==7== ERROR: libFuzzer: timeout after 10 seconds; the input, in Base64: KiA="
        );
        assert_eq!(verdict(""), "it ended; the input, in Base64: unknown");
    }

    #[test]
    fn every_target_is_one_of_the_fuzz_crate_and_has_seeds() {
        let folder = folder_of(&Workspace::locate().unwrap());
        let manifest = fs::read_to_string(folder.join("Cargo.toml")).unwrap();
        for target in TARGETS {
            assert!(manifest.contains(&format!("name = \"{target}\"")), "{target}");
            assert!(folder.join("corpus").join(target).read_dir().unwrap().next().is_some(), "{target}");
        }
        assert_eq!(manifest.matches("path = \"fuzz_targets/").count(), TARGETS.len());
    }

    #[test]
    fn a_target_that_is_none_is_told_which_there_are() {
        let error = chosen(Some("nothing")).unwrap_err().to_string();
        assert!(error.contains("nothing") && error.contains("request_head"), "{error}");
        assert_eq!(chosen(None).unwrap(), TARGETS);
    }
}
