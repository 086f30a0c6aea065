//! PROXY headers and configuration files.

use lb_userspace::l7::proxy_protocol::{Proxied, parse, write_v1, write_v2};

/// A connection's first bytes. A header is incomplete until whole, and one like it that we write says the same.
pub fn proxy_protocol(bytes: &[u8]) {
    let Ok(Some((proxied, len))) = parse(bytes) else {
        return;
    };
    for shorter in 0..len {
        assert_eq!(parse(&bytes[..shorter]), Ok(None), "{shorter} of {len}");
    }
    let Proxied::Client { client, server } = proxied else {
        return;
    };
    for write in [write_v1, write_v2] {
        let mut header = Vec::new();
        write(client, server, &mut header);
        assert_eq!(parse(&header), Ok(Some((proxied, header.len()))));
    }
}

/// A file's text. It is a configuration, or its mistakes can be told.
pub fn config(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    match lb_userspace::config::parse("fuzzed.toml", text) {
        Ok(loaded) => drop(format!("{loaded:?}")),
        Err(mistakes) => assert!(!mistakes.to_string().is_empty(), "a refusal says why"),
    }
}
