//! Runs every suite, or those whose names contain the argument: `lb-tests [FILTER] [--list] [--nocapture]`.
//!
//! Cases run one after the other unless `--test-threads` says otherwise: they measure times, and the machine is small.

use std::process::{self, ExitCode};
use std::thread;

use lb_tests::{netns, runner, suites, sweep};
use libtest_mimic::Arguments;
use nix::sys::signal::{SigSet, Signal};

fn main() -> ExitCode {
    clean_up_on_signals();
    let mut arguments = Arguments::from_args();
    arguments.test_threads = arguments.test_threads.or(Some(1));
    libtest_mimic::run(&arguments, runner::trials(suites::all())).exit_code()
}

/// Removes the namespaces when the run is interrupted. Children go by themselves: the kernel kills them with us.
fn clean_up_on_signals() {
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGINT);
    signals.add(Signal::SIGTERM);
    if signals.thread_block().is_err() {
        return;
    }
    thread::spawn(move || {
        let Ok(signal) = signals.wait() else { return };
        netns::sweep_own();
        sweep::scratch();
        process::exit(128 + signal as i32);
    });
}
