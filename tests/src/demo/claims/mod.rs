//! What is shown, one claim after the other. Each leaves the scene as it found it.

mod change;
mod downloads;
mod failover;
mod spread;
mod stop;

use std::time::Duration;

use anyhow::Result;

use super::page::Page;
use super::scene::Scene;

/// Something that the product promises.
pub(super) struct Claim {
    /// The promise.
    pub(super) title: &'static str,
    /// Tries it, tells on the page what happens, and gives what was measured.
    pub(super) hold: fn(&mut Scene, &Page) -> Result<String>,
}

/// Every claim, in the order in which they are shown. The last one ends the daemon.
pub(super) const CLAIMS: [Claim; 8] = [
    Claim { title: "Connections spread by weight (nat)", hold: spread::through_nat },
    Claim { title: "Connections spread by weight (dsr-ipip)", hold: spread::through_dsr },
    Claim { title: "Parallel downloads arrive byte for byte", hold: downloads::arrive_whole },
    Claim { title: "A killed backend leaves in time", hold: failover::a_killed_backend_leaves },
    Claim { title: "It comes back without a failed request", hold: failover::it_comes_back },
    Claim { title: "A drain cuts nothing", hold: change::a_drain_cuts_nothing },
    Claim { title: "A broken config changes nothing", hold: change::a_broken_config_changes_nothing },
    Claim { title: "SIGTERM leaves no program behind", hold: stop::sigterm_detaches },
];

/// Requests at a time where the claim is about all of them. More would only queue for the same cores.
const WORKERS: usize = 4;

/// Traffic before and after an event, so that there is something to compare with.
const LEAD: Duration = Duration::from_millis(300);
