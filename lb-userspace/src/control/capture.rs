//! What a capture is asked for, and what it gives.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;

/// Which packets to show, all of its parts together, and how many.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CaptureOrder {
    /// Labels of reasons; none for any.
    pub reasons: Vec<String>,
    /// Name of a service.
    pub service: Option<String>,
    /// Who sends it.
    pub from: Option<Peer>,
    /// Who it is for.
    pub to: Option<Peer>,
    /// After so many packets there are no more.
    pub count: Option<u64>,
    /// After so long there are no more.
    pub time: Option<Duration>,
}

/// An address, or one port of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peer {
    /// The address.
    pub addr: IpAddr,
    /// The port; any without.
    pub port: Option<u16>,
}

impl FromStr for Peer {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
        match (bare.parse(), text.parse::<SocketAddr>()) {
            (Ok(addr), _) => Ok(Self { addr, port: None }),
            (_, Ok(addr)) => Ok(Self { addr: addr.ip(), port: Some(addr.port()) }),
            _ => {
                Err("expected an address, with or without a port, as in `192.0.2.1:80` or `[2001:db8::1]:80`"
                    .into())
            }
        }
    }
}

/// A packet as it was when its way ended, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CapturedPacket {
    /// Nanoseconds since 1970.
    pub at_ns: u64,
    /// Name of the interface it came by.
    pub arrived_by: String,
    /// Name of the interface it leaves by, if it is sent out.
    pub leaves_by: Option<String>,
    /// What became of it.
    pub verdict: String,
    /// Why.
    pub reason: String,
    /// The service it is of, if it is of one.
    pub service: Option<String>,
    /// The backend it goes to or comes from.
    pub backend: Option<String>,
    /// Bytes it has.
    pub length: u32,
    /// As many of them as were kept, from the Ethernet header on.
    #[serde(with = "hexadecimal")]
    pub bytes: Vec<u8>,
}

/// What became of it, in a line of `key=value`.
impl fmt::Display for CapturedPacket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "verdict={} reason={}", self.verdict, self.reason)?;
        let rest = [("service", &self.service), ("backend", &self.backend), ("out", &self.leaves_by)];
        let told = rest.iter().filter_map(|(key, value)| value.as_ref().map(|value| (key, value)));
        told.into_iter().try_for_each(|(key, value)| write!(f, " {key}={value}"))
    }
}

/// Bytes as two digits each, which JSON has no shorter way for.
mod hexadecimal {
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};
    use std::fmt::Write as _;

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        let mut text = String::with_capacity(2 * bytes.len());
        for byte in bytes {
            // Writing to a String cannot fail.
            _ = write!(text, "{byte:02x}");
        }
        serializer.serialize_str(&text)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(deserializer)?;
        let byte = |pair: &[u8]| {
            let digit = |byte: &u8| char::from(*byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
            let [high, low] = pair else { return None };
            Some(digit(high)? << 4 | digit(low)?)
        };
        let bytes = text.as_bytes().chunks(2).map(byte).collect::<Option<_>>();
        bytes.ok_or_else(|| D::Error::custom("expected an even number of hexadecimal digits"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_is_an_address_with_or_without_a_port() {
        let peer = |text: &str| text.parse::<Peer>().map(|peer| (peer.addr.to_string(), peer.port));
        assert_eq!(peer("192.0.2.1"), Ok(("192.0.2.1".to_owned(), None)));
        assert_eq!(peer("192.0.2.1:80"), Ok(("192.0.2.1".to_owned(), Some(80))));
        assert_eq!(peer("2001:db8::1"), Ok(("2001:db8::1".to_owned(), None)));
        assert_eq!(peer("[2001:db8::1]"), peer("2001:db8::1"));
        assert_eq!(peer("[2001:db8::1]:80"), Ok(("2001:db8::1".to_owned(), Some(80))));
        assert!(["", "web", "192.0.2.1:", "192.0.2.1:70000", ":80"].iter().all(|text| peer(text).is_err()));
    }

    #[test]
    fn a_packet_survives_the_socket() {
        let packet = CapturedPacket {
            at_ns: 1,
            arrived_by: "eth0".into(),
            leaves_by: None,
            verdict: "drop".into(),
            reason: "no_backend".into(),
            service: Some("web".into()),
            backend: None,
            length: 60,
            bytes: vec![0, 15, 255],
        };
        let text = serde_json::to_string(&packet).unwrap();
        assert!(text.contains("\"000fff\""), "{text}");
        assert_eq!(serde_json::from_str::<CapturedPacket>(&text).unwrap(), packet);
        for bad in ["0", "0g", "+1", "é"] {
            let text = text.replace("000fff", bad);
            assert!(serde_json::from_str::<CapturedPacket>(&text).is_err(), "{text}");
        }
        assert_eq!(packet.to_string(), "verdict=drop reason=no_backend service=web");
    }
}
