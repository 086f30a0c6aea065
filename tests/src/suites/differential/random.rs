//! Random traffic through tables that change all the while, in programs loaded once.

use super::twins::{Hook, Twins};
use crate::packets::{Medley, Mix, PORTS, Random, Side, TOWN_PORTS, Traffic, change, town};
use crate::runner::Case;
use crate::skip::Need;
use anyhow::{Context, Result, ensure};
use lb_common::abi::Forward;
use lb_common::datapath::Reason;
use std::env;
use std::time::{SystemTime, UNIX_EPOCH};

/// Names a run to repeat; without it every run is another.
const SEED: &str = "LB_TEST_SEED";
/// A third of a second's worth.
const PACKETS: usize = 10_000;
/// Room for so few records that every key may lie on every line: only then the kernel's table is full when the host's is.
const FEW: usize = 16;
/// Packets between two changes of the tables.
const CALM: usize = 25;

/// What a run must have been about, so that it cannot agree on nothing.
type Aims = &'static [Reason];

const NAT: Aims = &[
    Reason::NatForward,
    Reason::NatOpened,
    Reason::NatReply,
    Reason::IcmpForward,
    Reason::IcmpReply,
    Reason::NoFlow,
    Reason::Unserved,
    Reason::HopsUsedUp,
];
const IPIP: Aims = &[
    Reason::Settled,
    Reason::Recorded,
    Reason::Opened,
    Reason::Older,
    Reason::Unrecorded,
    Reason::IcmpForward,
    Reason::Unserved,
    Reason::FragmentationNeeded,
];
const DAMAGED: Aims = &[
    Reason::NatReply,
    Reason::Settled,
    Reason::IcmpForward,
    Reason::NotIp,
    Reason::BadIp,
    Reason::OtherProtocol,
    Reason::NotAVip,
    Reason::IcmpNotOurs,
    Reason::Malformed,
    Reason::FragmentUnknown,
];

const MEDLEY: Aims = &[
    Reason::NatForward,
    Reason::NatOpened,
    Reason::NatReply,
    Reason::DnatRouted,
    Reason::Settled,
    Reason::Recorded,
    Reason::Opened,
    Reason::Older,
    Reason::Local,
    Reason::Ping,
    Reason::FragmentationNeeded,
    Reason::FragmentUnknown,
    Reason::IcmpForward,
    Reason::IcmpReply,
];

pub(super) fn cases() -> Vec<Case> {
    let mix = |forward, damaged| Mix { forward, damaged };
    vec![
        case("nat", mix(Some(Forward::Nat), 0), 0, NAT),
        case("ipip", mix(Some(Forward::DsrIpip), 0), FEW, IPIP),
        case("damaged", mix(None, 60), 0, DAMAGED),
        Case::new("differential::random::every_way_of_forwarding_ends_alike", || repeatable(send_medley))
            .needs(&[Need::Root]),
    ]
}

fn case(name: &str, mix: Mix, room: usize, aims: Aims) -> Case {
    Case::new(format!("differential::random::{name}_traffic_ends_alike"), move || run(mix, room, aims))
        .needs(&[Need::Root])
}

fn run(mix: Mix, room: usize, aims: Aims) -> Result<()> {
    repeatable(|seed| send_all(seed, mix, room, aims))
}

fn repeatable(traffic: impl FnOnce(u64) -> Result<()>) -> Result<()> {
    let seed = seed()?;
    eprintln!("seed {seed}");
    traffic(seed).with_context(|| format!("{SEED}={seed} repeats it"))
}

fn seed() -> Result<u64> {
    match env::var(SEED) {
        Ok(seed) => seed.parse().with_context(|| format!("{SEED} is a number")),
        Err(_) => Ok(u64::from(SystemTime::now().duration_since(UNIX_EPOCH)?.subsec_nanos())),
    }
}

fn send_all(seed: u64, mix: Mix, room: usize, aims: Aims) -> Result<()> {
    let (mut random, mut traffic) = (Random::new(!seed), Traffic::new(seed, mix));
    let mut twins = Twins::load(Hook::Xdp, town(seed, room), TOWN_PORTS)?;
    for number in 0..PACKETS {
        if number % CALM == 0 {
            change(&mut twins.host, &mut random);
            twins.copy()?;
        }
        let packet = traffic.packet();
        let sent = twins.send(Side::Balance, &packet);
        let (outcome, bytes) = sent.with_context(|| format!("packet {number}: {packet:02x?}"))?;
        traffic.observe(&outcome, &bytes);
    }
    twins.compare()?;
    has_met(&twins, aims)
}

fn send_medley(seed: u64) -> Result<()> {
    let mut medley = Medley::new(seed);
    let mut twins = Twins::load(Hook::Xdp, Medley::tables(), PORTS)?;
    for number in 0..PACKETS {
        if number % CALM == CALM - 1 {
            medley.change(&mut twins.host);
            twins.copy()?;
        }
        let packet = medley.packet();
        let sent = twins.send(Side::Balance, &packet);
        drop(sent.with_context(|| format!("packet {number}: {packet:02x?}"))?);
    }
    twins.compare()?;
    has_met(&twins, MEDLEY)
}

fn has_met(twins: &Twins, aims: Aims) -> Result<()> {
    let met = twins.host.reasons.borrow();
    let missed: Vec<_> = aims.iter().filter(|reason| !met.contains_key(reason.label())).collect();
    ensure!(missed.is_empty(), "never met {missed:?}, only {met:?}");
    Ok(())
}
