//! The suites and the commands behind them.

use std::path::Path;
use std::process::Command;

use clap::ValueEnum;

use super::report::Report;
use super::tally::Tally;
use crate::workspace::Workspace;
use crate::{build, fuzz, process, vm};

/// In the order in which they run: what fails fastest comes first, and fuzzing when its targets have been compiled beside what waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Suite {
    /// rustfmt finds nothing to change
    Fmt,
    /// clippy has no warnings
    Clippy,
    /// cargo-deny accepts licences, bans and sources
    Deny,
    /// Unit and property tests
    Host,
    /// Examples in the documentation
    Doc,
    /// Packet fixtures and network namespaces, in the kernel
    Kernel,
    /// Fuzz targets, a few seconds each
    Fuzz,
    /// The verifiers of other kernels, in virtual machines
    Vm,
}

/// What random tests start from. One and the same for everybody, so that a commit passes or fails for all alike; set
/// them in the environment, or run `cargo test`, to look further.
const SEEDS: [&str; 2] = ["PROPTEST_RNG_SEED", "LB_TEST_SEED"];

/// How many tests libtest runs at a time.
const THREADS: &str = "RUST_TEST_THREADS";
/// As many of the unit tests: most wait for a deadline of the proxy's, and few compute.
const WAITING_TESTS: &str = "8";

/// What each commit has to answer to other kernels. Traffic through them, emulated, takes ten minutes: `cargo xtask vm`.
const OTHER_KERNELS: &str = "verifier";

/// So many failures of a suite may be chance; where there are more, none is tried again.
const SECOND_ATTEMPTS: usize = 3;

impl Suite {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Fmt => "fmt",
            Self::Clippy => "clippy",
            Self::Deny => "deny",
            Self::Host => "host",
            Self::Doc => "doc",
            Self::Fuzz => "fuzz",
            Self::Kernel => "kernel",
            Self::Vm => "vm",
        }
    }

    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Fmt => "fmt: format of the code",
            Self::Clippy => "clippy: lints, warnings are errors",
            Self::Deny => "deny: licences, bans and sources of dependencies",
            Self::Host => "host: unit and property tests",
            Self::Doc => "doc: examples in the documentation",
            Self::Fuzz => "fuzz: bytes that nobody thought of",
            Self::Kernel => "kernel: packet fixtures and network namespaces",
            Self::Vm => "vm: the verifiers of other kernels, in virtual machines",
        }
    }

    /// Whether it waits much of its time, so that something can be compiled beside it.
    pub(super) fn waits(self) -> bool {
        matches!(self, Self::Host | Self::Kernel)
    }

    pub(super) fn run(self, workspace: &Workspace, daemon: Option<&Path>) -> Tally {
        match self {
            Self::Fmt | Self::Clippy | Self::Deny => self.run_check(workspace),
            Self::Host | Self::Doc | Self::Kernel => self.run_tests(workspace, daemon),
            Self::Fuzz => fuzz::run_suite(workspace),
            Self::Vm => vm::run(workspace, daemon, &[], Some(OTHER_KERNELS)),
        }
    }

    /// One item: a tool that passes or fails as a whole, skipped where it is not installed.
    fn run_check(self, workspace: &Workspace) -> Tally {
        if !process::succeeds(process::host_command(workspace.root()).args([self.name(), "--version"])) {
            return Tally::skip(self.name(), &format!("`cargo {}` is not installed", self.name()));
        }
        let mut commands = self.commands(workspace);
        match commands.iter_mut().try_for_each(process::run) {
            Ok(()) => Tally::pass(),
            Err(error) => {
                println!("{error:#}");
                Tally::failure(self.name())
            }
        }
    }

    fn run_tests(self, workspace: &Workspace, daemon: Option<&Path>) -> Tally {
        let mut sum = self.known_skips();
        for line in self.command_lines() {
            let furnished = || self.furnish(cargo(workspace, line), daemon);
            let mut tally = self.follow(&mut furnished());
            if (1..=SECOND_ATTEMPTS).contains(&tally.failures.len()) {
                self.try_again(&mut tally, furnished);
            }
            sum.add(tally);
        }
        sum
    }

    fn furnish(self, mut command: Command, daemon: Option<&Path>) -> Command {
        command.envs(daemon.map(|path| ("LB_DAEMON", path)));
        if self == Self::Host && std::env::var_os(THREADS).is_none() {
            command.env(THREADS, WAITING_TESTS);
        }
        command.envs(SEEDS.iter().filter(|seed| std::env::var_os(seed).is_none()).map(|seed| (seed, "1")));
        command
    }

    /// Runs what failed once more, alone. A test that passes then met a busy machine or a fault that shows seldom: it is
    /// counted as passed, and named at the end with what it said.
    fn try_again(self, tally: &mut Tally, furnished: impl Fn() -> Command) {
        let names: Vec<_> = tally.failures.iter().map(|failure| failure.name.clone()).collect();
        for name in names {
            println!("\nonce more: {name}");
            let second = self.follow(furnished().args(["--", "--exact", &name]));
            if second.failed == 0 && second.passed > 0 {
                tally.forgive(&name);
            }
        }
    }

    /// Tests that skip themselves where something is missing, which libtest counts as passed: said and counted here.
    fn known_skips(self) -> Tally {
        match self {
            Self::Host if !nix::unistd::geteuid().is_root() => Tally::skip("kernel::live", "not root"),
            Self::Host if process::find_program("ip").is_none() => {
                Tally::skip("kernel::live", "its two tests that furnish a namespace: command ip is missing")
            }
            _ => Tally::default(),
        }
    }

    /// Passes the output on as it comes, and reads it on the way.
    fn follow(self, command: &mut Command) -> Tally {
        let mut report = Report::default();
        let read = |line: &str| {
            println!("{line}");
            report.read(line);
        };
        let ended = process::follow(command, read).inspect_err(|error| println!("{error:#}"));
        report.finish(self.name(), ended.is_ok_and(|status| status.success()))
    }

    fn commands(self, workspace: &Workspace) -> Vec<Command> {
        self.command_lines().iter().map(|line| cargo(workspace, line)).collect()
    }

    /// What cargo is asked, one command a line.
    fn command_lines(self) -> &'static [&'static str] {
        match self {
            Self::Fmt => &[
                "fmt --all --check",
                "fmt --check --manifest-path lb-ebpf/Cargo.toml",
                "fmt --check --manifest-path tests/fuzz/Cargo.toml",
            ],
            Self::Clippy => &["clippy --workspace --all-targets --locked --quiet -- -D warnings"],
            // Advisories need the network and change without a commit, so they are not a test.
            Self::Deny => &["deny --offline check licenses bans sources"],
            Self::Host => &["test --workspace --lib --bins --tests --locked --no-fail-fast"],
            Self::Doc => &["test --workspace --doc --locked --no-fail-fast"],
            Self::Fuzz | Self::Vm => &[],
            // Built as the unit tests are, which leaves little of it to build. The daemon that it starts is the release.
            Self::Kernel => &["run --locked --quiet --package lb-tests --bin lb-tests"],
        }
    }
}

/// A cargo command with these arguments.
fn cargo(workspace: &Workspace, arguments: &str) -> Command {
    let mut command = process::host_command(workspace.root());
    command.args(arguments.split_whitespace());
    build::with_any_programs(workspace, &mut command);
    command
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test::tally::Failure;

    #[test]
    fn a_runner_killed_by_a_signal_is_one_failure() {
        let mut command = Command::new("sh");
        let tally = Suite::Kernel.follow(command.args(["-c", "echo running 3 tests; kill -9 $$"]));
        assert_eq!((tally.failed, tally.failures), (1, vec![Failure::of("kernel: ended without a result")]));
    }
}
