//! The stages of the packet path that services take. The others need not be loaded, and some take the verifier a second.

use super::encode;
use crate::config::{Forward, Service};
use lb_common::abi::{self, Stage, StageSet};

/// All that packets of these services, and what is said of them, go on to.
#[must_use]
pub fn stages(services: &[Service]) -> StageSet {
    services.iter().map(taken_by).fold(StageSet::NONE, StageSet::with)
}

fn taken_by(service: &Service) -> StageSet {
    let encapsulates = matches!(service.forward, Forward::DsrIpip | Forward::DsrGue);
    let outer = service.backends.iter().filter(|_| encapsulates).map(|backend| backend.addr.is_ipv6());
    outer.map(outside).fold(inside(service), StageSet::with)
}

/// What packets for its VIP take, and answers.
fn inside(service: &Service) -> StageSet {
    let v6 = service.vip.addr.is_ipv6();
    let translating: &[Stage] = match (encode::forward(service.forward, service.tracking), v6) {
        (abi::Forward::Nat, false) => &[Stage::NatV4, Stage::NatFirstV4],
        (abi::Forward::Nat, true) => &[Stage::NatV6, Stage::NatFirstV6],
        (abi::Forward::Dnat, false) => &[Stage::DnatV4],
        (abi::Forward::Dnat, true) => &[Stage::DnatV6],
        _ => &[],
    };
    common(v6).with(StageSet::of(translating))
}

/// What routers' messages about outer headers of a family take.
fn outside(v6: bool) -> StageSet {
    let relay = if v6 { Stage::RelayV6 } else { Stage::RelayV4 };
    common(v6).with(StageSet::of(&[relay]))
}

/// What any packet of a family may take.
const fn common(v6: bool) -> StageSet {
    StageSet::of(if v6 {
        &[Stage::TransportV6, Stage::ControlV6]
    } else {
        &[Stage::TransportV4, Stage::ControlV4]
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

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
