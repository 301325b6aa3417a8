use super::*;

use std::sync::Arc;
use std::time::Duration;

use crate::identity::certs::FetchError;
use crate::tls::Credentials;
use crate::tls::fixture::{TestCa, id};

const HOUR: Duration = Duration::from_secs(3600);

#[test]
fn a_state_says_whether_the_identity_can_be_used_and_why_not() {
    let (ca, now) = (TestCa::new(), SystemTime::now());
    let issued = ca.issue(&id("cart"), now, HOUR);
    let certificate = Some(Credentials::build(&issued, &id("cart"), now).unwrap());
    let error = Some(Arc::new(FetchError::Deadline { deadline: Duration::from_secs(15) }));
    for (certificate, error, later, expected) in [
        (None, None, false, "Initializing"),
        (None, error.clone(), false, "Unavailable: the certificate source did not answer within 15 s"),
        (certificate.clone(), None, false, "Available"),
        (certificate.clone(), error.clone(), false, "Available"),
        (certificate.clone(), None, true, "Unavailable: the certificate has expired and is being renewed"),
        (certificate, error, true, "Unavailable: the certificate source did not answer within 15 s"),
    ] {
        let at = if later { now + 2 * HOUR } else { now };
        let held = Held::of(id("cart"), &Snapshot { certificate: certificate.clone(), error }, at);
        assert_eq!(held.state.to_string(), expected);
        assert_eq!((held.chain.len(), held.roots.len()), if certificate.is_some() { (1, 1) } else { (0, 0) });
    }
}

#[test]
fn a_certificate_is_told_in_plain_values() {
    let (ca, now) = (TestCa::new(), SystemTime::now());
    let issued = ca.issue(&id("cart"), now, HOUR);
    let certificate = Some(Credentials::build(&issued, &id("cart"), now).unwrap());
    let held = Held::of(id("cart"), &Snapshot { certificate, error: None }, now);
    let leaf = &held.chain[0];
    assert_eq!(crate::tls::pem_certificates(leaf.pem.as_bytes()).unwrap(), issued.chain);
    assert!(leaf.serial.bytes().all(|byte| byte.is_ascii_digit()) && leaf.serial.len() > 10);
    assert_eq!(leaf.not_after.duration_since(leaf.not_before).unwrap(), HOUR);
    assert_eq!(crate::tls::pem_certificates(held.roots[0].pem.as_bytes()).unwrap(), issued.roots);
    assert!(!format!("{held:?}").contains("PRIVATE"));
}
