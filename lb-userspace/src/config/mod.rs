//! The configuration: TOML text in, a validated [`Config`] or *every* mistake out.
//!
//! ```text
//! text ─ toml ─► spanned tree ─ raw ─► spanned values ─ check ─► Config
//!                     └──────────── Report ────────────┴──────► Mistakes | warnings
//! ```
//!
//! - `raw` walks the tree by the table of `sections`: unknown and missing keys, wrong types, values out of range.
//! - `check` looks at values together: duplicates, families, modes that exclude each other.
//! - A stage never stops at a mistake: it notes it in the `finding::Report` and goes on without that value.
//!
//! Pure but for [`load`], which reads one file. This is the only module that knows the `toml` crate.

mod bounds;
mod check;
mod diagnostic;
mod duration;
mod finding;
mod found;
mod guard;
mod keys;
mod model;
mod raw;
mod reader;
mod reference;
mod sections;
mod source;
mod suggest;
mod syntax;
mod value;

#[cfg(test)]
mod tests;

pub use bounds::{DEFAULT_SEED, MAX_BACKENDS, MAX_SERVICES, MAX_WEIGHT};
pub use diagnostic::{Diagnostic, Mistakes, Place, Related, Severity};
pub use duration::parse as parse_duration;
pub use guard::{Guard, ServiceGuard};
pub use model::{
    Backend, Capture, Check, CheckKind, Config, Encap, Forward, Limits, Nat, NatPorts, Protocol, Select,
    Service, StatusRange, Tracking, Vip,
};
pub use reference::reference;

use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use finding::Report;
use source::Source;

/// The configuration a daemon starts with when there is no file: no services, and a comment saying how to add one.
pub const DEFAULT: &str = include_str!("default.toml");

/// A small complete configuration, as the reference shows it.
pub const EXAMPLE: &str = include_str!("example.toml");

/// A valid configuration and what is odd about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loaded {
    /// The validated model.
    pub config: Config,
    /// Things that are allowed but probably not meant, in the order of the file.
    pub warnings: Vec<Diagnostic>,
}

/// Why a configuration file could not be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The environment's fault: no such file, no permission.
    #[error("cannot read the configuration {}", path.display())]
    Read {
        /// The file that was asked for.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The operator's fault: a folder, a pipe or a device.
    #[error("the configuration {} is not a file", path.display())]
    NotAFile {
        /// What was asked for.
        path: PathBuf,
    },
    /// The operator's fault: no configuration is that long.
    #[error("the configuration {} is longer than {} MiB; is it the right file?", path.display(), LONGEST >> 20)]
    TooLong {
        /// The file that was asked for.
        path: PathBuf,
    },
    /// The operator's fault: the bytes are not text.
    #[error("{}:{line}: not UTF-8 text; save the file as UTF-8", path.display())]
    Encoding {
        /// The file that was asked for.
        path: PathBuf,
        /// First line that is not UTF-8, from 1.
        line: usize,
    },
    /// The operator's fault: mistakes in the text, all of them.
    #[error(transparent)]
    Mistakes(#[from] Mistakes),
}

/// Parses and validates `text`; `name` is what messages call the file.
pub fn parse(name: &str, text: &str) -> Result<Loaded, Mistakes> {
    let source = Source::new(name, text);
    let mut report = Report::default();
    let tree = syntax::parse(text, &mut report);
    let raw = raw::File::read(tree.get_ref(), &mut report);
    let config = check::config(&raw, &source, &mut report);
    let (mistakes, warnings) = report.finish(&source);
    if mistakes.is_empty() { Ok(Loaded { config, warnings }) } else { Err(Mistakes::new(mistakes)) }
}

/// The longest file that is read: several times what the most services and backends take, with comments.
const LONGEST: u64 = 4 << 20;

/// Reads and parses the file at `path`. Anything but a file is refused, for a pipe could keep the daemon waiting.
pub fn load(path: &Path) -> Result<Loaded, Error> {
    let bytes = read(path)?;
    let text = std::str::from_utf8(&bytes).map_err(|error| Error::Encoding {
        path: path.to_owned(),
        line: line_at(&bytes, error.valid_up_to()),
    })?;
    Ok(parse(&path.display().to_string(), text)?)
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    let failed = |source| Error::Read { path: path.to_owned(), source };
    if !std::fs::metadata(path).map_err(failed)?.is_file() {
        return Err(Error::NotAFile { path: path.to_owned() });
    }
    let mut bytes = Vec::new();
    let mut file = std::fs::File::open(path).map_err(failed)?.take(LONGEST + 1);
    file.read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > LONGEST {
        return Err(Error::TooLong { path: path.to_owned() });
    }
    Ok(bytes)
}

fn line_at(bytes: &[u8], offset: usize) -> usize {
    1 + bytes.iter().take(offset).filter(|&&byte| byte == b'\n').count()
}
