//! New connections go to backends by their weights.

use std::net::SocketAddr;

use anyhow::{Result, ensure};

use crate::demo::page::Page;
use crate::demo::scene::{DIRECT, Scene, Service, WEB, WEIGHTS};
use crate::fleet;
use crate::traffic::http;
use crate::traffic::tally::Tally;

/// Enough that ignored weights cannot pass for chance.
const CONNECTIONS: u32 = 600;

pub(super) fn through_nat(scene: &mut Scene, page: &Page) -> Result<String> {
    spread(scene, page, WEB)
}

/// Here a backend must also see the client itself.
pub(super) fn through_dsr(scene: &mut Scene, page: &Page) -> Result<String> {
    let told = spread(scene, page, DIRECT)?;
    let (seen, client) = (what_a_backend_sees(scene, DIRECT.vip)?, scene.house.client_addresses.v4);
    ensure!(seen.contains(&format!("peer={client}:")), "the backend does not see the client: {seen}");
    Ok(told)
}

fn spread(scene: &Scene, page: &Page, service: Service) -> Result<String> {
    page.line(&format!("{CONNECTIONS} connections to {}", service.url));
    let tally: Tally =
        scene.house.client.run(|| (0..CONNECTIONS).map(|_| http::who(service.vip)).collect())?;
    page.table(&table(&tally));
    page.line(&format!("a backend says: {}", what_a_backend_sees(scene, service.vip)?));
    tally.fits(&shares())?;
    Ok(shares().iter().map(|(name, _)| format!("{name} {}", tally.of(name))).collect::<Vec<_>>().join(", "))
}

fn what_a_backend_sees(scene: &Scene, vip: SocketAddr) -> Result<String> {
    let page = scene.house.client.run(|| http::get(vip, "/"))?;
    Ok(String::from_utf8_lossy(&page.body).trim().to_owned())
}

fn table(tally: &Tally) -> Vec<Vec<String>> {
    let headings = ["backend", "weight", "expected", "got"].map(str::to_owned).to_vec();
    let sum: u32 = WEIGHTS.iter().map(|weight| u32::from(*weight)).sum();
    let row = |(name, weight): (String, u16)| {
        let (expected, got) = (CONNECTIONS * u32::from(weight) / sum, tally.of(&name));
        vec![name, weight.to_string(), expected.to_string(), got.to_string()]
    };
    std::iter::once(headings).chain(shares().into_iter().map(row)).collect()
}

fn shares() -> Vec<(String, u16)> {
    WEIGHTS.iter().enumerate().map(|(index, weight)| (fleet::name(index), *weight)).collect()
}
