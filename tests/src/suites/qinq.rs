//! Frames with VLAN tags, one or two: what comes tagged is understood, and what goes back has the tags again.
//!
//! This kernel may have no VLAN devices, so the client writes and reads whole frames.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::{routed, sharing};
use crate::daemon::Mode;
use crate::net::tap::{LinkAddress, Tap};
use crate::packets::Stack;
use crate::runner::Case;
use crate::service::{Forward, Kind};
use crate::stage::Stage;
use crate::topology::{LINK, VIP};

const PATIENCE: Duration = Duration::from_secs(1);
/// Tags as they are written, each a type and a control word. The priority bits must come back, too.
const TAGS: [&[u8]; 4] =
    [&[], &[0x81, 0, 0, 5], &[0x88, 0xa8, 0x60, 7, 0x81, 0, 0, 8], &[0x81, 0, 0, 9, 0x81, 0, 0, 10]];
const IPV4: [u8; 2] = [0x08, 0];
const ECHO_REQUEST: u8 = 8;
/// A port of the client's; one more for each row of [`TAGS`].
const PORT: u16 = 40_000;

/// The cases of this suite.
pub(super) fn cases() -> Vec<Case> {
    let [nat, ipip] = [Forward::Nat, Forward::DsrIpip].map(|forward| routed(forward, Mode::Native));
    let stage = |set| move || Stage::build(set, &[1]);
    let mut cases = sharing::cases(
        nat,
        stage(nat),
        &[
            ("qinq", "an_echo_is_answered_with_the_tags_it_came_with", echo_comes_back),
            ("qinq", "a_translated_reply_has_the_tags_of_its_flow", reply_has_tags),
        ],
    );
    let ends: sharing::Claim = ("qinq", "tags_end_where_an_outer_header_begins", tags_end);
    cases.extend(sharing::cases(ipip, stage(ipip), &[ends]));
    cases
}

/// The client's side of the link to the balancer.
struct Wire {
    tap: Tap,
    own: LinkAddress,
    balancer: LinkAddress,
    address: [u8; 4],
}

impl Wire {
    fn of(stage: &Stage) -> Result<Self> {
        let client = &stage.house.client;
        Ok(Self {
            tap: client.tap(LINK)?,
            own: client.link_address(LINK)?,
            balancer: stage.house.balancer.link_address("client0")?,
            address: stage.house.client_addresses.v4.octets(),
        })
    }

    /// Sends an IPv4 packet behind `tags`, and gives the IPv4 packet that comes back behind `expected` with `words` in it.
    fn exchange(&self, tags: &[u8], packet: &[u8], expected: &[u8], words: &[u8]) -> Result<Vec<u8>> {
        let there = [&self.balancer[..], &self.own[..], tags, &IPV4, packet].concat();
        let back = [&self.own[..], &self.balancer[..], expected, &IPV4].concat();
        let holds = |frame: &[u8]| frame.windows(words.len()).any(|window| window == words);
        self.tap.send(&there)?;
        let frame = self
            .tap
            .receive(PATIENCE, |frame| frame.starts_with(&self.own) && holds(frame))
            .with_context(|| format!("sent behind tags {tags:x?}"))?;
        ensure!(frame.starts_with(&back), "sent behind {tags:x?}, it came back as {frame:x?}");
        Ok(frame[back.len()..].to_vec())
    }
}

fn echo_comes_back(stage: &mut Stage) -> Result<()> {
    let wire = Wire::of(stage)?;
    for tags in TAGS {
        let request = [&[0, 7, 0, 1], &b"an echo of tags"[..]].concat();
        let packet = Stack::icmp(wire.address, VIP.octets(), ECHO_REQUEST, 0, &request).ip_bytes();
        let reply = wire.exchange(tags, &packet, tags, b"an echo of tags")?;
        let protocol_and_type = (reply.get(9), reply.get(20));
        ensure!(protocol_and_type == (Some(&1), Some(&0)), "no echo reply behind {tags:x?}: {reply:x?}");
    }
    Ok(())
}

fn reply_has_tags(stage: &mut Stage) -> Result<()> {
    datagrams(stage, |tags| tags)
}

/// The backend answers the client itself, by a link without tags.
fn tags_end(stage: &mut Stage) -> Result<()> {
    datagrams(stage, |_| &[])
}

/// A datagram behind each of [`TAGS`]; its echo must come behind what `expected` says.
fn datagrams(stage: &Stage, expected: impl Fn(&'static [u8]) -> &'static [u8]) -> Result<()> {
    let wire = Wire::of(stage)?;
    for (tags, port) in TAGS.into_iter().zip(PORT..) {
        let vip = (VIP.octets(), Kind::Udp.port());
        let packet = Stack::udp((wire.address, port), vip, b"hello").ip_bytes();
        wire.exchange(tags, &packet, expected(tags), b"web1 hello")?;
    }
    Ok(())
}
