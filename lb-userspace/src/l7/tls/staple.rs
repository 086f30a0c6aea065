//! What is stapled to a certificate: an authority's word that it was not revoked, which is good for some days.
//!
//! Source: RFC 6960, section 4.2.1. It is read as far as its `nextUpdate`, not verified: that is the client's to do.

use super::der::{ENUMERATED, GENERALIZED_TIME, OCTETS, SEQUENCE, any, either_time, element};
use super::validity::unix;
use super::{TlsError, files};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// An element that has another within it, numbered 0.
const NUMBER_0: u8 = 0xa0;

/// A response of an authority, in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Staple {
    /// The file.
    pub(super) file: PathBuf,
    /// When there has to be a newer one, in seconds of Unix time; `None` if it does not say.
    ends: Option<i64>,
    pub(super) response: Vec<u8>,
}

impl Staple {
    pub(super) fn read(file: &Path) -> Result<Self, TlsError> {
        let response = files::read(file)?;
        Ok(Self { file: file.to_owned(), ends: next_update(&response), response })
    }

    /// Whether a newer one should have come by this time: clients refuse the older.
    pub(super) fn is_over(&self, now: SystemTime) -> bool {
        self.ends.is_some_and(|ends| ends <= unix(now))
    }

    pub(super) fn warning(&self, now: SystemTime) -> Option<String> {
        let file = self.file.display();
        self.is_over(now).then(|| format!("the staple in {file} is past its next update and is not shown"))
    }
}

/// When the first of a response's certificates is to be asked for again.
fn next_update(response: &[u8]) -> Option<i64> {
    let (response, _) = element(response, SEQUENCE)?;
    let (_status, rest) = element(response, ENUMERATED)?;
    let (typed, _) = element(element(rest, NUMBER_0)?.0, SEQUENCE)?;
    let (_kind, _, rest) = any(typed)?;
    let (basic, _) = element(element(rest, OCTETS)?.0, SEQUENCE)?;
    let (signed, _) = element(basic, SEQUENCE)?;
    let rest = element(signed, NUMBER_0).map_or(signed, |(_version, rest)| rest);
    let (_responder, _, rest) = any(rest)?;
    let (_produced, rest) = element(rest, GENERALIZED_TIME)?;
    let (first, _) = element(element(rest, SEQUENCE)?.0, SEQUENCE)?;
    let (_certificate, rest) = element(first, SEQUENCE)?;
    let (_status, _, rest) = any(rest)?;
    let (_this_update, rest) = element(rest, GENERALIZED_TIME)?;
    either_time(element(rest, NUMBER_0)?.0)?.0
}

#[cfg(test)]
mod tests {
    use super::super::der::tests::der;
    use super::*;
    use std::time::Duration;

    /// A response as an authority writes it, with this behind its `thisUpdate`.
    fn response(behind: &[u8]) -> Vec<u8> {
        let time = der(GENERALIZED_TIME, b"20240101000000Z");
        let one = [der(SEQUENCE, b"certificate"), vec![0x80, 0], time.clone(), behind.to_vec()].concat();
        let all = der(SEQUENCE, &der(SEQUENCE, &one));
        let signed = der(SEQUENCE, &[der(0xa2, b"responder"), time, all].concat());
        let basic = der(SEQUENCE, &[signed, der(SEQUENCE, b"algorithm")].concat());
        let typed = der(SEQUENCE, &[der(0x06, b"kind"), der(OCTETS, &basic)].concat());
        der(SEQUENCE, &[der(ENUMERATED, &[0]), der(NUMBER_0, &typed)].concat())
    }

    fn until(end: &[u8]) -> Vec<u8> {
        response(&der(NUMBER_0, &der(GENERALIZED_TIME, end)))
    }

    #[test]
    fn the_next_update_is_found_where_there_is_one() {
        assert_eq!(next_update(&until(b"20240229120000Z")), Some(1_709_208_000));
        assert_eq!(next_update(&response(b"")), None);
        let whole = until(b"20240229120000Z");
        for end in 0..whole.len() {
            assert_eq!(next_update(&whole[..end]), None, "{end}");
        }
    }

    #[test]
    fn a_staple_is_over_with_its_last_second() {
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let staple = |response: &[u8]| Staple {
            file: "a.ocsp".into(),
            ends: next_update(response),
            response: response.to_vec(),
        };
        let ending = staple(&until(b"20240229120000Z"));
        assert!(!ending.is_over(at(1_709_207_999)) && ending.warning(at(1_709_207_999)).is_none());
        assert!(ending.is_over(at(1_709_208_000)));
        assert!(ending.warning(at(1_709_208_000)).unwrap().contains("a.ocsp is past its next update"));
        assert!(!staple(&response(b"")).is_over(at(u32::MAX.into())), "one that does not say");
    }
}
