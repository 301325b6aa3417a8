use super::*;
use std::time::{Duration, SystemTime};

use proptest::prelude::*;

use crate::tls::fixture::{TestCa, id};

fn leaf(uris: &[&str]) -> Vec<u8> {
    TestCa::new().leaf(uris, &[], SystemTime::now(), Duration::from_secs(60)).chain.swap_remove(0)
}

#[test]
fn reads_exactly_one_identity() {
    let cart = "spiffe://cluster.local/ns/shop/sa/cart";
    for (uris, expected) in [
        (&[cart][..], Ok(id("cart"))),
        (&[][..], Err(SanError::Missing)),
        (&[cart, cart][..], Err(SanError::Several)),
        (&[cart, "spiffe://cluster.local/ns/shop/sa/other"][..], Err(SanError::Several)),
        (&["https://example.org/", cart][..], Err(SanError::Several)),
        (&["https://example.org/"][..], Err(SanError::Identity(IdentityError::Shape))),
        (&["spiffe://cluster.local/ns/shop/sa/cart\0"][..], Err(SanError::Identity(IdentityError::Characters))),
        (
            &["spiffe://cluster.local/ns/shop/sa/cart%00"][..],
            Err(SanError::Identity(IdentityError::Part("service account"))),
        ),
    ] {
        assert_eq!(identity_of(&leaf(uris)), expected, "{uris:?}");
    }
}

#[test]
fn bytes_outside_ascii_and_after_the_certificate_are_refused() {
    let mut der = leaf(&["spiffe://cluster.local/ns/shop/sa/cart"]);
    let at = der.windows(4).position(|w| w == b"cart").unwrap();
    der[at] = 0xe9;
    assert_eq!(identity_of(&der), Err(SanError::Der));
    der[at] = b'c';
    assert_eq!(identity_of(&der), Ok(id("cart")));
    der.push(0);
    assert_eq!(identity_of(&der), Err(SanError::Der));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_account_is_read_as_it_was_written(account in "[a-z0-9.-]{1,40}") {
        let identity = id(&account);
        prop_assert_eq!(identity_of(&leaf(&[&identity.to_string()])), Ok(identity));
    }

    #[test]
    fn no_bytes_panic(der in proptest::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(identity_of(&der).is_err());
    }
}

proptest! {
    #[test]
    fn a_damaged_certificate_never_panics_and_never_grows_an_identity(at in 0usize..1000, byte in any::<u8>()) {
        // One certificate for all cases: making one costs more than reading it.
        static LEAF: std::sync::OnceLock<Vec<u8>> = std::sync::OnceLock::new();
        let mut der = LEAF.get_or_init(|| leaf(&["spiffe://cluster.local/ns/shop/sa/cart"])).clone();
        let len = der.len();
        der[at % len] = byte;
        if let Ok(identity) = identity_of(&der) {
            prop_assert!(der.windows(4).any(|w| w == b"spif"));
            prop_assert!(!identity.service_account.is_empty());
        }
    }
}
