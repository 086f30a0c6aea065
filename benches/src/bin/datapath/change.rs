//! How long a change of one backend takes, from the verdict to the last word in the kernel's tables.

use anyhow::{Result, anyhow};
use lb_benches::samples::Samples;
use lb_common::wire::ethernet::Addresses;
use lb_userspace::config::{self, Encap, Service};
use lb_userspace::daemon::write_tables;
use lb_userspace::health::HealthState;
use lb_userspace::kernel::{NextHop, Tables};
use lb_userspace::plan::{BackendKey, Inputs, Planner};
use serde::Serialize;
use std::collections::{BTreeSet, HashMap};
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

/// Backends of the service: with so many it has the largest table.
const BACKENDS: u8 = 100;
/// Times that a backend dies.
const ROUNDS: usize = 21;

/// What was measured.
#[derive(Serialize)]
pub(crate) struct ChangeRow {
    path: &'static str,
    /// Slots of the service.
    slots: u32,
    /// Slots written for each change, in the mean.
    written: usize,
    /// Milliseconds from the verdict to the last word written, median.
    ms: f64,
    /// Those of them that the plan took.
    plan_ms: f64,
    spread_ms: [f64; 2],
}

impl std::fmt::Display for ChangeRow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { path, slots, written, ms, plan_ms, spread_ms: [least, most] } = self;
        let spread = format!("{least:.1}–{most:.1}");
        write!(
            f,
            "{path:<34} {ms:>6.1} {spread:>13}  plan {plan_ms:.1} ms; {written} of {slots} slots written"
        )
    }
}

/// Lets backends of a service die one after the other, and come back.
pub(crate) fn measure(tables: &mut Tables) -> Result<ChangeRow> {
    let mut scene = Scene::new()?;
    scene.follow(tables)?;
    let (mut whole, mut planned, mut written) = (Samples::default(), Samples::default(), 0);
    for round in 0..ROUNDS {
        let key = scene.key(round);
        scene.health.insert(key, HealthState::Down);
        let (plan, all, slots) = scene.follow(tables)?;
        planned.push(plan.as_secs_f64() * 1e3);
        whole.push(all.as_secs_f64() * 1e3);
        written += slots;
        scene.health.insert(key, HealthState::Up);
        scene.follow(tables)?;
    }
    Ok(ChangeRow {
        path: "change.100-backends",
        slots: scene.planner.services().map(|service| service.slots).sum(),
        written: written / ROUNDS,
        ms: whole.median(),
        plan_ms: planned.median(),
        spread_ms: whole.spread(),
    })
}

struct Scene {
    planner: Planner,
    services: Vec<Service>,
    health: HashMap<BackendKey, HealthState>,
    hops: HashMap<IpAddr, NextHop>,
}

impl Scene {
    fn new() -> Result<Self> {
        let services = services()?;
        let keys = services
            .iter()
            .flat_map(|service| service.backends.iter().map(|backend| BackendKey::of(service, backend)));
        let health = keys.map(|key| (key, HealthState::Up)).collect();
        let hops = (1..=BACKENDS).map(|host| (address(host).into(), hop(host))).collect();
        Ok(Self { planner: Planner::new(), services, health, hops })
    }

    fn key(&self, number: usize) -> BackendKey {
        let service = &self.services[0];
        BackendKey::of(service, &service.backends[number % service.backends.len()])
    }

    /// Plans and writes what changed; gives the time to the plan, to the last write, and the number of slots written.
    fn follow(&mut self, tables: &mut Tables) -> Result<(Duration, Duration, usize)> {
        let inputs = Inputs {
            services: &self.services,
            seed: 0x5eed,
            health: &self.health,
            drained: &BTreeSet::new(),
            ping: true,
            encap: Encap::default(),
            next_hops: &self.hops,
        };
        let began = Instant::now();
        let plan = self.planner.plan(&inputs, began)?;
        let planned = began.elapsed();
        write_tables(tables, &plan.writes)?;
        Ok((planned, began.elapsed(), plan.summary.slots_moved))
    }
}

fn services() -> Result<Vec<Service>> {
    let mut text =
        String::from("[[service]]\nname = \"web\"\nvip = \"203.0.113.250:80\"\nforward = \"dsr-ipip\"\n");
    text.push_str("health = { tcp = true }\n");
    for host in 1..=BACKENDS {
        let address = address(host);
        writeln!(text, "[[service.backend]]\nname = \"b{host}\"\naddr = \"{address}:80\"")?;
    }
    let loaded = config::parse("the bench", &text).map_err(|mistakes| anyhow!("{mistakes}"))?;
    Ok(loaded.config.services)
}

const fn address(host: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 0, 2, host)
}

fn hop(host: u8) -> NextHop {
    NextHop {
        ifindex: 1,
        link: Addresses::new([2, 0, 0, 2, 0, host], [2, 0, 0, 0, 0, 2]),
        source: [10, 0, 0, 1].into(),
        mtu: 1500,
        vlan: 0,
        second_vlan: 0,
        on_link: true,
    }
}
