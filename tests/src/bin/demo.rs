//! Shows lb to a newcomer: `demo [--keep]`. What it does and prints is [`lb_tests::demo`].

use std::env;
use std::process::ExitCode;

use lb_tests::{demo, interrupt};

fn main() -> ExitCode {
    interrupt::clean_up_on_signals();
    let arguments: Vec<_> = env::args_os().skip(1).collect();
    let keep = match arguments.as_slice() {
        [] => false,
        [one] if one == "--keep" => true,
        _ => {
            eprintln!("usage: demo [--keep]");
            return ExitCode::from(2);
        }
    };
    match demo::run(keep) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
