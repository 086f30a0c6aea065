//! Datagrams longer than the MTU arrive whole, and so do their echoes.

use anyhow::{Context, Result, ensure};

use super::sharing::Claim;
use crate::family::Family;
use crate::service::Kind;
use crate::stage::{Set, Stage};
use crate::traffic::echo;

/// Three fragments of the usual MTU.
const BYTES: usize = 4096;
const DATAGRAMS: u8 = 20;

/// The claims of this suite about every mode.
///
/// Not about IPv6 in an outer header: there the backend's own answer goes by a link that is wider than the path, in
/// fragments that nobody but their sender may cut smaller. The packet rows have those fragments.
pub(super) fn claims(set: Set) -> Vec<Claim> {
    let answered = !set.forward.encapsulates() || set.clients == Family::V4;
    let claim: Claim = ("fragments", "a_datagram_in_fragments_is_echoed_whole", echoed_whole);
    answered.then_some(claim).into_iter().collect()
}

/// Every datagram from a socket of its own, so that each is a flow of its own and backends vary.
fn echoed_whole(stage: &mut Stage) -> Result<()> {
    let vip = stage.vip(Kind::Udp);
    stage.house.client.run(|| {
        // While a neighbour is asked for, the second fragment may overtake the first, which waits: so all are known before.
        (0..DATAGRAMS).try_for_each(|_| echo::udp(vip, b"who is there?").map(drop))?;
        (0..DATAGRAMS).try_for_each(|number| {
            let payload: Vec<u8> = (0..BYTES).map(|at| at.to_le_bytes()[0] ^ number).collect();
            let reply = echo::udp(vip, &payload).with_context(|| format!("datagram {number}"))?;
            ensure!(reply.ends_with(&payload), "{} bytes came back of {BYTES}, or others", reply.len());
            Ok(())
        })
    })
}
