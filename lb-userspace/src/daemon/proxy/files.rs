//! The files that TLS is read from, watched: what was renewed is shown without a reload.
//!
//! They are looked at every few seconds. A file counts as changed when it looks the same twice after it looked different, so
//! that nothing is read that is still being written. A certificate and its key change one after the other; between the two
//! they do not belong together, and then the former pair stays.

use super::Front;
use crate::daemon::chain;
use crate::l7::site::Snapshot;
use crate::l7::tls::files_of;
use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::time::{Interval, MissedTickBehavior, interval};

/// How often files are looked at.
const OFTEN: Duration = Duration::from_secs(2);
/// How often the log warns of a certificate that ends soon.
const DAILY: Duration = Duration::from_hours(24);

/// When to look.
#[derive(Debug)]
pub(in crate::daemon) struct Looks(Interval);

impl Looks {
    pub(in crate::daemon) fn new() -> Self {
        let mut interval = interval(OFTEN);
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self(interval)
    }

    /// Waits until it is time.
    pub(in crate::daemon) async fn next(&mut self) {
        self.0.tick().await;
    }
}

/// What can be seen of a file without reading it; `None` if there is none.
type Look = Option<(i64, i64, u64, u64)>;

/// How files looked when they were read, and how those look that have changed since.
#[derive(Debug, Default)]
pub(super) struct FileWatch {
    read: HashMap<PathBuf, Look>,
    seen: HashMap<PathBuf, Look>,
    warned: Option<SystemTime>,
    /// When staples were looked at last.
    looked: Option<SystemTime>,
}

impl FileWatch {
    /// Notes how files look that are read next. Others are forgotten.
    pub(super) fn of<'a>(files: impl Iterator<Item = &'a Path>) -> Self {
        let read = files.map(|file| (file.to_owned(), look(file))).collect();
        Self { read, looked: Some(SystemTime::now()), ..Self::default() }
    }

    /// The files that have changed, by how they look now.
    fn changed(&mut self, look: impl Fn(&Path) -> Look) -> Vec<PathBuf> {
        let mut changed = Vec::new();
        for (file, read) in &mut self.read {
            let now = look(file);
            if now == *read {
                self.seen.remove(file);
            } else if self.seen.insert(file.clone(), now) == Some(now) {
                *read = now;
                self.seen.remove(file);
                changed.push(file.clone());
            }
        }
        changed
    }

    /// Whether a day has passed since the last warning; if so another is due a day later.
    fn is_to_warn(&mut self, now: SystemTime) -> bool {
        let recent = |then: SystemTime| now.duration_since(then).is_ok_and(|passed| passed < DAILY);
        let due = !self.warned.is_some_and(recent);
        if due {
            self.warned = Some(now);
        }
        due
    }
}

fn look(file: &Path) -> Look {
    let seen = fs::metadata(file).ok()?;
    Some((seen.mtime(), seen.mtime_nsec(), seen.size(), seen.ino()))
}

impl Front {
    /// Looks whether files have changed, and has the workers use what can be used of them.
    pub(in crate::daemon) fn look_at_files(&mut self) {
        let now = SystemTime::now();
        let mut changed = self.watch.changed(look);
        let before = self.watch.looked.replace(now).unwrap_or(now);
        // Read again, it is found to be over, and left out.
        changed.extend(self.snapshot.tls.lapsed((before, now)).map(Path::to_owned).inspect(|file| {
            tracing::warn!("the staple in {} is past its next update and is no longer shown", file.display());
        }));
        if !changed.is_empty() {
            self.read_again(&changed);
        }
        if self.watch.is_to_warn(now) {
            self.warn_of_ends(now);
        }
    }

    fn read_again(&mut self, changed: &[PathBuf]) {
        let settings = &self.snapshot.settings;
        // What could not be used is tried again with whatever changes, so that no mistake is told longer than it lasts.
        let all = !self.unusable.is_empty();
        let is_changed = &mut |file: &Path| all || changed.iter().any(|other| other == file);
        let (tls, mistakes) = self.snapshot.tls.follow(&self.shared, settings, is_changed);
        for mistake in &mistakes {
            tracing::error!("{}; what was in use before stays in use", chain(mistake));
        }
        self.unusable = mistakes.iter().map(|mistake| chain(mistake)).collect();
        let files: Vec<_> = changed.iter().map(|file| file.display().to_string()).collect();
        tracing::info!(files = files.join(", "), "read again");
        self.snapshot = Snapshot { tls: Arc::new(tls), ..self.snapshot.clone() };
        self.checks.follow(&self.file, &self.snapshot);
        if let Some(workers) = &self.workers {
            workers.serve(&self.snapshot, self.checks.down());
        }
    }

    fn warn_of_ends(&self, now: SystemTime) {
        for (id, _) in self.snapshot.settings.listeners.iter() {
            for warning in self.snapshot.tls.shown(id).iter().flat_map(|shown| shown.warnings(now)) {
                tracing::warn!("{warning}");
            }
        }
    }
}

/// The files of a snapshot as they look now.
pub(super) fn watch(settings: &crate::l7::settings::Settings) -> FileWatch {
    FileWatch::of(files_of(settings))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watched() -> (FileWatch, PathBuf) {
        let file = PathBuf::from("a.crt");
        let read = HashMap::from([(file.clone(), Some((1, 0, 0, 0)))]);
        (FileWatch { read, ..FileWatch::default() }, file)
    }

    #[test]
    fn a_file_has_changed_when_it_looks_the_same_twice() {
        let (mut watch, file) = watched();
        let mut look = |mtime| watch.changed(|_| Some((mtime, 0, 0, 0)));
        assert!(look(1).is_empty());
        assert!(look(2).is_empty() && look(3).is_empty(), "still being written");
        assert_eq!(look(3), [file]);
        assert!(look(3).is_empty(), "and only once");
    }

    #[test]
    fn a_file_that_looks_as_before_after_all_has_not_changed() {
        let (mut watch, _) = watched();
        let mut look = |mtime| watch.changed(|_| Some((mtime, 0, 0, 0)));
        assert!(look(2).is_empty() && look(1).is_empty() && look(2).is_empty());
    }

    #[test]
    fn the_log_warns_once_a_day() {
        let (mut watch, _) = watched();
        let begin = SystemTime::UNIX_EPOCH;
        assert!(watch.is_to_warn(begin) && !watch.is_to_warn(begin + DAILY / 2));
        assert!(watch.is_to_warn(begin + DAILY));
    }
}
