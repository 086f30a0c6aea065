//! A backend is a client of the service that it is a backend of.

use anyhow::{Context, Result, ensure};

use super::routed;
use super::sharing::{self, Claim};
use super::traffic::named;
use crate::daemon::Mode;
use crate::fleet::name;
use crate::runner::Case;
use crate::service::{Forward, Kind};
use crate::stage::{Set, Stage};
use crate::topology::Layout;
use crate::traffic::tally::Tally;
use crate::traffic::{echo, http};

/// Enough that each of two backends answers with near certainty.
const CONNECTIONS: usize = 60;

/// The cases of this suite that are not about every mode.
pub(super) fn cases() -> Vec<Case> {
    let set = routed(Forward::Nat, Mode::Native).laid_out(Layout::OneArmed);
    sharing::cases(set, move || Stage::build(set, &[1, 1]), &claims(set))
}

/// The claims of this suite: only with full NAT does a backend answer where it is asked from.
pub(super) fn claims(set: Set) -> Vec<Claim> {
    let claim: Claim = ("hairpin", "a_backend_reaches_the_others_and_itself", reaches_all);
    if set.forward == Forward::Nat { vec![claim] } else { Vec::new() }
}

fn reaches_all(stage: &mut Stage) -> Result<()> {
    let host = &stage.house.backends[0].namespace;
    if stage.set.layout == Layout::OneArmed {
        stage.house.route_vips_by_the_balancer(host)?;
    }
    let (web, datagrams) = (stage.vip(Kind::Http), stage.vip(Kind::Udp));
    let payload: Vec<u8> = (0..50_000_u32).map(|number| number.to_le_bytes()[0]).collect();
    host.run(|| {
        let tally: Tally = (0..CONNECTIONS).map(|_| http::who(web)).collect::<Result<_>>()?;
        answered_by_both(&tally).context("by TCP")?;
        let ask = |_| named(&echo::udp(datagrams, b"who?")?);
        answered_by_both(&(0..CONNECTIONS).map(ask).collect::<Result<_>>()?).context("by UDP")?;
        ensure!(echo::tcp(stage.vip(Kind::Tcp), &payload)? == payload, "other bytes came back");
        Ok(())
    })
}

fn answered_by_both(tally: &Tally) -> Result<()> {
    ensure!((0..2).all(|index| tally.of(&name(index)) > 0), "one of them never answered: {tally:?}");
    Ok(())
}
