//! Runs every suite, or those whose names contain the argument: `lb-tests [FILTER] [--list] [--nocapture]`.
//!
//! Cases run one after the other, for they measure times and the machine is small; two at a time those that do not, unless
//! `--test-threads` says otherwise.

use std::process::ExitCode;

use anyhow::Result;
use lb_tests::{guest, interrupt, runner, suites};
use libtest_mimic::Arguments;

/// More on a small machine would miss the times that cases expect of the daemon.
const AT_ONCE: usize = 2;

fn main() -> Result<ExitCode> {
    interrupt::clean_up_on_signals();
    let mut arguments = Arguments::from_args();
    let at_once = if guest::is_here() { 1 } else { AT_ONCE };
    arguments.test_threads = arguments.test_threads.or(Some(at_once));
    if guest::is_here() {
        return guest::run(&arguments).map(|()| ExitCode::SUCCESS);
    }
    Ok(libtest_mimic::run(&arguments, runner::trials(suites::all())).exit_code())
}
