//! Every way to forward, over every family it is for: real TCP and UDP arrive where they should and come back, and a dead
//! backend does no harm.

use anyhow::{Context, Result, ensure};

use super::traffic::{self, WEIGHTS};
use super::{every_mode, fragments, hairpin, mtu, routed, several_interfaces, sharing};
use crate::daemon::Mode;
use crate::family::Family;
use crate::fleet::name;
use crate::runner::Case;
use crate::service::{Forward, Kind};
use crate::stage::{Set, Stage};
use crate::topology::Layout;
use crate::traffic::tally::Tally;

/// Downloads at a time; `traffic` tries more of them.
const DOWNLOADS: usize = 40;
const CONNECTIONS: usize = 60;

/// The weights of a stage for every mode. The config does not know the last host, which can be a client.
const WITH_A_GUEST: [u16; 4] = [WEIGHTS[0], WEIGHTS[1], WEIGHTS[2], 0];

/// The cases of this suite, and those of others for every mode, as one stage does for all.
pub(super) fn cases() -> Vec<Case> {
    let whole = every_mode(Layout::Distant).into_iter().flat_map(|set| {
        let claims = [CLAIM.to_vec(), fragments::claims(set), hairpin::claims(set)].concat();
        let claims = [claims, several_interfaces::claims(set), mtu::claims(set)].concat();
        sharing::cases(set, move || Stage::build(set, &WITH_A_GUEST), &claims)
    });
    let plain = in_the_stack().into_iter().chain(at_tc()).chain(one_armed());
    let plain = plain.flat_map(|set| sharing::cases(set, move || Stage::build(set, &WEIGHTS), &CLAIM));
    whole.chain(plain).collect()
}

const CLAIM: [sharing::Claim; 1] =
    [("modes", "connections_and_datagrams_arrive_and_a_dead_backend_leaves", everything_arrives)];

/// Some of every kind, attached in the stack.
fn in_the_stack() -> [Set; 4] {
    [
        routed(Forward::Nat, Mode::Generic).families(Family::V6, Family::V6),
        routed(Forward::Dnat, Mode::Generic),
        routed(Forward::DsrIpip, Mode::Generic).families(Family::V6, Family::V4),
        routed(Forward::DsrGue, Mode::Generic).families(Family::V4, Family::V6),
    ]
}

/// Some of every kind, attached at TC, among packets that are many in one and whose checksums are to be completed.
fn at_tc() -> [Set; 6] {
    [
        routed(Forward::Nat, Mode::Clsact),
        routed(Forward::Nat, Mode::Tc).families(Family::V6, Family::V6),
        routed(Forward::Dnat, Mode::Tc),
        routed(Forward::DsrIpip, Mode::Tc).families(Family::V6, Family::V4),
        routed(Forward::DsrGue, Mode::Tc),
        routed(Forward::DsrGue, Mode::Tc).families(Family::V4, Family::V6),
    ]
}

/// By a balancer with one interface, where `dnat` cannot be: a backend on the client's segment answers past it.
fn one_armed() -> [Set; 3] {
    [
        routed(Forward::Nat, Mode::Native).families(Family::V6, Family::V6),
        routed(Forward::DsrIpip, Mode::Native).families(Family::V4, Family::V6),
        routed(Forward::DsrGue, Mode::Native).families(Family::V6, Family::V6),
    ]
    .map(|set| set.laid_out(Layout::OneArmed))
}

/// All of it in one case: what differs between modes is how a packet is rewritten, and that is wrong for all or for none.
fn everything_arrives(stage: &mut Stage) -> Result<()> {
    traffic::connections_spread(stage).context("new connections")?;
    traffic::datagrams_spread(stage).context("datagrams")?;
    traffic::connection_stays(stage).context("requests on one connection")?;
    traffic::addresses_are_seen(stage).context("addresses")?;
    traffic::echo_returns(stage).context("an echo")?;
    traffic::downloads_are_whole(stage, DOWNLOADS).context("downloads")?;
    traffic::closed_port_refuses(stage).context("a closed port")?;
    dead_backend_leaves(stage).context("a dead backend")
}

fn dead_backend_leaves(stage: &mut Stage) -> Result<()> {
    stage.fleet.kill(0)?;
    stage.wait_for(Kind::Http, 0, "down")?;
    let tally = stage.who_answers(CONNECTIONS)?;
    ensure!(tally.of(&name(0)) == 0, "it answered: {tally:?}");
    stage.fleet.revive(&stage.house, 0)?;
    stage.wait_for(Kind::Http, 0, "up")?;
    stage.who_answers(CONNECTIONS).map(|_: Tally| ())
}
