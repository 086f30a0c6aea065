//! The end by a signal, at which nothing is dropped: everything that has a name is removed here instead.
//!
//! Children need no care: the kernel kills them with us (see [`Process`](crate::process::Process)).

use std::io::{self, Write};
use std::mem;
use std::process;
use std::sync::atomic::{AtomicI32, Ordering};
use std::thread;

use nix::sys::signal::{SigSet, Signal};

use crate::{netns, sweep};

/// Ctrl-C, a polite end, and the terminal that went away.
const SIGNALS: [Signal; 3] = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP];
/// No exit code of ours: nobody expects the signal.
const UNEXPECTED: i32 = -1;

static EXPECTED: AtomicI32 = AtomicI32::new(UNEXPECTED);

/// Removes what this process made and ends it, when it is told to end. To be called before any other thread starts,
/// as threads inherit that these signals are blocked.
pub fn clean_up_on_signals() {
    let signals: SigSet = SIGNALS.into_iter().collect();
    if signals.thread_block().is_err() {
        return;
    }
    thread::spawn(move || {
        if let Ok(signal) = signals.wait() {
            end(signal);
        }
    });
}

/// From now on a signal is how this process is meant to end, with the exit code `code`.
pub fn expect(code: u8) {
    EXPECTED.store(code.into(), Ordering::Relaxed);
}

fn end(signal: Signal) -> ! {
    // What fails in the other threads from here on fails because of us, and they shall not print it.
    let mut output = io::stdout().lock();
    let _quiet = io::stderr().lock();
    mem::forget(sweep::making());
    netns::sweep_own();
    sweep::scratch();
    // The reader may have gone with the terminal.
    let _ = writeln!(output, "\n{signal}: everything is removed");
    process::exit(code(signal, EXPECTED.load(Ordering::Relaxed)))
}

/// As a shell gives it for a program that died of `signal`, unless the signal was expected.
fn code(signal: Signal, expected: i32) -> i32 {
    if expected == UNEXPECTED { 128 + signal as i32 } else { expected }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unexpected_signal_is_told_as_shells_do() {
        assert_eq!(code(Signal::SIGINT, UNEXPECTED), 130);
        assert_eq!(code(Signal::SIGINT, 0), 0);
    }
}
