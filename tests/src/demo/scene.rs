//! What runs: the house, three backends, and the daemon with the demo's config.

use std::net::{IpAddr, SocketAddr};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::page::Page;
use crate::daemon::{Daemon, Mode};
use crate::fleet::{self, Fleet};
use crate::service::Forward;
use crate::topology::{House, Layout, VIP, VIPS};

/// The config, as the daemon gets it.
pub(super) const CONFIG: &str = include_str!("demo.toml");

/// Weights of the backends in [`CONFIG`].
pub(super) const WEIGHTS: [u16; 3] = [3, 2, 1];

/// A service of [`CONFIG`].
#[derive(Clone, Copy)]
pub(super) struct Service {
    pub(super) name: &'static str,
    pub(super) vip: SocketAddr,
    /// How clients write it.
    pub(super) url: &'static str,
}

/// The service of forwarding by `nat`.
pub(super) const WEB: Service =
    Service { name: "web", vip: SocketAddr::new(IpAddr::V4(VIP), 80), url: "http://203.0.113.10/" };
/// The service of forwarding by `dsr-ipip`.
pub(super) const DIRECT: Service =
    Service { name: "direct", vip: SocketAddr::new(IpAddr::V4(VIP), 8080), url: "http://203.0.113.10:8080/" };

const WIRING: &str = "
   client 10.10.0.2 ----- balancer -----+----- web1  10.20.1.2:8080  weight 3
                        lb-userspace    +----- web2  10.20.2.2:8080  weight 2
                                        +----- web3  10.20.3.2:8080  weight 1

   http://203.0.113.10/       service web:     nat, backends see the balancer
   http://203.0.113.10:8080/  service direct:  dsr-ipip, backends see the client, and answer it themselves
";

/// Says what will happen, before anything does.
pub(super) fn announce(page: &Page) {
    page.heading(
        "A load balancer with real traffic, in network namespaces: a client, a balancer, three backends.",
    );
    page.plain("Nothing of this host is touched. Everything is removed at the end, also on Ctrl-C.");
}

/// All that runs. Ends in the order of its fields.
pub(super) struct Scene {
    daemon: Option<Daemon>,
    /// The backends, `web1` to `web3`.
    pub(super) fleet: Fleet,
    /// The namespaces.
    pub(super) house: House,
}

impl Scene {
    /// Starts everything and waits until every backend is up.
    pub(super) fn build() -> Result<Self> {
        let house = House::build(Layout::Routed, 3)?;
        house.backends_own(VIPS)?;
        let mut fleet = Fleet::start(&house, Forward::Nat, Mode::Auto)?;
        fleet.decapsulate(&house)?;
        let mut scene = Self { daemon: None, fleet, house };
        scene.start_daemon()?;
        Ok(scene)
    }

    /// Starts the daemon, in the place of one that ran, and waits until every backend is up.
    pub(super) fn start_daemon(&mut self) -> Result<()> {
        let House { balancer, interfaces, .. } = &self.house;
        self.daemon = Some(Daemon::start_with(balancer, interfaces, Mode::Auto, CONFIG)?);
        self.wait_until_up()
    }

    /// Waits until every backend of every service is up.
    pub(super) fn wait_until_up(&self) -> Result<()> {
        let daemon = self.daemon()?;
        [WEB, DIRECT].iter().try_for_each(|service| {
            (0..WEIGHTS.len())
                .try_for_each(|index| daemon.wait_for(service.name, &fleet::name(index), "up").map(drop))
        })
    }

    /// The daemon, while it runs.
    pub(super) fn daemon(&self) -> Result<&Daemon> {
        self.daemon.as_ref().context("the daemon is stopped")
    }

    /// The daemon, to stop it.
    pub(super) fn take_daemon(&mut self) -> Result<Daemon> {
        self.daemon.take().context("the daemon is stopped")
    }

    /// What the program prints for `arguments`, which must succeed.
    pub(super) fn command(&self, arguments: &[&str]) -> Result<String> {
        let output = self.daemon()?.attempt(arguments)?;
        let (said, errors) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        ensure!(output.status.success(), "{arguments:?} gave {}: {said}{errors}", output.status);
        Ok(said.into_owned())
    }

    /// Tells what was built.
    pub(super) fn describe(&self, page: &Page) -> Result<()> {
        page.plain(WIRING);
        let daemon = self.daemon()?;
        let status = daemon.status()?;
        page.line(&format!("config   {}", daemon.config_path().display()));
        page.line(&format!("daemon   ready: {}", readiness(&status)));
        Ok(())
    }
}

fn readiness(status: &Value) -> String {
    let interfaces = status["interfaces"].as_array().map(Vec::as_slice).unwrap_or_default();
    let word = |value: &Value| value.as_str().unwrap_or("?").to_owned();
    let attached: Vec<String> =
        interfaces.iter().map(|one| format!("{} ({})", word(&one["name"]), word(&one["mode"]))).collect();
    format!("XDP on {}; checks over {}", attached.join(", "), word(&status["transport"]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::{FALL, INTERVAL, RISE};
    use lb_userspace::config;

    #[test]
    fn the_config_is_what_the_demo_says_of_it() {
        let loaded = config::parse("demo.toml", CONFIG).unwrap();
        assert_eq!(loaded.warnings, []);
        for (service, told) in loaded.config.services.iter().zip([WEB, DIRECT]) {
            assert_eq!(service.name, told.name);
            assert_eq!(service.vip.to_string(), told.vip.to_string());
            let check = service.health.as_ref().unwrap();
            assert_eq!((check.interval, check.fall, check.rise), (INTERVAL, FALL, RISE));
            for (index, backend) in service.backends.iter().enumerate() {
                assert_eq!((backend.name.as_str(), backend.weight), (&*fleet::name(index), WEIGHTS[index]));
                assert!(WIRING.contains(&backend.addr.to_string()), "{}", backend.addr);
            }
        }
    }
}
