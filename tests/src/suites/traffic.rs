//! Real TCP, UDP and HTTP reach the backends and come back, however the daemon forwards and attaches.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Barrier;
use std::thread;

use anyhow::{Context, Result, bail, ensure};

use super::{Claim, GENERIC, NATIVE, ONE_ARMED, TC, sharing};
use crate::fleet;
use crate::runner::Case;
use crate::service::{Kind, UNCHECKED, config};
use crate::stage::{Set, Stage};
use crate::traffic::echo;
use crate::traffic::http::{self, Connection};
use crate::traffic::tally::Tally;

/// New connections whose spread is judged: enough that ignored weights cannot pass for chance.
const CONNECTIONS: usize = 600;
pub(super) const WEIGHTS: [u16; 3] = [3, 2, 1];

/// The cases of this suite.
pub(super) fn cases() -> Vec<Case> {
    let sets = || NATIVE.into_iter().chain(GENERIC).chain(TC).chain(ONE_ARMED);
    let together = sets().flat_map(|set| sharing::cases(set, move || unasked(set), &CLAIMS));
    let alone: Claim = ("a_dead_server_refuses_connections_at_the_client", dead_server_refuses);
    together.chain(super::cases("traffic", &sets().collect::<Vec<_>>(), &[alone])).collect()
}

const CLAIMS: [sharing::Claim; 8] = [
    ("traffic", "connections_spread_by_weight", connections_spread),
    ("traffic", "datagrams_spread_by_weight", datagrams_spread),
    ("traffic", "a_connection_stays_with_its_backend", connection_stays),
    ("traffic", "a_backend_sees_the_address_it_should", addresses_are_seen),
    ("traffic", "traffic_of_others_passes", traffic_of_others_passes),
    ("traffic", "an_echo_returns_every_byte", echo_returns),
    ("traffic", "two_hundred_parallel_downloads_are_whole", |stage| downloads_are_whole(stage, 200)),
    ("traffic", "a_closed_port_refuses_datagrams_at_the_client", closed_port_refuses),
];

/// A stage whose backends are asked no more once all are up: two hundred clients keep every CPU busy for longer than a probe may take,
/// and what becomes of the flows of a backend that is taken for dead is no claim of these cases.
fn unasked(set: Set) -> Result<Stage> {
    let stage = Stage::build(set, &WEIGHTS)?;
    let mut services = stage.services(&WEIGHTS);
    for service in &mut services {
        service.options = vec![format!("health = {UNCHECKED}")];
    }
    stage.daemon.reload_text(&config(&services))?;
    Ok(stage)
}

/// New connections go to backends by [`WEIGHTS`].
pub(super) fn connections_spread(stage: &mut Stage) -> Result<()> {
    stage.who_answers(CONNECTIONS)?.fits(&shares())
}

/// Datagrams of new sockets go to backends by [`WEIGHTS`].
pub(super) fn datagrams_spread(stage: &mut Stage) -> Result<()> {
    let vip = stage.vip(Kind::Udp);
    let ask = |number: usize| named(&echo::udp(vip, format!("datagram {number}").as_bytes())?);
    let answers = stage.house.client.run(|| (0..CONNECTIONS).map(ask).collect::<Result<Tally>>())?;
    answers.fits(&shares())
}

/// Every request of a connection reaches the same backend.
pub(super) fn connection_stays(stage: &mut Stage) -> Result<()> {
    stage.house.client.run(|| {
        let mut connection = Connection::open(stage.vip(Kind::Http))?;
        let first = connection.get("/")?.head.backend;
        for _ in 0..50 {
            let next = connection.get("/")?.head.backend;
            ensure!(next == first, "{first} answered, then {next}");
        }
        Ok(())
    })
}

/// Behind full NAT a backend talks to the balancer; else to the client itself, and behind direct server return as the VIP.
pub(super) fn addresses_are_seen(stage: &mut Stage) -> Result<()> {
    let vip = stage.vip(Kind::Http);
    let page = stage.house.client.run(|| http::get(vip, "/"))?;
    let text = String::from_utf8_lossy(&page.body).into_owned();
    let Set { forward, clients, .. } = stage.set;
    let peer = SocketAddr::new(stage.house.client_addresses.of(clients), 0).to_string();
    let peer_is_client = text.contains(&format!("peer={}", peer.trim_end_matches('0')));
    let local_is_vip = text.contains(&format!("local={vip}"));
    ensure!(
        (peer_is_client, local_is_vip) == (forward.keeps_the_client(), forward.is_direct()),
        "by {forward} the backend saw {text:?}"
    );
    Ok(())
}

/// The balancer still routes what is not for a service, to the very backends that it serves.
fn traffic_of_others_passes(stage: &mut Stage) -> Result<()> {
    let server = stage.first_server()?;
    let reply = stage.house.client.run(|| http::get(server, "/bytes/100000"))?;
    ensure!(
        reply.body == stage.directly("/bytes/100000")?,
        "other bytes came than the backend gives directly"
    );
    Ok(())
}

/// What a connection carries in both directions arrives.
pub(super) fn echo_returns(stage: &mut Stage) -> Result<()> {
    let payload: Vec<u8> = (0..50_000_u32).map(|number| number.to_le_bytes()[0]).collect();
    let reply = stage.house.client.run(|| echo::tcp(stage.vip(Kind::Tcp), &payload))?;
    ensure!(reply.ends_with(&payload), "{} bytes came back of {}, or others", reply.len(), payload.len());
    Ok(())
}

/// So many downloads at the same time arrive as the backend serves them.
pub(super) fn downloads_are_whole(stage: &mut Stage, clients: usize) -> Result<()> {
    const PATH: &str = "/bytes/100000";
    let expected = stage.directly(PATH)?;
    let all_connected = Barrier::new(clients);
    let download = || -> Result<()> {
        let connection = Connection::open(stage.vip(Kind::Http));
        all_connected.wait();
        ensure!(connection?.get(PATH)?.body == expected, "other bytes came than the backend gives directly");
        Ok(())
    };
    stage.house.client.run(|| {
        thread::scope(|scope| {
            let clients: Vec<_> = (0..clients).map(|_| scope.spawn(download)).collect();
            clients
                .into_iter()
                .try_for_each(|client| client.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
        })
    })
}

/// An ICMP error of the backend comes to the client as one about its own packet.
pub(super) fn closed_port_refuses(stage: &mut Stage) -> Result<()> {
    match stage.house.client.run(|| Ok(echo::udp(stage.vip(Kind::Closed), b"anybody?")))? {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => Ok(()),
        other => bail!("the client got {other:?}, not a refusal"),
    }
}

/// A reset is a reply like any other: without it, the client would wait for its time-out.
fn dead_server_refuses(set: Set) -> Result<()> {
    let mut stage = Stage::build(set, &[1])?;
    stage.fleet.kill(0)?;
    let refused = stage.house.client.run(|| Ok(Connection::open(stage.vip(Kind::Tcp)).map(drop)))?;
    let error = refused.err().context("a dead server took a connection")?;
    let kind = error.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
    ensure!(kind == Some(ErrorKind::ConnectionRefused), "the client got {error:#}, not a refusal");
    Ok(())
}

fn shares() -> Vec<(String, u16)> {
    WEIGHTS.iter().enumerate().map(|(index, weight)| (fleet::name(index), *weight)).collect()
}

/// The backend that `reply` names.
pub(super) fn named(reply: &[u8]) -> Result<String> {
    let text = String::from_utf8_lossy(reply);
    let known = (0..WEIGHTS.len()).map(fleet::name);
    known
        .into_iter()
        .find(|name| text.contains(name))
        .with_context(|| format!("no backend's name in {text:?}"))
}
