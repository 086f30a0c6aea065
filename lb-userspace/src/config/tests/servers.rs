//! Backends that the service above them cannot have.

use super::row::{check, quic, row, service};

const VIP: &str = "203.0.113.10:80";
/// One backend without further keys.
const ONE: &[&str] = &["\"10.0.0.11:80\""];

#[test]
fn families_meet_in_outer_headers_only() {
    check([
row("an IPv6 backend of an IPv4 VIP by dnat", service(VIP, r#"forward = "dnat""#, &[r#""[2001:db8::2]:80""#]))
.at("8:8")
.says(r#"service "web" mixes two address families"#)
.marks("expected IPv4 like the VIP, this is IPv6")
.also("3:7", "the VIP is IPv4")
.helps(r#"packets of one family reach the other only in an outer header: use `forward = "dsr-ipip"` or `"dsr-gue"`, or a backend of the VIP's family"#),
row("an IPv6 backend of an IPv4 VIP by dsr-l2", service(VIP, r#"forward = "dsr-l2""#, &[r#""[2001:db8::2]:80""#]))
.at("8:8")
.says(r#"service "web" mixes two address families"#)
.marks("expected IPv4 like the VIP, this is IPv6")
.also("3:7", "the VIP is IPv4")
.helps(r#"packets of one family reach the other only in an outer header: use `forward = "dsr-ipip"` or `"dsr-gue"`, or a backend of the VIP's family"#),
row("an IPv4 backend of an IPv6 VIP by nat", service("[2001:db8:1::1]:80", r#"forward = "nat""#, ONE))
.at("8:8")
.says(r#"service "web" mixes two address families"#)
.marks("expected IPv6 like the VIP, this is IPv4")
.also("3:7", "the VIP is IPv6")
.helps(r#"packets of one family reach the other only in an outer header: use `forward = "dsr-ipip"` or `"dsr-gue"`, or a backend of the VIP's family"#),
row("an IPv4 backend of an IPv6 VIP by dsr-l2", service("[2001:db8:1::1]:80", r#"forward = "dsr-l2""#, ONE))
.at("8:8")
.says(r#"service "web" mixes two address families"#)
.marks("expected IPv6 like the VIP, this is IPv4")
.also("3:7", "the VIP is IPv6")
.helps(r#"packets of one family reach the other only in an outer header: use `forward = "dsr-ipip"` or `"dsr-gue"`, or a backend of the VIP's family"#),
    ]);
}

#[test]
fn a_backend_listens_where_packets_come() {
    check([
row("another port by dsr-l2", service(VIP, r#"forward = "dsr-l2""#, &[r#""10.0.0.11:8080""#]))
.at("8:8")
.says(r#"`forward = "dsr-l2"` cannot change the port to 8080"#)
.marks("expected the VIP's own port, or none")
.also("3:7", "the VIP")
.helps(r#"write `addr = "10.0.0.11"`, or use `forward = "nat"`"#),
row("another port by dsr-gue", service(VIP, r#"forward = "dsr-gue""#, &[r#""10.0.0.11:8080""#]))
.at("8:8")
.says(r#"`forward = "dsr-gue"` cannot change the port to 8080"#)
.marks("expected the VIP's own port, or none")
.also("3:7", "the VIP")
.helps(r#"write `addr = "10.0.0.11"`, or use `forward = "nat"`"#),
row("one port for a range that keeps its ports", service("203.0.113.10:8000-8099", r#"forward = "dsr-ipip"; health = "none""#, &[r#""10.0.0.11:8000""#]))
.at("9:8")
.says(r#"`forward = "dsr-ipip"` cannot change the port to 8000"#)
.marks("expected the VIP's own port, or none")
.also("3:7", "the VIP")
.helps(r#"write `addr = "10.0.0.11"`, or use `forward = "nat"`"#),
row("a range whose backends are probed nowhere", service("203.0.113.10:8000-8099", r#"forward = "nat""#, &[r#""10.0.0.11""#]))
.at("8:8")
.says("nothing says on which port 10.0.0.11 is to be probed")
.marks("expected a health check with a port")
.helps(r#"write `health = { tcp = true, port = 8081 }`, or `health = "none"`"#),
row("every port, and a check that names none", service("203.0.113.10:*", r#"forward = "dsr-l2"; health = { http = "/" }"#, &[r#""10.0.0.11""#]))
.at("9:8")
.says("nothing says on which port 10.0.0.11 is to be probed")
.marks("expected a health check with a port")
.helps(r#"write `health = { tcp = true, port = 8081 }`, or `health = "none"`"#),
row("a range over UDP, and a check that names none", service("203.0.113.10:8000-8099", r#"protocol = "udp"; forward = "nat"; health = { tcp = true }"#, &[r#""10.0.0.11""#]))
.at("6:10")
.says("a TCP or HTTP check of a UDP service needs a port of its own")
.marks("expected the key `port`")
.helps("name a TCP port of the backends that tells their health, as in `health = { tcp = true, port = 8081 }`"),
row("an unknown protocol does not ask for a probe's port", service("203.0.113.10:8000-8099", r#"protocol = "sctp"; forward = "nat""#, &[r#""10.0.0.11""#]))
.at("4:12")
.says(r#"`protocol` cannot be "sctp""#)
.marks(r#"expected "tcp" or "udp""#)
.helps(r#"as in `protocol = "udp"`"#),
    ]);
}

#[test]
fn a_backend_has_one_address_of_its_own() {
    check([
        row("port 0", service(VIP, r#"forward = "nat""#, &[r#""10.0.0.11:0""#]))
            .at("8:8")
            .says(r#"`addr` cannot be "10.0.0.11:0""#)
            .marks("expected a port from 1 to 65535")
            .helps(r#"as in `addr = "10.0.0.11:8080"`"#),
        row("a port beyond the last", service(VIP, r#"forward = "nat""#, &[r#""10.0.0.11:80800""#]))
            .at("8:8")
            .says(r#"`addr` cannot be "10.0.0.11:80800""#)
            .marks("expected a port from 1 to 65535")
            .helps(r#"as in `addr = "10.0.0.11:8080"`"#),
        row("a range of ports", service(VIP, r#"forward = "nat""#, &[r#""10.0.0.11:80-90""#]))
            .at("8:8")
            .says(r#"`addr` cannot be "10.0.0.11:80-90""#)
            .marks("expected a port from 1 to 65535")
            .helps(r#"as in `addr = "10.0.0.11:8080"`"#),
        row("a prefix", service(VIP, r#"forward = "nat""#, &[r#""10.0.0.0/24:80""#]))
            .at("8:8")
            .says(r#"`addr` cannot be "10.0.0.0/24:80""#)
            .marks(r#"expected text "ADDRESS:PORT" or "ADDRESS""#)
            .helps(r#"as in `addr = "10.0.0.11:8080"`"#),
        row(
            "no brackets",
            service("[2001:db8::1]:80", r#"forward = "nat""#, &[r#""2001:db8:1:2:3:4:5:6:80""#]),
        )
        .at("8:8")
        .says(r#"`addr` cannot be "2001:db8:1:2:3:4:5:6:80""#)
        .marks(r#"expected text "ADDRESS:PORT" or "ADDRESS""#)
        .helps(r#"write "[2001:db8:1:2:3:4:5:6]:80""#),
        row(
            "one address, once by the VIP's port",
            service(VIP, r#"forward = "nat""#, &[r#""10.0.0.11""#, r#""10.0.0.11:80""#]),
        )
        .at("12:8")
        .says(r#"two backends of service "web" have the address 10.0.0.11:80"#)
        .marks("expected another address or port")
        .also("8:8", "first used here")
        .helps("keep one of them; for a greater share raise its `weight`"),
        row(
            "one address of every port twice",
            service(
                "203.0.113.10:*",
                r#"forward = "nat"; health = "none""#,
                &[r#""10.0.0.11""#, r#""10.0.0.11""#],
            ),
        )
        .at("13:8")
        .says(r#"two backends of service "web" have the address 10.0.0.11"#)
        .marks("expected another address or port")
        .also("9:8", "first used here")
        .helps("keep one of them; for a greater share raise its `weight`"),
        row(
            "an address inside the VIP's prefix",
            service("203.0.113.0/24:80", r#"forward = "nat""#, &[r#""203.0.113.7:80""#]),
        )
        .at("8:8")
        .says("the backend's address 203.0.113.7 is a VIP")
        .marks("expected the address of a server")
        .also("3:7", "the VIP")
        .helps("a VIP is the balancer's: packets would go round in circles; write the backend's own address"),
    ]);
}

#[test]
fn a_quic_server_has_an_identifier_of_its_own() {
    check([
row("no identifier", quic("", &[r#""10.0.0.11:80""#]))
.at("9:1")
.says("a backend of a QUIC service lacks `server_id`")
.marks("expected what the server calls itself in connection identifiers")
.helps(r#"add `server_id = "0a0b"` as the server is configured"#),
row("another length than the default", quic("", &[r#""10.0.0.11:80"; server_id = "0a0b0c""#]))
.at("12:13")
.says("a server identifier of 3 bytes")
.marks("expected 2 bytes")
.helps("write as many bytes as `server_id_bytes` says, which is 2 unless it is given"),
row("another length than is written", quic("; server_id_bytes = 4", &[r#""10.0.0.11:80"; server_id = "0a""#]))
.at("13:13")
.says("a server identifier of 1 byte")
.marks("expected 4 bytes")
.also("8:19", "the length")
.helps("write as many bytes as `server_id_bytes` says, which is 2 unless it is given"),
row("half a byte", quic("", &[r#""10.0.0.11:80"; server_id = "0a0""#]))
.at("12:13")
.says(r#"`server_id` cannot be "0a0""#)
.marks("expected 1 to 8 bytes in hexadecimal digits")
.helps(r#"as in `server_id = "0a0b"`"#),
row("no hexadecimal digits", quic("", &[r#""10.0.0.11:80"; server_id = "xy12""#]))
.at("12:13")
.says(r#"`server_id` cannot be "xy12""#)
.marks("expected 1 to 8 bytes in hexadecimal digits")
.helps(r#"as in `server_id = "0a0b"`"#),
row("a prefix before the digits", quic("", &[r#""10.0.0.11:80"; server_id = "0x0a0b""#]))
.at("12:13")
.says(r#"`server_id` cannot be "0x0a0b""#)
.marks("expected 1 to 8 bytes in hexadecimal digits")
.helps(r#"as in `server_id = "0a0b"`"#),
row("no bytes", quic("", &[r#""10.0.0.11:80"; server_id = """#]))
.at("12:13")
.says(r#"`server_id` cannot be """#)
.marks("expected 1 to 8 bytes in hexadecimal digits")
.helps(r#"as in `server_id = "0a0b"`"#),
row("a number", quic("", &[r#""10.0.0.11:80"; server_id = 10"#]))
.at("12:13")
.says("`server_id` cannot be 10")
.marks("expected 1 to 8 bytes in hexadecimal digits")
.helps(r#"as in `server_id = "0a0b"`"#),
row("more bytes than there may be", quic("", &[r#""10.0.0.11:80"; server_id = "0a0b0c0d0e0f101112""#]))
.at("12:13")
.says(r#"`server_id` cannot be "0a0b0c0d0e0f101112""#)
.marks("expected 1 to 8 bytes in hexadecimal digits")
.helps(r#"as in `server_id = "0a0b"`"#),
row("identifiers of no bytes", quic("; server_id_bytes = 0", &[r#""10.0.0.11:80"; server_id = "0a0b""#]))
.at("8:19")
.says("`server_id_bytes` cannot be 0")
.marks("expected an integer from 1 to 8")
.helps("as in `server_id_bytes = 2`"),
row("identifiers of nine bytes", quic("; server_id_bytes = 9", &[r#""10.0.0.11:80"; server_id = "0a0b""#]))
.at("8:19")
.says("`server_id_bytes` cannot be 9")
.marks("expected an integer from 1 to 8")
.helps("as in `server_id_bytes = 2`"),
row("one identifier of two servers", quic("", &[r#""10.0.0.11:80"; server_id = "0a0b""#, r#""10.0.0.12:80"; server_id = "0A0B""#]))
.at("17:13")
.says(r#"two backends of service "web" have this server identifier"#)
.marks("expected another one")
.also("12:13", "first used here")
.helps("give each server an identifier of its own"),
row("an identifier where nobody asks for it", service(VIP, r#"forward = "dsr-ipip""#, &[r#""10.0.0.11:80"; server_id = "0a0b""#]))
.at("9:13")
.says("`server_id` has no meaning here")
.marks(r#"expected only with `select = "quic"`"#)
.helps(r#"remove `server_id`, or write `select = "quic"`"#),
row("a mistyped selector does not make identifiers a mistake", service(VIP, r#"forward = "dsr-ipip"; protocol = "udp"; health = "none"; select = "quick"; server_id_bytes = 2"#, &[r#""10.0.0.11:80"; server_id = "0a0b""#]))
.at("7:10")
.says(r#"`select` cannot be "quick""#)
.marks(r#"expected "maglev", "source-hash", "source-hash/24", "round-robin", "least-connections" or "quic""#)
.helps(r#"did you mean "quic"?"#),
    ]);
}
