//! A balancer with clients and backends behind several interfaces: what arrives on one leaves by the right other.

use std::thread;

use anyhow::{Context, Result, ensure};

use super::sharing::Claim;
use crate::fleet::name;
use crate::netns::Namespace;
use crate::service::{Forward, Kind};
use crate::stage::{Set, Stage};
use crate::topology::VIPS;
use crate::traffic::tally::Tally;
use crate::traffic::{echo, http};

const CONNECTIONS: usize = 60;

/// The claims of this suite: there is but one interface where all share a segment.
pub(super) fn claims(set: Set) -> Vec<Claim> {
    let claim: Claim =
        ("several_interfaces", "clients_behind_two_interfaces_are_served_at_once", served_at_once);
    if set.forward == Forward::DsrL2 { Vec::new() } else { vec![claim] }
}

/// The other client is on the last host, which the config does not know as a backend.
fn served_at_once(stage: &mut Stage) -> Result<()> {
    let guest = stage.house.backends.last().context("a house with backends")?;
    if stage.set.forward.is_direct() {
        guest.disown(VIPS)?;
    }
    let (stage, clients) = (&*stage, [("the client", &stage.house.client), ("a host", &guest.namespace)]);
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
