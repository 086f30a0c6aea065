//! What holds for every packet, not only for those somebody thought of.

use super::build::{End, Ipv4, Network as _, Stack};
use super::house::{BACK_MAC, BACKEND_MAC, OWN, OWN_MAC, ROUTER_MAC};
use super::town::{PLACES, change};
use super::*;
use lb_common::abi::{FlowKind, Forward};
use lb_common::datapath::{Direction, HostTables, Outcome, Reason};
use lb_common::wire::U16be;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use std::collections::HashSet;

fn balanced(tables: &HostTables, packet: &[u8]) -> (Outcome, Vec<u8>) {
    on_host(Side::Balance, tables, packet)
}

/// Reasons under which a packet passes that is not as it came.
const REWRITTEN: [Reason; 2] = [Reason::Decapsulated, Reason::DnatRouted];

/// A packet through either side; if it stops, it must be as it was.
fn stops_untouched(side: Side, tables: &HostTables, packet: &[u8]) -> Result<(), TestCaseError> {
    let (outcome, bytes) = on_host(side, tables, packet);
    if outcome.is_err_and(|reason| !REWRITTEN.contains(&reason)) {
        prop_assert_eq!(bytes, packet, "{:?}", outcome);
    }
    Ok(())
}

/// A row's tables after its steps, and its packet.
fn prepared(row: &Row) -> HostTables {
    let mut tables = house(&row.setup);
    for step in &row.before {
        match step {
            Step::Leaves(packet) | Step::Stops(packet) => drop(on_host(row.side, &tables, packet)),
            Step::Becomes(setup) => furnish(&mut tables, setup),
        }
    }
    tables
}

fn any_row() -> impl Strategy<Value = Row> {
    let rows = rows();
    any::<Index>().prop_map(move |index| index.get(&rows).clone())
}

/// A flow to one of the town's services.
fn any_flow(forward: Forward) -> impl Strategy<Value = (End, End, u8)> {
    let places: Vec<_> = PLACES.iter().filter(|place| place.forward == forward).collect();
    (any::<[u8; 3]>(), any::<u16>(), any::<Index>()).prop_map(move |(host, port, place)| {
        let place = place.get(&places);
        (([100, host[0], host[1], host[2]], port), place.vip, place.protocol)
    })
}

/// A packet that may open its flow, or go on with it.
fn of_flow(protocol: u8, from: End, to: End, flags: u8, payload: &[u8]) -> Ipv4 {
    if protocol == 6 { Stack::tcp(from, to, flags, payload) } else { Stack::udp(from, to, payload) }
}

/// Every record of a translation has its counterpart, which leads back.
fn unpaired(tables: &HostTables) -> Option<String> {
    let flows = tables.flows.borrow();
    let lonely = flows.iter().find(|(key, flow)| {
        let opposite = flows.get(&flow.opposite(key.protocol()));
        flow.kind() != FlowKind::Pinned
            && opposite.is_none_or(|other| other.opposite(key.protocol()) != **key)
    });
    lonely.map(|(key, flow)| format!("{key:?} has {flow:?} alone"))
}

/// Sends random traffic through changing tables, and lets `check` look at every packet before and after.
fn through_town(
    (seed, mix): (u64, Mix),
    mut check: impl FnMut(&HostTables, &[u8], &Outcome, &[u8]) -> Result<(), TestCaseError>,
) -> Result<(), TestCaseError> {
    let (mut random, mut traffic) = (Random::new(!seed), Traffic::new(seed, mix));
    let mut tables = town(seed, 0);
    for _ in 0..400 {
        if random.percent(3) {
            change(&mut tables, &mut random);
        }
        let packet = traffic.packet();
        let (outcome, bytes) = balanced(&tables, &packet);
        traffic.observe(&outcome, &bytes);
        check(&tables, &packet, &outcome, &bytes)?;
    }
    Ok(())
}

const ANY: Mix = Mix { forward: None, damaged: 0 };
const DAMAGED: Mix = Mix { forward: None, damaged: 60 };

#[test]
fn every_row_that_comes_valid_leaves_valid() {
    for row in rows() {
        if let (None, Fate::Leaves { packet, .. } | Fate::Passes { packet, .. }) =
            (fault(&row.packet), &row.fate)
        {
            assert_eq!(fault(packet), None, "{}", row.sentence);
        }
    }
}

#[test]
fn the_verifier_finds_each_wrong_checksum() {
    let at = |end: usize| {
        Stack::tcp(([1; 4], 1), ([2; 4], 2), 2, &[9; 5]).ethernet([2; 6], [4; 6]).with_wrong_sum(end)
    };
    assert_eq!(fault(&at(24).bytes()), Some("the checksum of an IP header"));
    assert_eq!(fault(&at(50).bytes()), Some("the checksum of a segment"));
    let quoted = at(50).bytes().split_off(14);
    let message =
        Stack::icmp([3; 4], [1; 4], 3, 1, &[&[0; 4], &quoted[..]].concat()).ethernet([2; 6], [4; 6]);
    assert_eq!(fault(&message.clone().bytes()), Some("the checksum of a segment"));
    assert_eq!(fault(&message.with_wrong_sum(36).bytes()), Some("the checksum of an ICMP message"));
}

#[test]
fn the_verifier_finds_wrong_checksums_of_ipv6_behind_tags_and_headers() {
    let tags = [(0x88a8, 1), (0x8100, 2)];
    let segment = Ipv6::tcp(([1; 16], 1), ([2; 16], 2), 2, &[9; 5]).extended(60, &[0; 6]);
    let whole = segment.framed([2; 6], [4; 6], &tags);
    assert_eq!(fault(&whole.clone().bytes()), None);
    // Behind the Ethernet header, two tags, and headers of forty and of eight bytes.
    assert_eq!(fault(&whole.with_wrong_sum(86).bytes()), Some("the checksum of a segment"));
    let message = Ipv6::icmp([3; 16], [1; 16], 1, 4, &[0; 4]).framed([2; 6], [4; 6], &[]);
    assert_eq!(fault(&message.clone().bytes()), None);
    assert_eq!(fault(&message.with_wrong_sum(56).bytes()), Some("the checksum of an ICMP message"));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_bytes_are_survived(bytes in vec(any::<u8>(), 0..200), decap in any::<bool>()) {
        let side = if decap { Side::Decap } else { Side::Balance };
        stops_untouched(side, &town(1, 0), &bytes)?;
    }

    #[test]
    fn damaged_fixtures_are_survived(
        row in any_row(),
        flips in vec((any::<Index>(), any::<u8>()), 0..6),
        length in 0usize..200,
        cut in any::<bool>(),
    ) {
        let tables = prepared(&row);
        let mut packet = row.packet;
        for (at, byte) in flips {
            let at = at.index(packet.len());
            packet[at] = byte;
        }
        if cut {
            packet.resize(length, 0xcc);
        }
        stops_untouched(row.side, &tables, &packet)?;
    }

    #[test]
    fn encapsulation_taken_off_gives_the_packet_back(
        (client, vip, protocol) in any_flow(Forward::DsrIpip),
        payload in vec(any::<u8>(), 0..500),
        words in 0usize..=10,
        tag in proptest::option::of(any::<u16>()),
    ) {
        let packet = of_flow(protocol, client, vip, 2, &payload).options(&vec![1; 4 * words]);
        let frame = match tag {
            Some(tag) => packet.tagged(OWN_MAC, ROUTER_MAC, tag).bytes(),
            None => packet.ethernet(OWN_MAC, ROUTER_MAC).bytes(),
        };
        let tables = town(2, 0);
        let (outcome, wrapped) = balanced(&tables, &frame);
        // One backend's interface takes small packets only.
        prop_assume!(outcome.map(|end| end.reason) != Ok(Reason::FragmentationNeeded));
        prop_assert!(outcome.is_ok(), "{:?}", outcome);
        let (reason, inner) = on_host(Side::Decap, &tables, &wrapped);
        prop_assert_eq!(reason, Err(Reason::Decapsulated));
        let tags: Vec<_> = tag_of(&wrapped).map(|control| (0x8100, control)).into_iter().collect();
        prop_assert_eq!(inner, packet.framed(BACKEND_MAC, BACK_MAC, &tags).bytes());
    }

    #[test]
    fn a_translated_reply_is_what_the_service_would_have_sent(
        flows in vec(any_flow(Forward::Nat), 1..150),
        payload in vec(any::<u8>(), 0..100),
    ) {
        let tables = town(3, 0);
        let mut taken = HashSet::new();
        let mut clients = HashSet::new();
        for (client, vip, protocol) in flows.into_iter().filter(|flow| clients.insert(*flow)) {
            let request = of_flow(protocol, client, vip, 2, &payload).ethernet(OWN_MAC, ROUTER_MAC);
            let (outcome, sent) = balanced(&tables, &request.bytes());
            if outcome == Err(Reason::PortsTaken) {
                continue;
            }
            let (own, backend) = ends(&sent);
            prop_assert_eq!(own.0, OWN);
            prop_assert!(tables.ports.contains(U16be::new(own.1)));
            prop_assert!(taken.insert((own, backend, protocol)), "{:?} was given twice", own);
            let reply = of_flow(protocol, backend, own, 0x12, &payload).ethernet(BACK_MAC, BACKEND_MAC);
            let (outcome, returned) = balanced(&tables, &reply.bytes());
            prop_assert_eq!(outcome.map(|steered| steered.direction), Ok(Direction::ToClient));
            let expected = of_flow(protocol, vip, client, 0x12, &payload).ttl(63).ethernet(ROUTER_MAC, OWN_MAC);
            prop_assert_eq!(returned, expected.bytes());
        }
        prop_assert_eq!(unpaired(&tables), None);
        prop_assert_eq!(tables.flows.borrow().len(), 2 * taken.len());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(48) })]

    #[test]
    fn valid_traffic_leaves_with_valid_checksums(seed in any::<u64>()) {
        through_town((seed, ANY), |_, packet, outcome, bytes| {
            prop_assert_eq!(fault(packet), None, "the generator's own");
            if outcome.is_ok() {
                prop_assert_eq!(fault(bytes), None, "{:?}\n{:02x?}\n{:02x?}", outcome, packet, bytes);
            }
            Ok(())
        })?;
    }

    #[test]
    fn every_way_of_forwarding_leaves_valid_checksums(seed in any::<u64>()) {
        let (mut medley, mut tables) = (Medley::new(seed), Medley::tables());
        for number in 0..300 {
            if number % 25 == 24 {
                medley.change(&mut tables);
            }
            let packet = medley.packet();
            prop_assert_eq!(fault(&packet), None, "the generator's own: {:02x?}", packet);
            let (outcome, bytes) = balanced(&tables, &packet);
            prop_assert_eq!(fault(&bytes), None, "{:?}\n{:02x?}\n{:02x?}", outcome, packet, bytes);
        }
    }

    #[test]
    fn damaged_traffic_that_is_valid_all_the_same_leaves_valid(seed in any::<u64>()) {
        through_town((seed, DAMAGED), |_, packet, outcome, bytes| {
            if outcome.is_err() {
                prop_assert_eq!(bytes, packet);
            } else if fault(packet).is_none() {
                prop_assert_eq!(fault(bytes), None, "{:?}\n{:02x?}\n{:02x?}", outcome, packet, bytes);
            }
            Ok(())
        })?;
    }

    #[test]
    fn translations_come_in_pairs_whatever_happens(seed in any::<u64>(), damaged in 0usize..60) {
        through_town((seed, Mix { forward: Some(Forward::Nat), damaged }), |tables, _, _, _| {
            prop_assert_eq!(unpaired(tables), None);
            Ok(())
        })?;
    }

    #[test]
    fn the_same_packet_again_goes_to_the_same_backend(seed in any::<u64>()) {
        through_town((seed, ANY), |tables, packet, outcome, _| {
            if let Ok(steered) = outcome
                && !steered.backend.is_none()
            {
                let again = balanced(tables, packet).0;
                prop_assert_eq!(again.map(|again| again.backend), Ok(steered.backend), "{:?}", outcome);
            }
            Ok(())
        })?;
    }

    #[test]
    fn every_packet_is_counted_once(seed in any::<u64>()) {
        let (mut packets, mut bytes, mut counted) = (0, 0, (0, 0));
        through_town((seed, DAMAGED), |tables, packet, _, _| {
            packets += 1;
            bytes += packet.len() as u64;
            let reasons = tables.reasons.borrow();
            counted = reasons.values().fold((0, 0), |sum, count| (sum.0 + count.packets, sum.1 + count.bytes));
            Ok(())
        })?;
        prop_assert_eq!(counted, (packets, bytes));
    }
}

/// The control information of a frame's tag, if it has one.
fn tag_of(frame: &[u8]) -> Option<u16> {
    (frame[12..14] == [0x81, 0]).then(|| u16::from_be_bytes([frame[14], frame[15]]))
}

/// The source and the destination of a packet in a frame, tagged or not, without IP options.
fn ends(frame: &[u8]) -> (End, End) {
    let ip = if frame[12..14] == [0x81, 0] { 18 } else { 14 };
    let end = |address: usize, port: usize| {
        (frame[address..address + 4].try_into().unwrap(), u16::from_be_bytes([frame[port], frame[port + 1]]))
    };
    (end(ip + 12, ip + 20), end(ip + 16, ip + 22))
}
