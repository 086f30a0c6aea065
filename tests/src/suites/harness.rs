//! The harness before anything is tested with it: a house carries plain traffic, without the daemon.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::thread;

use anyhow::{Context, Result, ensure};

use crate::family::Family;
use crate::net::xdp::{self, Attached};
use crate::netns::Namespace;
use crate::runner::Case;
use crate::skip::Need;
use crate::topology::{House, LINK, Layout, VIPS};
use crate::traffic::{echo, limit};

const NARROW_MTU: u32 = 1400;

/// The cases of this suite.
pub(super) fn cases() -> Vec<Case> {
    let needs = [Need::Root, Need::NativeXdp];
    vec![
        Case::new("harness::routed_house_carries_tcp", || carries(Layout::Routed)).needs(&needs),
        Case::new("harness::distant_house_carries_tcp", || carries(Layout::Distant)).needs(&needs),
        Case::new("harness::one_armed_house_carries_tcp", || carries(Layout::OneArmed)).needs(&needs),
        Case::new("harness::distant_one_armed_house_carries_tcp", || carries(Layout::DistantOneArmed))
            .needs(&needs),
        Case::new("harness::a_narrow_path_refuses_what_is_too_long", narrow_path).needs(&needs),
        Case::new("harness::vip_on_a_backend_answers_through_the_router", vip_answers).needs(&needs),
        Case::new("harness::end_hosts_have_a_program", end_hosts_have_a_program).needs(&needs),
    ]
}

fn carries(layout: Layout) -> Result<()> {
    let house = House::build(layout, 2)?;
    let payload = vec![7; 100_000];
    for host in &house.backends {
        for address in host.addresses.both() {
            let server = serve_one_echo(&host.namespace, address)?;
            let reply = house.client.run(|| echo::tcp(server, &payload))?;
            ensure!(reply == payload, "the echo of {server} through {layout:?}");
        }
    }
    Ok(())
}

/// What `dsr-ipip` relies on: a reply whose source is the VIP comes back through the balancer.
fn vip_answers() -> Result<()> {
    let house = House::build(Layout::Routed, 1)?;
    house.backends_own(VIPS)?;
    let host = house.backends.first().context("one backend")?;
    for family in Family::BOTH {
        let vip = VIPS.of(family);
        house.balancer.route(vip, family.bits(), host.addresses.of(family))?;
        let server = serve_one_echo(&host.namespace, vip)?;
        ensure!(house.client.run(|| echo::tcp(server, b"hello"))? == b"hello", "the echo of {vip}");
    }
    Ok(())
}

/// The backend's full packets come through only once it has learnt of the narrow link.
fn narrow_path() -> Result<()> {
    for layout in [Layout::Distant, Layout::DistantOneArmed] {
        let house = House::build(layout, 1)?;
        house.narrow_the_path(NARROW_MTU)?;
        let host = house.backends.first().context("one backend")?;
        for address in host.addresses.both() {
            let server = serve_one_echo(&host.namespace, address)?;
            let payload = vec![7; 100_000];
            ensure!(house.client.run(|| echo::tcp(server, &payload))? == payload, "the echo of {server}");
        }
        for family in Family::BOTH {
            let client = SocketAddr::new(house.client_addresses.of(family), 9);
            let known = host.namespace.run(|| limit::known(&echo::udp_socket(client)?))?;
            ensure!(known == NARROW_MTU as usize, "over {family} the backend knows of {known} bytes");
        }
    }
    Ok(())
}

fn end_hosts_have_a_program() -> Result<()> {
    let house = House::build(Layout::Routed, 1)?;
    ensure!(xdp::attached(&house.client, LINK)? == Some(Attached::Native), "the client has one");
    ensure!(xdp::attached(&house.balancer, "client0")?.is_none(), "the balancer has none");
    xdp::detach_pass(&house.client, LINK)?;
    ensure!(xdp::attached(&house.client, LINK)?.is_none(), "the client has none any more");
    Ok(())
}

/// A TCP echo for one connection at `address` in `namespace`.
fn serve_one_echo(namespace: &Namespace, address: IpAddr) -> Result<SocketAddr> {
    let server = SocketAddr::new(address, 7);
    let listener = namespace.run(|| Ok(TcpListener::bind(server)?))?;
    thread::spawn(move || -> Result<()> {
        let (mut stream, _) = listener.accept()?;
        let mut received = Vec::new();
        stream.read_to_end(&mut received)?;
        Ok(stream.write_all(&received)?)
    });
    Ok(server)
}
