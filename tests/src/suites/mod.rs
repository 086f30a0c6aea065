//! The claims, each a case with a sentence for a name, tried with every set-up that it holds for.

mod change;
mod crash;
mod differential;
mod first_run;
mod harness;
mod health;
mod lifecycle;
mod limits;
mod network;
mod reloads;
mod traffic;

use crate::daemon::Mode;
use crate::family::Family;
use crate::runner::Case;
use crate::service::Forward;
use crate::skip::Need;
use crate::stage::Set;
use crate::topology::Layout;

/// What every case with a daemon needs.
const NEEDS: [Need; 3] = [Need::Root, Need::IoUring, Need::NativeXdp];

/// Every case of every suite.
#[must_use]
pub fn all() -> Vec<Case> {
    let suites = [
        differential::cases(),
        harness::cases(),
        traffic::cases(),
        health::cases(),
        change::cases(),
        lifecycle::cases(),
        first_run::cases(),
        crash::cases(),
        reloads::cases(),
        network::cases(),
        limits::cases(),
    ];
    suites.into_iter().flatten().collect()
}

/// A claim about a stage.
type Claim = (&'static str, fn(Set) -> anyhow::Result<()>);

/// The cases of `claims`, one for each of `sets`.
fn cases(suite: &str, sets: &[Set], claims: &[Claim]) -> Vec<Case> {
    let one = |set: Set, (sentence, run): Claim| {
        Case::new(format!("{suite}::{set}::{sentence}"), move || run(set)).needs(&NEEDS)
    };
    sets.iter().flat_map(|set| claims.iter().map(move |claim| one(*set, *claim))).collect()
}

/// A stage in a routed house.
const fn routed(forward: Forward, mode: Mode) -> Set {
    Set { forward, mode, layout: Layout::Routed, clients: Family::V4, backends: Family::V4 }
}

/// Both ways to forward, attached natively.
const NATIVE: [Set; 2] = [routed(Forward::Nat, Mode::Native), routed(Forward::DsrIpip, Mode::Native)];
/// Both ways to forward, attached in the stack.
const GENERIC: [Set; 2] = [routed(Forward::Nat, Mode::Generic), routed(Forward::DsrIpip, Mode::Generic)];
/// Both ways to forward, by a balancer with one interface.
const ONE_ARMED: [Set; 2] = [
    routed(Forward::Nat, Mode::Native).laid_out(Layout::OneArmed),
    routed(Forward::DsrIpip, Mode::Native).laid_out(Layout::OneArmed),
];
