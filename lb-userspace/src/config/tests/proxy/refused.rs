//! The mistakes of layer 7, one row each.

use super::super::row::{check, row};
use super::{SITE, instead, listener, route, service, with};

/// A second listener.
fn second(keys: &str) -> String {
    with(&format!("[[listener]]\nname = \"b\"\n{keys}"))
}

/// A route that leads to the service, with further keys.
fn leading(keys: &str) -> String {
    route(&format!("service = \"web\"; {keys}"))
}

/// Two routes that lead to the service: headers in lines 13 and 17, for one key each.
fn both(one: &str, other: &str) -> String {
    let route = |name: &str, keys: &str| format!("[[route]]\nname = \"{name}\"\nservice = \"web\"\n{keys}\n");
    with(&format!("{}{}", route("one", one), route("other", other)))
}

const TLS: &str = "tls = { certificates = [{ cert = \"/c\", key = \"/k\" }] }";

/// A packet service with this VIP and these keys behind the site.
fn packets(vip: &str, keys: &str) -> String {
    with(&format!("[[service]]\nname = \"p\"\nvip = \"{vip}\"\n{keys}"))
}

const NAT: &str = "forward = \"nat\"\n[[service.backend]]\nname = \"x\"\naddr = \"10.0.0.9:80\"";

#[test]
fn addresses_of_listeners_are_refused_with_their_remedy() {
    check([
        row("a listener without an address", instead("addresses = [\"0.0.0.0:80\"]\n", ""))
            .at("1:1")
            .says(r#"`[[listener]]` "main" lacks the key `addresses`"#)
            .marks(r#"expected `addresses`: text "ADDRESS:PORT"; or a list of such"#)
            .helps(r#"add `addresses = ["0.0.0.0:443", "[::]:443"]`"#),
        row("a list of no addresses", instead("[\"0.0.0.0:80\"]", "[]"))
            .at("3:13")
            .says(r#"listener "main" has no address"#)
            .marks("expected at least one")
            .helps(r#"write `addresses = ["0.0.0.0:80", "[::]:80"]`"#),
        row("an address without a port", instead("0.0.0.0:80", "0.0.0.0"))
            .at("3:14")
            .says(r#"`addresses` cannot be "0.0.0.0""#)
            .marks(r#"expected text "ADDRESS:PORT"; or a list of such"#)
            .helps(r#"add the port, as in "0.0.0.0:80""#),
        row(
            "one bad address among good ones",
            instead("[\"0.0.0.0:80\"]", "[\"0.0.0.0:80\", \"[::]:http\"]"),
        )
        .at("3:28")
        .says(r#"`addresses` cannot be "[::]:http""#)
        .marks("expected a port from 1 to 65535")
        .helps(r#"as in `addresses = ["0.0.0.0:443", "[::]:443"]`"#),
        row(
            "an address that is listened on already",
            second("addresses = \"0.0.0.0:80\"\nservice = \"web\""),
        )
        .at("15:13")
        .says("two listeners have the address 0.0.0.0:80")
        .marks("expected another address or port")
        .also("3:14", "first used here")
        .helps("keep one of them, and part its requests by routes"),
        row("an address twice in one list", instead("[\"0.0.0.0:80\"]", "[\"0.0.0.0:80\", \"0.0.0.0:80\"]"))
            .at("3:28")
            .says("two listeners have the address 0.0.0.0:80")
            .marks("expected another address or port")
            .also("3:14", "first used here")
            .helps("keep one of them, and part its requests by routes"),
        row(
            "two listeners of one name",
            second("addresses = \"0.0.0.0:81\"\nservice = \"web\"").replace("\"b\"", "\"main\""),
        )
        .at("14:8")
        .says(r#"two listeners are called "main""#)
        .marks("expected another name")
        .also("2:8", "first used here")
        .helps("rename one of them"),
        row(
            "a listener on a VIP whose packets go elsewhere",
            packets("203.0.113.1:80", NAT).replace("0.0.0.0:80", "203.0.113.1:80"),
        )
        .at("3:14")
        .says("connections to 203.0.113.1:80 never come to this listener")
        .marks("expected an address that is no VIP of another service")
        .also("15:7", "this VIP takes them")
        .helps(
            r#"give that service `forward = "local"` and `listener = "203.0.113.1:80"`, or listen elsewhere"#,
        ),
        row(
            "a listener on a range that is another socket's",
            packets("203.0.113.1:80-90", "forward = \"local\"\nlistener = \"127.0.0.1:9\"")
                .replace("0.0.0.0:80", "203.0.113.1:80"),
        )
        .at("3:14")
        .says("connections to 203.0.113.1:80 never come to this listener")
        .marks("expected an address that is no VIP of another service")
        .also("15:7", "this VIP takes them")
        .helps(
            r#"give that service `forward = "local"` and `listener = "203.0.113.1:80"`, or listen elsewhere"#,
        ),
    ]);
}

#[test]
fn addresses_of_metrics_that_others_have_are_refused_with_their_remedy() {
    check([
        row("metrics where a listener is", with("[metrics]\naddress = \"127.0.0.1:80\""))
            .at("14:11")
            .says("the address of metrics, 127.0.0.1:80, is a listener's")
            .marks("expected an address or port of its own")
            .also("3:14", "the listener")
            .helps(r#"serve them elsewhere, as in `address = "127.0.0.1:9090"`"#),
        row(
            "metrics where packets go elsewhere",
            packets("203.0.113.1:81", &format!("{NAT}\n[metrics]\naddress = \"203.0.113.1:81\"")),
        )
        .at("21:11")
        .says("the address of metrics, 203.0.113.1:81, is a VIP")
        .marks("expected an address or port of its own")
        .also("15:7", "this VIP takes its connections")
        .helps(r#"serve them elsewhere, as in `address = "127.0.0.1:9090"`"#),
    ]);
}

#[test]
fn a_kind_that_there_is_not_is_one_mistake() {
    check([row("a kind that there is not", instead("kind = \"http\"", "kind = \"htpp\""))
        .at("8:8")
        .says(r#"`kind` cannot be "htpp""#)
        .marks(r#"expected "l4" or "http""#)
        .helps(r#"did you mean "http"?"#)]);
}

#[test]
fn what_a_listener_leads_to_and_how_is_told_from_what_it_cannot() {
    check([
        row("a service that there is none of", instead("service = \"web\"", "service = \"wbe\""))
            .at("4:11")
            .says(r#"listener "main" leads to "wbe", which is no service of kind `http`"#)
            .marks(r#"expected the name of a service with `kind = "http"`"#)
            .helps(r#"did you mean "web"?"#),
        row("a service that is nothing like any", instead("service = \"web\"", "service = \"blog\""))
            .at("4:11")
            .says(r#"listener "main" leads to "blog", which is no service of kind `http`"#)
            .marks(r#"expected the name of a service with `kind = "http"`"#)
            .helps(r#"add a `[[service]]` with `name = "blog"` and `kind = "http"`"#),
        row("a service of packets", packets("203.0.113.1:81", NAT).replace("service = \"web\"", "service = \"p\""))
            .at("4:11")
            .says(r#"listener "main" leads to "p", which is no service of kind `http`"#)
            .marks(r#"expected the name of a service with `kind = "http"`"#)
            .helps(r#"that service is one of packets, which find it by its VIP: give it `kind = "http"`, or name another"#),
        row("strict transport without TLS", listener("hsts = {}"))
            .at("5:8")
            .says("`hsts` has no meaning here")
            .marks("expected only with `tls`")
            .helps("remove `hsts`"),
        row("a redirect to where the client is already", listener(&format!("redirect_to_https = 443\n{TLS}")).replacen("service = \"web\"\n", "", 1))
            .at("4:21")
            .says("`redirect_to_https` has no meaning here")
            .marks("expected only without `tls`")
            .helps("remove `redirect_to_https`"),
        row("a redirect and a service", listener("redirect_to_https = 443"))
            .at("4:11")
            .says("`service` has no meaning here")
            .marks("expected only without `redirect_to_https`, which answers everything")
            .helps("remove `service`"),
        row("TLS without a certificate", listener("tls = {}"))
            .at("5:7")
            .says("`tls` has no certificate")
            .marks("expected at least one")
            .helps(r#"add `certificates = [{ cert = "/etc/lb/www.pem", key = "/etc/lb/www.key" }]`"#),
        row("a certificate without its key", listener("tls = { certificates = [{ cert = \"/c\" }] }"))
            .at("5:25")
            .says("`certificates = [{ … }]` lacks the key `key`")
            .marks("expected `key`: the whole path of a file, starting with `/`")
            .helps(r#"add `key = "/etc/lb/www.key"`"#),
    ]);
}

#[test]
fn mistakes_in_the_braces_of_listeners_are_refused_with_their_remedy() {
    check([
        row(
            "a certificate that is no whole path",
            listener("tls = { certificates = [{ cert = \"c.pem\", key = \"/k\" }] }"),
        )
        .at("5:34")
        .says(r#"`cert` cannot be "c.pem""#)
        .marks("expected the whole path of a file, starting with `/`")
        .helps(r#"as in `cert = "/etc/lb/www.pem"`"#),
        row("certificates that are a text", listener("tls = { certificates = \"/c\" }"))
            .at("5:24")
            .says(r#"`certificates` cannot be "/c""#)
            .marks("expected a list of tables in braces")
            .helps(r#"as in `certificates = [{ cert = "/etc/lb/www.pem", key = "/etc/lb/www.key" }]`"#),
        row(
            "a version that there is none of",
            listener("tls = { certificates = [{ cert = \"/c\", key = \"/k\" }], min_version = \"1.1\" }"),
        )
        .at("5:69")
        .says(r#"`min_version` cannot be "1.1""#)
        .marks(r#"expected "1.2" or "1.3""#)
        .helps(r#"did you mean "1.2"?"#),
        row(
            "clients to be believed by nobody",
            listener("tls = { certificates = [{ cert = \"/c\", key = \"/k\" }], client = {} }"),
        )
        .at("5:64")
        .says("`client = { … }` lacks the key `ca`")
        .marks("expected `ca`: the whole path of a file, starting with `/`")
        .helps(r#"add `ca = "/etc/lb/clients.pem"`"#),
        row("a request line longer than a head", listener("limits = { head = 2048 }"))
            .at("5:10")
            .says("`line` is more than `head`, 2048 bytes")
            .marks("expected a request line that fits into a head")
            .helps("raise `head`, or lower `line`"),
        row("too small a head", listener("limits = { head = 10 }"))
            .at("5:19")
            .says("`head` cannot be 10")
            .marks(r#"expected a number from 1024 to 1048576, or a size such as "256k" or "1M""#)
            .helps(r#"as in `head = "64k"`"#),
        row("a deadline without a unit", listener("deadlines = { idle = 20 }"))
            .at("5:22")
            .says("`idle` cannot be 20")
            .marks(r#"expected a duration from "1ms" to "24h" (ms, s, m or h)"#)
            .helps(r#"as in `idle = "20s"`"#),
        row("a deadline of no time", listener("deadlines = { head = \"0s\" }"))
            .at("5:22")
            .says(r#"`head` cannot be "0s""#)
            .marks(r#"expected a duration from "1ms" to "24h" (ms, s, m or h)"#)
            .helps(r#"as in `head = "5s"`"#),
        row("a deadline of services", listener("deadlines = { connect = \"1s\" }"))
            .at("5:15")
            .says("unknown key `connect` in `deadlines = { … }`")
            .marks("expected one of `handshake`, `head`, `body`, `idle`, `send`, `min_rate`, `request`")
            .helps("`connect` belongs in `deadlines = { … } of a service`"),
        row("a network that is none", listener("proxy_protocol = \"10.0.0.1/8\""))
            .at("5:18")
            .says(r#"`proxy_protocol` cannot be "10.0.0.1/8""#)
            .marks("expected the first address of a prefix of 8 bits")
            .helps("write `10.0.0.0/8`, or `10.0.0.1` without a length for one address"),
    ]);
}

#[test]
fn mistakes_of_services_are_refused_with_their_remedy() {
    check([
row("a kind that there is none of", instead("kind = \"http\"", "kind = \"htpp\"\nvip = \"203.0.113.1:80\"\nforward = \"nat\"").replacen("service = \"web\"\n", "redirect_to_https = 1\n", 1))
.at("8:8")
.says(r#"`kind` cannot be "htpp""#)
.marks(r#"expected "l4" or "http""#)
.helps(r#"did you mean "http"?"#),
row("a VIP of a service of requests", service("vip = \"203.0.113.1:80\""))
.at("9:1")
.says("unknown key `vip` in `[[service]] of kind http`")
.marks("expected one of `name`, `kind`, `balance`, `hash_on`, `sticky`, `health`, `max_connections`, `queue`, `slow_start`, `pool`, `deadlines`, `retries`, `outliers`, `tls`, `proxy_protocol`, `http2`, `host`, `backend`")
.helps(r#"`vip` is a service's of packets: remove it, or `kind = "http"`"#),
row("a key of packets", service("forward = \"nat\""))
.at("9:1")
.says("unknown key `forward` in `[[service]] of kind http`")
.marks("expected one of `name`, `kind`, `balance`, `hash_on`, `sticky`, `health`, `max_connections`, `queue`, `slow_start`, `pool`, `deadlines`, `retries`, `outliers`, `tls`, `proxy_protocol`, `http2`, `host`, `backend`")
.helps(r#"`forward` is a service's of packets: remove it, or `kind = "http"`"#),
row("a name that a service of packets has", packets("203.0.113.1:81", NAT).replace("\"p\"", "\"web\""))
.at("7:8")
.says(r#"two services are called "web""#)
.marks("expected another name")
.also("14:8", "first used here")
.helps("rename one of them"),
row("two services of one name", with("[[service]]\nname = \"web\"\nkind = \"http\"\n[[service.backend]]\nname = \"a\"\naddr = \"10.0.0.2:80\""))
.at("14:8")
.says(r#"two services are called "web""#)
.marks("expected another name")
.also("7:8", "first used here")
.helps("rename one of them"),
row("a service without backends", instead("[[service.backend]]\nname = \"a\"\naddr = \"10.0.0.1:8080\"\n", ""))
.at("6:1")
.says(r#"service "web" has no backend"#)
.marks("expected at least one `[[service.backend]]` below")
.helps("add a backend; for a fixed answer write a `[[route]]` with `respond`"),
row("a backend without a port", instead("10.0.0.1:8080", "10.0.0.1"))
.at("12:8")
.says(r#"`addr` cannot be "10.0.0.1""#)
.marks(r#"expected text "ADDRESS:PORT""#)
.helps(r#"add the port, as in "10.0.0.1:80""#),
row("a backend by its name", instead("10.0.0.1:8080", "web1:8080"))
.at("12:8")
.says(r#"`addr` cannot be "web1:8080""#)
.marks(r#"expected text "ADDRESS:PORT""#)
.helps("host names are not looked up: write the IP address"),
    ]);
}

#[test]
fn mistakes_of_backends_are_refused_with_their_remedy() {
    check([
        row("two backends of one name", with("[[service.backend]]\nname = \"a\"\naddr = \"10.0.0.2:80\""))
            .at("14:8")
            .says(r#"two backends of service "web" are called "a""#)
            .marks("expected another")
            .also("11:8", "first used here")
            .helps("change or remove one of them"),
        row(
            "two backends of one address",
            with("[[service.backend]]\nname = \"b\"\naddr = \"10.0.0.1:8080\""),
        )
        .at("15:8")
        .says(r#"two backends of service "web" have the address 10.0.0.1:8080"#)
        .marks("expected another")
        .also("12:8", "first used here")
        .helps("change or remove one of them"),
        row("a backend that is a VIP", packets("10.0.0.1:81", NAT))
            .at("12:8")
            .says("the backend's address 10.0.0.1:8080 is this balancer's own")
            .marks("expected the address of a server")
            .also("15:7", "the VIP")
            .helps("requests would go round in circles; write the backend's own address"),
        row("a backend that is a listener", instead("0.0.0.0:80", "10.0.0.1:8080"))
            .at("12:8")
            .says("the backend's address 10.0.0.1:8080 is this balancer's own")
            .marks("expected the address of a server")
            .also("3:14", "the listener")
            .helps("requests would go round in circles; write the backend's own address"),
        row("a weight of nothing", with("weight = 0"))
            .at("13:10")
            .says("`weight` cannot be 0")
            .marks("expected an integer from 1 to 1000")
            .helps("for a backend that gets no new flows write `drain = true`"),
        row("a way to balance that there is none of", service("balance = \"random\""))
            .at("9:11")
            .says(r#"`balance` cannot be "random""#)
            .marks(r#"expected "p2c-ewma", "round-robin", "least-connections", "ip-hash" or "hash""#)
            .helps(r#"as in `balance = "round-robin"`"#),
        row("a hash of nothing", service("balance = \"hash\""))
            .at("9:11")
            .says(r#"`balance = "hash"` does not say of what"#)
            .marks("expected `hash_on` beside it")
            .helps(r#"add `hash_on = "path"`, or a field as in `hash_on = "header:x-user"`"#),
    ]);
}

#[test]
fn mistakes_in_the_braces_of_services_are_refused_with_their_remedy() {
    check([
        row("a hash where none is asked for", service("hash_on = \"path\""))
            .at("9:11")
            .says("`hash_on` has no meaning here")
            .marks(r#"expected only with `balance = "hash"`"#)
            .helps("remove `hash_on`"),
        row("a hash of what no request has", service("balance = \"hash\"\nhash_on = \"body\""))
            .at("10:11")
            .says(r#"`hash_on` cannot be "body""#)
            .marks(r#"expected "path", "host", "header:NAME", "cookie:NAME" or "query:NAME""#)
            .helps(r#"as in `hash_on = "path"`"#),
        row("half a certificate for backends", service("tls = { cert = \"/c\" }"))
            .at("9:16")
            .says("a certificate needs both `cert` and `key`")
            .marks("expected `key` beside it")
            .helps("add `key`"),
        row("a check of no kind", service("health = { interval = \"2s\" }"))
            .at("9:10")
            .says("the health check has neither `http` nor `tcp`")
            .marks("expected one of them")
            .helps(r#"add `tcp = true`, or a path as in `http = "/healthz"`"#),
        row("outliers that are another word", service("outliers = \"off\""))
            .at("9:12")
            .says(r#"`outliers` cannot be "off""#)
            .marks(r#"expected a table in braces, or "none""#)
            .helps("as in `outliers = { failures = 10 }`"),
        row("more outliers than there are", service("outliers = { most = \"101%\" }"))
            .at("9:21")
            .says(r#"`most` cannot be "101%""#)
            .marks(r#"expected a share from "0%" to "100%""#)
            .helps(r#"as in `most = "20%"`"#),
        row("a version of the PROXY header that there is none of", service("proxy_protocol = \"v3\""))
            .at("9:18")
            .says(r#"`proxy_protocol` cannot be "v3""#)
            .marks(r#"expected "v1" or "v2""#)
            .helps(r#"did you mean "v1"?"#),
        row("a cookie's name with a space", service("sticky = { cookie = \"a b\" }"))
            .at("9:21")
            .says(r#"`cookie` cannot be "a b""#)
            .marks("expected the name of a cookie")
            .helps(r#"as in `cookie = "lb"`"#),
        row("a budget without its sign", service("retries = { budget = 20 }"))
            .at("9:22")
            .says("`budget` cannot be 20")
            .marks(r#"expected a share from "0%" to "100%""#)
            .helps(r#"as in `budget = "10%"`"#),
        row("a Host field with a scheme", service("host = \"http://b.org\""))
            .at("9:8")
            .says(r#"`host` cannot be "http://b.org""#)
            .marks(r#"expected text "HOST" or "HOST:PORT""#)
            .helps(r#"as in `host = "backend.example.org"`"#),
        row("a pool that is a number", service("pool = 64"))
            .at("9:8")
            .says("`pool` cannot be 64")
            .marks("expected the table `pool = { … }`")
            .helps("as in `pool = { idle = 16 }`"),
    ]);
}

#[test]
fn mistakes_of_routes_are_refused_with_their_remedy() {
    check([
        row("a route without an action", route("path = \"/\""))
            .at("13:1")
            .says(r#"route "r" has none of `service`, `split`, `redirect`, `respond`"#)
            .marks("expected exactly one of them")
            .helps("add one of `service`, `split`, `redirect`, `respond`"),
        row("a route with two actions", leading("respond = {}"))
            .at("16:11")
            .says(r#"route "r" has both `service` and `respond`"#)
            .marks("expected one of them")
            .also("15:11", "the other")
            .helps("remove `service` or `respond`"),
        row("a route that leads to no service", route("service = \"api\""))
            .at("15:11")
            .says(r#"route "r" leads to "api", which is no service of kind `http`"#)
            .marks(r#"expected the name of a service with `kind = "http"`"#)
            .helps(r#"add a `[[service]]` with `name = "api"` and `kind = "http"`"#),
        row(
            "a split that leads to no service",
            route("split = [{ service = \"web\" }, { service = \"wep\" }]"),
        )
        .at("15:43")
        .says(r#"route "r" leads to "wep", which is no service of kind `http`"#)
        .marks(r#"expected the name of a service with `kind = "http"`"#)
        .helps(r#"did you mean "web"?"#),
        row("a split of nothing", route("split = [{ service = \"web\", weight = 0 }]"))
            .at("15:9")
            .says(r#"no service of route "r" has a weight"#)
            .marks("expected one that gets something")
            .helps("give one of them a weight above 0"),
        row(
            "a split that names a service twice",
            route("split = [{ service = \"web\" }, { service = \"web\", weight = 2 }]"),
        )
        .at("15:43")
        .says(r#""web" stands in the split twice"#)
        .marks("expected each service once")
        .also("15:22", "first used here")
        .helps("add its weights together"),
        row("a mirror that there is none of", leading("mirror = \"wab\""))
            .at("16:10")
            .says(r#"route "r" leads to "wab", which is no service of kind `http`"#)
            .marks(r#"expected the name of a service with `kind = "http"`"#)
            .helps(r#"did you mean "web"?"#),
        row("a listener that there is none of", leading("listeners = \"mian\""))
            .at("16:13")
            .says(r#"there is no listener "mian""#)
            .marks("expected the name of a `[[listener]]`")
            .helps(r#"did you mean "main"?"#),
        row("a listener nothing like any", leading("listeners = [\"main\", \"x\"]"))
            .at("16:22")
            .says(r#"there is no listener "x""#)
            .marks("expected the name of a `[[listener]]`")
            .helps("add such a listener, or remove the name: without `listeners` a route belongs to all"),
    ]);
}

#[test]
fn mistakes_in_what_routes_take_are_refused_with_their_remedy() {
    check([
        row("two routes of one name", both("path = \"/a\"", "path = \"/b\"").replace("\"other\"", "\"one\""))
            .at("18:8")
            .says(r#"two routes are called "one""#)
            .marks("expected another name")
            .also("14:8", "first used here")
            .helps("rename one of them"),
        row("a host with a port", leading("hosts = \"example.org:80\""))
            .at("16:9")
            .says(r#"`hosts` cannot be "example.org:80""#)
            .marks(r#"expected text "HOST" or "*.HOST", without port; or a list of such"#)
            .helps(r#"write "example.org": scheme and port are the listener's"#),
        row("a host with a scheme", leading("hosts = \"https://example.org/\""))
            .at("16:9")
            .says(r#"`hosts` cannot be "https://example.org/""#)
            .marks(r#"expected text "HOST" or "*.HOST", without port; or a list of such"#)
            .helps(r#"write "example.org": scheme and port are the listener's"#),
        row("a wildcard in the middle", leading("hosts = \"www.*.org\""))
            .at("16:9")
            .says(r#"`hosts` cannot be "www.*.org""#)
            .marks(r#"expected text "HOST" or "*.HOST", without port; or a list of such"#)
            .helps(r#"as in `hosts = ["example.org", "*.example.org"]`"#),
        row("a path with an empty segment", leading("path = \"/a//b\""))
            .at("16:8")
            .says(r#"`path` cannot be "/a//b""#)
            .marks("expected a path without empty segments")
            .helps("write one slash for several: requests with more are routed by it, too"),
        row("a path without a slash", leading("path = \"api\""))
            .at("16:8")
            .says(r#"`path` cannot be "api""#)
            .marks("expected text starting with `/`, printable ASCII without spaces; or a table in braces")
            .helps(r#"as in `path = { prefix = "/api" }`"#),
        row("a path with a query", leading("path = \"/a?b=c\""))
            .at("16:8")
            .says(r#"`path` cannot be "/a?b=c""#)
            .marks("expected a path without a query")
            .helps("match parameters by `query`"),
        row("a path that is resolved before it is routed", leading("path = { exact = \"/a/../b\" }"))
            .at("16:18")
            .says(r#"`exact` cannot be "/a/../b""#)
            .marks("expected a path without `.` and `..`")
            .helps("write it as it is when these are resolved"),
        row("a path of two kinds", leading("path = { exact = \"/a\", prefix = \"/a\" }"))
            .at("16:33")
            .says("`path` has both `exact` and `prefix`")
            .marks("expected one of them")
            .also("16:18", "the other")
            .helps("remove `exact` or `prefix`"),
        row("a path of no kind", leading("path = {}"))
            .at("16:8")
            .says("`path` has none of `exact`, `prefix`, `regex`")
            .marks("expected exactly one of them")
            .helps("add one of `exact`, `prefix`, `regex`"),
        row("an expression that is none", leading("path = { regex = '/(' }"))
            .at("16:18")
            .says(r#"`regex` cannot be "/(""#)
            .marks("expected a regular expression: unclosed group")
            .helps(r"as in `regex = '/img/.*\.png'`"),
        row("a method in small letters", leading("methods = \"get\""))
            .at("16:11")
            .says(r#"`methods` cannot be "get""#)
            .marks(r#"expected text of the letters of a method, such as "GET"; or a list of such"#)
            .helps(r#"methods have a case: write "GET""#),
        row("a field with a colon", leading("headers = [{ name = \"X-A:\" }]"))
            .at("16:21")
            .says(r#"`name` cannot be "X-A:""#)
            .marks("expected the name of a header field")
            .helps(r#"write "X-A", without the colon"#),
    ]);
}

#[test]
fn mistakes_in_where_routes_send_clients_are_refused_with_their_remedy() {
    check([
        row(
            "a condition of two kinds",
            leading("headers = [{ name = \"x\", value = \"1\", absent = true }]"),
        )
        .at("16:48")
        .says("the condition has both `value` and `absent`")
        .marks("expected one of them")
        .also("16:34", "the other")
        .helps("remove `value` or `absent`"),
        row("a condition without a name", leading("query = [{ value = \"1\" }]"))
            .at("16:10")
            .says("`query = [{ … }]` lacks the key `name`")
            .marks("expected `name`: printable ASCII text, without spaces at its ends")
            .helps(r#"add `name = "version"`"#),
        row("a redirect that leads to itself", route("redirect = { status = 301 }"))
            .at("15:12")
            .says("the redirect leads to where the client came from")
            .marks("expected `scheme`, `host`, `port`, `path` or `prefix`")
            .helps(r#"say what differs there, as in `host = "www.example.org"`"#),
        row("a redirect to two paths", route("path = \"/a\"; redirect = { path = \"/b\", prefix = \"/c\" }"))
            .at("16:36")
            .says("the redirect has both `path` and `prefix`")
            .marks("expected one of them")
            .also("16:21", "the other")
            .helps("remove `path` or `prefix`"),
        row("a status that redirects nobody", route("redirect = { host = \"b.org\", status = 304 }"))
            .at("15:39")
            .says("`status` cannot be 304")
            .marks("expected 301, 302, 303, 307 or 308")
            .helps("as in `status = 301`"),
        row("a redirect of a prefix where none is matched", route("redirect = { prefix = \"/b\" }"))
            .at("15:23")
            .says(r#"route "r" matches no prefix that could be replaced"#)
            .marks("expected only with `path = { prefix = … }`")
            .helps("match a prefix, or write the whole path as `path`"),
        row(
            "a rewritten prefix where none is matched",
            leading("path = { exact = \"/a\" }; rewrite = { prefix = \"/b\" }"),
        )
        .at("17:22")
        .says(r#"route "r" matches no prefix that could be replaced"#)
        .marks("expected only with `path = { prefix = … }`")
        .helps("match a prefix, or write the whole path as `path`"),
        row("an expression without what stands in its place", leading("rewrite = { regex = 'a' }"))
            .at("16:21")
            .says("nothing says what stands in place of the match")
            .marks("expected `to` beside it")
            .helps("add `to = '/u/$1'`"),
        row("a place for what is not matched", leading("rewrite = { path = \"/a\", to = \"b\" }"))
            .at("16:31")
            .says("`to` has no meaning here")
            .marks("expected only with `regex`")
            .helps("remove `to`"),
    ]);
}

#[test]
fn mistakes_in_what_routes_change_are_refused_with_their_remedy() {
    check([
        row("a rewrite where nothing is forwarded", route("respond = {}; rewrite = { path = \"/\" }"))
            .at("16:11")
            .says("`rewrite` has no meaning here")
            .marks("expected only where the request goes to a service")
            .helps("remove `rewrite`"),
        row("a mirror of what is answered here", route("respond = {}; mirror = \"web\""))
            .at("16:10")
            .says("`mirror` has no meaning here")
            .marks("expected only where the request goes to a service")
            .helps("remove `mirror`"),
        row(
            "a field that rules the connection",
            leading("request = { set = [{ name = \"Content-Length\", value = \"0\" }] }"),
        )
        .at("16:29")
        .says("`content-length` rules the connection, and is not a route's to change")
        .marks("expected a field of the message itself")
        .helps("remove it"),
        row(
            "a Host field among the others",
            leading("request = { set = [{ name = \"host\", value = \"b\" }] }"),
        )
        .at("16:29")
        .says("`host` rules the connection, and is not a route's to change")
        .marks("expected a field of the message itself")
        .helps(r#"write `host = "…"` in the route"#),
        row(
            "a field that is set and removed",
            leading("response = { set = [{ name = \"x\", value = \"1\" }], remove = \"X\" }"),
        )
        .at("16:60")
        .says("`x` is changed twice")
        .marks("expected it in `set` or in `remove`, once")
        .also("16:30", "first changed here")
        .helps("remove one of the two; `set` replaces what was there"),
        row(
            "a value with a line break",
            leading("response = { add = [{ name = \"x\", value = \"a\\nb\" }] }"),
        )
        .at("16:43")
        .says(r#"`value` cannot be "a\nb""#)
        .marks("expected printable ASCII text, without spaces at its ends")
        .helps(r#"as in `value = "1"`"#),
        row("an answer of a status that is none", route("respond = { status = 101 }"))
            .at("15:22")
            .says("`status` cannot be 101")
            .marks("expected an integer from 200 to 599")
            .helps("as in `status = 404`"),
        row("a body limit below nothing", leading("body_limit = -1"))
            .at("16:14")
            .says("`body_limit` cannot be -1")
            .marks(r#"expected a number from 0 to 1125899906842624, or a size such as "256k" or "1M""#)
            .helps(r#"as in `body_limit = "10M"`"#),
    ]);
}

#[test]
fn routes_that_nothing_comes_to_are_refused() {
    check([
        row("two routes alike", both("path = \"/a\"", "path = \"/a/\""))
            .at("17:1")
            .says(r#"no request comes to route "other""#)
            .marks("expected something that the other does not take")
            .also("13:1", r#"route "one" takes all that it could"#)
            .helps("remove one of them, or let them differ by path, method, headers or query"),
        row("two routes for everything", both("", "path = \"/\""))
            .at("17:1")
            .says(r#"no request comes to route "other""#)
            .marks("expected something that the other does not take")
            .also("13:1", r#"route "one" takes all that it could"#)
            .helps("remove one of them, or let them differ by path, method, headers or query"),
        row("one of several hosts", both("hosts = [\"a.org\", \"b.org\"]", "hosts = [\"c.org\", \"b.org\"]"))
            .at("17:1")
            .says(r#"no request for b.org comes to route "other""#)
            .marks("expected something that the other does not take")
            .also("13:1", r#"route "one" takes all that it could"#)
            .helps("remove one of them, or let them differ by path, method, headers or query"),
        row("fewer methods than the one before", both("methods = [\"GET\", \"PUT\"]", "methods = \"PUT\""))
            .at("17:1")
            .says(r#"no request comes to route "other""#)
            .marks("expected something that the other does not take")
            .also("13:1", r#"route "one" takes all that it could"#)
            .helps("remove one of them, or let them differ by path, method, headers or query"),
        row(
            "conditions in another order",
            both(
                "headers = [{ name = \"a\" }, { name = \"b\" }]",
                "headers = [{ name = \"b\" }, { name = \"a\" }]",
            ),
        )
        .at("17:1")
        .says(r#"no request comes to route "other""#)
        .marks("expected something that the other does not take")
        .also("13:1", r#"route "one" takes all that it could"#)
        .helps("remove one of them, or let them differ by path, method, headers or query"),
        row(
            "an expression behind the same with fewer conditions",
            both("path = { regex = '/a' }", "path = { regex = '/a' }\nmethods = \"GET\""),
        )
        .at("17:1")
        .says(r#"no request comes to route "other""#)
        .marks("expected something that the other does not take")
        .also("13:1", r#"route "one" takes all that it could"#)
        .helps("remove one of them, or let them differ by path, method, headers or query"),
    ]);
}

#[test]
fn mistakes_of_the_proxy_are_refused_with_their_remedy() {
    check([
row("no workers", with("[proxy]\nworkers = 0"))
.at("14:11")
.says("`workers` cannot be 0")
.marks("expected an integer from 1 to 1024")
.helps("as in `workers = 4`"),
row("another way to move bytes", with("[proxy]\nio = \"kqueue\""))
.at("14:6")
.says(r#"`io` cannot be "kqueue""#)
.marks(r#"expected "auto", "io_uring" or "epoll""#)
.helps(r#"as in `io = "epoll"`"#),
row("a trusted host by its name", with("[proxy]\ntrusted = [\"lb.example.org\"]"))
.at("14:12")
.says(r#"`trusted` cannot be "lb.example.org""#)
.marks(r#"expected text "ADDRESS/LENGTH"; or a list of such"#)
.helps(r#"as in `trusted = ["10.0.0.0/8"]`"#),
row("a name to show with a line break", with("[proxy]\nserver = \"a\\r\\nb\""))
.at("14:10")
.says(r#"`server` cannot be "a\r\nb""#)
.marks("expected printable ASCII text, without spaces at its ends")
.helps(r#"as in `server = "example"`"#),
row("a proxy with two brackets", with("[[proxy]]\nworkers = 1"))
.at("13:1")
.says("`proxy` cannot be an array")
.marks("expected the table `[proxy]`")
.helps("as in `[proxy]`"),
row("a listener with one bracket", SITE.replace("[[listener]]", "[listener]"))
.at("1:1")
.says("`listener` cannot be a table")
.marks("expected tables, each with the header `[[listener]]`")
.helps("write the header with two brackets: `[[listener]]`"),
row("a key of a listener in the proxy", with("[proxy]\naddresses = \"0.0.0.0:80\""))
.at("14:1")
.says("unknown key `addresses` in `[proxy]`")
.marks("expected one of `workers`, `io`, `memory`, `trusted`, `forwarded`, `hide`, `server`, `via`, `drain`, `access_log`, `secret`")
.helps("`addresses` belongs in `[[listener]]`: in TOML a key belongs to the last header above it"),
    ]);
}

/// A listener with this log.
fn logged(keys: &str) -> String {
    listener(&format!("access_log = {{ {keys} }}"))
}

#[test]
fn mistakes_of_logs_and_metrics_are_refused_with_their_remedy() {
    check([
        row("a log that goes nowhere", logged("sample = 10"))
            .at("5:14")
            .says("`access_log = { … }` lacks the key `to`")
            .marks("expected `to`: \"stdout\", or the whole path of a file, starting with `/`")
            .helps("add `to = \"/var/log/lb/access.log\"`"),
        row("a log's file without its whole path", logged("to = \"access.log\""))
            .at("5:21")
            .says("`to` cannot be \"access.log\"")
            .marks("expected \"stdout\", or the whole path of a file, starting with `/`")
            .helps("as in `to = \"/var/log/lb/access.log\"`"),
        row("a field that there is not", logged("to = \"stdout\", format = \"{clinet}\""))
            .at("5:40")
            .says("`format` cannot be \"{clinet}\"")
            .marks("expected \"text\", \"json\", or text with fields in braces")
            .helps("did you mean `{client}`?"),
        row("a brace that is not closed", logged("to = \"stdout\", format = \"{client\""))
            .at("5:40")
            .says("`format` cannot be \"{client\"")
            .marks("expected \"text\", \"json\", or text with fields in braces")
            .helps("close every `{` by `}` behind a field; write `{{` and `}}` for braces"),
        row("a format of a word alone", logged("to = \"stdout\", format = \"combined\""))
            .at("5:40")
            .says("`format` cannot be \"combined\"")
            .marks("expected \"text\", \"json\", or text with fields in braces")
            .helps("as in `format = '{time} {client} \"{request}\" {status} {duration} {backend}'`"),
        row("a log of one in none", logged("to = \"stdout\", sample = 0"))
            .at("5:40")
            .says("`sample` cannot be 0")
            .marks("expected a number from 1 to 1000000, or a size such as \"256k\" or \"1M\"")
            .helps("as in `sample = 100`"),
        row("metrics without an address", with("[metrics]"))
            .at("13:1")
            .says("`[metrics]` lacks the key `address`")
            .marks("expected `address`: text \"ADDRESS:PORT\"")
            .helps("add `address = \"127.0.0.1:9090\"`"),
    ]);
}
