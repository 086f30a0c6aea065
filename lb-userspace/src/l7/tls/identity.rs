//! Who a client is by its certificate, and whom it asked for.

use rustls::Connection;

/// The certificate that a client has shown, as a field says it: its DER in base 64 between colons. Source: RFC 9440,
/// section 2.1.
#[must_use]
pub fn client_cert(connection: &Connection) -> Option<Vec<u8>> {
    let leaf = connection.peer_certificates()?.first()?;
    Some([b":", &*base64(leaf), b":"].concat())
}

/// The name that a client asked for in its handshake, in lower case.
#[must_use]
pub fn server_name(connection: &Connection) -> Option<&str> {
    match connection {
        Connection::Server(connection) => connection.server_name(),
        Connection::Client(_) => None,
    }
}

/// Bytes in base 64. Source: RFC 4648, section 4.
#[must_use]
pub fn base64(bytes: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(bytes.len().div_ceil(3) * 4);
    bytes.chunks(3).for_each(|three| push_base64(three, &mut text));
    text
}

/// One to three bytes as four characters.
fn push_base64(three: &[u8], out: &mut Vec<u8>) {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let byte = |at: usize| u32::from(three.get(at).copied().unwrap_or(0));
    let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
    for place in 0..4 {
        let index = bits >> (18 - 6 * place) & 63;
        let character = ALPHABET.get(usize::try_from(index).unwrap_or(0)).copied();
        out.push(character.filter(|_| place <= three.len()).unwrap_or(b'='));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base_64_is_padded_to_four_characters() {
        let encode = |text: &str| String::from_utf8(base64(text.as_bytes())).unwrap();
        // Source: RFC 4648, section 10.
        let rows =
            [("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="), ("foobar", "Zm9vYmFy")];
        for (text, expected) in rows {
            assert_eq!(encode(text), expected);
        }
    }
}
