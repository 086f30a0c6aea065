//! Rules of picking that need no crowd.

use std::time::Duration;

use super::simulation::{World, backends};
use super::{BackendId, Balancer, Choice, Outcome, Signer, Wish, key_of};
use crate::config::proxy::{Balance, HashOn, Outliers, Service, Sticky};
use crate::l7::http1::parse_authority;
use crate::l7::message::Request;

const WISH: Wish<'static> = Wish { key: 0, cookie: None, not: None, own: None };

pub(super) fn at(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

fn balancer(service: &Service) -> Balancer {
    Balancer::new(service, 1, &Signer::new(b"secret"), 1, at(0))
}

/// A verdict on one backend alone.
pub(super) fn set_up(balancer: &mut Balancer, backend: usize, up: bool, now: Duration) {
    let (addr, others) = (balancer.backends[backend].addr, balancer.backends.iter());
    let others: Vec<_> = others.filter(|other| other.is_up()).map(|other| other.addr).collect();
    balancer.judge(|other| if other == addr { up } else { others.contains(&other) }, now);
}

pub(super) fn down(balancer: &mut Balancer, backend: usize) {
    set_up(balancer, backend, false, at(0));
}

fn all_ways() -> [Balance; 5] {
    [
        Balance::P2c,
        Balance::RoundRobin,
        Balance::LeastConnections,
        Balance::IpHash,
        Balance::Hash(HashOn::Path),
    ]
}

/// The backends that a thousand requests go to.
fn picked(balancer: &mut Balancer, wish: &Wish<'_>) -> Vec<Choice> {
    let mut all = Vec::new();
    for n in 0..1000u64 {
        let random = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let choice = balancer.pick(&Wish { key: random, ..*wish }, random.rotate_left(17), at(1));
        if !all.contains(&choice) {
            all.push(choice);
        }
    }
    all.sort_by_key(|choice| if let Choice::Backend(id) = choice { id.0 } else { u32::MAX });
    all
}

const fn to(backend: u32) -> Choice {
    Choice::Backend(BackendId(backend))
}

#[test]
fn no_way_picks_a_backend_that_is_down_or_drains() {
    for balance in all_ways() {
        let mut service = backends(&[1, 1, 1, 1]);
        (service.balance, service.backends[2].drain) = (balance.clone(), true);
        let mut balancer = balancer(&service);
        down(&mut balancer, 1);
        assert_eq!(picked(&mut balancer, &WISH), [to(0), to(3)], "{balance:?}");
    }
}

#[test]
fn a_retry_goes_elsewhere_unless_there_is_nowhere_else() {
    for balance in all_ways() {
        let mut service = backends(&[1, 1, 1]);
        service.balance = balance.clone();
        let mut balancer = balancer(&service);
        let elsewhere = Wish { not: Some(BackendId(0)), ..WISH };
        assert_eq!(picked(&mut balancer, &elsewhere), [to(1), to(2)], "{balance:?}");
        (1..3).for_each(|other| down(&mut balancer, other));
        assert_eq!(picked(&mut balancer, &elsewhere), [to(0)], "{balance:?}");
    }
}

#[test]
fn full_backends_ask_to_wait_and_none_at_all_says_so() {
    for balance in all_ways() {
        let mut service = backends(&[1, 1]);
        (service.balance, service.max_connections) = (balance, 3);
        let mut balancer = Balancer::new(&service, 2, &Signer::new(b""), 1, at(0));
        for _ in 0..4 {
            let Choice::Backend(id) = balancer.pick(&WISH, 1 << 63, at(1)) else { panic!("there is room") };
            balancer.begin(id);
        }
        assert_eq!(balancer.pick(&WISH, 7, at(1)), Choice::Full, "two for each worker of three");
        balancer.end(BackendId(1), Outcome::Abandoned, at(1));
        assert_eq!(balancer.pick(&WISH, 7, at(1)), to(1));
        (0..2).for_each(|backend| down(&mut balancer, backend));
        assert_eq!(balancer.pick(&WISH, 7, at(1)), Choice::None);
    }
}

pub(super) fn sticky() -> Service {
    Service { sticky: Some(Sticky { cookie: "lb".into(), max_age: Some(at(60)) }), ..backends(&[1, 1, 1]) }
}

pub(super) fn cookie(balancer: &Balancer, id: BackendId) -> String {
    let mut text = String::new();
    balancer.cookie(id).unwrap().push(true, &mut text);
    text
}

#[test]
fn a_cookie_leads_back_to_its_backend_even_while_it_drains() {
    let mut service = sticky();
    service.backends[1].drain = true;
    let mut balancer = balancer(&service);
    let text = cookie(&balancer, BackendId(1));
    let (value, rest) = text.strip_prefix("lb=").unwrap().split_once(';').unwrap();
    assert_eq!(rest, " Path=/; HttpOnly; SameSite=Lax; Max-Age=60; Secure");
    let wish = Wish { cookie: Some(value.as_bytes()), ..WISH };
    assert_eq!(picked(&mut balancer, &wish), [to(1)]);
    assert!(balancer.cookie(BackendId(1)).unwrap().is(wish.cookie));
    down(&mut balancer, 1);
    assert_eq!(picked(&mut balancer, &wish), [to(0), to(2)], "as long as it serves");
}

#[test]
fn a_cookie_leads_to_a_backend_that_has_moved_while_its_last_exchanges_go_on_where_it_was() {
    let mut service = sticky();
    let mut balancer = balancer(&service);
    let value = cookie(&balancer, BackendId(1)).as_bytes()[3..35].to_vec();
    let wish = Wish { cookie: Some(&value), ..WISH };
    balancer.begin(BackendId(1));
    service.backends[1].addr = ([10, 0, 0, 99], 80).into();
    balancer.follow(&service, 1, &Signer::new(b"secret"), 1, at(1));
    assert_eq!(picked(&mut balancer, &wish), [to(3)]);
}

#[test]
fn a_forged_cookie_leads_nowhere_in_particular() {
    let mut balancer = balancer(&sticky());
    let value = cookie(&balancer, BackendId(1));
    let mut forged = value.as_bytes()[3..35].to_vec();
    forged[31] ^= 1;
    for wrong in [&forged[..], b"", b"b1", &forged[..31]] {
        assert_eq!(picked(&mut balancer, &Wish { cookie: Some(wrong), ..WISH }).len(), 3);
    }
    let other = Balancer::new(&sticky(), 1, &Signer::new(b"another"), 1, at(0));
    assert_ne!(cookie(&other, BackendId(1)), value, "another secret, another cookie");
}

#[test]
fn a_backend_that_stays_keeps_its_number_and_one_that_goes_keeps_it_till_its_last_exchange() {
    let mut service = backends(&[1, 1, 1]);
    let mut balancer = balancer(&service);
    let signer = Signer::new(b"");
    balancer.begin(BackendId(0));
    let first = service.backends.remove(0);
    balancer.follow(&service, 1, &signer, 1, at(1));
    assert_eq!(picked(&mut balancer, &WISH), [to(1), to(2)]);
    let mut new = first.clone();
    (new.name, new.addr) = ("new".into(), ([10, 0, 0, 99], 80).into());
    service.backends.push(new);
    balancer.follow(&service, 1, &signer, 1, at(2));
    assert_eq!(balancer.name(BackendId(3)), Some("new"), "the first place is not free yet");
    balancer.end(BackendId(0), Outcome::Abandoned, at(3));
    service.backends.push(first);
    balancer.follow(&service, 1, &signer, 1, at(4));
    assert_eq!(balancer.name(BackendId(0)), Some("b0"));
    assert_eq!(balancer.views(at(4)).count(), 4);
}

#[test]
fn a_backend_that_comes_takes_the_place_of_none_that_stays() {
    let mut service = backends(&[1, 1, 1]);
    let mut balancer = balancer(&service);
    down(&mut balancer, 2);
    service.backends[0].addr = ([10, 0, 0, 99], 80).into();
    service.backends[1].addr = ([10, 0, 0, 98], 80).into();
    balancer.begin(BackendId(0));
    balancer.follow(&service, 1, &Signer::new(b""), 1, at(1));
    let places = [0, 1, 2, 3].map(|place| balancer.addr(BackendId(place)).unwrap().ip().to_string());
    assert_eq!(
        places[1..],
        ["10.0.0.99".to_owned(), service.backends[2].addr.ip().to_string(), "10.0.0.98".to_owned()]
    );
    assert_eq!(picked(&mut balancer, &WISH), [to(1), to(3)], "what is known of one that stays is kept");
}

fn keyed<'a>(balance: &Balance, client: [u8; 4], path: &str, fields: &[(&'a str, &'a str)]) -> u64 {
    let header = |field: &(&'a str, &'a str)| httparse::Header { name: field.0, value: field.1.as_bytes() };
    let fields: Vec<_> = fields.iter().map(header).collect();
    let (path, query) = path.split_once('?').map_or((path, None), |(path, query)| (path, Some(query)));
    let request = Request {
        method: "GET",
        https: false,
        authority: &parse_authority(b"h").unwrap(),
        path,
        query,
        fields: &fields[..],
        client: (client, 1).into(),
    };
    key_of(balance, &request)
}

#[test]
fn a_key_depends_on_what_it_is_of_and_on_nothing_else() {
    type Parts = (&'static str, &'static str, &'static str);
    let rows: [(HashOn, [Parts; 2]); 4] = [
        (HashOn::Path, [("/a?x", "", ""), ("/b?x", "", "")]),
        (HashOn::Header("x-user".into()), [("/", "X-User", "1"), ("/", "X-User", "2")]),
        (HashOn::Cookie("id".into()), [("/", "cookie", "a=b; id=1"), ("/", "cookie", "a=b; id=2")]),
        (HashOn::Query("q".into()), [("/?q=1", "", ""), ("/?q=2", "", "")]),
    ];
    for (on, [one, other]) in rows {
        let balance = Balance::Hash(on);
        let key = |client, (path, name, value): Parts| keyed(&balance, client, path, &[(name, value)]);
        assert_eq!(key([10, 0, 0, 1], one), key([10, 0, 0, 2], one), "{balance:?}: whoever asks");
        assert_ne!(key([10, 0, 0, 1], one), key([10, 0, 0, 1], other), "{balance:?}");
    }
    let missing = Balance::Hash(HashOn::Header("x-user".into()));
    assert_eq!(keyed(&missing, [10, 0, 0, 1], "/a", &[]), keyed(&Balance::IpHash, [10, 0, 0, 1], "/b", &[]));
}

#[test]
fn a_hash_moves_few_keys_when_a_backend_goes() {
    let service = Service { balance: Balance::IpHash, ..backends(&[1; 10]) };
    let mut balancer = balancer(&service);
    let keys: Vec<u64> = (0..10_000u64).map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15)).collect();
    let owners = |balancer: &mut Balancer| -> Vec<Choice> {
        keys.iter().map(|key| balancer.pick(&Wish { key: *key, ..WISH }, 0, at(1))).collect()
    };
    let before = owners(&mut balancer);
    down(&mut balancer, 4);
    let after = owners(&mut balancer);
    let moved = before.iter().zip(&after).filter(|(before, after)| before != after);
    assert!(moved.clone().all(|(before, _)| *before == to(4)), "only those of the one that went");
    assert!(moved.count() > 800);
}

#[test]
fn an_ejected_backend_gets_nothing_and_comes_back() {
    let service = Service { outliers: Some(Outliers::DEFAULT), ..backends(&[1, 1, 1]) };
    let mut balancer = balancer(&service);
    for _ in 0..5 {
        balancer.begin(BackendId(1));
        balancer.end(BackendId(1), Outcome::Failed, at(1));
    }
    assert_eq!(picked(&mut balancer, &WISH), [to(0), to(2)]);
    assert!(balancer.views(at(30)).nth(1).unwrap().left_out);
    let mut world = World::of(balancer);
    assert!(world.shares(at(40), 3000, |_| Duration::from_millis(5))[1] > 0.2, "it serves again");
}

#[test]
fn when_all_fail_only_half_of_them_are_left_out() {
    let service = Service { outliers: Some(Outliers::DEFAULT), ..backends(&[1; 10]) };
    let mut balancer = balancer(&service);
    for backend in (0..10).cycle().take(200) {
        balancer.begin(BackendId(backend));
        balancer.end(BackendId(backend), Outcome::Failed, at(1));
    }
    assert_eq!(balancer.views(at(1)).filter(|view| view.left_out).count(), 5);
}

#[test]
fn a_backend_far_slower_than_the_median_is_left_out_where_that_is_asked_for() {
    let rules = Outliers { latency: Some(5), ..Outliers::DEFAULT };
    let mut balancer = balancer(&Service { outliers: Some(rules), ..backends(&[1; 4]) });
    for round in 0..40 {
        for backend in 0..4 {
            let latency = Duration::from_millis(if backend == 2 { 200 } else { 10 });
            balancer.begin(BackendId(backend));
            balancer.end(
                BackendId(backend),
                Outcome::Answered { latency: Some(latency) },
                Duration::from_millis(round * 100),
            );
        }
    }
    let out: Vec<bool> = balancer.views(at(4)).map(|view| view.left_out).collect();
    assert_eq!(out, [false, false, true, false]);
}
