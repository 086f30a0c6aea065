//! Every way to select a backend does what its name says.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::routed;
use super::sharing::{self, Claim};
use super::traffic::named;
use crate::daemon::Mode;
use crate::family::{Addresses, Family};
use crate::fleet::name;
use crate::runner::Case;
use crate::service::{Forward, Kind, Service, config};
use crate::stage::{Set, Stage, service, shares};
use crate::topology::{House, LINK};
use crate::traffic::http::Connection;
use crate::traffic::tally::Tally;
use crate::traffic::{echo, http};

const BACKENDS: usize = 3;

/// The cases of this suite.
pub(super) fn cases() -> Vec<Case> {
    let nat = routed(Forward::Nat, Mode::Native);
    let ipip = routed(Forward::DsrIpip, Mode::Native);
    let v6 = |set: Set| set.families(Family::V6, Family::V6);
    let sets = [nat, v6(nat), ipip, v6(ipip)];
    sets.into_iter().flat_map(|set| sharing::cases(set, move || furnish(set), &claims(set))).collect()
}

/// A translated connection is known by its record, so that its identifier has no say.
fn claims(set: Set) -> Vec<Claim> {
    let quic: Claim = ("selectors", "a_quic_connection_follows_its_identifier", quic);
    let quic = (set.forward == Forward::DsrIpip).then_some(quic);
    CLAIMS.into_iter().chain(quic).collect()
}

const CLAIMS: [Claim; 5] = [
    ("selectors", "a_source_stays_with_its_backend", source_stays),
    ("selectors", "a_net_of_sources_stays_with_its_backend", net_stays),
    ("selectors", "round_robin_gives_each_its_exact_share", round_robin),
    ("selectors", "least_connections_go_by_the_weight_that_was_ordered", least_connections_weighed),
    ("selectors", "least_connections_prefers_the_idle", least_connections),
];

/// A stage whose client has more addresses: each claim then brings its own config.
fn furnish(set: Set) -> Result<Stage> {
    let stage = Stage::furnish(set, BACKENDS, |_| String::new())?;
    give_sources(&stage.house)?;
    Ok(stage)
}

/// Has the daemon serve one service whose selector is `select`. With weight 0, a backend runs that the config does not
/// know.
fn select(stage: &Stage, kind: Kind, select: &str, weights: [u16; BACKENDS]) -> Result<()> {
    stage.daemon.reload_text(&config(&[selecting(stage, kind, select, weights)]))?;
    let known = weights.into_iter().enumerate().filter(|(_, weight)| *weight > 0);
    known.into_iter().try_for_each(|(index, _)| stage.wait_for(kind, index, "up").map(drop))
}

fn selecting(stage: &Stage, kind: Kind, select: &str, weights: [u16; BACKENDS]) -> Service {
    let shares = shares(&stage.house, stage.set.backends, &weights);
    let service = kind.service(stage.set.forward, stage.set.clients, &shares);
    service.with(format!("select = \"{select}\""))
}

/// Nets that the client has addresses in, and addresses in each.
const NETS: u8 = 12;
const HOSTS: u8 = 8;

/// The client's further addresses, with the number of their net.
fn sources(family: Family) -> Vec<(u8, IpAddr)> {
    let of_net = |net| (1..=HOSTS).map(move |host| (net, address(net, host).of(family)));
    (1..=NETS).flat_map(of_net).collect()
}

fn give_sources(house: &House) -> Result<()> {
    for family in Family::BOTH {
        let (whole, bits) = (address(0, 0).of(family), if family == Family::V4 { 16 } else { 48 });
        house.balancer.route(whole, bits, house.client_addresses.of(family))?;
        for (_, source) in sources(family) {
            house.client.address(LINK, source, family.bits())?;
        }
    }
    house.client.settle()
}

fn address(net: u8, host: u8) -> Addresses {
    Addresses {
        v4: Ipv4Addr::new(10, 50, net, host),
        v6: Ipv6Addr::new(0xfd00, 0x10, 0x50, net.into(), 0, 0, 0, host.into()),
    }
}

/// Bits of the prefix that the sources of one net share, and those of two do not.
fn bits(family: Family) -> u8 {
    match family {
        Family::V4 => 24,
        Family::V6 => 64,
    }
}

/// Asks from each source; those of one group must have one backend, and not all groups the same.
fn stays<K: Ord + Debug>(stage: &Stage, asking: Vec<(K, IpAddr)>) -> Result<()> {
    let web = stage.vip(Kind::Http);
    let ask = |source: &IpAddr| http::who_from(*source, web);
    let (groups, sources): (Vec<K>, Vec<IpAddr>) = asking.into_iter().unzip();
    let answers: Vec<String> = stage.house.client.run(|| sources.iter().map(ask).collect())?;
    let mut seen: BTreeMap<K, BTreeSet<String>> = BTreeMap::new();
    for (group, backend) in groups.into_iter().zip(answers) {
        seen.entry(group).or_default().insert(backend);
    }
    let unsteady = seen.iter().find(|(_, backends)| backends.len() > 1);
    ensure!(unsteady.is_none(), "several backends answered: {unsteady:?}");
    let used: BTreeSet<&String> = seen.values().flatten().collect();
    ensure!(used.len() > 1, "only {used:?} answered anybody");
    Ok(())
}

fn source_stays(stage: &mut Stage) -> Result<()> {
    select(stage, Kind::Http, "source-hash", [1, 1, 1])?;
    let sources = sources(stage.set.clients).into_iter().step_by(5);
    stays(stage, sources.flat_map(|(_, source)| [(source, source); 4]).collect())
}

fn net_stays(stage: &mut Stage) -> Result<()> {
    let word = format!("source-hash/{}", bits(stage.set.clients));
    select(stage, Kind::Http, &word, [1, 1, 1])?;
    stays(stage, sources(stage.set.clients))
}

/// Turns are taken on each CPU by itself, and the client may change its own: each may be one turn away.
const OFF: u32 = 4;

fn round_robin(stage: &mut Stage) -> Result<()> {
    select(stage, Kind::Http, "round-robin", [3, 2, 1])?;
    let tally = stage.who_answers(180)?;
    for (index, share) in [90, 60, 30_u32].into_iter().enumerate() {
        let off = tally.of(&name(index)).abs_diff(share);
        ensure!(off <= OFF, "{} is {off} off {share}: {tally:?}", name(index));
    }
    Ok(())
}

/// Connections that one backend holds: more than the other gets meanwhile, for those that closed may still count.
const HELD: usize = 150;
/// Of two hundred new ones, at least so many go to the idle of two backends: three quarters should, half would if nobody
/// looked.
const IDLE_SHARE: u32 = 120;

fn least_connections(stage: &mut Stage) -> Result<()> {
    const SELECT: &str = "least-connections";
    select(stage, Kind::Http, SELECT, [1, 0, 0])?;
    let web = stage.vip(Kind::Http);
    let open = || -> Result<Vec<Connection>> { (0..HELD).map(|_| Connection::open(web)).collect() };
    let mut held = stage.house.client.run(open)?;
    held.iter_mut().try_for_each(|connection| connection.get("/").map(drop))?;
    select(stage, Kind::Http, SELECT, [1, 1, 0])?;
    // Where only the clients' side is seen, some that closed count for a while.
    let counted = |status: &Value| {
        let connections = |web: &Value| web["backends"][0]["connections"].as_u64();
        service(status, Kind::Http).is_ok_and(|web| connections(web) >= Some(HELD as u64))
    };
    stage.wait_until("the status counts those that are held", counted)?;
    let tally = stage.who_answers(200)?;
    let idle = tally.of(&name(1));
    ensure!(idle >= IDLE_SHARE, "with {HELD} connections held on {}: {tally:?}", name(0));
    held.iter_mut().try_for_each(|connection| connection.get("/").map(drop)).context("those that were held")
}

/// Connections that are held at once.
const WEIGHED: u32 = 200;

/// With three times the weight a backend has three quarters. If only the slots followed the order, it would have nine sixteenths:
/// what falls on two slots of its own.
fn least_connections_weighed(stage: &mut Stage) -> Result<()> {
    select(stage, Kind::Http, "least-connections", [1, 1, 0])?;
    let heavy = Stage::path(Kind::Http, 0);
    ensure!(stage.daemon.attempt(&["weight", &heavy, "3"])?.status.success(), "the order was refused");
    let web = stage.vip(Kind::Http);
    let open = || -> Result<Vec<Connection>> { (0..WEIGHED).map(|_| Connection::open(web)).collect() };
    let mut held = stage.house.client.run(open)?;
    let ask = |connection: &mut Connection| Ok(connection.get("/")?.head.backend);
    let tally: Tally = held.iter_mut().map(ask).collect::<Result<_>>()?;
    ensure!(tally.of(&name(0)) >= WEIGHED * 2 / 3, "three times the weight: {tally:?}");
    // An order holds until it is taken back.
    ensure!(stage.daemon.attempt(&["weight", &heavy, "--undo"])?.status.success(), "the order stayed");
    Ok(())
}

/// Bytes of a server's identifier within a connection identifier, and those that follow.
const SERVER_ID: [[u8; 2]; BACKENDS] = [[0x0a, 0x01], [0x0a, 0x02], [0x0a, 0x03]];
const NONCE: [u8; 5] = [1, 2, 3, 4, 5];
/// The first byte of a connection identifier: no configuration of the draft's, and the length of the rest.
/// Source: draft-ietf-quic-load-balancers, section 3.
const CONFIGURATION: u8 = 0x07;
/// Client ports that each identifier is tried from.
const PORTS: usize = 8;

fn quic(stage: &mut Stage) -> Result<()> {
    stage.daemon.reload_text(&quic_text(stage))?;
    (0..BACKENDS).try_for_each(|index| stage.wait_for(Kind::Udp, index, "up").map(drop))?;
    let vip = stage.vip(Kind::Udp);
    stage.house.client.run(|| {
        for (index, server) in SERVER_ID.into_iter().enumerate() {
            let identifier = [&[CONFIGURATION], &server[..], &NONCE].concat();
            for packet in [short(&identifier), long(HANDSHAKE, &identifier)] {
                let ask = |_| named(&echo::udp(vip, &packet)?);
                let tally: Tally = (0..PORTS).map(ask).collect::<Result<_>>()?;
                let answered = tally.of(&name(index));
                ensure!(answered as usize == PORTS, "not only {} answered: {tally:?}", name(index));
            }
        }
        unknown_identifiers_spread(vip)
    })
}

/// A client's own first identifiers, and those of servers that nobody knows, go by hash.
fn unknown_identifiers_spread(vip: SocketAddr) -> Result<()> {
    let first = long(INITIAL, &[&[CONFIGURATION], &SERVER_ID[0][..], &NONCE].concat());
    let stranger = short(&[&[CONFIGURATION, 0xff, 0xff][..], &NONCE].concat());
    for packet in [first, stranger] {
        let tally: Tally = (0..PORTS * 8).map(|_| named(&echo::udp(vip, &packet)?)).collect::<Result<_>>()?;
        let answering = (0..BACKENDS).filter(|index| tally.of(&name(*index)) > 0).count();
        ensure!(answering > 1, "only one answered: {tally:?}");
        let socket: UdpSocket = echo::udp_socket(vip)?;
        let again: BTreeSet<String> = (0..PORTS)
            .map(|_| {
                socket.send(&packet)?;
                named(&echo::receive(&socket)?)
            })
            .collect::<Result<_>>()?;
        ensure!(again.len() == 1, "one socket was answered by {again:?}");
    }
    Ok(())
}

fn quic_text(stage: &Stage) -> String {
    let mut service = selecting(stage, Kind::Udp, "quic", [1; BACKENDS]);
    for (backend, [first, second]) in service.backends.iter_mut().zip(SERVER_ID) {
        backend.options.push(format!("server_id = \"{first:02x}{second:02x}\""));
    }
    config(&[service.with(format!("server_id_bytes = {}", SERVER_ID[0].len()))])
}

/// First bytes of long headers, of version 1. Source: RFC 9000, section 17.2.
const INITIAL: u8 = 0xc0;
const HANDSHAKE: u8 = 0xe0;

fn long(first: u8, identifier: &[u8]) -> Vec<u8> {
    let length = u8::try_from(identifier.len()).unwrap_or(u8::MAX);
    [&[first, 0, 0, 0, 1, length], identifier, &[0], b" sealed"].concat()
}

/// Source: RFC 9000, section 17.3.
fn short(identifier: &[u8]) -> Vec<u8> {
    [&[0x40], identifier, b" sealed"].concat()
}
