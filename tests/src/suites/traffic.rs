//! Real TCP, UDP and HTTP reach the backends and come back, however the daemon forwards and attaches.

use std::io::ErrorKind;
use std::sync::Barrier;
use std::thread;

use anyhow::{Context, Result, bail, ensure};

use super::{GENERIC, NATIVE, ONE_ARMED};
use crate::fleet;
use crate::runner::Case;
use crate::service::{Forward, Kind};
use crate::stage::{Set, Stage};
use crate::topology::VIP;
use crate::traffic::echo;
use crate::traffic::http::{self, Connection};
use crate::traffic::tally::Tally;

/// New connections whose spread is judged: enough that ignored weights cannot pass for chance.
const CONNECTIONS: usize = 600;
const WEIGHTS: [u16; 3] = [3, 2, 1];

/// The cases of this suite.
pub(super) fn cases() -> Vec<Case> {
    let sets: Vec<Set> = NATIVE.into_iter().chain(GENERIC).chain(ONE_ARMED).collect();
    super::cases(
        "traffic",
        &sets,
        &[
            ("connections_spread_by_weight", connections_spread_by_weight),
            ("datagrams_spread_by_weight", datagrams_spread_by_weight),
            ("a_connection_stays_with_its_backend", a_connection_stays_with_its_backend),
            ("a_backend_sees_the_address_it_should", a_backend_sees_the_address_it_should),
            ("traffic_of_others_passes", traffic_of_others_passes),
            ("an_echo_returns_every_byte", an_echo_returns_every_byte),
            ("two_hundred_parallel_downloads_are_whole", two_hundred_parallel_downloads_are_whole),
            ("a_closed_port_refuses_datagrams_at_the_client", a_closed_port_refuses_datagrams_at_the_client),
            (
                "a_dead_server_refuses_connections_at_the_client",
                a_dead_server_refuses_connections_at_the_client,
            ),
        ],
    )
}

fn connections_spread_by_weight(set: Set) -> Result<()> {
    let stage = Stage::build(set, &WEIGHTS)?;
    let tally = stage.who_answers(CONNECTIONS)?;
    tally.fits(&shares())
}

fn datagrams_spread_by_weight(set: Set) -> Result<()> {
    let stage = Stage::build(set, &WEIGHTS)?;
    let ask = |number: usize| named(&echo::udp(Kind::Udp.vip(), format!("datagram {number}").as_bytes())?);
    let answers = stage.house.client.run(|| (0..CONNECTIONS).map(ask).collect::<Result<Tally>>())?;
    answers.fits(&shares())
}

fn a_connection_stays_with_its_backend(set: Set) -> Result<()> {
    let stage = Stage::build(set, &WEIGHTS)?;
    stage.house.client.run(|| {
        let mut connection = Connection::open(Kind::Http.vip())?;
        let first = connection.get("/")?.head.backend;
        for _ in 0..50 {
            let next = connection.get("/")?.head.backend;
            ensure!(next == first, "{first} answered, then {next}");
        }
        Ok(())
    })
}

/// Behind full NAT a backend talks to the balancer; behind direct server return, as the VIP to the client itself.
fn a_backend_sees_the_address_it_should(set: Set) -> Result<()> {
    let stage = Stage::build(set, &[1])?;
    let page = stage.house.client.run(|| http::get(Kind::Http.vip(), "/"))?;
    let text = String::from_utf8_lossy(&page.body).into_owned();
    let client = stage.house.client_addresses.v4;
    let (peer_is_client, local_is_vip) =
        (text.contains(&format!("peer={client}:")), text.contains(&format!("local={VIP}:")));
    let direct = set.forward == Forward::DsrIpip;
    ensure!(
        (peer_is_client, local_is_vip) == (direct, direct),
        "by {} the backend saw {text:?}",
        set.forward
    );
    Ok(())
}

/// The balancer still routes what is not for a service, to the very backends that it serves.
fn traffic_of_others_passes(set: Set) -> Result<()> {
    let stage = Stage::build(set, &[1])?;
    let server = stage.first_server()?;
    let reply = stage.house.client.run(|| http::get(server, "/bytes/100000"))?;
    ensure!(
        reply.body == stage.directly("/bytes/100000")?,
        "other bytes came than the backend gives directly"
    );
    Ok(())
}

fn an_echo_returns_every_byte(set: Set) -> Result<()> {
    let stage = Stage::build(set, &[1])?;
    let payload: Vec<u8> = (0..50_000_u32).map(|number| number.to_le_bytes()[0]).collect();
    let reply = stage.house.client.run(|| echo::tcp(Kind::Tcp.vip(), &payload))?;
    ensure!(reply.ends_with(&payload), "{} bytes came back of {}, or others", reply.len(), payload.len());
    Ok(())
}

fn two_hundred_parallel_downloads_are_whole(set: Set) -> Result<()> {
    const CLIENTS: usize = 200;
    const PATH: &str = "/bytes/100000";
    let stage = Stage::build(set, &WEIGHTS)?;
    let expected = stage.directly(PATH)?;
    let all_connected = Barrier::new(CLIENTS);
    let download = || -> Result<()> {
        let connection = Connection::open(Kind::Http.vip());
        all_connected.wait();
        ensure!(connection?.get(PATH)?.body == expected, "other bytes came than the backend gives directly");
        Ok(())
    };
    stage.house.client.run(|| {
        thread::scope(|scope| {
            let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(download)).collect();
            clients
                .into_iter()
                .try_for_each(|client| client.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
        })
    })
}

fn a_closed_port_refuses_datagrams_at_the_client(set: Set) -> Result<()> {
    let stage = Stage::build(set, &[1])?;
    match stage.house.client.run(|| Ok(echo::udp(Kind::Closed.vip(), b"anybody?")))? {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => Ok(()),
        other => bail!("the client got {other:?}, not a refusal"),
    }
}

/// A reset is a reply like any other: without it, the client would wait for its time-out.
fn a_dead_server_refuses_connections_at_the_client(set: Set) -> Result<()> {
    let mut stage = Stage::build(set, &[1])?;
    stage.fleet.kill(0)?;
    let refused = stage.house.client.run(|| Ok(Connection::open(Kind::Tcp.vip()).map(drop)))?;
    let error = refused.err().context("a dead server took a connection")?;
    let kind = error.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
    ensure!(kind == Some(ErrorKind::ConnectionRefused), "the client got {error:#}, not a refusal");
    Ok(())
}

fn shares() -> Vec<(String, u16)> {
    WEIGHTS.iter().enumerate().map(|(index, weight)| (fleet::name(index), *weight)).collect()
}

/// The backend that `reply` names.
fn named(reply: &[u8]) -> Result<String> {
    let text = String::from_utf8_lossy(reply);
    let known = (0..WEIGHTS.len()).map(fleet::name);
    known
        .into_iter()
        .find(|name| text.contains(name))
        .with_context(|| format!("no backend's name in {text:?}"))
}
