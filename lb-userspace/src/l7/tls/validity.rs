//! How long a certificate is valid: the one thing of it that the library checks for others and does not tell.
//!
//! Source: RFC 5280, section 4.1.

use super::names::dns_names;
use super::staple::Staple;
use super::{TlsError, files};
use crate::config::proxy::{CertificateFiles, Proxy};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};
use x509_cert::Certificate;
use x509_cert::der::Decode as _;

/// How long before its end a certificate is worth a warning: whoever renews by machine has done so by then.
pub(super) const SOON: Duration = Duration::from_hours(14 * 24);

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

/// What an operator should know of the certificates that a configuration names and that can be used: what ends soon.
#[must_use]
pub fn warnings(proxy: &Proxy, now: SystemTime) -> Vec<String> {
    let tls = proxy.listeners.iter().filter_map(|listener| listener.tls.as_ref());
    let shown = tls.flat_map(|tls| &tls.certificates).filter_map(|files| Shown::read(files).ok());
    shown.flat_map(|shown| shown.warnings(now).collect::<Vec<_>>()).collect()
}

/// Seconds of Unix time.
pub(super) fn unix(time: SystemTime) -> i64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// When a certificate ends to be valid, in seconds of Unix time.
fn not_after(certificate: &[u8]) -> Option<i64> {
    let certificate = Certificate::from_der(certificate).ok()?;
    i64::try_from(certificate.tbs_certificate.validity.not_after.to_unix_duration().as_secs()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use x509_cert::TbsCertificate;
    use x509_cert::der::Encode as _;
    use x509_cert::der::asn1::{BitString, GeneralizedTime, ObjectIdentifier, UtcTime};
    use x509_cert::serial_number::SerialNumber;
    use x509_cert::spki::{AlgorithmIdentifierOwned, SubjectPublicKeyInfoOwned};
    use x509_cert::time::{Time, Validity};

    /// A certificate that ends at this time, and that nobody would believe.
    fn certificate(end: Time) -> Vec<u8> {
        let algorithm = AlgorithmIdentifierOwned {
            oid: ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.2"),
            parameters: None,
        };
        let bits = || BitString::from_bytes(b"bits").unwrap();
        let begin = UtcTime::from_unix_duration(Duration::ZERO).unwrap();
        let key = SubjectPublicKeyInfoOwned { algorithm: algorithm.clone(), subject_public_key: bits() };
        let tbs_certificate = TbsCertificate {
            version: x509_cert::Version::V3,
            serial_number: SerialNumber::new(&[1; 20]).unwrap(),
            signature: algorithm.clone(),
            issuer: "CN=issuer".parse().unwrap(),
            validity: Validity { not_before: Time::UtcTime(begin), not_after: end },
            subject: "CN=subject".parse().unwrap(),
            subject_public_key_info: key,
            issuer_unique_id: None,
            subject_unique_id: None,
            extensions: None,
        };
        let signature_algorithm = algorithm;
        Certificate { tbs_certificate, signature_algorithm, signature: bits() }.to_der().unwrap()
    }

    #[test]
    fn the_end_is_read_from_either_kind_of_time() {
        for end in [0, 1_709_208_000, 2_524_607_999] {
            let time = UtcTime::from_unix_duration(Duration::from_secs(end)).unwrap();
            assert_eq!(not_after(&certificate(Time::UtcTime(time))), i64::try_from(end).ok());
        }
        for end in [2_524_608_000, 253_402_300_799] {
            let time = GeneralizedTime::from_unix_duration(Duration::from_secs(end)).unwrap();
            assert_eq!(not_after(&certificate(Time::GeneralTime(time))), i64::try_from(end).ok());
        }
    }

    #[test]
    fn what_is_no_certificate_has_no_end() {
        let whole = certificate(Time::UtcTime(UtcTime::from_unix_duration(Duration::ZERO).unwrap()));
        for end in 0..whole.len() {
            assert_eq!(not_after(&whole[..end]), None, "{end}");
        }
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
