//! The daemon's log: to standard error, as text for people or JSON for programs.

use std::io::{self, IsTerminal as _, Write as _};
use std::sync::OnceLock;
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
/// What is logged otherwise. The netlink library's own words are about its sockets, not about the network; those of HTTP/2's are about
/// what clients send, who could fill a disk with them.
const USUAL: &str = "info,netlink_proto=warn,h2=error";

/// The format that was begun with.
static FORMAT: OnceLock<Format> = OnceLock::new();

/// Begins logging. Level `info` unless `LB_LOG` says otherwise.
pub fn start(format: Format) {
    let _ = FORMAT.set(format);
    let (filter, complaint) = filter(std::env::var(LEVEL).ok().as_deref());
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // Already started (by a test) is as good.
    let _ = match format {
        Format::Text => {
            builder.with_ansi(std::io::stderr().is_terminal()).with_target(false).finish().try_init()
        }
        Format::Json => builder.json().flatten_event(true).finish().try_init(),
    };
    if let Some(complaint) = complaint {
        tracing::warn!("{complaint}");
    }
}

/// The last word of a program that failed: a line like the others for programs, a plain one for people.
pub fn end(error: &str) {
    match FORMAT.get() {
        Some(Format::Json) => tracing::error!("{error}"),
        // Where nobody reads it the exit code tells.
        _ => drop(writeln!(io::stderr(), "lb-userspace: {error}")),
    }
}

/// The filter for what the variable says, and what is wrong with that.
fn filter(wanted: Option<&str>) -> (EnvFilter, Option<String>) {
    let Some(wanted) = wanted.filter(|wanted| !wanted.is_empty()) else {
        return (EnvFilter::new(USUAL), None);
    };
    match EnvFilter::try_new(wanted) {
        Ok(filter) => (filter, None),
        Err(error) => {
            let complaint = format!(
                "{LEVEL}={wanted} is not understood ({error}); try `{LEVEL}=debug`. Logging as without it"
            );
            (EnvFilter::new(USUAL), Some(complaint))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_that_is_not_understood_is_told_and_the_usual_one_taken() {
        let (usual, complaint) = filter(Some("lb_userspace=loud"));
        assert_eq!(usual.to_string(), EnvFilter::new(USUAL).to_string());
        assert!(complaint.is_some_and(|words| words.contains("LB_LOG=lb_userspace=loud is not understood")));
    }

    #[test]
    fn a_level_by_module_is_taken_and_no_level_is_the_usual_one() {
        assert_eq!(filter(Some("lb_userspace=debug")).0.to_string(), "lb_userspace=debug");
        for absent in [None, Some("")] {
            let (filter, complaint) = filter(absent);
            assert_eq!((filter.to_string(), complaint), (EnvFilter::new(USUAL).to_string(), None));
        }
    }
}
