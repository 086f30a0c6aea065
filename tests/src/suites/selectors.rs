//! Every way to select a backend does what its name says.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};

use anyhow::{Context, Result, ensure};

use super::routed;
use super::traffic::named;
use crate::daemon::Mode;
use crate::family::{Addresses, Family};
use crate::fleet::name;
use crate::runner::Case;
use crate::service::{Forward, Kind, Service, config};
use crate::stage::{Set, Stage, shares};
use crate::topology::{House, LINK};
use crate::traffic::http::Connection;
use crate::traffic::tally::Tally;
use crate::traffic::{echo, http};

/// The cases of this suite.
pub(super) fn cases() -> Vec<Case> {
    let nat = routed(Forward::Nat, Mode::Native);
    let ipip = routed(Forward::DsrIpip, Mode::Native);
    let v6 = |set: Set| set.families(Family::V6, Family::V6);
    super::cases(
        "selectors",
        &[nat, v6(nat), ipip, v6(ipip)],
        &[
            ("a_source_stays_with_its_backend", source_stays),
            ("a_net_of_sources_stays_with_its_backend", net_stays),
            ("round_robin_gives_each_its_exact_share", round_robin),
            ("least_connections_prefers_the_idle", least_connections),
            ("a_quic_connection_follows_its_identifier", quic),
        ],
    )
}

/// A stage with one service whose selector is `select`; with weight 0, a backend runs that the config does not know.
fn stage(set: Set, kind: Kind, select: &str, weights: &[u16]) -> Result<Stage> {
    let stage = Stage::furnish(set, weights.len(), |house| text(set, house, kind, select, weights))?;
    for (index, _) in weights.iter().enumerate().filter(|(_, weight)| **weight > 0) {
        stage.wait_for(kind, index, "up")?;
    }
    Ok(stage)
}

fn text(set: Set, house: &House, kind: Kind, select: &str, weights: &[u16]) -> String {
    config(&[selecting(set, house, kind, select, weights)])
}

fn selecting(set: Set, house: &House, kind: Kind, select: &str, weights: &[u16]) -> Service {
    let service = kind.service(set.forward, set.clients, &shares(house, set.backends, weights));
    service.with(format!("select = \"{select}\""))
}

/// The client's further addresses: `hosts` in each of `nets`, which only differ behind the prefixes of [`bits`].
fn sources(house: &House, nets: u8, hosts: u8) -> Result<Vec<(u8, Addresses)>> {
    let all = (1..=nets).flat_map(|net| (1..=hosts).map(move |host| (net, address(net, host))));
    let all: Vec<_> = all.collect();
    let by = house.client_addresses;
    for family in Family::BOTH {
        let (whole, bits) = (address(0, 0).of(family), if family == Family::V4 { 16 } else { 48 });
        house.balancer.route(whole, bits, by.of(family))?;
        for (_, source) in &all {
            house.client.address(LINK, source.of(family), family.bits())?;
        }
    }
    Ok(all)
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

/// Who answers each of `asking`, which are grouped: every group must have one backend, and not all the same.
fn stays<K: Ord + std::fmt::Debug>(
    stage: &Stage,
    asking: impl Iterator<Item = (K, IpAddr)> + Send,
) -> Result<()> {
    let web = stage.vip(Kind::Http);
    let mut seen: BTreeMap<K, BTreeSet<String>> = BTreeMap::new();
    let asked: Vec<_> = asking.collect();
    let sources: Vec<IpAddr> = asked.iter().map(|(_, source)| *source).collect();
    let answers: Vec<String> =
        stage.house.client.run(|| sources.iter().map(|source| http::who_from(*source, web)).collect())?;
    for ((group, _), backend) in asked.into_iter().zip(answers) {
        seen.entry(group).or_default().insert(backend);
    }
    let unsteady = seen.iter().find(|(_, backends)| backends.len() > 1);
    ensure!(unsteady.is_none(), "several backends answered: {unsteady:?}");
    let used: BTreeSet<&String> = seen.values().flatten().collect();
    ensure!(used.len() > 1, "only {used:?} answered anybody");
    Ok(())
}

fn source_stays(set: Set) -> Result<()> {
    let stage = stage(set, Kind::Http, "source-hash", &[1, 1, 1])?;
    let sources = sources(&stage.house, 1, 16)?;
    let four_times = sources.iter().flat_map(|(_, source)| [source.of(set.clients); 4]);
    stays(&stage, four_times.map(|source| (source, source)).collect::<Vec<_>>().into_iter())
}

fn net_stays(set: Set) -> Result<()> {
    let select = format!("source-hash/{}", bits(set.clients));
    let stage = stage(set, Kind::Http, &select, &[1, 1, 1])?;
    let sources = sources(&stage.house, 12, 4)?;
    stays(
        &stage,
        sources.iter().map(|(net, source)| (*net, source.of(set.clients))).collect::<Vec<_>>().into_iter(),
    )
}

/// Turns are taken on each CPU by itself, and the client may change its own: each may be one turn away.
const OFF: u32 = 4;

fn round_robin(set: Set) -> Result<()> {
    let stage = stage(set, Kind::Http, "round-robin", &[3, 2, 1])?;
    let tally = stage.who_answers(180)?;
    for (index, share) in [90, 60, 30_u32].into_iter().enumerate() {
        let off = tally.of(&name(index)).abs_diff(share);
        ensure!(off <= OFF, "{} is {off} off {share}: {tally:?}", name(index));
    }
    Ok(())
}

/// Connections that one backend holds.
const HELD: usize = 60;
/// Of a hundred new ones, at least so many go to the idle of two backends: half would if nobody looked.
const IDLE_SHARE: u32 = 65;

fn least_connections(set: Set) -> Result<()> {
    const SELECT: &str = "least-connections";
    let stage = stage(set, Kind::Http, SELECT, &[1, 0])?;
    let web = stage.vip(Kind::Http);
    let open = || -> Result<Vec<Connection>> { (0..HELD).map(|_| Connection::open(web)).collect() };
    let mut held = stage.house.client.run(open)?;
    held.iter_mut().try_for_each(|connection| connection.get("/").map(drop))?;
    stage.daemon.reload_text(&text(set, &stage.house, Kind::Http, SELECT, &[1, 1]))?;
    stage.wait_for(Kind::Http, 1, "up")?;
    let tally = stage.who_answers(100)?;
    let idle = tally.of(&name(1));
    ensure!(idle >= IDLE_SHARE, "with {HELD} connections held on {}: {tally:?}", name(0));
    held.iter_mut().try_for_each(|connection| connection.get("/").map(drop)).context("those that were held")
}

/// Bytes of a server's identifier within a connection identifier, and those that follow.
const SERVER_ID: [[u8; 2]; 3] = [[0x0a, 0x01], [0x0a, 0x02], [0x0a, 0x03]];
const NONCE: [u8; 5] = [1, 2, 3, 4, 5];
/// The first byte of a connection identifier: no configuration of the draft's, and the length of the rest.
/// Source: draft-ietf-quic-load-balancers, section 3.
const CONFIGURATION: u8 = 0x07;
/// Client ports that each identifier is tried from.
const PORTS: usize = 8;

fn quic(set: Set) -> Result<()> {
    let stage = Stage::furnish(set, SERVER_ID.len(), |house| quic_text(set, house))?;
    (0..SERVER_ID.len()).try_for_each(|index| stage.wait_for(Kind::Udp, index, "up").map(drop))?;
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
fn unknown_identifiers_spread(vip: std::net::SocketAddr) -> Result<()> {
    let first = long(INITIAL, &[&[CONFIGURATION], &SERVER_ID[0][..], &NONCE].concat());
    let stranger = short(&[&[CONFIGURATION, 0xff, 0xff][..], &NONCE].concat());
    for packet in [first, stranger] {
        let tally: Tally = (0..PORTS * 8).map(|_| named(&echo::udp(vip, &packet)?)).collect::<Result<_>>()?;
        let answering = (0..SERVER_ID.len()).filter(|index| tally.of(&name(*index)) > 0).count();
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

fn quic_text(set: Set, house: &House) -> String {
    let mut service = selecting(set, house, Kind::Udp, "quic", &[1; SERVER_ID.len()]);
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
