use super::*;
use rcgen::{CertificateParams, SanType};
use x509_parser::prelude::X509Certificate;

use crate::ca::Root;
use crate::tls::Credentials;

fn authority() -> Authority {
    let dir = tempfile::tempdir().unwrap();
    Root::load_or_create(dir.path(), "cluster.local").unwrap()
}

fn cart() -> Identity {
    Identity::new("cluster.local", "shop", "cart")
}

#[test]
fn a_leaf_is_what_istio_would_make() {
    let authority = authority();
    let now = SystemTime::now();
    let issued = authority.issue(&cart(), DEFAULT_TTL, now).unwrap();
    assert_eq!(issued.chain.len(), 1, "a self-signed root is not sent");
    let (_, leaf) = X509Certificate::from_der(&issued.chain[0]).unwrap();
    let san = leaf.subject_alternative_name().unwrap().unwrap();
    assert!(san.critical && leaf.subject().iter().next().is_none());
    let usage = leaf.key_usage().unwrap().unwrap();
    assert!(usage.critical && usage.value.digital_signature() && usage.value.key_encipherment());
    assert!(!usage.value.key_cert_sign());
    let extended = leaf.extended_key_usage().unwrap().unwrap().value;
    assert!(extended.server_auth && extended.client_auth && !extended.any);
    let basic = leaf.basic_constraints().unwrap().unwrap();
    assert!(basic.critical && !basic.value.ca);
    assert!(leaf.raw_serial().len() <= 16 && leaf.raw_serial().len() >= 12 && leaf.raw_serial()[0] & 0x80 == 0);
    let since = |at: i64| at - i64::try_from(now.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs()).unwrap();
    assert!((-121..=-119).contains(&since(leaf.validity().not_before.timestamp())));
    assert!((86_399..=86_401).contains(&since(leaf.validity().not_after.timestamp())));
    assert_eq!(leaf.public_key().parsed().unwrap().key_size(), 256);

    let again = authority.issue(&cart(), DEFAULT_TTL, now).unwrap();
    assert_ne!(again.chain, issued.chain);
    assert_ne!(again.key.pkcs8(), issued.key.pkcs8());
    Credentials::build(&issued, &cart(), now).unwrap();
}

#[test]
fn a_leaf_lives_no_longer_than_allowed_or_than_its_signer() {
    let authority = authority();
    let now = SystemTime::now();
    let long = authority.issue(&cart(), Duration::from_secs(u32::MAX.into()), now).unwrap();
    assert!(long.not_after <= now + MAX_TTL);
    let late = authority.not_after() - Duration::from_secs(60);
    assert_eq!(authority.issue(&cart(), DEFAULT_TTL, late).unwrap().not_after, authority.not_after());
    assert!(matches!(authority.issue(&cart(), DEFAULT_TTL, authority.not_after()), Err(CaError::Sign(_))));
}

#[test]
fn a_request_gives_its_key_and_nothing_else() {
    let authority = authority();
    let now = SystemTime::now();
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.subject_alt_names = vec![SanType::URI("spiffe://cluster.local/ns/shop/sa/root".try_into().unwrap())];
    let csr = params.serialize_request(&key).unwrap();
    let signed = authority.issue_csr(csr.der(), &cart(), DEFAULT_TTL, now).unwrap();
    let Signed { chain, roots, not_before, not_after } = signed;
    // The identity is the one that was asked for here, and the key is the request's.
    let issued = Issued { chain, key: PrivateKey::from_pkcs8(key.serialize_der()), roots, not_before, not_after };
    Credentials::build(&issued, &cart(), now).unwrap();

    let check = |der: &[u8]| matches!(authority.issue_csr(der, &cart(), DEFAULT_TTL, now), Err(CaError::Csr(_)));
    let mut forged = csr.der().to_vec();
    *forged.last_mut().unwrap() ^= 1;
    assert!(check(&forged), "signature");
    let at = csr.der().windows(4).position(|w| w == b"root").unwrap();
    let mut forged = csr.der().to_vec();
    forged[at] = b'R';
    assert!(check(&forged), "contents");
    assert!(check(b""));
    assert!(check(&[csr.der().to_vec(), vec![0]].concat()));
    assert!(check(&vec![0x30; MAX_CSR + 1]));
}
