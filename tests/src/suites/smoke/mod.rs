//! Real traffic by every way to forward, over every two families, of one daemon at once: where loading the programs takes
//! many seconds, a stage for each way is too much. Backends of the encapsulating ways receive by the kernel's own tunnel
//! devices, and not by our program.

mod scene;

use std::sync::{Arc, Mutex};

use anyhow::{Context, Result, ensure};

use self::scene::{BACKENDS, Scene, Way};
use super::sharing::{self, Shared};
use super::traffic::named;
use super::{NEEDS, every_mode};
use crate::daemon::Mode;
use crate::fleet::name;
use crate::net::xdp::{self, Attached};
use crate::runner::Case;
use crate::skip::Need;
use crate::stage::Set;
use crate::topology::Layout;
use crate::traffic::tally::Tally;
use crate::traffic::{echo, http};

/// Enough that a backend without any of them is no chance: of two alike, one in 2^31.
const CONNECTIONS: usize = 32;
/// Several windows of full segments.
const DOWNLOAD: &str = "/bytes/200000";

/// Where the daemon runs and how it attaches; one-armed for `dsr-l2`, which needs its backends on one segment.
const GROUPS: [(Mode, Layout); 4] = [
    (Mode::Native, Layout::Routed),
    (Mode::Generic, Layout::Routed),
    (Mode::Tc, Layout::Routed),
    (Mode::Native, Layout::OneArmed),
];

/// The cases of this suite.
pub(super) fn cases() -> Vec<Case> {
    GROUPS.into_iter().flat_map(|(mode, layout)| group(mode, layout)).collect()
}

/// The cases that one daemon serves.
fn group(mode: Mode, layout: Layout) -> Vec<Case> {
    let sets = every_mode(Layout::Routed).into_iter().filter(|set| set.layout == layout);
    let ways = (0..).zip(sets).map(|(number, set)| Way { number, set: Set { mode, ..set } });
    let ways: Vec<Way> = ways.collect();
    let attached = format!("{}::{layout:?}::every_link_has_the_program_as_asked", mode.word()).to_lowercase();
    let arriving = ways.clone().into_iter();
    let shared = sharing::shared(move || Scene::build(mode, layout, &ways));
    let first = case(&attached, &shared, move |scene| as_asked(scene, mode));
    let others = arriving.map(|way| {
        let name = format!("{}::connections_and_datagrams_arrive", way.set);
        case(&name, &shared, move |scene| arrive(scene, way))
    });
    [first].into_iter().chain(others).collect()
}

fn case(
    name: &str,
    shared: &Arc<Mutex<Shared<Scene>>>,
    claim: impl FnOnce(&mut Scene) -> Result<()> + Send + 'static,
) -> Case {
    let shared = Arc::clone(shared);
    let case = Case::new(format!("smoke::{name}"), move || sharing::attempt(&shared, claim));
    case.needs(&NEEDS).needs(&[Need::TunnelDevices])
}

fn as_asked(scene: &Scene, mode: Mode) -> Result<()> {
    let wanted: &[Attached] = match mode {
        Mode::Auto | Mode::Native => &[Attached::Native],
        Mode::Generic => &[Attached::Generic],
        // By a filter where the kernel has no links for it.
        Mode::Tc => &[Attached::Tc, Attached::Clsact],
        Mode::Clsact => &[Attached::Clsact],
    };
    for link in &scene.house.interfaces {
        let found = xdp::attached(&scene.house.balancer, link)?;
        ensure!(found.is_some_and(|found| wanted.contains(&found)), "{link} has {found:?}, not {wanted:?}");
    }
    Ok(())
}

fn arrive(scene: &Scene, way: Way) -> Result<()> {
    connections_arrive(scene, way).context("connections")?;
    addresses_are_seen(scene, way).context("addresses")?;
    download_is_whole(scene, way).context("a download")?;
    datagrams_arrive(scene, way).context("datagrams")
}

fn connections_arrive(scene: &Scene, way: Way) -> Result<()> {
    let ask = || (0..CONNECTIONS).map(|_| http::who(way.tcp())).collect::<Result<Tally>>();
    every_backend_answered(&scene.house.client.run(ask)?)
}

fn datagrams_arrive(scene: &Scene, way: Way) -> Result<()> {
    let ask = |number: usize| named(&echo::udp(way.udp(), format!("datagram {number}").as_bytes())?);
    let answers = scene.house.client.run(|| (0..CONNECTIONS).map(ask).collect::<Result<Tally>>())?;
    every_backend_answered(&answers)
}

fn every_backend_answered(answers: &Tally) -> Result<()> {
    let silent: Vec<_> = (0..BACKENDS).map(name).filter(|name| answers.of(name) == 0).collect();
    ensure!(silent.is_empty(), "{silent:?} never answered: {answers:?}");
    Ok(())
}

/// Behind full NAT a backend talks to the balancer; else to the client itself, and behind direct server return as the VIP.
fn addresses_are_seen(scene: &Scene, way: Way) -> Result<()> {
    let page = scene.house.client.run(|| http::get(way.tcp(), "/"))?;
    let text = String::from_utf8_lossy(&page.body).into_owned();
    let client = scene.house.client_addresses.of(way.set.clients).to_string();
    let seen = (text.contains(&client), text.contains(&format!("local={}", way.tcp())));
    let forward = way.set.forward;
    ensure!(seen == (forward.keeps_the_client(), forward.is_direct()), "the backend saw {text:?}");
    Ok(())
}

fn download_is_whole(scene: &Scene, way: Way) -> Result<()> {
    let server = way.server(scene)?;
    let expected = scene.house.balancer.run(|| http::get(server, DOWNLOAD))?.body;
    let got = scene.house.client.run(|| http::get(way.tcp(), DOWNLOAD))?.body;
    ensure!(got == expected, "{} bytes came of {}, or others", got.len(), expected.len());
    Ok(())
}
