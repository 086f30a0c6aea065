//! What the log says of the ways to the backends: that one is lost, why, and that it is back. Each once.

use super::balancer::Balancer;
use crate::kernel::{NextHopError, NextHops};
use std::collections::BTreeSet;
use std::net::Ipv4Addr;

/// The backends' addresses whose missing way the log knows of.
#[derive(Debug, Default)]
pub(super) struct Ways {
    known: BTreeSet<Ipv4Addr>,
    told: BTreeSet<Ipv4Addr>,
}

/// What there is to say.
#[derive(Debug, PartialEq, Eq)]
enum News<'a> {
    Lost(Ipv4Addr, &'a NextHopError),
    Found(Ipv4Addr),
}

impl Balancer {
    /// Logs the ways that are missing as the first tables are written.
    pub(super) fn tell_missing_ways(&mut self) {
        let hops = self.resolver.next_hops.borrow().clone();
        self.ways.known.extend(hops.keys());
        self.ways.follow(&hops).iter().for_each(tell);
    }

    /// Logs the ways that were lost or found.
    pub(super) fn tell_changed_ways(&mut self) {
        let hops = self.resolver.next_hops.borrow().clone();
        self.ways.follow(&hops).iter().for_each(tell);
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
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::NextHop;
    use lb_common::wire::ethernet::Addresses;

    const BACKEND: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 11);

    fn found() -> NextHops {
        let link = Addresses::new([2; 6], [4; 6]);
        let hop = NextHop { ifindex: 3, link, source: Ipv4Addr::new(10, 0, 0, 1), mtu: 1500, vlan: 0 };
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
    fn a_new_backend_is_no_loss_while_it_is_looked_for() {
        let mut ways = Ways::default();
        assert!(ways.follow(&lost()).is_empty());
        assert!(ways.follow(&found()).is_empty());
    }
}
