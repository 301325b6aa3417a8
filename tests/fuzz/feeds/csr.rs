//! A request for a certificate, as PEM and as DER: whatever it says, the leaf is the granted identity's, for the request's
//! key, no authority, and lives no longer than was granted.

use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

use culvert::ca::{Authority, Root};
use culvert::model::spiffe::Identity;
use culvert::tls::{identity_of, pem_certificate_request};
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::prelude::{FromDer, X509Certificate};

const LIFE: Duration = Duration::from_secs(3600);
/// How far a leaf begins in the past, and what rounding to whole seconds adds.
const BACKDATE: Duration = Duration::from_secs(121);

pub fn feed(data: &[u8]) -> bool {
    let within = pem_certificate_request(data).ok().flatten();
    sign(data) || within.is_some_and(|der| sign(&der))
}

fn sign(der: &[u8]) -> bool {
    static AUTHORITY: OnceLock<Authority> = OnceLock::new();
    let authority = AUTHORITY.get_or_init(|| {
        let directory = tempfile::tempdir().expect("a directory can be made");
        Root::load_or_create(directory.path(), "cluster.local").expect("a new CA")
    });
    let identity = Identity::new("cluster.local", "shop", "cart");
    let Ok(signed) = authority.issue_csr(der, &identity, LIFE, SystemTime::now()) else { return false };
    let leaf = &signed.chain[0];
    assert_eq!(identity_of(leaf), Ok(identity));
    assert!(signed.not_after.duration_since(signed.not_before).is_ok_and(|life| life <= LIFE + BACKDATE));
    let (_, leaf) = X509Certificate::from_der(leaf).expect("we wrote a certificate");
    let (_, request) = X509CertificationRequest::from_der(der).expect("it was just read");
    assert!(!leaf.is_ca());
    assert_eq!(leaf.public_key().subject_public_key, request.certification_request_info.subject_pki.subject_public_key);
    true
}
