//! Services that end on this host: real connections and datagrams to addresses and ports that nobody is bound to.

use super::{FarEnd, can_furnish, in_namespace, sh};
use crate::config::Protocol;
use crate::daemon::listeners::{ListenRule, Listeners};
use crate::kernel::{Prefix, local_route};
use socket2::{Domain, Socket, Type};
use std::collections::BTreeSet;
use std::fmt::Debug;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd as _, OwnedFd};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

const SOON: Duration = Duration::from_secs(5);

fn rule(
    prefix: &str,
    ports: std::ops::RangeInclusive<u16>,
    protocol: Protocol,
    listener: SocketAddr,
) -> ListenRule {
    let (address, bits) = prefix.split_once('/').unwrap();
    let prefix = Prefix::new(address.parse().unwrap(), bits.parse().unwrap());
    ListenRule { prefix, ports, protocol, listener: Some(listener) }
}

fn tcp(prefix: &str, ports: std::ops::RangeInclusive<u16>, listener: &TcpListener) -> ListenRule {
    rule(prefix, ports, Protocol::Tcp, listener.local_addr().unwrap())
}

/// Follows as the daemon does, in less time, until all listeners are held.
fn follow(listeners: &mut Listeners, rules: &[ListenRule]) {
    let begun = Instant::now();
    listeners.follow(rules);
    while !listeners.status().iter().all(|status| status.is_held) {
        assert!(begun.elapsed() < SOON, "{:?}", listeners.status());
        sleep(Duration::from_millis(50));
        listeners.follow(rules);
    }
}

/// Looks until it is so.
fn soon<T: PartialEq + Debug>(expected: &T, look: impl Fn() -> T) {
    let begun = Instant::now();
    while look() != *expected && begun.elapsed() < SOON {
        sleep(Duration::from_millis(1));
    }
    assert_eq!(look(), *expected);
}

fn connect(address: &str) -> io::Result<TcpStream> {
    TcpStream::connect_timeout(&address.parse().unwrap(), SOON)
}

/// Connects, exchanges a byte, and tells which address and port the listener's side has.
fn land(address: &str, listener: &TcpListener) -> String {
    let mut client = connect(address).unwrap();
    let (mut server, _) = listener.accept().unwrap();
    client.write_all(b"?").unwrap();
    server.read_exact(&mut [0]).unwrap();
    server.write_all(b"!").unwrap();
    client.read_exact(&mut [0]).unwrap();
    let landed = server.local_addr().unwrap();
    SocketAddr::new(landed.ip().to_canonical(), landed.port()).to_string()
}

fn refusal(address: &str) -> ErrorKind {
    connect(address).unwrap_err().kind()
}

#[test]
fn connections_to_ports_and_prefixes_nobody_is_bound_to_land_on_the_listener() {
    if can_furnish("connections_to_ports_and_prefixes_nobody_is_bound_to_land_on_the_listener") {
        in_namespace(land_connections);
    }
}

fn land_connections() {
    let [v4, v6] = ["127.0.0.1:0", "[::1]:0"].map(|address| TcpListener::bind(address).unwrap());
    let mut listeners = Listeners::default();
    let rules = [
        tcp("203.0.113.0/24", 8000..=8099, &v4),
        tcp("198.51.100.7/32", 0..=65_535, &v4),
        tcp("2001:db8:1::/64", 443..=443, &v6),
        ListenRule { listener: None, ..tcp("198.51.100.7/32", 22..=22, &v4) },
    ];
    follow(&mut listeners, &rules);
    for address in ["203.0.113.0:8000", "203.0.113.255:8099", "198.51.100.7:1", "198.51.100.7:65535"] {
        assert_eq!(land(address, &v4), address);
    }
    assert_eq!(land("[2001:db8:1::ffff]:443", &v6), "[2001:db8:1::ffff]:443");
    for address in ["203.0.113.9:7999", "203.0.113.9:8100", "198.51.100.7:22", "[2001:db8:1::1]:80"] {
        assert_eq!(refusal(address), ErrorKind::ConnectionRefused, "{address}");
    }
    listeners.follow(&rules[2..3]);
    assert_eq!(refusal("203.0.113.1:8000"), ErrorKind::NetworkUnreachable);
    assert_eq!(land("[2001:db8:1::2]:443", &v6), "[2001:db8:1::2]:443");
    listeners.follow(&[]);
    assert!(connect("[2001:db8:1::2]:443").is_err());
    sh("test -z \"$(ip route show table local proto 108; ip -6 route show table local proto 108)\"");
}

#[test]
fn routes_that_a_killed_daemon_left_are_taken_over_or_removed() {
    if can_furnish("routes_that_a_killed_daemon_left_are_taken_over_or_removed") {
        in_namespace(inherit_routes);
    }
}

fn inherit_routes() {
    let prefix = |address: &str, bits| Prefix::new(address.parse().unwrap(), bits);
    let left = [prefix("203.0.113.0", 24), prefix("198.51.100.7", 32), prefix("2001:db8:1::", 64)];
    for prefix in left {
        local_route::add(prefix).unwrap();
    }
    sh("ip route add local 192.0.2.0/24 dev lo");
    assert_eq!(BTreeSet::from_iter(local_route::list().unwrap()), left.into());
    let v4 = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut listeners = Listeners::inherit();
    follow(&mut listeners, &[tcp("203.0.113.0/24", 80..=80, &v4)]);
    assert_eq!(local_route::list().unwrap(), left[..1]);
    assert_eq!(land("203.0.113.9:80", &v4), "203.0.113.9:80");
    drop(listeners);
    assert_eq!(local_route::list().unwrap(), []);
    local_route::add(left[2]).unwrap();
    Listeners::inherit().follow(&[]);
    assert_eq!(local_route::list().unwrap(), [], "without such services nothing is left either");
    sh("ip route show table local | grep -q 192.0.2.0/24");
}

#[test]
fn datagrams_land_on_the_listener_and_are_answered() {
    if can_furnish("datagrams_land_on_the_listener_and_are_answered") {
        in_namespace(land_datagrams);
    }
}

fn land_datagrams() {
    // Bound to the service's port and every address: the answer's source is then what the kernel would choose anyway.
    for (bound, prefix, service) in [
        ("0.0.0.0:5353", "203.0.113.0/24", "203.0.113.77:53"),
        ("[::]:5454", "2001:db8::/32", "[2001:db8:5::1]:53"),
    ] {
        let listener = UdpSocket::bind(bound).unwrap();
        listener.set_read_timeout(Some(SOON)).unwrap();
        let mut listeners = Listeners::default();
        let address = listener.local_addr().unwrap();
        follow(&mut listeners, &[rule(prefix, 53..=53, Protocol::Udp, address)]);
        let client = UdpSocket::bind(SocketAddr::new(address.ip(), 0)).unwrap();
        client.set_read_timeout(Some(SOON)).unwrap();
        client.send_to(b"question", service).unwrap();
        let mut bytes = [0; 64];
        let (length, from) = listener.recv_from(&mut bytes).unwrap();
        assert_eq!(&bytes[..length], b"question");
        listener.send_to(b"answer", from).unwrap();
        assert_eq!(client.recv(&mut bytes).unwrap(), b"answer".len());
    }
}

#[test]
fn a_process_that_is_started_again_is_found_again_and_not_kept_alive() {
    if can_furnish("a_process_that_is_started_again_is_found_again_and_not_kept_alive") {
        in_namespace(restart_the_listener);
    }
}

fn restart_the_listener() {
    let mut listeners = Listeners::default();
    let rules = [rule("203.0.113.0/24", 80..=80, Protocol::Tcp, "127.0.0.1:8080".parse().unwrap())];
    listeners.follow(&rules);
    let [status] = listeners.status().try_into().unwrap();
    assert_eq!((status.is_held, status.state.as_str()), (false, "nobody listens there"));
    for _ in 0..2 {
        let socket = OwnedFd::from(TcpListener::bind("127.0.0.1:8080").unwrap());
        let mut holder = Command::new("sleep").arg("60").stdin(Stdio::from(socket)).spawn().unwrap();
        let begun = Instant::now();
        follow(&mut listeners, &rules);
        println!("taken after {:?}", begun.elapsed());
        let state = |listeners: &Listeners| listeners.status()[0].state.clone();
        // What other tests start has all descriptors of this process, too, until it is another program.
        soon(&format!("process {} (sleep)", holder.id()), || state(&listeners));
        connect("203.0.113.5:80").unwrap();
        holder.kill().unwrap();
        holder.wait().unwrap();
        soon(&Some(ErrorKind::ConnectionRefused), || {
            connect("203.0.113.5:80").err().map(|error| error.kind())
        });
        listeners.follow(&rules);
        assert_eq!(state(&listeners), "nobody listens there");
    }
}

fn open(domain: Domain, address: &str, prepare: impl FnOnce(&Socket) -> io::Result<()>) -> TcpListener {
    let socket = Socket::new(domain, Type::STREAM, None).unwrap();
    prepare(&socket).unwrap();
    socket.bind(&address.parse::<SocketAddr>().unwrap().into()).unwrap();
    socket.listen(128).unwrap();
    socket.into()
}

#[test]
fn sockets_take_the_families_they_can_and_the_status_tells() {
    if can_furnish("sockets_take_the_families_they_can_and_the_status_tells") {
        in_namespace(mix_families);
    }
}

fn mix_families() {
    let dual = open(Domain::IPV6, "[::]:8080", |socket| socket.set_only_v6(false));
    let only = open(Domain::IPV6, "[::]:8081", |socket| socket.set_only_v6(true));
    let v4 = TcpListener::bind("127.0.0.1:8082").unwrap();
    let mut listeners = Listeners::default();
    let at = |port| SocketAddr::new(IpAddr::from([127, 0, 0, 1]), port);
    let rules = [
        rule("203.0.113.0/24", 80..=80, Protocol::Tcp, at(8080)),
        rule("2001:db8::/64", 80..=80, Protocol::Tcp, at(8080)),
        rule("203.0.113.0/24", 82..=82, Protocol::Tcp, at(8082)),
        rule("2001:db8::/64", 82..=82, Protocol::Tcp, at(8082)),
    ];
    follow(&mut listeners, &rules);
    assert_eq!(land("203.0.113.1:80", &dual), "203.0.113.1:80");
    assert_eq!(land("[2001:db8::1]:80", &dual), "[2001:db8::1]:80");
    assert_eq!(land("203.0.113.1:82", &v4), "203.0.113.1:82");
    assert!(connect("[2001:db8::1]:82").is_err());
    assert!(listeners.status()[1].state.contains("no IPv6 lands on it"), "{:?}", listeners.status());
    let deaf = [rule("203.0.113.0/24", 81..=81, Protocol::Tcp, at(8081))];
    listeners.follow(&deaf);
    listeners.follow(&deaf);
    let [status] = listeners.status().try_into().unwrap();
    assert!(!status.is_held && status.state.contains("IPV6_V6ONLY"), "{status:?}");
    drop(only);
}

#[test]
fn a_group_that_shares_an_address_shares_the_connections() {
    if can_furnish("a_group_that_shares_an_address_shares_the_connections") {
        in_namespace(share_connections);
    }
}

fn share_connections() {
    let group = [(); 3].map(|()| {
        let listener = open(Domain::IPV4, "127.0.0.1:8080", |socket| socket.set_reuse_port(true));
        listener.set_nonblocking(true).unwrap();
        listener
    });
    let mut listeners = Listeners::default();
    let rules = [tcp("203.0.113.0/24", 1..=65_535, &group[0])];
    follow(&mut listeners, &rules);
    let count = |listener: &TcpListener| std::iter::from_fn(|| listener.accept().ok()).count();
    let clients: Vec<_> = (1..=120).map(|port| connect(&format!("203.0.113.7:{port}")).unwrap()).collect();
    sleep(Duration::from_millis(200));
    let counts = group.each_ref().map(count);
    println!("{counts:?} of {}", clients.len());
    assert!(counts.iter().all(|count| *count > 10) && counts.iter().sum::<usize>() == clients.len());
    // Whichever of them it holds, the others are found when it goes.
    for (gone, listener) in group.into_iter().enumerate() {
        follow(&mut listeners, &rules);
        connect("203.0.113.7:80").unwrap();
        drop(listener);
        println!("{gone} is gone");
    }
}

#[test]
fn a_socket_at_hand_is_taken_at_once() {
    if can_furnish("a_socket_at_hand_is_taken_at_once") {
        in_namespace(hand_over_a_socket);
    }
}

fn hand_over_a_socket() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let rules = [tcp("203.0.113.0/24", 80..=80, &listener)];
    let mut listeners = Listeners::default();
    let key = rules[0].key().unwrap();
    assert!(listeners.place(key, listener.as_fd()).is_err());
    listeners.follow(&rules);
    listeners.place(key, listener.as_fd()).unwrap();
    assert_eq!(listeners.status()[0].state, "this daemon");
    assert_eq!(land("203.0.113.1:80", &listener), "203.0.113.1:80");
    listeners.follow(&rules);
    assert!(listeners.status()[0].is_held);
}

#[test]
fn only_own_routes_are_removed_and_neighbours_stay_reachable() {
    if can_furnish("only_own_routes_are_removed_and_neighbours_stay_reachable") {
        in_namespace(keep_other_routes);
    }
}

fn keep_other_routes() {
    let _far = FarEnd::connect();
    sh("ip route add local 198.51.100.0/24 dev lo; ip addr add 192.0.2.1/32 dev near");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut listeners = Listeners::default();
    let prefixes =
        ["198.51.100.0/24", "192.0.2.1/32", "10.9.0.0/24", "10.0.0.0/8", "10.9.0.128/25", "fd00::/16"];
    follow(&mut listeners, &prefixes.map(|prefix| tcp(prefix, 80..=80, &listener)));
    let unrouted: Vec<_> = listeners.unrouted().map(|(prefix, _)| prefix.to_string()).collect();
    assert_eq!(unrouted, ["10.0.0.0/8", "10.9.0.0/24", "fd00::/16"]);
    for address in ["198.51.100.1:80", "192.0.2.1:80", "10.9.0.200:80"] {
        assert_eq!(land(address, &listener), address);
    }
    sh("ip route get 10.9.0.2 | grep -q 'dev near'; ip -6 route get fd00:9::2 | grep -q 'dev near'");
    drop(listeners);
    assert_eq!(refusal("198.51.100.1:80"), ErrorKind::ConnectionRefused);
    assert_eq!(refusal("192.0.2.1:80"), ErrorKind::ConnectionRefused);
    sh("test -z \"$(ip route show table local proto 108)\"");
}

#[test]
fn clients_of_other_hosts_land_on_the_listener_too() {
    if can_furnish("clients_of_other_hosts_land_on_the_listener_too") {
        in_namespace(land_from_afar);
    }
}

fn land_from_afar() {
    let far = FarEnd::connect();
    far.sh("ip route add 203.0.113.0/24 via 10.9.0.1; ip -6 route add 2001:db8::/64 via fd00:9::1");
    let listener = TcpListener::bind("[::]:0").unwrap();
    let mut listeners = Listeners::default();
    let rules = ["203.0.113.0/24", "2001:db8::/64"].map(|prefix| tcp(prefix, 1..=65_535, &listener));
    follow(&mut listeners, &rules);
    let there = std::fs::File::open(format!("/proc/{}/ns/net", far.0.id())).unwrap();
    let landed = std::thread::scope(|scope| {
        let listener = &listener;
        let client = scope.spawn(move || {
            nix::sched::setns(there, nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
            ["203.0.113.5:80", "[2001:db8::5]:443"].map(|address| land(address, listener))
        });
        client.join().unwrap()
    });
    assert_eq!(landed, ["203.0.113.5:80", "[2001:db8::5]:443"]);
}
