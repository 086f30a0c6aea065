//! What the log says of the ways to the backends: that one is lost, why, and that it is back; and that one leaves by an
//! interface that is not balanced. Each once.

use super::balancer::Balancer;
use crate::kernel::{NextHop, NextHopError, NextHops};
use std::collections::BTreeSet;
use std::net::IpAddr;

/// The backends' addresses whose missing way the log knows of.
#[derive(Debug, Default)]
pub(super) struct Ways {
    known: BTreeSet<IpAddr>,
    told: BTreeSet<IpAddr>,
    /// Those said to leave by an interface that is not balanced.
    aside: BTreeSet<IpAddr>,
}

/// What there is to say.
#[derive(Debug, PartialEq, Eq)]
enum News<'a> {
    Lost(IpAddr, &'a NextHopError),
    Found(IpAddr),
}

impl Balancer {
    /// Logs the ways that are missing as the first tables are written.
    pub(super) fn tell_missing_ways(&mut self) {
        let hops = self.resolver.next_hops.borrow().clone();
        self.ways.known.extend(hops.keys());
        self.tell_news(&hops);
    }

    /// Logs the ways that were lost or found.
    pub(super) fn tell_changed_ways(&mut self) {
        let hops = self.resolver.next_hops.borrow().clone();
        self.tell_news(&hops);
    }

    fn tell_news(&mut self, hops: &NextHops) {
        self.ways.follow(hops).iter().for_each(tell);
        let links = self.resolver.links.borrow().clone();
        let interface = |index| links.get(&index).map_or("?", |link| link.name.as_str());
        for (address, index) in self.ways.leaving_by(hops, |index| !self.interfaces.has(interface(index))) {
            tracing::warn!(
                %address, interface = interface(index),
                "a backend is reached through an interface that is not among --iface: many drivers drop what is sent to \
                 them from elsewhere, and its replies are not translated; name it too"
            );
        }
    }
}

fn tell(news: &News<'_>) {
    match news {
        News::Lost(address, why) => {
            tracing::warn!(%address, "there is no way to a backend, which gets no packets until there is: {why}");
        }
        News::Found(address) => tracing::info!(%address, "the way to a backend is found"),
    }
}

impl Ways {
    /// Compares with what was said before. An address that was never reached is not news: a new backend's way takes
    /// some milliseconds to be found, and its health check tells if it stays away.
    fn follow<'a>(&mut self, hops: &'a NextHops) -> Vec<News<'a>> {
        self.known.retain(|address| hops.contains_key(address));
        self.told.retain(|address| hops.contains_key(address));
        let mut news = Vec::new();
        for (address, answer) in hops {
            match answer {
                Err(why) if self.known.contains(address) && self.told.insert(*address) => {
                    news.push(News::Lost(*address, why));
                }
                Err(_) => {}
                Ok(_) => {
                    self.known.insert(*address);
                    if self.told.remove(address) {
                        news.push(News::Found(*address));
                    }
                }
            }
        }
        news
    }

    /// The addresses, not told before, whose way leaves by an interface that `is_aside`.
    fn leaving_by(&mut self, hops: &NextHops, is_aside: impl Fn(u32) -> bool) -> Vec<(IpAddr, u32)> {
        self.aside.retain(|address| hops.contains_key(address));
        let leaving = |(address, answer): (&IpAddr, &Result<NextHop, _>)| {
            answer.as_ref().ok().map(|hop| (*address, hop.ifindex))
        };
        let aside = hops.iter().filter_map(leaving).filter(|(_, index)| is_aside(*index));
        aside.filter(|(address, _)| self.aside.insert(*address)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lb_common::wire::ethernet::Addresses;
    use std::net::Ipv6Addr;

    const BACKEND: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 0x11));

    fn found() -> NextHops {
        let hop = NextHop {
            ifindex: 3,
            link: Addresses::new([2; 6], [4; 6]),
            source: IpAddr::V6(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1)),
            mtu: 1500,
            vlan: 0,
            second_vlan: 0,
            on_link: true,
        };
        NextHops::from([(BACKEND, Ok(hop))])
    }

    fn lost() -> NextHops {
        NextHops::from([(BACKEND, Err(NextHopError::Down("eth0".into())))])
    }

    #[test]
    fn a_loss_is_told_once_and_its_end_too() {
        let mut ways = Ways::default();
        assert!(ways.follow(&found()).is_empty());
        assert_eq!(ways.follow(&lost()), [News::Lost(BACKEND, &NextHopError::Down("eth0".into()))]);
        assert!(ways.follow(&lost()).is_empty());
        assert_eq!(ways.follow(&found()), [News::Found(BACKEND)]);
        assert!(ways.follow(&found()).is_empty());
    }

    #[test]
    fn a_way_by_an_interface_that_is_not_balanced_is_told_once() {
        let mut ways = Ways::default();
        assert_eq!(ways.leaving_by(&found(), |index| index == 3), [(BACKEND, 3)]);
        assert!(ways.leaving_by(&found(), |index| index == 3).is_empty());
        assert!(Ways::default().leaving_by(&found(), |index| index == 4).is_empty());
        assert!(Ways::default().leaving_by(&lost(), |_| true).is_empty());
    }

    #[test]
    fn a_new_backend_is_no_loss_while_it_is_looked_for() {
        let mut ways = Ways::default();
        assert!(ways.follow(&lost()).is_empty());
        assert!(ways.follow(&found()).is_empty());
    }
}
