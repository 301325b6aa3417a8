use super::*;

use std::time::Duration;

use crate::tls::fixture::{TestCa, id};
use crate::tls::{Credentials, CredentialsError, Issued};

const HOUR: Duration = Duration::from_secs(3600);

#[test]
fn what_has_expired_is_no_root_when_others_hold() {
    let (old, new) = (TestCa::new(), TestCa::new());
    let now = SystemTime::now();
    let (past, future) = (old.root_until(now - HOUR), new.root_until(now + HOUR));
    let roots = TrustedRoots::of(&[past.clone(), vec![1, 2, 3], future.clone()], now).unwrap();
    assert_eq!((roots.ders(), roots.expired(), roots.unusable()), (&[future][..], 1, 1));
    // Certificates have whole seconds.
    assert!(roots.first_end() > now + HOUR - Duration::from_secs(2) && roots.first_end() == roots.last_end());
    assert_eq!(TrustedRoots::of(std::slice::from_ref(&past), now).unwrap_err(), RootsError::Expired);
    assert_eq!(TrustedRoots::of(&[vec![]], now).unwrap_err(), RootsError::None);
    assert_eq!(TrustedRoots::of(&[], now).unwrap_err(), RootsError::None);
}

#[test]
fn a_root_made_anew_with_the_same_key_takes_over_from_the_expired_one() {
    let ca = TestCa::new();
    let now = SystemTime::now();
    let issued = || ca.issue(&id("cart"), now, HOUR);
    let (past, future) = (ca.root_until(now - HOUR), ca.root_until(now + HOUR));
    let both = Issued { roots: vec![past.clone(), future.clone()], ..issued() };
    let credentials = Credentials::build(&both, &id("cart"), now).unwrap();
    assert_eq!(credentials.roots().collect::<Vec<_>>(), [future]);
    let error = Credentials::build(&Issued { roots: vec![past], ..issued() }, &id("cart"), now).unwrap_err();
    assert!(matches!(error, CredentialsError::NoRoot { source: RootsError::Expired, .. }), "{error:?}");
}
