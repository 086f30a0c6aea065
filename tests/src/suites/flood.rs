//! Floods, as fast as a CPU can send them: the guard stops what it names and nothing else, and good clients keep their rate.
//!
//! The flood comes by a link of its own, as it would by a receive queue of its own: what a queue loses before any program
//! sees it, no balancer can bring back. The kernel receives on the CPU that sends, so making the flood and stopping it are
//! one CPU's work, and clients, backend and daemon have the others. A busy neighbour alone slows a CPU down (shared caches,
//! clock, hyper-threads), and what that costs is no balancer's doing: rounds with the flood take turns with rounds in which the
//! same flood goes to a decoy, which is a balancer just like it, in a house of its own, whose clients nobody counts.

use std::net::Ipv4Addr;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::{NATIVE, routed};
use crate::daemon::Mode;
use crate::flood::{Carries, Cpus, Flood, Sent, Shape, Sources, Way};
use crate::packets::{Ipv4, Stack as Packet};
use crate::runner::Case;
use crate::service::{Forward, Kind, Service, config};
use crate::stage::{Set, Stage, counted, services};
use crate::topology::{Host, House, LINK, VIP};
use crate::traffic::eager::{Eager, Manner};
use crate::traffic::echo;

/// The cases of this suite.
pub(super) fn cases() -> Vec<Case> {
    let mut cases =
        super::cases("flood", &NATIVE, &[("syns_from_everywhere_leave_open_connections_their_rate", syns)]);
    cases.extend(super::cases(
        "flood",
        &[routed(Forward::DsrIpip, Mode::Native)],
        &[
            ("datagrams_leave_clients_their_rate", datagrams),
            ("fragments_leave_clients_their_rate", fragments),
            ("malformed_packets_leave_clients_their_rate", malformed),
        ],
    ));
    cases
}

/// Share of their rate that good clients keep.
const KEPT: f64 = 0.95;
/// How long a round lasts, and how many there are of each kind in an attempt.
const ROUND: Duration = Duration::from_millis(150);
const ROUNDS: usize = 5;
/// Attempts: other work on the machine may take a rate down as well as a flood, but not each time, nor for long.
const ATTEMPTS: u32 = 6;
/// How much longer it is waited before an attempt than before the last one.
const PAUSE: Duration = Duration::from_secs(1);
/// Frames of a kind that must have met the guard. On a busy machine many find the link's queue full instead.
const LEAST: u64 = 10_000;

/// A balancer, its clients, and a stranger who can flood it.
struct Target {
    stage: Stage,
    stranger: Host,
    way: Way,
}

/// Frames, and the reason to drop them.
type Wave = (Shape, &'static str);

impl Target {
    fn build(set: Set, guarded: fn(Service) -> Service) -> Result<Self> {
        let mut house = House::build(set.layout, 1)?;
        let stranger = house.join("stranger")?;
        let way = Way {
            from: stranger.namespace.link_address(LINK)?,
            to: house.balancer.link_address("stranger0")?,
        };
        let text = |house: &House| {
            let services: Vec<_> = services(set, house, &[1]).into_iter().map(guarded).collect();
            format!("{}\n[guard]\n", config(&services))
        };
        let stage = Stage::within(house, set, text)?;
        stage.wait_until_up(&[1])?;
        Ok(Self { stage, stranger, way })
    }

    fn flood(&self, waves: &[Wave], cpu: usize) -> Result<Flood> {
        let shapes: Vec<_> = waves.iter().map(|(shape, _)| shape.clone()).collect();
        Flood::start(&self.stranger.namespace, LINK, &shapes, cpu)
    }

    fn v4(&self, packet: &Ipv4, carries: Carries, sources: Sources) -> Shape {
        Shape::v4(&packet.clone().identification(0), carries, sources, self.way)
    }
}

/// A target, and another of the same kind that takes the flood while the first has peace.
struct Siege {
    target: Target,
    decoy: Target,
    /// The flood's.
    cpu: usize,
}

impl Siege {
    /// Has `attack` done to services that `guarded` guards, on the CPUs that the flood leaves.
    fn lay(
        set: Set,
        guarded: fn(Service) -> Service,
        attack: impl FnOnce(&Self) -> Result<()> + Send,
    ) -> Result<()> {
        let cpus = Cpus::part()?;
        cpus.beside(|| {
            let [target, decoy] = [Target::build(set, guarded)?, Target::build(set, guarded)?];
            attack(&Self { target, decoy, cpu: cpus.flood })
        })
    }

    /// Floods while good clients ask, and holds what became of both.
    fn withstand(&self, waves: impl Fn(&Target) -> Vec<Wave>, manners: &[Manner]) -> Result<()> {
        let stage = &self.target.stage;
        let [target, decoy] = [&self.target, &self.decoy].map(&waves);
        let clients = Eager::start(&stage.house.client, stage.vip(Kind::Http), manners)?;
        let before = stage.daemon.status()?;
        let mut sent = vec![0; target.len()];
        let mut told = Vec::new();
        let holds = (0..ATTEMPTS).try_fold(false, |holds, failed| -> Result<bool> {
            if holds {
                return Ok(true);
            }
            thread::sleep(PAUSE * failed);
            let [elsewhere, here] = self.rates([&decoy, &target], &clients, &mut sent)?;
            told.push(format!("{here:.0} of {elsewhere:.0}"));
            Ok(here >= KEPT * elsewhere)
        })?;
        clients.stop()?;
        ensure!(holds, "answers a second with the flood of those while a decoy has it: {}", told.join(", "));
        stopped(&target, &sent, &before, &stage.daemon.status()?)
    }

    /// Answers a second while the decoy and while the target is flooded: medians of rounds that take turns.
    fn rates(&self, waves: [&[Wave]; 2], clients: &Eager, sent: &mut [u64]) -> Result<[f64; 2]> {
        let mut rates = [Vec::new(), Vec::new()];
        for _ in 0..ROUNDS {
            let [elsewhere, here] = &mut rates;
            let flood = self.decoy.flood(waves[0], self.cpu)?;
            elsewhere.push(clients.rate(ROUND)?);
            flood.stop()?;
            let flood = self.target.flood(waves[1], self.cpu)?;
            here.push(clients.rate(ROUND)?);
            let Sent { frames, .. } = flood.stop()?;
            sent.iter_mut().zip(frames).for_each(|(sum, frames)| *sum += frames);
        }
        Ok(rates.map(median))
    }
}

fn median(mut rates: Vec<f64>) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates.get(rates.len() / 2).copied().unwrap_or(0.0)
}

/// Holds that each wave was stopped for its reason, as far as the guard met it, and that nothing was for any other.
fn stopped(waves: &[Wave], sent: &[u64], before: &Value, after: &Value) -> Result<()> {
    let of = |reason: &str| counted(after, reason) - counted(before, reason);
    for (_, reason) in waves {
        let same = waves.iter().zip(sent).filter(|((_, other), _)| other == reason);
        let sent: u64 = same.map(|(_, sent)| sent).sum();
        let stopped = of(reason);
        ensure!((LEAST..=sent).contains(&stopped), "{stopped} of {sent} frames were stopped as {reason}");
    }
    let reasons = after["reasons"].as_array().context("reasons")?;
    let drops =
        reasons.iter().filter(|one| one["verdict"] == "drop").filter_map(|one| one["reason"].as_str());
    let others = drops.filter(|reason| waves.iter().all(|(_, wanted)| wanted != reason));
    for reason in others {
        ensure!(of(reason) == 0, "{} packets were stopped as {reason}", of(reason));
    }
    Ok(())
}

const ANYBODY: ([u8; 4], u16) = ([0; 4], 1024);
const SYN: u8 = 2;
const ACK: u8 = 16;
const FIN: u8 = 1;
/// The length that a datagram says it has.
const LENGTH_OF_UDP: usize = 14 + 20 + 4;

fn web() -> ([u8; 4], u16) {
    (VIP.octets(), Kind::Http.port())
}

/// A few sources that are good for as many packets as they may send.
const FEW: Sources = Sources::around(Ipv4Addr::new(64, 9, 0, 0), 4);

fn syns(set: Set) -> Result<()> {
    let bound = |service: Service| service.with("guard = { service_flows = 100 }");
    let wave = |target: &Target| {
        let syn = Packet::tcp(ANYBODY, web(), SYN, b"");
        vec![(target.v4(&syn, Carries::Tcp, Sources::EVERYWHERE), "service_new_flows")]
    };
    Siege::lay(set, bound, |siege| siege.withstand(wave, &[Manner::Kept, Manner::Kept]))
}

/// Bounds what a source may send to the service of datagrams.
fn bounded(service: Service) -> Service {
    match service.protocol {
        "udp" => service.with("guard = { source_packets = 20 }"),
        _ => service,
    }
}

fn datagrams(set: Set) -> Result<()> {
    let wave = |target: &Target| {
        let datagram = Packet::udp(ANYBODY, (VIP.octets(), Kind::Udp.port()), &[0; 18]);
        vec![(target.v4(&datagram, Carries::Udp, FEW), "source_rate")]
    };
    Siege::lay(set, bounded, |siege| {
        siege.withstand(wave, &[Manner::Kept, Manner::Fresh])?;
        let stage = &siege.target.stage;
        let service = stage.vip(Kind::Udp);
        let asked = stage.house.client.run(|| Ok(echo::udp(service, b"after the flood")?))?;
        ensure!(asked.ends_with(b"after the flood"), "a datagram came back as {asked:?}");
        Ok(())
    })
}

fn fragments(set: Set) -> Result<()> {
    let waves = |target: &Target| {
        let service = (VIP.octets(), Kind::Udp.port());
        let [first, later] = Packet::udp(ANYBODY, service, &[0; 48]).pieces(0, 32);
        vec![
            (target.v4(&first, Carries::Udp, FEW), "source_rate"),
            (target.v4(&later, Carries::Piece, Sources::EVERYWHERE), "fragment_unknown"),
        ]
    };
    Siege::lay(set, bounded, |siege| siege.withstand(waves, &[Manner::Kept, Manner::Fresh]))
}

fn malformed(set: Set) -> Result<()> {
    Siege::lay(set, |service| service, |siege| siege.withstand(misshapen, &[Manner::Kept, Manner::Fresh]))
}

/// Packets that no host sends in earnest.
fn misshapen(target: &Target) -> Vec<Wave> {
    let tcp = |flags, sources| target.v4(&Packet::tcp(ANYBODY, web(), flags, b""), Carries::Tcp, sources);
    let loopback = Sources::around(Ipv4Addr::new(127, 0, 0, 0), 20);
    let from_port_0 = Packet::tcp(([0; 4], 0), web(), SYN, b"");
    let datagram = Packet::udp(ANYBODY, (VIP.octets(), Kind::Udp.port()), &[0; 18]);
    let too_long = target.v4(&datagram, Carries::Udp, Sources::EVERYWHERE).with_byte(LENGTH_OF_UDP, 0x40);
    vec![
        (tcp(0, Sources::EVERYWHERE), "bad_flags"),
        (tcp(SYN | FIN, Sources::EVERYWHERE), "bad_flags"),
        (target.v4(&from_port_0, Carries::Tcp, Sources::EVERYWHERE), "port_zero"),
        (tcp(SYN, loopback), "martian"),
        (tcp(ACK, Sources::around(VIP, 0)), "land"),
        (too_long, "malformed"),
    ]
}
