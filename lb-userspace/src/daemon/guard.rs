//! The guard as the daemon keeps it: lists that follow a reload, rules that follow the plan, and blocks that end.

use super::Error;
use super::balancer::{Balancer, chain};
use crate::config::Config;
use crate::control::{BlockStatus, GuardStatus};
use crate::guard::blocks::{Blocks, Refused};
use crate::guard::lists::{self, ListError};
use crate::guard::network::Network;
use crate::guard::rules;
use crate::guard::trie::Marks;
use crate::kernel::{TableError, Tables};
use crate::plan::Planner;
use lb_common::abi::{BlockKey, GuardRule, List, Origin, limits};
use lb_common::wire::{U32be, ipv6};
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// What is in force.
#[derive(Debug, Default)]
pub(super) struct Guard {
    marks: Marks,
    blocks: Blocks,
    /// What is to be in force, until the kernel has all of it.
    coming: Option<Lists>,
}

impl Guard {
    /// Has the next tables that are written come with these lists, if there are any, and with the rules of the configuration.
    pub(super) fn bring(&mut self, lists: Option<Lists>) {
        self.coming = lists.or(self.coming.take());
    }
}

/// Lists that were read and fit, not yet in force.
#[derive(Debug)]
pub(super) struct Lists {
    marks: Marks,
    list: List,
}

impl Lists {
    /// Reads the lists that a configuration names.
    pub(super) fn load(config: &Config, room: usize) -> Result<Self, ListError> {
        let marks = rules::marks(config)?;
        let list = marks.build();
        let nodes = list.nodes.len();
        if nodes > room {
            return Err(ListError::TooMany { nodes, room });
        }
        Ok(Self { marks, list })
    }
}

/// What of the lists that a configuration names cannot be used.
pub(super) fn mistakes(config: &Config) -> Vec<ListError> {
    let Some(guard) = &config.guard else { return Vec::new() };
    let named = guard.deny.iter().chain(&guard.allow);
    let mistakes: Vec<_> = named.filter_map(|path| lists::load(path).err()).collect();
    if !mistakes.is_empty() {
        return mistakes;
    }
    let room = usize::try_from(rules::nodes(guard.prefixes)).unwrap_or(usize::MAX);
    Lists::load(config, room).err().into_iter().collect()
}

impl Balancer {
    /// Reads the lists of a configuration, if a guard was loaded to go by them.
    pub(super) fn load_lists(&self, config: &Config) -> Result<Option<Lists>, ListError> {
        let is_loaded = self.loaded_with.guard.is_some();
        is_loaded.then(|| Lists::load(config, self.tables.guard.list_room())).transpose()
    }

    /// Puts the lists that are coming and the configuration's rules in force. Services that a plan brings come after their rules.
    pub(super) fn follow_guard(&mut self) -> Result<(), TableError> {
        let Some(coming) = &self.guard.coming else { return Ok(()) };
        let second = self.look.ticks(Duration::from_secs(1));
        write_rules(&mut self.tables, &self.planner, &self.config, second)?;
        self.tables.guard.write_list(&coming.list)?;
        if let Some(Lists { marks, .. }) = self.guard.coming.take() {
            self.guard.marks = marks;
        }
        Ok(())
    }

    /// Blocks an address for a time.
    pub(super) fn block(
        &mut self,
        address: IpAddr,
        lasting: Duration,
        reason: &str,
    ) -> Result<String, String> {
        self.require_guard()?;
        if self.guard.marks.origin(Network::host(address)).is(Origin::ALLOWED) {
            return Err(format!("{address} is not blocked: {}", Refused::Allowed));
        }
        let added = self.guard.blocks.add(address, lasting, reason, Instant::now());
        added.map_err(|error| format!("{address} is not blocked: {error}"))?;
        self.write_block(address, lasting).map_err(|error| {
            self.guard.blocks.remove(address);
            chain(&error)
        })?;
        Ok(format!("{address} is blocked for {lasting:?}"))
    }

    fn write_block(&mut self, address: IpAddr, lasting: Duration) -> Result<(), TableError> {
        let until = self.tables.now()?.after(self.look.ticks(lasting));
        self.tables.guard.block(key(address), until)?;
        self.count_blocks()
    }

    /// Blocks an address no longer.
    pub(super) fn unblock(&mut self, address: IpAddr) -> Result<String, String> {
        self.require_guard()?;
        if !self.guard.blocks.remove(address) {
            return Ok(format!("{address} was not blocked"));
        }
        let removed = self.tables.guard.unblock(key(address)).and_then(|()| self.count_blocks());
        removed.map_err(|error| chain(&error))?;
        Ok(format!("{address} is blocked no longer"))
    }

    fn require_guard(&self) -> Result<(), String> {
        let refusal = "no guard is loaded: add `[guard]` to the configuration and restart";
        self.loaded_with.guard.map(|_| ()).ok_or_else(|| refusal.to_owned())
    }

    /// Takes away the blocks that are over, which the kernel passes over already.
    pub(super) fn sweep_blocks(&mut self) -> Result<(), Error> {
        let over = self.guard.blocks.sweep(Instant::now());
        if over.is_empty() {
            return Ok(());
        }
        over.iter().try_for_each(|address| self.tables.guard.unblock(key(*address)))?;
        Ok(self.count_blocks()?)
    }

    fn count_blocks(&mut self) -> Result<(), TableError> {
        let blocks = u32::try_from(self.guard.blocks.len()).unwrap_or(limits::BLOCKS);
        self.tables.guard.write_block_count(blocks)
    }

    /// The blocks, as they are told.
    pub(super) fn list_blocks(&self) -> Vec<BlockStatus> {
        let now = Instant::now();
        let told = self.guard.blocks.iter().map(|(address, block)| BlockStatus {
            address: *address,
            seconds_left: block.until.saturating_duration_since(now).as_secs_f64(),
            reason: block.reason.clone(),
        });
        told.collect()
    }

    /// The guard, as the status tells of it.
    pub(super) fn guard_status(&self) -> Option<GuardStatus> {
        self.loaded_with
            .guard
            .map(|_| GuardStatus { prefixes: self.guard.marks.len(), blocks: self.guard.blocks.len() })
    }
}

/// The rule of every service, and for what goes to VIPs as a whole: what `[guard]` says.
fn write_rules(
    tables: &mut Tables,
    planner: &Planner,
    config: &Config,
    second: u32,
) -> Result<(), TableError> {
    for (vip, number) in planner.numbered() {
        let service = config.services.iter().find(|service| service.vip == vip);
        let rule = service.map_or(GuardRule::UNGUARDED, |service| rules::rule(&service.guard, second));
        tables.guard.write_rule(number.into(), &rule)?;
    }
    tables.guard.write_rule(limits::GUARD_HOSTS, &rules::rule(&config.host_guard, second))
}

fn key(address: IpAddr) -> BlockKey {
    match address {
        IpAddr::V4(address) => BlockKey::of(U32be::from(address.octets())),
        IpAddr::V6(address) => BlockKey::of(ipv6::Address::from(address.octets())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse;
    use std::fs;

    #[test]
    fn lists_that_cannot_be_used_are_mistakes_of_the_configuration() {
        let folder = tempfile::tempdir().unwrap();
        let (deny, allow) = (folder.path().join("deny"), folder.path().join("allow"));
        let text = |more: &str| {
            format!("[guard]\ndeny = \"{}\"\nallow = \"{}\"\n{more}", deny.display(), allow.display())
        };
        let said = |more: &str| {
            let config = parse("lb.toml", &text(more)).unwrap().config;
            mistakes(&config).iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        fs::write(&deny, "192.0.2.0/33\n").unwrap();
        let both = said("");
        assert!(
            both.len() == 2 && both[0].contains("deny:1: ") && both[1].contains("cannot read the list"),
            "{both:?}"
        );
        fs::write(&deny, "192.0.2.0/24\n").unwrap();
        fs::write(&allow, "").unwrap();
        assert!(said("").is_empty());
        let many: Vec<_> = (0..60_000_u32).map(|n| format!("10.{}.{}.77", n >> 8, n & 0xff)).collect();
        fs::write(&deny, many.join("\n")).unwrap();
        let many = said("prefixes = 1024\n");
        assert!(many.len() == 1 && many[0].contains("raise `guard.prefixes`"), "{many:?}");
    }
}
