//! Tells of answers that `dnat` leaves to the kernel, and that it drops for their source: a VIP that is this host's own address.

use crate::config::{Forward, Service, Tracking};
use crate::kernel::{Tables, own_source};
use lb_common::datapath::Reason;
use std::collections::BTreeSet;
use std::net::Ipv4Addr;

/// What was seen of such answers.
#[derive(Debug, Default)]
pub(super) struct Routed {
    /// Their number when the host was last asked about.
    asked_at: u64,
    told: BTreeSet<Ipv4Addr>,
}

impl Routed {
    /// Tells, once of each VIP, why the kernel drops its answers, if there are answers that are left to it.
    pub(super) fn look(&mut self, tables: &Tables, services: &[Service]) {
        let routed = tables.reasons().get(Reason::DnatRouted as usize).map_or(0, |count| count.packets);
        if !self.is_worth_asking(routed) {
            return;
        }
        for vip in own_source::refused(&untold(&self.told, services)) {
            tracing::warn!(
                %vip,
                "answers of `dnat` backends are left to the kernel (`dnat_routed`), which drops them, for the VIP is an address \
                 of this host; either `sysctl -w net.ipv4.conf.all.accept_local=1`, with no `rp_filter` at 1, or `ip route add \
                 unreachable {vip}` in place of the address"
            );
            self.told.insert(vip);
        }
    }

    /// As soon as there is one, and again when there are twice as many: the host is not asked about for each.
    fn is_worth_asking(&mut self, routed: u64) -> bool {
        let is_worth_it = routed > self.asked_at.saturating_mul(2);
        if is_worth_it {
            self.asked_at = routed;
        }
        is_worth_it
    }
}

/// The VIPs whose answers may be left to the kernel. It asks nothing of the source of IPv6.
fn untold(told: &BTreeSet<Ipv4Addr>, services: &[Service]) -> BTreeSet<Ipv4Addr> {
    let is_routed =
        |service: &&Service| service.forward == Forward::Dnat && service.tracking != Tracking::Always;
    let vips = services.iter().filter(is_routed).filter_map(|service| match service.vip.addr {
        std::net::IpAddr::V4(vip) => Some(vip),
        std::net::IpAddr::V6(_) => None,
    });
    vips.filter(|vip| !told.contains(vip)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_is_asked_about_at_the_first_answer_and_ever_less_often() {
        let mut routed = Routed::default();
        let asked: Vec<_> = [0, 1, 2, 3, 3, 6, 7].map(|count| routed.is_worth_asking(count)).into();
        assert_eq!(asked, [false, true, false, true, false, false, true]);
    }
}
