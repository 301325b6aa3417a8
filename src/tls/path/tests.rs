use super::*;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rustls::RootCertStore;

use crate::tls::fixture::{TestCa, id, serial};
use crate::tls::trust::unix;

const HOUR: Duration = Duration::from_secs(3600);

fn roots(ca: &TestCa) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add(ca.root.clone().into()).unwrap();
    roots
}

#[test]
fn every_certificate_of_the_path_is_held_against_the_lists_of_its_own_issuer() {
    let root = TestCa::new();
    let intermediate = root.intermediate();
    let now = SystemTime::now();
    let issued = intermediate.issue(&id("cart"), now, HOUR);
    let chain: Vec<CertificateDer<'_>> = issued.chain.iter().map(|der| der.as_slice().into()).collect();
    let path = verify(Of::Client, &chain[0], &chain[1..], &roots(&root).roots, unix(now), |_| Ok(())).unwrap();
    assert_eq!(path.links.len(), 2);
    let whole_seconds = |at: SystemTime| at.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    assert_eq!(whole_seconds(path.not_after()), whole_seconds(now + HOUR));

    let (leaf, middle) = (serial(&issued.chain[0]), serial(&issued.chain[1]));
    let revoked = |list: Vec<u8>| path.is_revoked(&Lists::parse(&list).unwrap());
    assert!(revoked(intermediate.crl(std::slice::from_ref(&leaf))));
    assert!(revoked(root.crl(std::slice::from_ref(&middle))), "an intermediate counts as well");
    assert!(!revoked(root.crl(std::slice::from_ref(&leaf))), "the root has not issued the leaf");
    assert!(!revoked(intermediate.crl(&[middle])));
    assert!(!revoked(intermediate.crl(&[])));
}

#[test]
fn a_path_that_is_not_accepted_is_an_error_of_its_kind() {
    let ca = TestCa::new();
    let now = SystemTime::now();
    let issued = ca.issue(&id("cart"), now, HOUR);
    let leaf = CertificateDer::from(issued.chain[0].as_slice());
    let asked = AtomicUsize::new(0);
    for (error, expected) in [
        (webpki::Error::CertRevoked, CertificateError::Revoked),
        (webpki::Error::UnknownRevocationStatus, CertificateError::UnknownRevocationStatus),
    ] {
        let refuse = |_: &Path| {
            asked.fetch_add(1, Ordering::Relaxed);
            Err(error.clone())
        };
        let got = verify(Of::Server, &leaf, &[], &roots(&ca).roots, unix(now), refuse).unwrap_err();
        assert_eq!(got, Error::InvalidCertificate(expected));
    }
    assert_eq!(asked.load(Ordering::Relaxed), 2);
    let other = roots(&TestCa::new());
    let got = verify(Of::Server, &leaf, &[], &other.roots, unix(now), |_| Ok(())).unwrap_err();
    assert!(matches!(got, Error::InvalidCertificate(CertificateError::UnknownIssuer | CertificateError::BadSignature)));
    let none = verify(Of::Server, &leaf, &[], &[], unix(now), |_| Ok(())).unwrap_err();
    assert_eq!(none, Error::InvalidCertificate(CertificateError::UnknownIssuer));
}

#[test]
fn lengths_of_der_are_written_in_the_shortest_form() {
    assert_eq!(&sequence(&[7; 5])[..3], [0x30, 5, 7]);
    assert_eq!(&sequence(&[7; 127])[..3], [0x30, 127, 7]);
    assert_eq!(&sequence(&[7; 200])[..4], [0x30, 0x81, 200, 7]);
    assert_eq!(&sequence(&[7; 300])[..5], [0x30, 0x82, 1, 44, 7]);
}
