//! A balancer with clients and backends behind several interfaces: what arrives on one leaves by the right other.

use std::thread;

use anyhow::{Context, Result, ensure};

use super::every_mode;
use crate::fleet::name;
use crate::netns::Namespace;
use crate::runner::Case;
use crate::service::Kind;
use crate::stage::{Set, Stage};
use crate::topology::{Layout, VIPS};
use crate::traffic::tally::Tally;
use crate::traffic::{echo, http};

const CONNECTIONS: usize = 60;
/// The config does not know the third backend, whose host then is another client.
const WEIGHTS: [u16; 3] = [1, 1, 0];

/// The cases of this suite.
pub(super) fn cases() -> Vec<Case> {
    super::cases(
        "several_interfaces",
        &every_mode(Layout::Routed)
            .into_iter()
            .filter(|set| set.layout == Layout::Routed)
            .collect::<Vec<_>>(),
        &[("clients_behind_two_interfaces_are_served_at_once", served_at_once)],
    )
}

fn served_at_once(set: Set) -> Result<()> {
    let stage = Stage::build(set, &WEIGHTS)?;
    if set.forward.is_direct() {
        stage.house.backends[2].disown(VIPS)?;
    }
    let stage = &stage;
    let clients = [("the client", &stage.house.client), ("a host", &stage.house.backends[2].namespace)];
    thread::scope(|scope| {
        let asking = clients.map(|(who, from)| scope.spawn(move || served(stage, from).context(who)));
        asking
            .into_iter()
            .try_for_each(|one| one.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    })
}

fn served(stage: &Stage, from: &Namespace) -> Result<()> {
    let payload = vec![7; 30_000];
    from.run(|| {
        let vip = stage.vip(Kind::Http);
        let tally: Tally = (0..CONNECTIONS).map(|_| http::who(vip)).collect::<Result<_>>()?;
        ensure!((0..2).all(|index| tally.of(&name(index)) > 0), "one backend never answered: {tally:?}");
        ensure!(echo::tcp(stage.vip(Kind::Tcp), &payload)? == payload, "other bytes came back");
        echo::udp(stage.vip(Kind::Udp), b"hello").context("an echo by UDP")?;
        Ok(())
    })
}
