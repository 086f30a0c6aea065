//! Path-MTU discovery: whoever sends too much for a link learns it, wherever the link is, and goes on in smaller packets.

use std::net::UdpSocket;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::routed;
use super::sharing::Claim;
use super::traffic::named;
use crate::daemon::Mode;
use crate::family::Family;
use crate::fleet::name;
use crate::patience;
use crate::runner::Case;
use crate::service::{Forward, Kind, config};
use crate::stage::{Set, Stage, counted, services};
use crate::topology::{BACKEND_MTU, House, LINK, PATH_MTU};
use crate::traffic::http::Connection;
use crate::traffic::{echo, limit};

/// The MTU of the client's link, and, where there is no room for an outer header, of the backends' links.
const USUAL_MTU: u32 = 1500;
/// What the router in front of the client lets through.
const NARROW_MTU: u32 = 1400;
/// Longer than the narrow path takes, shorter than the others, with the words that a backend puts in front.
const LONG_DATAGRAM: usize = 1420;
const UDP_HEADER_BYTES: usize = 8;
/// Why a packet left that was the answer to one too large.
const TOLD: &str = "fragmentation_needed";
/// Attempts to reach the second of two backends.
const ATTEMPTS: usize = 40;
/// Attempts at an echo whose sender learns from what is lost, and how long each is waited for.
const LESSONS: usize = 4;
const LESSON: Duration = Duration::from_millis(300);
/// What the balancer hears of its links, it has heard by then.
const NOTICED: Duration = Duration::from_secs(5);

/// The claims of this suite about every mode.
pub(super) fn claims(set: Set) -> Vec<Claim> {
    let told: Claim = ("mtu", "a_sender_is_told_what_fits_the_outer_header", told_what_fits);
    let refused: Claim =
        ("mtu", "a_router_s_refusal_reaches_the_backend_that_sent_too_much", refusal_reaches_its_backend);
    let too_long: Claim = ("mtu", "a_backend_is_told_what_the_client_s_link_takes", told_what_clients_take);
    match set.forward {
        Forward::Nat => vec![too_long, refused],
        forward if forward.encapsulates() => vec![told, refused],
        _ => vec![refused],
    }
}

/// Between balancer and backends there is room for a client's full packet, but not for its outer header.
fn told_what_fits(stage: &mut Stage) -> Result<()> {
    set_backend_links(stage, USUAL_MTU)?;
    learns_by_both(stage, USUAL_MTU)?;
    set_backend_links(stage, BACKEND_MTU)?;
    is_told_nothing_more(stage)
}

/// The cases of what routers between balancer and backends tell.
pub(super) fn relayed() -> Vec<Case> {
    let other_modes = [
        routed(Forward::DsrIpip, Mode::Generic),
        routed(Forward::DsrGue, Mode::Generic).families(Family::V6, Family::V6),
    ];
    let sets: Vec<_> = super::every_encapsulation().into_iter().chain(other_modes).collect();
    super::cases(
        "mtu",
        &sets,
        &[("what_a_router_behind_us_refuses_is_told_the_client", told_what_a_router_takes)],
    )
}

/// The way behind a router behind the balancer is narrow, of which only that router knows.
fn told_what_a_router_takes(set: Set) -> Result<()> {
    let stage = Stage::within(House::with_an_inner_router()?, set, |house| {
        format!("{}\n[encap]\nspread = false\n", config(&services(set, house, &[1])))
    })?;
    stage.wait_until_up(&[1])?;
    stage.house.narrow_the_inner_path(NARROW_MTU)?;
    learns_by_both(&stage, NARROW_MTU)?;
    let told = counted(&stage.daemon.status()?, TOLD);
    ensure!(told > 0, "it learnt, but not from the balancer");
    Ok(())
}

fn set_backend_links(stage: &Stage, bytes: u32) -> Result<()> {
    stage.house.backend_links().try_for_each(|link| stage.house.balancer.mtu(link, bytes))
}

/// Waits until the balancer has noticed that its links are wide again, and leaves a client that was told nothing: what others try
/// on the stage afterwards counts on that. The echo itself may be too long for the way back.
fn is_told_nothing_more(stage: &Stage) -> Result<()> {
    let udp = stage.vip(Kind::Udp);
    let full = vec![7; usize::try_from(USUAL_MTU)? - stage.set.clients.header_bytes() - UDP_HEADER_BYTES];
    let deadline = Instant::now() + patience::of(NOTICED);
    while Instant::now() < deadline {
        stage.house.client.forget_paths()?;
        let known = stage.house.client.run(|| {
            let socket = echo::udp_socket(udp)?;
            limit::discover(&socket)?;
            socket.set_read_timeout(Some(LESSON))?;
            socket.send(&full)?;
            let _ = echo::receive(&socket);
            limit::known(&socket)
        })?;
        if known == usize::try_from(USUAL_MTU)? {
            return backends_forget(stage);
        }
        // A refusal is there at once.
        thread::sleep(LESSON / 10);
    }
    bail!("the balancer still takes its links for narrow")
}

/// A client learns what fits a way of so many bytes.
fn learns_by_both(stage: &Stage, way: u32) -> Result<()> {
    let set = stage.set;
    let fits = usize::try_from(way)? - set.forward.overhead(set.backends);
    let udp = stage.vip(Kind::Udp);
    stage.house.client.run(|| learns_by_udp(&echo::udp_socket(udp)?, set.clients, fits))?;
    stage.house.client.forget_paths()?;
    let payload: Vec<u8> = (0..200_000_u32).map(|number| number.to_le_bytes()[0]).collect();
    let reply = stage.house.client.run(|| echo::tcp(stage.vip(Kind::Tcp), &payload))?;
    ensure!(reply == payload, "{} bytes came back of {} by TCP, or others", reply.len(), payload.len());
    Ok(())
}

fn learns_by_udp(socket: &UdpSocket, family: Family, fits: usize) -> Result<()> {
    limit::discover(socket)?;
    socket.set_read_timeout(Some(LESSON))?;
    let headers = family.header_bytes() + UDP_HEADER_BYTES;
    let full = vec![7; usize::try_from(USUAL_MTU)? - headers];
    // The balancer, too, has to notice that its link became narrow.
    for _ in 0..LESSONS {
        socket.send(&full)?;
        ensure!(echo::receive(socket).is_err(), "a full datagram came back: nothing was too big");
        if limit::known(socket)? < usize::try_from(USUAL_MTU)? {
            break;
        }
    }
    let known = limit::known(socket)?;
    ensure!(known == fits, "the sender was told {known}, but {fits} fits");
    let refused = socket.send(&full).err().and_then(|error| error.raw_os_error());
    ensure!(refused == Some(libc::EMSGSIZE), "the sender's stack does not believe what it was told");
    let fitting = vec![8; fits - headers];
    socket.send(&fitting)?;
    ensure!(echo::receive(socket)?.ends_with(&fitting), "what fits did not come back");
    Ok(())
}

/// The backend's link takes more than the client's, which the balancer alone knows; also after that one became narrower.
fn told_what_clients_take(stage: &mut Stage) -> Result<()> {
    let backend = &stage.house.backends[0].namespace;
    let towards_client = stage.house.interfaces.first().context("a balancer with interfaces")?;
    backend.mtu(LINK, BACKEND_MTU)?;
    for bytes in [USUAL_MTU, NARROW_MTU, USUAL_MTU] {
        stage.house.balancer.mtu(towards_client, bytes)?;
        told_that_clients_take(stage, bytes).with_context(|| format!("a link of {bytes} bytes"))?;
        backends_forget(stage)?;
    }
    backend.mtu(LINK, PATH_MTU)
}

fn told_that_clients_take(stage: &Stage, bytes: u32) -> Result<()> {
    let before = counted(&stage.daemon.status()?, TOLD);
    let full = usize::try_from(bytes)? - stage.set.clients.header_bytes() - UDP_HEADER_BYTES;
    learns_from_an_echo(stage, 0, full)?;
    let told = counted(&stage.daemon.status()?, TOLD) - before;
    ensure!(told > 0, "it learnt, but not from the balancer");
    Ok(())
}

/// The way back to the client has a narrow link behind a router, which tells the VIP that a reply was too big. The backend
/// that sent it must hear of it, by its own address; the other need not.
fn refusal_reaches_its_backend(stage: &mut Stage) -> Result<()> {
    stage.house.narrow_the_path(NARROW_MTU)?;
    (0..2).try_for_each(|index| backend_learns_by_udp(stage, index).with_context(|| name(index)))?;
    backends_forget(stage)?;
    (0..2).try_for_each(|index| download_fits(stage, index).with_context(|| name(index)))?;
    stage.house.widen_the_path()?;
    backends_forget(stage)
}

fn backends_forget(stage: &Stage) -> Result<()> {
    stage.house.backends.iter().try_for_each(|host| host.namespace.forget_paths())
}

fn backend_learns_by_udp(stage: &Stage, index: usize) -> Result<()> {
    learns_from_an_echo(stage, index, LONG_DATAGRAM)
}

/// The first echo of so many bytes and some more is lost on the path; a later one comes, in fragments.
fn learns_from_an_echo(stage: &Stage, index: usize, bytes: usize) -> Result<()> {
    let long = vec![9; bytes];
    stage.house.client.run(|| {
        let socket = socket_to(stage, index)?;
        socket.set_read_timeout(Some(LESSON))?;
        socket.send(&long)?;
        ensure!(echo::receive(&socket).is_err(), "a long echo came at once: the path is not narrow");
        for _ in 0..LESSONS {
            socket.send(&long)?;
            if let Ok(reply) = echo::receive(&socket) {
                ensure!(reply.ends_with(&long), "other bytes came back");
                return Ok(());
            }
        }
        bail!("it never learnt that the path is narrow")
    })
}

/// A socket whose datagrams go to the backend at `index`.
fn socket_to(stage: &Stage, index: usize) -> Result<UdpSocket> {
    let landed = |_| -> Result<Option<UdpSocket>> {
        let socket = echo::udp_socket(stage.vip(Kind::Udp))?;
        socket.send(b"who?")?;
        let answered = named(&echo::receive(&socket)?)?;
        Ok((answered == name(index)).then_some(socket))
    };
    let found = (0..ATTEMPTS).map(landed).find_map(Result::transpose);
    found.with_context(|| format!("no socket reached it in {ATTEMPTS} attempts"))?
}

fn download_fits(stage: &Stage, index: usize) -> Result<()> {
    const PATH: &str = "/bytes/200000";
    let expected = stage.directly(PATH)?;
    stage.house.client.run(|| {
        let landed = |_| -> Result<Option<Connection>> {
            let mut connection = Connection::open(stage.vip(Kind::Http))?;
            let answered = connection.get("/")?.head.backend;
            Ok((answered == name(index)).then_some(connection))
        };
        let found = (0..ATTEMPTS).map(landed).find_map(Result::transpose);
        let mut connection = found.with_context(|| format!("not reached in {ATTEMPTS} attempts"))??;
        ensure!(connection.get(PATH)?.body == expected, "other bytes came than the backend gives directly");
        Ok(())
    })
}
