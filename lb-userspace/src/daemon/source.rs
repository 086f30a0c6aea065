//! Where the configuration comes from.

use crate::config::{self, Config, Loaded};
use std::fmt;
use std::path::{Path, PathBuf};

/// Read if it is there and no other file is named.
const USUAL: &str = "/etc/lb/lb.toml";

/// A file, or the embedded default.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// A file, read again at each reload.
    File(PathBuf),
    /// No services. A reload looks again whether the usual file is there now.
    Embedded,
}

impl Source {
    /// The file the operator named, else the usual one if it is there, else the embedded default.
    pub(super) fn choose(named: Option<PathBuf>) -> Self {
        named.map_or_else(Self::usual, Self::File)
    }

    fn usual() -> Self {
        let path = Path::new(USUAL);
        if path.exists() { Self::File(path.to_owned()) } else { Self::Embedded }
    }

    /// The source a reload reads.
    pub(super) fn again(&self) -> Self {
        match self {
            Self::File(_) => self.clone(),
            Self::Embedded => Self::usual(),
        }
    }

    /// The file to write services into.
    pub(super) fn path(&self) -> &Path {
        match self {
            Self::File(path) => path,
            Self::Embedded => Path::new(USUAL),
        }
    }

    /// Reads and checks the configuration; warnings go to the log.
    pub(super) fn load(&self) -> Result<Config, config::Error> {
        let Loaded { config, warnings } = match self {
            Self::File(path) => config::load(path)?,
            Self::Embedded => config::parse("embedded default", config::DEFAULT)?,
        };
        for warning in warnings {
            tracing::warn!("{warning}");
        }
        Ok(config)
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Embedded => f.write_str("embedded default"),
        }
    }
}
