//! The daemon's log: to standard error, as text for people or JSON for programs.

use std::io::IsTerminal as _;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::util::SubscriberInitExt as _;

/// How lines are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// A line of words.
    #[default]
    Text,
    /// A JSON object a line.
    Json,
}

/// Environment variable that sets the level, as `RUST_LOG` does elsewhere: `warn`, `debug`, or by module.
const LEVEL: &str = "LB_LOG";

/// Begins logging. Level `info` unless `LB_LOG` says otherwise.
pub fn start(format: Format) {
    let filter = EnvFilter::try_from_env(LEVEL).unwrap_or_else(|_| EnvFilter::new("info,netlink_proto=warn"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // Already started (by a test) is as good.
    let _ = match format {
        Format::Text => {
            builder.with_ansi(std::io::stderr().is_terminal()).with_target(false).finish().try_init()
        }
        Format::Json => builder.json().flatten_event(true).finish().try_init(),
    };
}
