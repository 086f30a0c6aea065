//! The ways to backends, as the kernel tells them and as they change.

use super::*;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::process::Stdio;

type Answer = Result<NextHop, NextHopError>;

/// Runs a test of the resolver in a namespace of its own, joined to a far end.
fn with_far_end(name: &str, test: impl AsyncFnOnce(FarEnd) + Send + 'static) {
    if !can_furnish(name) {
        return;
    }
    in_namespace(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        tokio::task::LocalSet::new().block_on(&runtime, test(FarEnd::connect()));
    });
}

/// What the tests ask of a resolver.
struct Watch(Resolver);

impl Watch {
    fn begin(addresses: impl IntoIterator<Item = IpAddr>) -> Self {
        let resolver = Resolver::start().unwrap();
        resolver.watch(BTreeSet::from_iter(addresses));
        Self(resolver)
    }

    /// Waits until the answer for an address is as wanted.
    async fn until(&mut self, address: IpAddr, wanted: impl Fn(&Answer) -> bool) -> Duration {
        let begun = Instant::now();
        let found = self.0.next_hops.wait_for(|answers| answers.get(&address).is_some_and(&wanted));
        let found = tokio::time::timeout(Duration::from_secs(10), found).await.is_ok();
        assert!(found, "last answer: {:?}", self.0.next_hops.borrow());
        begun.elapsed()
    }

    /// Waits until the way to an address is as wanted.
    async fn until_way(&mut self, address: IpAddr, wanted: impl Fn(&NextHop) -> bool) -> NextHop {
        let took = self.until(address, |answer| answer.as_ref().is_ok_and(&wanted)).await;
        println!("{address} after {took:?}");
        self.0.next_hops.borrow()[&address].clone().unwrap()
    }
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn index_of(name: &str) -> u32 {
    Link::find(name).unwrap().index
}

/// The addresses that one family's tests use.
struct Network {
    own: &'static str,
    backend: &'static str,
    /// Nobody has it at first.
    absent: &'static str,
    /// Behind a gateway.
    beyond: &'static str,
    beyond_prefix: &'static str,
    /// By `near`.
    gateway: &'static str,
    /// By `near2`, with the address to be reached from.
    other_gateway: (&'static str, &'static str),
    prefix_bits: u8,
}

const V4: Network = Network {
    own: "10.9.0.1",
    backend: "10.9.0.2",
    absent: "10.9.0.77",
    beyond: "10.20.0.1",
    beyond_prefix: "10.20.0.0/16",
    gateway: "10.9.0.2",
    other_gateway: ("10.8.0.2", "10.8.0.1"),
    prefix_bits: 24,
};

const V6: Network = Network {
    own: "fd00:9::1",
    backend: "fd00:9::2",
    absent: "fd00:9::77",
    beyond: "fd00:20::1",
    beyond_prefix: "fd00:20::/64",
    gateway: "fe80::2",
    other_gateway: ("fe80::3", "fd00:8::1"),
    prefix_bits: 64,
};

#[test]
fn the_way_to_an_ipv4_backend_is_found_and_followed() {
    with_far_end("the_way_to_an_ipv4_backend_is_found_and_followed", |far| follow(V4, far));
}

#[test]
fn the_way_to_an_ipv6_backend_is_found_and_followed() {
    with_far_end("the_way_to_an_ipv6_backend_is_found_and_followed", |far| follow(V6, far));
}

async fn follow(network: Network, far: FarEnd) {
    let Network { own, backend, absent, beyond, .. } = network;
    far.sh("ip addr add fe80::2/64 dev far");
    let mut watch = Watch::begin([own, backend, absent, beyond].map(ip));
    watch.until(ip(own), |answer| *answer == Err(NextHopError::Local)).await;
    watch.until(ip(beyond), |answer| matches!(answer, Err(NextHopError::NoRoute(_)))).await;
    watch.until(ip(absent), |answer| matches!(answer, Err(NextHopError::Unresolved { .. }))).await;
    let way = watch.until_way(ip(backend), |_| true).await;
    assert_eq!((way.ifindex, way.source, way.mtu), (index_of("near"), ip(own), 1500));
    assert!(way.on_link);
    follow_routes(&network, &far, &mut watch).await;
    follow_neighbours(&network, &far, &mut watch).await;
}

async fn follow_routes(network: &Network, far: &FarEnd, watch: &mut Watch) {
    let Network { own, beyond, beyond_prefix, gateway, .. } = network;
    sh(&format!("ip route add {beyond_prefix} via {gateway} dev near mtu 1400"));
    let way = watch.until_way(ip(beyond), |_| true).await;
    assert_eq!((way.ifindex, way.source, way.mtu), (index_of("near"), ip(own), 1400));
    assert!(!way.on_link);
    far.add_pair("near2", "far2");
    let (gateway, own) = network.other_gateway;
    let bits = network.prefix_bits;
    far.sh(&format!("ip addr add {gateway}/{bits} dev far2"));
    sh(&format!("ip addr add {own}/{bits} dev near2"));
    sh(&format!("ip route replace {beyond_prefix} via {gateway} dev near2"));
    let other = index_of("near2");
    let way = watch.until_way(ip(beyond), |way| way.ifindex == other).await;
    assert_eq!((way.source, way.mtu), (ip(own), 1500));
    sh(&format!("ip route del {beyond_prefix}"));
    watch.until(ip(beyond), Result::is_err).await;
}

async fn follow_neighbours(network: &Network, far: &FarEnd, watch: &mut Watch) {
    let [backend, absent] = [network.backend, network.absent].map(ip);
    far.sh("ip link set far address 02:00:00:00:00:77");
    sh("ip neigh flush dev near");
    watch.until_way(backend, |way| way.link.split().0 == [2, 0, 0, 0, 0, 0x77]).await;
    sh(&format!("ip neigh replace {backend} lladdr 02:00:00:00:00:78 nud reachable dev near"));
    watch.until_way(backend, |way| way.link.split().0 == [2, 0, 0, 0, 0, 0x78]).await;
    sh("echo 1 > /proc/sys/net/ipv6/conf/near/keep_addr_on_down");
    sh("ip link set near down");
    watch.until(backend, Result::is_err).await;
    sh("ip link set near up");
    watch.until_way(backend, |way| way.link.split().0 == [2, 0, 0, 0, 0, 0x77]).await;
    far.sh(&format!("ip addr add {absent}/{} dev far", network.prefix_bits));
    watch.until_way(absent, |_| true).await;
}

#[test]
fn an_ipv4_backend_behind_an_ipv6_router_is_found() {
    with_far_end("an_ipv4_backend_behind_an_ipv6_router_is_found", async |far| {
        far.sh("ip addr add fe80::2/64 dev far");
        sh("ip route add 10.20.0.0/16 via inet6 fe80::2 dev near");
        let way = Watch::begin([ip("10.20.0.1")]).until_way(ip("10.20.0.1"), |_| true).await;
        assert_eq!((way.source, way.on_link), (ip("10.9.0.1"), false));
    });
}

#[test]
fn an_ipv6_mtu_below_the_interfaces_binds_ipv6_only() {
    with_far_end("an_ipv6_mtu_below_the_interfaces_binds_ipv6_only", async |_far| {
        sh("echo 1400 > /proc/sys/net/ipv6/conf/near/mtu");
        let [v4, v6] = ["10.9.0.2", "fd00:9::2"].map(ip);
        let mut watch = Watch::begin([v4, v6]);
        assert_eq!(watch.until_way(v4, |_| true).await.mtu, 1500);
        assert_eq!(watch.until_way(v6, |_| true).await.mtu, 1400);
    });
}

#[test]
fn a_backend_in_a_vlan_is_sent_to_by_the_carrier() {
    with_far_end("a_backend_in_a_vlan_is_sent_to_by_the_carrier", async |far| {
        let add = |on: &str, name: &str, kind: &str, address: &str| {
            format!("ip link add link {on} name {name} type vlan {kind}; ip link set {name} up; {address}")
        };
        if !can_add_vlan() {
            println!(
                "skipped: a_backend_in_a_vlan_is_sent_to_by_the_carrier needs a kernel with VLAN interfaces"
            );
            return;
        }
        sh(&add("near", "near.5", "id 5", "ip addr add fd00:5::1/64 dev near.5"));
        far.sh(&add("far", "far.5", "id 5", "ip addr add fd00:5::2/64 dev far.5"));
        let service = "id 7 protocol 802.1ad";
        sh(&add("near", "near.7", service, "true"));
        far.sh(&add("far", "far.7", service, "true"));
        sh(&add("near.7", "near.7.6", "id 6", "ip addr add 10.6.0.1/24 dev near.7.6"));
        far.sh(&add("far.7", "far.7.6", "id 6", "ip addr add 10.6.0.2/24 dev far.7.6"));
        let [one, two] = ["fd00:5::2", "10.6.0.2"].map(ip);
        let mut watch = Watch::begin([one, two]);
        let tags = |way: NextHop| (way.ifindex, way.vlan, way.second_vlan);
        let near = index_of("near");
        assert_eq!(tags(watch.until_way(one, |_| true).await), (near, 5, 0));
        assert_eq!(tags(watch.until_way(two, |_| true).await), (near, 7, 6));
    });
}

fn can_add_vlan() -> bool {
    let add = ["link", "add", "link", "near", "name", "trial", "type", "vlan", "id", "9"];
    let added = Command::new("ip").args(add).stderr(Stdio::null()).status().unwrap().success();
    if added {
        sh("ip link del trial");
    }
    added
}
