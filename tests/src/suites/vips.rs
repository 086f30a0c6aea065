//! What a VIP may be: an address with a port, a range of ports or all of them, and a prefix. The more special one wins.

use std::net::{IpAddr, SocketAddr};

use anyhow::{Context, Result, ensure};

use super::routed;
use super::traffic::named;
use crate::daemon::Mode;
use crate::family::Family;
use crate::fleet::name;
use crate::runner::Case;
use crate::service::{Backend, Forward, Kind, Service, UNCHECKED, config};
use crate::stage::{Set, Stage, counted};
use crate::topology::{House, VIPS};
use crate::traffic::{echo, http};

/// The cases of this suite.
pub(super) fn cases() -> Vec<Case> {
    let v6 = |set: Set| set.families(Family::V6, Family::V6);
    let both = |forward, mode| [routed(forward, mode), v6(routed(forward, mode))];
    let mut cases = super::cases(
        "vips",
        &[both(Forward::Nat, Mode::Native), both(Forward::Dnat, Mode::Native), both(Forward::Dnat, Mode::Tc)]
            .concat(),
        &[("the_most_special_service_takes_a_connection", the_most_special_takes)],
    );
    let native = |forward| routed(forward, Mode::Native);
    cases.extend(super::cases(
        "vips",
        &[
            native(Forward::Nat),
            v6(native(Forward::Nat)),
            native(Forward::Dnat),
            v6(native(Forward::Dnat)),
            native(Forward::DsrIpip).families(Family::V4, Family::V6),
            v6(native(Forward::DsrGue)),
        ],
        &[("a_backend_without_a_port_is_asked_at_the_client_s", the_port_is_kept)],
    ));
    cases.extend(super::cases(
        "vips",
        &both(Forward::Dnat, Mode::Native),
        &[("answers_come_from_the_vip_whose_ports_lead_to_a_server", answers_find_their_vip)],
    ));
    cases
}

/// A service of one backend, whose name then tells which service took a connection.
fn lone(set: Set, house: &House, index: usize, vip: String, protocol: &'static str) -> Service {
    let kind = if protocol == "udp" { Kind::Udp } else { Kind::Http };
    let port = set.forward.backend_port(kind.port());
    let address = SocketAddr::new(house.backends[index].addresses.of(set.backends), port);
    service(set, index, vip, protocol, address.to_string())
}

fn service(set: Set, index: usize, vip: String, protocol: &'static str, address: String) -> Service {
    let backend = Backend { name: name(index), address, weight: 1, options: Vec::new() };
    let service = Service {
        name: format!("{protocol}-{}", index + 1),
        vip,
        protocol,
        forward: set.forward,
        options: Vec::new(),
        backends: vec![backend],
    };
    service.with(format!("health = {UNCHECKED}"))
}

/// `address:ports` as a VIP is written.
fn at(address: IpAddr, ports: &str) -> String {
    match address {
        IpAddr::V4(address) => format!("{address}:{ports}"),
        IpAddr::V6(address) => format!("[{address}]:{ports}"),
    }
}

/// The same for the prefix that holds `address`.
fn within(address: IpAddr, bits: u8, ports: &str) -> String {
    match address {
        IpAddr::V4(address) => format!("{address}/{bits}:{ports}"),
        IpAddr::V6(address) => format!("[{address}/{bits}]:{ports}"),
    }
}

/// Addresses that share a prefix with the VIP, by their last byte. From 128 on, a longer one.
fn beside(family: Family, last: u8) -> IpAddr {
    match VIPS.of(family) {
        IpAddr::V4(vip) => IpAddr::from([vip.octets()[0], vip.octets()[1], vip.octets()[2], last]),
        IpAddr::V6(vip) => {
            let mut octets = vip.octets();
            octets[15] = last;
            octets.into()
        }
    }
}

/// Bits of the prefix of all of [`beside`], and of that from 128 on.
fn prefixes(family: Family) -> (u8, u8) {
    (family.bits() - 8, family.bits() - 7)
}

fn overlapping(set: Set, house: &House) -> String {
    let (vip, (short, long)) = (VIPS.of(set.clients), prefixes(set.clients));
    let [lowest, middle] = [0, 128].map(|last| beside(set.clients, last));
    let text = config(&[
        lone(set, house, 0, at(vip, "80"), "tcp"),
        lone(set, house, 1, at(vip, "8000-8099"), "tcp"),
        lone(set, house, 2, at(vip, "*"), "tcp"),
        lone(set, house, 3, within(lowest, short, "80"), "tcp"),
        lone(set, house, 4, within(middle, long, "*"), "tcp"),
        lone(set, house, 1, at(vip, "8000-8099"), "udp"),
        lone(set, house, 3, within(lowest, short, "*"), "udp"),
    ]);
    if set.forward == Forward::Dnat { text.replace("forward = ", RECORDED) } else { text }
}

/// Answers are known by their flows: no other tells which of a prefix was asked, or of many ports that lead to one.
const RECORDED: &str = "tracking = \"always\"\nforward = ";

/// Last byte of the address, port, and the backend of the service that must take it.
const TCP: [(u8, u16, usize); 8] = [
    (0x10, 80, 0),
    (0x10, 8000, 1),
    (0x10, 8099, 1),
    (0x10, 8100, 2),
    (0x10, 1, 2),
    (11, 80, 3),
    (200, 80, 4),
    (255, 65535, 4),
];
const UDP: [(u8, u16, usize); 3] = [(0x10, 8050, 1), (11, 8050, 3), (200, 53, 3)];

fn the_most_special_takes(set: Set) -> Result<()> {
    let stage = Stage::furnish(set, 5, |house| overlapping(set, house))?;
    stage.house.client.run(|| {
        for (last, port, index) in TCP {
            let server = place(set.clients, last, port);
            let answered = http::who(server).with_context(|| format!("{server}"))?;
            ensure!(answered == name(index), "{answered} answered at {server}, not {}", name(index));
        }
        for (last, port, index) in UDP {
            let server = place(set.clients, last, port);
            let reply = echo::udp(server, b"who?").with_context(|| format!("{server} by UDP"))?;
            let answered = reply.split(|byte| *byte == b' ').next().unwrap_or_default();
            ensure!(answered == name(index).as_bytes(), "not {} answered at {server} by UDP", name(index));
        }
        let nobody = place(set.clients, 11, 81);
        ensure!(http::who(nobody).is_err(), "{nobody} is no service, and yet it answered");
        Ok(())
    })
}

/// The last byte of the VIP itself stands for it.
fn place(family: Family, last: u8, port: u16) -> SocketAddr {
    let address = if last == 0x10 { VIPS.of(family) } else { beside(family, last) };
    SocketAddr::new(address, port)
}

/// The fleet listens on the ports of its mode: all of them can be asked for through one service.
fn the_port_is_kept(set: Set) -> Result<()> {
    let vip = VIPS.of(set.clients);
    let text = |house: &House| {
        let address = house.backends[0].addresses.of(set.backends).to_string();
        let every_port = |protocol| service(set, 0, at(vip, "*"), protocol, address.clone());
        config(&["tcp", "udp"].map(every_port))
    };
    let stage = Stage::furnish(set, 1, text)?;
    let served = |kind: Kind| SocketAddr::new(vip, set.forward.backend_port(kind.port()));
    stage.house.client.run(|| {
        ensure!(http::who(served(Kind::Http))? == name(0), "somebody else answers");
        ensure!(echo::tcp(served(Kind::Tcp), b"hello")? == b"hello", "the echo by TCP");
        ensure!(named(&echo::udp(served(Kind::Udp), b"hello")?)? == name(0), "the echo by UDP");
        Ok(())
    })
}

/// Ports among which the fleet has its HTTP, and among which its echoes.
const PAGES: &str = "8000-8099";
const ECHOES: &str = "15000-15099";

/// Two VIPs that share a server, and lead to ports of it that the other does not.
fn answers_find_their_vip(set: Set) -> Result<()> {
    let [one, two] = [VIPS.of(set.clients), beside(set.clients, 11)];
    let stage = Stage::furnish(set, 1, |house| sharing(set, house, (one, two)))?;
    stage.house.client.run(|| each_serves_its_own(set, (one, two)))?;
    ensure!(
        stage.daemon.status().is_ok_and(|status| counted(&status, "dnat_reply") > 0),
        "no answer was ours"
    );
    // The VIPs exchange their ports, and with them the server's endpoints.
    stage.daemon.reload_text(&sharing(set, &stage.house, (two, one)))?;
    stage.house.client.run(|| each_serves_its_own(set, (two, one)))
}

fn sharing(set: Set, house: &House, (pages, echoes): (IpAddr, IpAddr)) -> String {
    let server = house.backends[0].addresses.of(set.backends).to_string();
    let services = [(pages, PAGES, "tcp"), (echoes, ECHOES, "tcp"), (echoes, ECHOES, "udp")];
    let mut written =
        services.map(|(vip, ports, protocol)| service(set, 0, at(vip, ports), protocol, server.clone()));
    for (service, (_, ports, protocol)) in written.iter_mut().zip(services) {
        service.name = format!("{protocol}-{ports}");
    }
    config(&written)
}

fn each_serves_its_own(set: Set, (pages, echoes): (IpAddr, IpAddr)) -> Result<()> {
    let [http, tcp, udp] =
        [Kind::Http, Kind::Tcp, Kind::Udp].map(|kind| set.forward.backend_port(kind.port()));
    let page = SocketAddr::new(pages, http);
    ensure!(http::who(page)? == name(0), "somebody else answers at {page}");
    ensure!(echo::tcp(SocketAddr::new(echoes, tcp), b"hello")? == b"hello", "the echo by TCP");
    ensure!(named(&echo::udp(SocketAddr::new(echoes, udp), b"hello")?)? == name(0), "the echo by UDP");
    for nobody in [SocketAddr::new(pages, tcp), SocketAddr::new(echoes, http)] {
        ensure!(echo::tcp(nobody, b"hello").is_err(), "{nobody} is no service, and yet it answered");
    }
    Ok(())
}
