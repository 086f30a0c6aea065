//! The claims, each a case with a sentence for a name, tried with every set-up that it holds for.

mod capture;
mod change;
mod churn;
mod cookies;
mod crash;
mod demo;
mod differential;
mod first_run;
mod flood;
mod fragments;
mod guard;
mod hairpin;
mod harness;
mod health;
mod l7;
mod lifecycle;
mod limits;
mod local;
mod modes;
mod mtu;
mod network;
mod ping;
mod qinq;
mod reloads;
mod selectors;
mod several_interfaces;
mod sharing;
mod smoke;
mod traffic;
mod verifier;
mod vips;

use crate::daemon::Mode;
use crate::family::Family;
use crate::runner::Case;
use crate::service::Forward;
use crate::skip::Need;
use crate::stage::Set;
use crate::topology::Layout;
use lb_userspace::kernel::census::Verified;

/// What every case with a daemon needs.
const NEEDS: [Need; 3] = [Need::Root, Need::IoUring, Need::NativeXdp];

/// Every case of every suite.
#[must_use]
pub fn all() -> Vec<Case> {
    let steady = [
        differential::cases(),
        harness::cases(),
        first_run::cases(),
        l7::cases(),
        traffic::cases(),
        lifecycle::cases(),
        modes::cases(),
        several_interfaces::cases(),
        vips::cases(),
        selectors::cases(),
        ping::cases(),
        hairpin::cases(),
        qinq::cases(),
        local::cases(),
        capture::cases(),
        mtu::relayed(),
    ];
    let steady = steady.into_iter().flatten().map(Case::beside_others);
    let suites = [
        health::cases(),
        change::cases(),
        demo::cases(),
        crash::cases(),
        reloads::cases(),
        network::cases(),
        limits::cases(),
        churn::cases(),
        guard::cases(),
        flood::cases(),
        cookies::cases(),
        l7::idle(),
    ];
    steady.chain(suites.into_iter().flatten()).collect()
}

/// The cases for a kernel that is tried in a virtual machine, which is slow: what depends on the kernel, and of the fixtures a
/// sample. If some were `asked` for by name, it is picked from all, and from what no kernel outside may have descriptors for.
#[must_use]
pub fn of_a_guest(verified: Vec<Verified>, asked: bool) -> Vec<Case> {
    let fixtures = if asked { differential::in_one_load() } else { differential::sample_in_one_load() };
    let suites = [verifier::cases(verified), smoke::cases(), local::lookups(), fixtures];
    let long = asked.then(l7::idle).into_iter().flatten();
    suites.into_iter().flatten().chain(long).collect()
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

const BOTH: [Family; 2] = Family::BOTH;

/// Every way to forward packets to backends, over every family it is for, attached natively. The layout of `dsr-l2`, which
/// needs its backends on one segment with the balancer, is the nearest to `layout`.
fn every_mode(layout: Layout) -> Vec<Set> {
    let segment = if layout == Layout::Distant { Layout::DistantOneArmed } else { Layout::OneArmed };
    let translating = [Forward::Nat, Forward::Dnat].map(|forward| (forward, layout));
    let native = |(forward, layout)| routed(forward, Mode::Native).laid_out(layout);
    let same_family = translating.into_iter().chain([(Forward::DsrL2, segment)]).map(native);
    let plain = same_family.flat_map(|set| BOTH.map(|family| set.families(family, family)));
    plain.chain(every_encapsulation().into_iter().map(|set| set.laid_out(layout))).collect()
}

/// The ways to forward that put a packet into another, over every two families.
fn every_encapsulation() -> Vec<Set> {
    let sets = [Forward::DsrIpip, Forward::DsrGue].map(|forward| routed(forward, Mode::Native));
    let outer = |set: Set, inner| BOTH.map(|outer| set.families(inner, outer));
    sets.into_iter().flat_map(|set| BOTH.into_iter().flat_map(move |inner| outer(set, inner))).collect()
}

/// Both ways to forward, attached natively.
const NATIVE: [Set; 2] = [routed(Forward::Nat, Mode::Native), routed(Forward::DsrIpip, Mode::Native)];
/// Both ways to forward, attached in the stack.
const GENERIC: [Set; 2] = [routed(Forward::Nat, Mode::Generic), routed(Forward::DsrIpip, Mode::Generic)];
/// Both ways to forward, attached at TC, with all offloads on.
const TC: [Set; 2] = [routed(Forward::Nat, Mode::Tc), routed(Forward::DsrIpip, Mode::Tc)];
/// Both ways to forward, by a balancer with one interface.
const ONE_ARMED: [Set; 2] = [
    routed(Forward::Nat, Mode::Native).laid_out(Layout::OneArmed),
    routed(Forward::DsrIpip, Mode::Native).laid_out(Layout::OneArmed),
];
