//! Where the configuration comes from.

use super::Error;
use crate::config::{self, Config, Loaded};
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Read if it is there and no other file is named.
const USUAL: &str = "/etc/lb/lb.toml";

/// How long a file must have been left alone before a reload reads it.
const SETTLED: Duration = Duration::from_millis(20);
/// How often a reload looks whether it has been: a file that somebody writes for longer is read as it is.
const LOOKS: u32 = 50;

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

    /// Reads the configuration when nobody writes to it. A file written in place is empty or cut short meanwhile, and
    /// may be a valid configuration even so: one of fewer services.
    async fn load_settled(&self) -> Result<Config, config::Error> {
        for _ in 1..LOOKS {
            tokio::time::sleep(self.unsettled()).await;
            let loaded = self.load();
            // It may have been written to since the look at its age.
            if self.unsettled().is_zero() {
                return loaded;
            }
        }
        self.load()
    }

    /// Reads the configuration for a daemon that serves something, or not. One by which nothing is served is refused where something
    /// was: it is what a full disk or a `>` at the wrong moment leaves of a file.
    pub(super) async fn load_again(&self, is_serving: bool) -> Result<Config, Error> {
        let config = self.load_settled().await?;
        if is_serving && !config.serves() {
            return Err(Error::NothingLeft { config: self.to_string() });
        }
        Ok(config)
    }

    /// How much longer the file should be left alone; nothing where its age cannot be told, as of one that is gone or
    /// from the future.
    fn unsettled(&self) -> Duration {
        self.age().map_or(Duration::ZERO, |age| SETTLED.saturating_sub(age))
    }

    /// How long ago the file was written.
    fn age(&self) -> Option<Duration> {
        std::fs::metadata(self.path()).ok()?.modified().ok()?.elapsed().ok()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_file_is_read_when_it_was_left_alone_for_a_moment() {
        let path = std::env::temp_dir().join(format!("lb-settle-{}.toml", std::process::id()));
        let source = Source::File(path.clone());
        assert!(source.load_settled().await.is_err(), "a file that is not there was read");
        std::fs::write(&path, "").unwrap();
        let loaded = source.load_settled().await;
        let age = source.age().unwrap();
        std::fs::remove_file(&path).unwrap();
        assert!(loaded.is_ok() && age >= SETTLED, "read at the age of {age:?}");
    }

    #[tokio::test]
    async fn a_file_that_was_emptied_does_not_end_what_is_served() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lb.toml");
        let source = Source::File(path.clone());
        let service = "[[service]]\nname = \"a\"\nkind = \"http\"\n[[service.backend]]\nname = \"a\"\naddr = \"10.0.0.1:80\"\n";
        for text in ["", "# words\n", "[limits]\nflows = 65536\n", service] {
            std::fs::write(&path, text).unwrap();
            assert!(source.load_again(false).await.is_ok(), "{text}");
            let refused = source.load_again(true).await.unwrap_err().to_string();
            assert!(refused.starts_with(&format!("{} has neither", path.display())), "{refused}");
        }
        let listener = "[[listener]]\nname = \"h\"\naddresses = [\"127.0.0.1:80\"]\nservice = \"a\"\n";
        std::fs::write(&path, [listener, service].concat()).unwrap();
        assert!(source.load_again(true).await.is_ok());
    }
}
