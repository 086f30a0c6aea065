//! Echo requests to a VIP are answered without the stack, unless the operator leaves them to it.

use anyhow::{Context, Result, ensure};

use super::{Claim, routed};
use crate::daemon::Mode;
use crate::family::Family;
use crate::runner::Case;
use crate::service::{Forward, Kind, config};
use crate::stage::{Set, Stage, shares};
use crate::topology::{House, VIPS};
use crate::traffic::ping;

/// The client's MTU.
const MTU: usize = 1500;
const ICMP_HEADER_BYTES: usize = 8;

/// The cases of this suite.
pub(super) fn cases() -> Vec<Case> {
    let sets = [routed(Forward::Nat, Mode::Native), routed(Forward::DsrIpip, Mode::Generic)];
    let answered: Claim = ("an_echo_to_a_vip_is_answered_whatever_its_size", answered);
    let left: Claim = ("without_ping_an_echo_is_left_to_the_stack", left_to_the_stack);
    let mut cases = super::cases("ping", &sets, &[answered]);
    cases.extend(super::cases("ping", &sets[..1], &[left]));
    cases
}

/// A VIP of each family, with a ping of the operator's choice.
fn stage(set: Set, ping: bool) -> Result<Stage> {
    let text = |house: &House| {
        let service = |family| {
            let mut service = Kind::Http.service(set.forward, family, &shares(house, family, &[1]));
            service.name = format!("web-{family}");
            service
        };
        format!("ping = {ping}\n{}", config(&Family::BOTH.map(service)))
    };
    let stage = Stage::furnish(set, 1, text)?;
    ping::allow(&stage.house.client)?;
    Ok(stage)
}

/// The balancer has no VIP among its addresses, so nobody else would answer.
fn answered(set: Set) -> Result<()> {
    let stage = stage(set, true)?;
    for family in Family::BOTH {
        let largest = MTU - family.header_bytes() - ICMP_HEADER_BYTES;
        for size in [0, 1, 8, 56, 999, largest] {
            echoes(&stage, family, size).with_context(|| format!("{size} bytes over {family}"))?;
        }
        let own = stage.house.backends[0].addresses.of(family);
        stage.house.client.run(|| Ok(ping::ask(own, b"other")?)).context("an address that is no VIP")?;
    }
    Ok(())
}

fn echoes(stage: &Stage, family: Family, size: usize) -> Result<()> {
    let payload: Vec<u8> = (0..size).map(|number| number.to_le_bytes()[0]).collect();
    let reply = stage.house.client.run(|| Ok(ping::ask(VIPS.of(family), &payload)?))?;
    ensure!(reply == payload, "{} other bytes came back", reply.len());
    Ok(())
}

fn left_to_the_stack(set: Set) -> Result<()> {
    let stage = stage(set, false)?;
    for family in Family::BOTH {
        let vip = VIPS.of(family);
        ensure!(echoes(&stage, family, 56).is_err(), "nobody has {vip}, and yet it answered");
        stage.house.balancer.address("lo", vip, family.bits())?;
        // The address is new, and a busy machine may lose the first.
        let answered = (0..3).any(|_| echoes(&stage, family, 56).is_ok());
        ensure!(answered, "{vip}, which the balancer's host has, does not answer");
    }
    Ok(())
}
