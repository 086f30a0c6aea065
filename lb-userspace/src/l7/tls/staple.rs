//! What is stapled to a certificate: an authority's word that it was not revoked, which is good for some days.
//!
//! Source: RFC 6960, section 4.2.1. It is read as far as its `nextUpdate`, not verified: that is the client's to do.

use super::validity::unix;
use super::{TlsError, files};
use std::path::{Path, PathBuf};
use std::time::SystemTime;
use x509_cert::der::Decode as _;
use x509_ocsp::{BasicOcspResponse, OcspResponse};

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
    let response = OcspResponse::from_der(response).ok()?.response_bytes?;
    let basic = BasicOcspResponse::from_der(response.response.as_bytes()).ok()?;
    let next = basic.tbs_response_data.responses.first()?.next_update?;
    i64::try_from(next.0.to_unix_duration().as_secs()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use x509_cert::der::Encode as _;
    use x509_cert::der::asn1::{BitString, GeneralizedTime, ObjectIdentifier, OctetString};
    use x509_cert::serial_number::SerialNumber;
    use x509_cert::spki::AlgorithmIdentifierOwned;
    use x509_ocsp::{
        CertId, CertStatus, OcspGeneralizedTime, OcspResponseStatus, ResponderId, ResponseBytes,
        ResponseData, SingleResponse, Version,
    };

    fn time(seconds: u64) -> OcspGeneralizedTime {
        OcspGeneralizedTime(GeneralizedTime::from_unix_duration(Duration::from_secs(seconds)).unwrap())
    }

    /// A response as an authority writes it, but for its signature.
    fn response(next: Option<u64>) -> Vec<u8> {
        let algorithm = AlgorithmIdentifierOwned {
            oid: ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.2"),
            parameters: None,
        };
        let octets = || OctetString::new(&b"octets"[..]).unwrap();
        let one = SingleResponse {
            cert_id: CertId {
                hash_algorithm: algorithm.clone(),
                issuer_name_hash: octets(),
                issuer_key_hash: octets(),
                serial_number: SerialNumber::new(&[1]).unwrap(),
            },
            cert_status: CertStatus::good(),
            this_update: time(1_700_000_000),
            next_update: next.map(time),
            single_extensions: None,
        };
        let tbs_response_data = ResponseData {
            version: Version::V1,
            responder_id: ResponderId::ByKey(octets()),
            produced_at: time(1_700_000_000),
            responses: vec![one],
            response_extensions: None,
        };
        let signature = BitString::from_bytes(b"bits").unwrap();
        let (signature_algorithm, certs) = (algorithm, None);
        let basic = BasicOcspResponse { tbs_response_data, signature_algorithm, signature, certs };
        let response = OctetString::new(basic.to_der().unwrap()).unwrap();
        let response_type = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.48.1.1");
        let response_bytes = Some(ResponseBytes { response_type, response });
        let response_status = OcspResponseStatus::Successful;
        OcspResponse { response_status, response_bytes }.to_der().unwrap()
    }

    #[test]
    fn the_next_update_is_found_where_there_is_one() {
        let whole = response(Some(1_709_208_000));
        assert_eq!(next_update(&whole), Some(1_709_208_000));
        assert_eq!(next_update(&response(None)), None);
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
        let ending = staple(&response(Some(1_709_208_000)));
        assert!(!ending.is_over(at(1_709_207_999)) && ending.warning(at(1_709_207_999)).is_none());
        assert!(ending.is_over(at(1_709_208_000)));
        assert!(ending.warning(at(1_709_208_000)).unwrap().contains("a.ocsp is past its next update"));
        assert!(!staple(&response(None)).is_over(at(u32::MAX.into())), "one that does not say");
    }
}
