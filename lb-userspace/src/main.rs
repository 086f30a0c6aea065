//! `lb-userspace`: the daemon and the commands that talk to it.

mod cli;

use anyhow::{Context as _, Result, bail};
use clap::Parser as _;
use cli::{Cli, Command, Control, Run};
use lb_userspace::control::{ExplainOrder, Request, Response, client, explain as explaining, table};
use lb_userspace::daemon::{self, Options};
use lb_userspace::{backend, capture, config, observe};
use std::fmt::Display;
use std::io::{self, ErrorKind, Write as _};
use std::path::Path;
use std::process::ExitCode;

/// A request by HTTP/2 is made of many small allocations, and this one needs fewer instructions for them than the C library's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Said where a thread cannot be had.
const NO_LOG: &str = "cannot start the thread that writes the log";

fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = match cli.command {
        None => run(cli.run),
        Some(command) => obey(command),
    };
    let code = match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            observe::log::end(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    };
    observe::log::finish();
    code
}

fn run(run: Run) -> Result<()> {
    observe::log::start(run.log_format).context(NO_LOG)?;
    let Run { interfaces, config, mode, control, .. } = run;
    Ok(daemon::run(Options { interfaces, config, mode, control: control.path })?)
}

fn obey(command: Command) -> Result<()> {
    match command {
        Command::Check { file } => check(&file),
        Command::Status { json, control } => status(json, &control),
        Command::Reload { control } => ask(&control, &Request::Reload),
        Command::Block { address, lasting, reason, control } => {
            let milliseconds = u64::try_from(lasting.as_millis()).unwrap_or(u64::MAX);
            ask(&control, &Request::Block { address, milliseconds, reason })
        }
        Command::Unblock { address, control } => ask(&control, &Request::Unblock { address }),
        Command::Blocks { json, control } => blocks(json, &control),
        Command::Drain { target: (service, backend), undo, control } => {
            ask(&control, &Request::Drain { service, backend, undo })
        }
        Command::Explain { target, method, headers, client, json, control } => {
            explain(ExplainOrder { target, method, headers, client }, json, &control)
        }
        Command::Undrain { target: (service, backend), control } => {
            ask(&control, &Request::Drain { service, backend, undo: true })
        }
        Command::Weight { target: (service, backend), weight, undo: _, control } => {
            ask(&control, &Request::Weight { service, backend, weight })
        }
        Command::Capture { options, control } => Ok(capture::run(options, &control.path)?),
        Command::Backend(options) => Ok(backend::run(options)?),
        Command::Decap { interfaces, mode, gue_port, log_format } => {
            observe::log::start(log_format).context(NO_LOG)?;
            Ok(daemon::decap::run(&interfaces, mode, gue_port)?)
        }
    }
}

fn check(file: &Path) -> Result<()> {
    let loaded = config::load(file).context("the configuration cannot be used")?;
    for warning in &loaded.warnings {
        warn(warning);
    }
    for warning in lb_userspace::l7::tls::warnings(&loaded.config.proxy, std::time::SystemTime::now()) {
        warn(format_args!("warning: {warning}"));
    }
    let mistakes = daemon::mistakes(&loaded.config);
    for mistake in &mistakes {
        warn(format_args!("error: {mistake}"));
    }
    if !mistakes.is_empty() {
        bail!("{}: the configuration cannot be used, for files that it names", file.display());
    }
    let (packets, requests) = (&loaded.config.services, &loaded.config.proxy.services);
    let of_packets = packets.iter().map(|service| service.backends.len());
    let backends: usize = of_packets.chain(requests.iter().map(|service| service.backends.len())).sum();
    let services = packets.len() + requests.len();
    let counted = |number: usize, one: &str| format!("{number} {one}{}", if number == 1 { "" } else { "s" });
    say(format_args!(
        "{}: right, {} with {}\n",
        file.display(),
        counted(services, "service"),
        counted(backends, "backend")
    ))
}

fn status(json: bool, control: &Control) -> Result<()> {
    let status = match client::ask(&control.path, &Request::Status)? {
        Response::Status(status) => status,
        Response::Refused { message } => bail!(message),
        _ => bail!("the daemon gave no status; is it of this version?"),
    };
    if json {
        say(format_args!("{}\n", serde_json::to_string_pretty(&status)?))
    } else {
        say(table::render(&status, width()))
    }
}

fn explain(order: ExplainOrder, json: bool, control: &Control) -> Result<()> {
    let told = match client::ask(&control.path, &Request::Explain(order))? {
        Response::Explained(told) => told,
        Response::Refused { message } => bail!(message),
        _ => bail!("the daemon explained nothing; is it of this version?"),
    };
    if json {
        say(format_args!("{}\n", serde_json::to_string_pretty(&told)?))
    } else {
        say(explaining::render(&told))
    }
}

/// Columns of the terminal. What goes elsewhere, as into `grep`, has a line for everything.
fn width() -> usize {
    terminal_size::terminal_size_of(std::io::stdout()).map_or(usize::MAX, |(width, _)| width.0.into())
}

fn blocks(json: bool, control: &Control) -> Result<()> {
    let blocks = match client::ask(&control.path, &Request::Blocks)? {
        Response::Blocks { blocks } => blocks,
        Response::Refused { message } => bail!(message),
        _ => bail!("the daemon told of no blocks; is it of this version?"),
    };
    if json {
        say(format_args!("{}\n", serde_json::to_string_pretty(&blocks)?))
    } else {
        blocks.iter().try_for_each(|block| say(format_args!("{}\n", block.line())))
    }
}

/// Asks for something to be done and tells whether it was.
fn ask(control: &Control, request: &Request) -> Result<()> {
    match client::ask(&control.path, request)? {
        Response::Done { message } => say(format_args!("{message}\n")),
        Response::Refused { message } => bail!(message),
        _ => bail!("the daemon answered what was not asked; is it of this version?"),
    }
}

/// Writes what was asked for. Who reads no further, as `head` does, has had enough.
fn say(what: impl Display) -> Result<()> {
    match write!(io::stdout(), "{what}") {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error).context("writing the answer"),
        _ => Ok(()),
    }
}

/// Writes what is wrong, as far as anybody reads it.
fn warn(what: impl Display) {
    let _ = writeln!(io::stderr(), "{what}");
}
