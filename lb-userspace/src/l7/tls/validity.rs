//! How long a certificate is valid: the one thing of it that the library checks for others and does not tell.
//!
//! Source: RFC 5280, section 4.1.

use super::der::{INTEGER, SEQUENCE, either_time, element};
use super::names::dns_names;
use super::staple::Staple;
use super::{TlsError, files};
use crate::config::proxy::{CertificateFiles, Proxy};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

/// How long before its end a certificate is worth a warning: whoever renews by machine has done so by then.
pub(super) const SOON: Duration = Duration::from_hours(14 * 24);

const VERSION: u8 = 0xa0;

/// A certificate of a listener, and when it ends to be valid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// The file.
    pub file: PathBuf,
    /// Seconds of Unix time; `None` for one that cannot be read that far.
    pub expires: Option<i64>,
    /// What is stapled to it.
    pub(super) staple: Option<Staple>,
    /// Its names in lower case; wildcards by what stands behind their `*`.
    pub(super) names: Vec<Box<str>>,
}

impl Shown {
    pub(super) fn read(files: &CertificateFiles) -> Result<Self, TlsError> {
        let chain = files::chain(&files.cert)?;
        let leaf = chain.first();
        Ok(Self {
            file: files.cert.clone(),
            expires: leaf.and_then(|leaf| not_after(leaf)),
            staple: files.ocsp.as_deref().map(Staple::read).transpose()?,
            names: leaf.and_then(|leaf| dns_names(leaf).ok()).unwrap_or_default(),
        })
    }

    /// What an operator should know of it and of its staple, at this time.
    pub fn warnings(&self, now: SystemTime) -> impl Iterator<Item = String> {
        let staple = self.staple.as_ref().and_then(|staple| staple.warning(now));
        self.warning(now).into_iter().chain(staple)
    }

    fn warning(&self, now: SystemTime) -> Option<String> {
        let left = self.expires? - unix(now);
        let (file, days) = (self.file.display(), left / (24 * 60 * 60));
        match left {
            ..=0 => Some(format!("the certificate in {file} is no longer valid")),
            _ if left.unsigned_abs() < SOON.as_secs() => {
                Some(format!("the certificate in {file} is valid for {days} more days"))
            }
            _ => None,
        }
    }
}

/// What an operator should know of the certificates that a configuration names: what cannot be used, and what ends soon.
#[must_use]
pub fn warnings(proxy: &Proxy, now: SystemTime) -> Vec<String> {
    let tls = proxy.listeners.iter().filter_map(|listener| listener.tls.as_ref());
    let told = tls.flat_map(|tls| &tls.certificates).flat_map(|files| match Shown::read(files) {
        Ok(shown) => shown.warnings(now).collect(),
        Err(error) => vec![error.to_string()],
    });
    told.collect()
}

/// Seconds of Unix time.
pub(super) fn unix(time: SystemTime) -> i64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// When a certificate ends to be valid, in seconds of Unix time.
fn not_after(certificate: &[u8]) -> Option<i64> {
    let (certificate, _) = element(certificate, SEQUENCE)?;
    let (signed, _) = element(certificate, SEQUENCE)?;
    let rest = element(signed, VERSION).map_or(signed, |(_, rest)| rest);
    let (_serial, rest) = element(rest, INTEGER)?;
    let (_algorithm, rest) = element(rest, SEQUENCE)?;
    let (_issuer, rest) = element(rest, SEQUENCE)?;
    let (validity, _) = element(rest, SEQUENCE)?;
    let (_not_before, rest) = either_time(validity)?;
    either_time(rest)?.0
}

#[cfg(test)]
mod tests {
    use super::super::der::tests::der;
    use super::super::der::{GENERALIZED_TIME, UTC_TIME};
    use super::*;

    /// A certificate, as far as it is read, that ends at this time.
    fn certificate(version: &[u8], tag: u8, end: &str) -> Vec<u8> {
        let validity = [der(UTC_TIME, b"200101000000Z"), der(tag, end.as_bytes())].concat();
        let parts = [
            version.to_vec(),
            der(INTEGER, &[1; 20]),
            der(SEQUENCE, b"algorithm"),
            der(SEQUENCE, &[b'i'; 300]),
            der(SEQUENCE, &validity),
            der(SEQUENCE, b"subject"),
        ];
        der(SEQUENCE, &der(SEQUENCE, &parts.concat()))
    }

    #[test]
    fn the_end_is_read_from_either_kind_of_time() {
        let version = der(VERSION, &der(INTEGER, &[2]));
        // `date -d ... +%s` gives the same.
        let rows = [
            (UTC_TIME, "700101000000Z", 0),
            (UTC_TIME, "491231235959Z", 2_524_607_999),
            (UTC_TIME, "240229120000Z", 1_709_208_000),
            (GENERALIZED_TIME, "20500101000000Z", 2_524_608_000),
            (GENERALIZED_TIME, "99991231235959Z", 253_402_300_799),
        ];
        for (tag, end, expected) in rows {
            assert_eq!(not_after(&certificate(&version, tag, end)), Some(expected), "{end}");
        }
        assert_eq!(not_after(&certificate(b"", UTC_TIME, "700101000001Z")), Some(1), "of version 1");
    }

    #[test]
    fn what_is_no_certificate_has_no_end() {
        let whole = certificate(b"", UTC_TIME, "700101000000Z");
        for end in 0..whole.len() - 60 {
            assert_eq!(not_after(&whole[..end]), None, "{end}");
        }
        assert_eq!(not_after(&certificate(b"", UTC_TIME, "700101000000+0100")), None);
        assert_eq!(not_after(&certificate(b"", UTC_TIME, "701301000000Z")), None);
        assert_eq!(not_after(&[0x30, 0xff, 1, 1]), None);
    }

    #[test]
    fn an_operator_is_warned_two_weeks_before() {
        const DAY: i64 = 24 * 60 * 60;
        let now = SystemTime::UNIX_EPOCH + Duration::from_hours(24 * 1000);
        let warning = |expires: i64| {
            Shown { file: "a.crt".into(), expires: Some(expires), staple: None, names: Vec::new() }
                .warning(now)
        };
        assert_eq!(warning(1000 * DAY + 14 * DAY), None);
        assert!(warning(1000 * DAY + 14 * DAY - 1).unwrap().ends_with("a.crt is valid for 13 more days"));
        assert!(warning(1000 * DAY).unwrap().ends_with("a.crt is no longer valid"));
    }
}
