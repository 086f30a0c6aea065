//! Maglev with a table of recently used flows on each balancer, as Katran has it: every packet looks its flow up, and
//! puts it in if it is not there.

use super::maglev::Maglev;
use super::pool::Pool;
use super::{Packet, PacketKind, Way};
use anyhow::Result;
use lru::LruCache;
use std::net::SocketAddr;
use std::num::NonZeroUsize;

pub(super) struct Lru {
    maglev: Maglev,
    pool: Option<Pool>,
    tables: Vec<LruCache<u32, SocketAddr>>,
}

impl Lru {
    pub(super) fn new(balancers: usize, entries: usize) -> Self {
        let entries = NonZeroUsize::new(entries).unwrap_or(NonZeroUsize::MIN);
        let tables = (0..balancers).map(|_| LruCache::new(entries)).collect();
        Self { maglev: Maglev::default(), pool: None, tables }
    }
}

impl Way for Lru {
    fn change(&mut self, pool: &Pool, now: u32) -> Result<()> {
        self.pool = Some(pool.clone());
        self.maglev.change(pool, now)
    }

    fn pass(&mut self, _: u32) {}

    fn lose(&mut self, balancer: usize) {
        self.tables[balancer].clear();
    }

    fn regain(&mut self, _: usize, _: &Pool, _: u32) -> Result<()> {
        Ok(())
    }

    fn send(&mut self, balancer: usize, packet: Packet, _: u32) -> Option<SocketAddr> {
        let table = &mut self.tables[balancer];
        let known = table.get(&packet.flow).copied().filter(|_| packet.kind != PacketKind::Opens);
        let is_dead = |backend| self.pool.as_ref().is_some_and(|pool| pool.is_dead(backend));
        if let Some(backend) = known.filter(|backend| !is_dead(*backend)) {
            return Some(backend);
        }
        let owner = self.maglev.owner(packet.flow)?;
        table.put(packet.flow, owner);
        Some(owner)
    }

    fn entries(&self) -> usize {
        self.tables.iter().map(LruCache::len).sum()
    }

    fn recorded(&self) -> Option<u64> {
        None
    }
}
