//! The reference of all keys, printed from their definitions.

use std::fmt::{self, Write};

use super::EXAMPLE;
use super::bounds::{MAX_BACKENDS, MAX_SERVICES};
use super::keys::{Key, Presence, Section};
use super::sections;

/// The reference of the configuration in Markdown: every key with type, range, default, meaning and reason.
/// `CONFIG.md` is this text.
#[must_use]
pub fn reference() -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    _ = write_reference(&mut text);
    text
}

fn write_reference(text: &mut String) -> fmt::Result {
    writeln!(text, "{HEAD}\n```toml\n{EXAMPLE}```")?;
    writeln!(
        text,
        "\nA file holds at most {MAX_SERVICES} services of layer 4, with {MAX_BACKENDS} backends in all."
    )?;
    sections::ALL.iter().try_for_each(|section| write_section(text, section))
}

fn write_section(text: &mut String, section: &Section) -> fmt::Result {
    match section.title {
        "" => writeln!(text, "\n## The top level")?,
        title => writeln!(text, "\n## `{title}`")?,
    }
    writeln!(text, "\n{}", section.meaning)?;
    section.keys.iter().try_for_each(|key| write_key(text, key))
}

fn write_key(text: &mut String, key: &Key) -> fmt::Result {
    writeln!(text, "\n### `{}`\n\n{}", key.name, key.meaning)?;
    writeln!(text, "\n- Takes {}.", key.value)?;
    match key.presence {
        Presence::Required => writeln!(text, "- Required, as in `{}`.", key.example)?,
        Presence::Default(value) => writeln!(text, "- Default: `{value}`.")?,
        Presence::Optional(otherwise) => writeln!(text, "- Optional. Without it: {otherwise}.")?,
    }
    if key.why.is_empty() { Ok(()) } else { writeln!(text, "- Why: {}", key.why) }
}

const HEAD: &str = "\
<!-- Printed from the key definitions in src/config/sections.rs. Change them, not this. -->
# Configuration

One TOML file, `/etc/lb/lb.toml` unless `--config` names another. `lb-userspace check FILE` prints every mistake of a file
with its line and remedy; `lb-userspace reload` or SIGHUP reads it again, and a file with mistakes changes nothing. A reload
takes everything in but what says *read at start*: the kernel programs are loaded with that. It tells what waits for the next
start.

Durations are a whole number and a unit: `\"500ms\"`, `\"1s\"`, `\"5m\"`, `\"1h\"`. Keys that are not listed here are refused.
";
