//! What a person asks of a certificate: its number and its span.

use std::time::{Duration, SystemTime};

use x509_parser::prelude::{FromDer, X509Certificate};

use super::pem::encode_certificates;

/// A certificate in plain values, for a dump.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Described {
    /// One PEM section.
    pub pem: String,
    /// Decimal.
    pub serial: String,
    /// In whole seconds, as all times of certificates.
    pub not_before: SystemTime,
    pub not_after: SystemTime,
}

/// Reads a certificate in DER; [`None`] when it is no X.509 certificate, or there are bytes after it.
pub fn describe(der: &[u8]) -> Option<Described> {
    let (rest, certificate) = X509Certificate::from_der(der).ok()?;
    let validity = certificate.validity();
    rest.is_empty().then(|| Described {
        pem: encode_certificates([der]),
        serial: certificate.tbs_certificate.serial.to_string(),
        not_before: time(validity.not_before.timestamp()),
        not_after: time(validity.not_after.timestamp()),
    })
}

/// The end of a certificate's life; [`None`] as for [`describe`].
pub(super) fn not_after(der: &[u8]) -> Option<SystemTime> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    Some(time(certificate.validity().not_after.timestamp()))
}

/// Before 1970 is 1970: such a certificate has expired either way.
fn time(seconds: i64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_and_what_is_none() {
        let mut parameters = rcgen::CertificateParams::new(vec!["a.example".to_owned()]).unwrap();
        parameters.serial_number = Some(vec![1, 0].into());
        parameters.not_before = rcgen::date_time_ymd(2026, 1, 2);
        parameters.not_after = rcgen::date_time_ymd(2027, 1, 2);
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = parameters.self_signed(&key).unwrap();
        let found = describe(certificate.der()).unwrap();
        assert_eq!((found.serial.as_str(), found.pem), ("256", encode_certificates([&**certificate.der()])));
        assert_eq!(found.not_after.duration_since(found.not_before).unwrap(), Duration::from_secs(365 * 86_400));
        assert_eq!(describe(b"nothing"), None);
    }
}
