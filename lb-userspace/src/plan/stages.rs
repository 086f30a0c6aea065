//! The stages of the packet path that services take. The others need not be loaded, and some take the verifier a second.

use super::encode;
use crate::config::{Forward, Service};
use lb_common::abi::{StageSet, Stages};
use std::net::IpAddr;

/// All that packets of these services, and what is said of them, go on to.
#[must_use]
pub fn stages(services: &[Service]) -> StageSet {
    services.iter().map(taken_by).fold(StageSet::NONE, StageSet::with)
}

fn taken_by(service: &Service) -> StageSet {
    let forward = encode::forward(service.forward, service.tracking);
    let inside = of(service.vip.addr).of_service(forward);
    let encapsulates = matches!(service.forward, Forward::DsrIpip | Forward::DsrGue);
    let outside = service.backends.iter().filter(|_| encapsulates).map(|backend| backend.addr.ip());
    outside.map(|address| of(address).of_outer_headers()).fold(inside, StageSet::with)
}

const fn of(address: IpAddr) -> Stages {
    if address.is_ipv6() { Stages::V6 } else { Stages::V4 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;
    use lb_common::abi::Stage;

    fn taken(vip: &str, forward: &str, backend: &str) -> Vec<Stage> {
        let text = format!(
            "[[service]]\nname = \"a\"\nvip = \"{vip}\"\n{forward}\n[[service.backend]]\nname = \"b\"\naddr = \"{backend}\"\n"
        );
        stages(&config::parse("here", &text).unwrap().config.services).iter().collect()
    }

    #[test]
    fn a_mode_takes_its_own_stages_and_its_familys() {
        use Stage::{ControlV4, DnatV4, NatFirstV4, NatV4, TransportV4};
        assert_eq!(stages(&[]), StageSet::NONE);
        let v4 = |forward| taken("203.0.113.1:80", forward, "10.0.0.1");
        assert_eq!(v4("forward = \"dsr-l2\""), [TransportV4, ControlV4]);
        assert_eq!(v4("forward = \"nat\""), [TransportV4, NatV4, NatFirstV4, ControlV4]);
        assert_eq!(v4("forward = \"dnat\""), [TransportV4, DnatV4, ControlV4]);
        assert_eq!(
            v4("forward = \"dnat\"\ntracking = \"always\""),
            [TransportV4, NatV4, NatFirstV4, ControlV4]
        );
    }

    #[test]
    fn an_outer_header_takes_the_stages_of_its_own_family() {
        use Stage::{ControlV4, ControlV6, RelayV4, RelayV6, TransportV4, TransportV6};
        let ipip = "forward = \"dsr-ipip\"";
        assert_eq!(taken("203.0.113.1:80", ipip, "10.0.0.1"), [TransportV4, ControlV4, RelayV4]);
        assert_eq!(
            taken("203.0.113.1:80", "forward = \"dsr-gue\"", "fd00::1"),
            [TransportV4, ControlV4, TransportV6, ControlV6, RelayV6]
        );
        assert_eq!(taken("[2001:db8::1]:80", ipip, "fd00::1"), [TransportV6, ControlV6, RelayV6]);
    }
}
