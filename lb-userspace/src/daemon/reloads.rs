//! What became of the reloads that were asked for. Whoever asks by a signal has no other answer than the log.

use crate::control::ReloadStatus;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// Shared with the thread that loads programs, which refuses a reload by itself.
#[derive(Clone, Debug, Default)]
pub(super) struct Reloads(Arc<Mutex<Told>>);

#[derive(Debug, Default)]
struct Told {
    taken: u64,
    refused: u64,
    /// Why the last one was refused, and when.
    refusal: Option<(String, Instant)>,
}

impl Reloads {
    /// A configuration came into force.
    pub(super) fn note_taken(&self) {
        self.with(|told| {
            told.taken += 1;
            told.refusal = None;
        });
    }

    /// One did not, for this reason.
    pub(super) fn note_refused(&self, reason: &str) {
        self.with(|told| {
            told.refused += 1;
            told.refusal = Some((reason.lines().next().unwrap_or_default().to_owned(), Instant::now()));
        });
    }

    pub(super) fn status(&self) -> ReloadStatus {
        self.with(|told| ReloadStatus {
            taken: told.taken,
            refused: told.refused,
            refusal: told.refusal.as_ref().map(|(reason, _)| reason.clone()),
            refused_seconds_ago: told.refusal.as_ref().map(|(_, at)| at.elapsed().as_secs_f64()),
        })
    }

    fn with<T>(&self, look: impl FnOnce(&mut Told) -> T) -> T {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_told_until_a_reload_is_taken() {
        let reloads = Reloads::default();
        assert_eq!(reloads.status(), ReloadStatus::default());
        reloads.note_taken();
        reloads.note_refused("error: unknown key `weigth`\n --> lb.toml:3:1\n");
        let told = reloads.clone().status();
        assert_eq!((told.taken, told.refused), (1, 1));
        assert_eq!(told.refusal.as_deref(), Some("error: unknown key `weigth`"));
        reloads.note_taken();
        assert_eq!(reloads.status(), ReloadStatus { taken: 2, refused: 1, ..ReloadStatus::default() });
    }
}
