//! The daemon's log: to standard error, as text for people or JSON for programs.

use super::stderr::{self, Queue};
use std::io::{self, IsTerminal as _, Write as _};
use std::sync::OnceLock;
use std::time::Duration;
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

/// How long a program that ends waits for whoever reads its last lines.
const LAST_LINES: Duration = Duration::from_secs(1);

/// The format that was begun with.
static FORMAT: OnceLock<Format> = OnceLock::new();
/// Where lines wait to be written.
static QUEUE: OnceLock<Queue> = OnceLock::new();

/// Begins logging. Level `info` unless `LB_LOG` says otherwise.
pub fn start(format: Format) -> io::Result<()> {
    let _ = FORMAT.set(format);
    let (filter, complaint) = filter(std::env::var(LEVEL).ok().as_deref());
    let queue = if let Some(queue) = QUEUE.get() {
        queue
    } else {
        let queue = Queue::start(stderr::write, tell_lost)?;
        QUEUE.get_or_init(|| queue)
    };
    // The formatter would print by itself what goes wrong with a line, and panic where that cannot be printed.
    let builder = tracing_subscriber::fmt().log_internal_errors(false);
    let builder = builder.with_env_filter(filter).with_writer(move || queue);
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
    Ok(())
}

fn tell_lost(lines: u64) {
    tracing::warn!(lines, "standard error took no more, and so many lines of this log are lost");
}

/// Waits for the last lines to be written, but not for a reader that takes none.
pub fn finish() {
    if let Some(queue) = QUEUE.get() {
        queue.flush(LAST_LINES);
    }
}

/// The last word of a program that failed: a line like the others for programs, a plain one for people.
pub fn end(error: &str) {
    let line = format!("lb-userspace: {error}\n");
    match (FORMAT.get(), QUEUE.get()) {
        (Some(Format::Json), _) => tracing::error!("{error}"),
        (_, Some(queue)) => queue.put(line.as_bytes()),
        // Where nobody reads it the exit code tells.
        _ => drop(io::stderr().write_all(line.as_bytes())),
    }
}

/// The filter for what the variable says, and what is wrong with that.
fn filter(wanted: Option<&str>) -> (EnvFilter, Option<String>) {
    let Some(wanted) = wanted.filter(|wanted| !wanted.is_empty()) else {
        return (EnvFilter::new(USUAL), None);
    };
    let parsed = match wanted.split(',').find(|directive| is_strange(directive)) {
        Some(strange) => Err(format!("`{strange}` is neither a level nor a module of this program")),
        None => EnvFilter::try_new(wanted).map_err(|error| error.to_string()),
    };
    match parsed {
        Ok(filter) => (filter, None),
        Err(error) => {
            let complaint = format!(
                "{LEVEL}={wanted} is not understood ({error}); levels are error, warn, info, debug and trace, as in \
                 `{LEVEL}=debug`. Logging as without it"
            );
            (EnvFilter::new(USUAL), Some(complaint))
        }
    }
}

/// Whether a word is none that was meant: a misspelt level is taken for a module of that name, and nothing else is logged.
fn is_strange(directive: &str) -> bool {
    const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
    /// Our own crates.
    const OURS: &str = "lb_";
    let directive = directive.trim();
    let is_level = LEVELS.iter().any(|level| directive.eq_ignore_ascii_case(level))
        || directive.parse::<u8>().is_ok_and(|level| usize::from(level) < LEVELS.len());
    // With a level behind it, or a span, it says what it is.
    !(directive.is_empty() || is_level || directive.contains(['=', '[']) || directive.starts_with(OURS))
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
    fn a_misspelt_level_is_told_and_silences_nothing() {
        for wrong in ["warning", "trce", "info,lb-userspace", "verbose,h2=error"] {
            let (usual, complaint) = filter(Some(wrong));
            assert_eq!(usual.to_string(), EnvFilter::new(USUAL).to_string(), "{wrong}");
            let complaint = complaint.unwrap();
            assert!(complaint.contains("is neither a level nor a module"), "{complaint}");
        }
        for right in ["WARN", "3", "off", "info,h2=trace", "lb_userspace", "debug,lb_userspace::plan=trace"] {
            assert_eq!(filter(Some(right)).1, None, "{right}");
        }
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
