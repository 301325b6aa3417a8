use super::*;
use std::time::Duration;

use rcgen::ExtendedKeyUsagePurpose::{ClientAuth, ServerAuth};

use crate::tls::fixture::{TestCa, id};

const HOUR: Duration = Duration::from_secs(3600);

fn check(issued: &Issued, now: SystemTime) -> String {
    Credentials::build(issued, &id("cart"), now).map_or_else(|error| format!("{error:?}"), |_| "good".to_owned())
}

#[test]
fn only_a_certificate_that_peers_will_accept_is_taken() {
    let (ca, other) = (TestCa::new(), TestCa::new());
    let now = SystemTime::now();
    let cart = id("cart").to_string();
    let good = || ca.issue(&id("cart"), now, HOUR);
    assert_eq!(check(&good(), now), "good");
    assert!(check(&ca.issue(&id("till"), now, HOUR), now).starts_with("WrongIdentity"));
    assert!(check(&good(), now + 2 * HOUR).contains("Expired"));
    assert!(check(&good(), now - HOUR).contains("Expired"));
    assert!(check(&Issued { roots: vec![other.root.clone()], ..good() }, now).contains("UnknownRoot"));
    assert!(check(&Issued { roots: vec![], ..good() }, now).starts_with("NoRoot"));
    assert!(check(&Issued { roots: vec![vec![1, 2, 3]], ..good() }, now).starts_with("NoRoot"));
    assert!(check(&Issued { chain: vec![], ..good() }, now).starts_with("NoLeaf"));
    assert!(check(&Issued { key: good().key, ..good() }, now).starts_with("Key"));
    assert!(check(&Issued { key: PrivateKey::from_pkcs8(vec![0; 20]), ..good() }, now).starts_with("Key"));
    assert!(check(&ca.leaf(&[&cart], &[ServerAuth], now, HOUR), now).starts_with("Chain"));
    assert!(check(&ca.leaf(&[&cart], &[ClientAuth], now, HOUR), now).starts_with("Chain"));
    assert!(check(&ca.leaf(&[&cart, &cart], &[ClientAuth, ServerAuth], now, HOUR), now).starts_with("San"));
}

#[test]
fn a_bundle_of_roots_is_trusted_as_a_whole_and_its_first_end_is_known() {
    let (ca, other) = (TestCa::new(), TestCa::new());
    let now = SystemTime::now();
    let mut issued = ca.issue(&id("cart"), now, HOUR);
    issued.roots.insert(0, other.root.clone());
    let credentials = Credentials::build(&issued, &id("cart"), now).unwrap();
    assert!(credentials.roots_not_after().unwrap() > now);
    assert_eq!(credentials.not_after(), now + HOUR);
}

#[test]
fn the_private_key_is_never_printed() {
    let issued = TestCa::new().issue(&id("cart"), SystemTime::now(), HOUR);
    assert!(format!("{issued:?}").contains("PrivateKey(..)"));
}
