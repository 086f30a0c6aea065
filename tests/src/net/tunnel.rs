//! The kernel's own tunnel devices, as a host needs them to receive what direct server return sends it.
//!
//! The modules make `tunl0` and `sit0` in every namespace, which take 4in4 and 6in4 from anybody. For what comes over IPv6
//! there is no such device that takes both families, so one is made.

use std::net::Ipv6Addr;

use anyhow::{Context, Result};
use rtnetlink::packet_route::link::{InfoData, InfoIpTunnel, InfoKind};
use rtnetlink::{LinkMessageBuilder, LinkUnspec};

use super::{fou, netlink};
use crate::netns::Namespace;

/// The device that takes packets of both families over IPv6.
const OVER_V6: &str = "tunnel6";

impl Namespace {
    /// Has the kernel take the outer headers off IP in IP, of either family over either, and off GUE on `gue_port`. `own` is
    /// where packets over IPv6 are sent to.
    pub fn receive_tunnels(&self, own: Ipv6Addr, gue_port: u16) -> Result<()> {
        let tunnel = LinkMessageBuilder::<LinkUnspec>::new_with_info_kind(InfoKind::Ip6Tnl).name(OVER_V6);
        let tunnel = tunnel.set_info_data(InfoData::IpTunnel(vec![InfoIpTunnel::Local(own.into())])).build();
        self.run(|| netlink(async |handle| Ok(handle.link().add(tunnel).execute().await?)))
            .with_context(|| format!("{OVER_V6} in {}", self.name()))?;
        ["tunl0", "sit0", OVER_V6].into_iter().try_for_each(|device| self.up(device))?;
        self.run(|| fou::receive_gue(gue_port)).with_context(|| format!("GUE in {}", self.name()))
    }
}
