//! Runs every suite, or those whose names contain the argument: `lb-tests [FILTER] [--list] [--nocapture]`.
//!
//! Cases run one after the other unless `--test-threads` says otherwise: they measure times, and the machine is small.

use std::process::ExitCode;

use anyhow::Result;
use lb_tests::{guest, interrupt, runner, suites};
use libtest_mimic::Arguments;

fn main() -> Result<ExitCode> {
    interrupt::clean_up_on_signals();
    let mut arguments = Arguments::from_args();
    arguments.test_threads = arguments.test_threads.or(Some(1));
    if guest::is_here() {
        return guest::run(&arguments).map(|()| ExitCode::SUCCESS);
    }
    Ok(libtest_mimic::run(&arguments, runner::trials(suites::all())).exit_code())
}
