use super::*;
use proptest::prelude::*;

use crate::tls::fixture::TestCa;

/// One list as PEM.
fn pem(der: &[u8]) -> String {
    crate::tls::pem::encode_certificates([der]).replace("CERTIFICATE", "X509 CRL")
}

fn key(ca: &TestCa) -> Vec<u8> {
    let (_, root) = x509_parser::parse_x509_certificate(&ca.root).unwrap();
    root.tbs_certificate.subject_pki.raw.to_vec()
}

fn name(ca: &TestCa) -> Vec<u8> {
    let (_, root) = x509_parser::parse_x509_certificate(&ca.root).unwrap();
    // The content of a SEQUENCE of less than 128 bytes.
    root.subject().as_raw()[2..].to_vec()
}

#[test]
fn one_list_in_der_and_many_in_pem_are_read() {
    let (one, two) = (TestCa::new(), TestCa::new());
    let (of_one, of_two) = (one.crl(&[vec![1], vec![2, 3]]), two.crl(&[]));
    let lists = Lists::parse(&of_one).unwrap();
    assert_eq!((lists.len(), lists.revoked()), (1, 2));
    let text = format!("# written by the CA\n{}\n{}", pem(&of_one), pem(&of_two));
    let lists = Lists::parse(text.as_bytes()).unwrap();
    assert_eq!((lists.len(), lists.revoked()), (2, 2));
}

#[test]
fn all_of_a_file_or_nothing() {
    let ca = TestCa::new();
    let good = pem(&ca.crl(&[vec![1]]));
    let broken = pem(&[0x30, 0x00]);
    let many: String = std::iter::repeat_n(good.as_str(), MAX_LISTS + 1).collect();
    let mut trailed = ca.crl(&[vec![1]]);
    trailed.push(0);
    for (bytes, expected) in [
        (&b""[..], CrlError::Empty),
        (b" \n", CrlError::Empty),
        (b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", CrlError::Empty),
        (b"-----BEGIN X509 CRL-----\nAAAA", CrlError::Empty),
        (b"-----BEGIN X509 CRL-----\n!!!!\n-----END X509 CRL-----\n", CrlError::Section),
        (many.as_bytes(), CrlError::TooMany),
        (&vec![b' '; MAX_FILE + 1], CrlError::TooLarge),
    ] {
        let got = Lists::parse(bytes).unwrap_err();
        // Whether a section without an end is broken or none at all is the PEM reader's to say.
        assert!(got == expected || (got == CrlError::Section && expected == CrlError::Empty), "{got:?} {expected:?}");
    }
    let second = Lists::parse(format!("{good}{broken}").as_bytes()).unwrap_err();
    assert!(matches!(second, CrlError::List { place: 2, .. }), "{second:?}");
    assert!(matches!(Lists::parse(&trailed), Err(CrlError::List { place: 1, .. })));
    assert!(matches!(Lists::parse(b"hello"), Err(CrlError::List { place: 1, .. })));
}

#[test]
fn a_list_counts_for_the_key_that_signed_it() {
    // Two CAs of one name, as one that changes its key is; each has its list.
    let (old, new) = (TestCa::new(), TestCa::new());
    assert_eq!(name(&old), name(&new));
    let text = format!("{}{}", pem(&old.crl(&[vec![1]])), pem(&new.crl(&[vec![2]])));
    let lists = Lists::parse(text.as_bytes()).unwrap();
    for _ in 0..2 {
        assert!(lists.revokes(&name(&old), &key(&old), &[1]));
        assert!(!lists.revokes(&name(&old), &key(&old), &[2]), "the other's list is not its own");
        assert!(!lists.revokes(&name(&new), &key(&new), &[1]));
        assert!(lists.revokes(&name(&new), &key(&new), &[2]));
    }
    assert!(!lists.revokes(&name(&old), &key(&old), &[3]));
    assert!(!lists.revokes(b"somebody else", &key(&old), &[1]));
    assert!(!lists.revokes(&name(&old), b"no key", &[1]));
}

#[test]
fn an_overdue_list_is_told_and_stays_in_force() {
    let ca = TestCa::new();
    let now = SystemTime::now();
    let lists = Lists::parse(&ca.crl_at(&[vec![1]], now)).unwrap();
    assert_eq!(lists.overdue(now), 0);
    assert_eq!(lists.overdue(now + Duration::from_secs(3700)), 1);
    assert!(lists.revokes(&name(&ca), &key(&ca), &[1]));
}

#[test]
fn keys_beyond_the_bound_are_judged_all_the_same() {
    let ca = TestCa::new();
    let lists = Lists::parse(&ca.crl(&[vec![1]])).unwrap();
    for number in 0..2 * MAX_SIGNERS {
        assert!(!lists.revokes(&name(&ca), format!("key {number}").as_bytes(), &[1]));
    }
    assert_eq!(lists.lists[0].signers.lock().unwrap().len(), MAX_SIGNERS);
    assert!(lists.revokes(&name(&ca), &key(&ca), &[1]));
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        drop(Lists::parse(&bytes));
    }

    #[test]
    fn a_damaged_list_never_panics(at in 0usize..1000, byte in any::<u8>(), as_text in any::<bool>()) {
        static LIST: std::sync::OnceLock<Vec<u8>> = std::sync::OnceLock::new();
        let mut bytes = LIST.get_or_init(|| TestCa::new().crl(&[vec![1], vec![2]])).clone();
        if as_text {
            bytes = pem(&bytes).into_bytes();
        }
        let len = bytes.len();
        bytes[at % len] = byte;
        if let Ok(lists) = Lists::parse(&bytes) {
            prop_assert!(lists.len() == 1);
        }
    }
}
