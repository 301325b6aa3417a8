use super::*;
use proptest::collection::vec;
use proptest::prelude::*;

use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

use crate::tls::encode_certificates;
use crate::tls::fixture::{TestCa, id};

fn pem(ders: &[&[u8]]) -> String {
    encode_certificates(ders.iter().copied())
}

/// Two roots and a leaf.
fn ders() -> [Vec<u8>; 3] {
    let (one, two) = (TestCa::new(), TestCa::new());
    let mut leaf = one.issue(&id("cart"), SystemTime::now(), Duration::from_secs(3600));
    [leaf.chain.swap_remove(0), one.root, two.root]
}

#[test]
fn the_last_text_is_the_roots_and_the_rest_is_the_chain() {
    let [leaf, one, two] = ders();
    let (leaf, one, two) = (&leaf[..], &one[..], &two[..]);
    for (texts, chain, roots) in [
        (vec![pem(&[leaf]), pem(&[one])], vec![leaf], vec![one]),
        (vec![pem(&[leaf]), pem(&[one, two])], vec![leaf], vec![one, two]),
        (vec![pem(&[leaf]), pem(&[two]), pem(&[one])], vec![leaf, two], vec![one]),
        (vec![pem(&[leaf, two]), String::new(), pem(&[one])], vec![leaf, two], vec![one]),
        (vec![format!("a comment\n{}", pem(&[leaf])), format!("\n{}\n", pem(&[one]))], vec![leaf], vec![one]),
    ] {
        let expected = Bundle {
            chain: chain.into_iter().map(<[u8]>::to_vec).collect(),
            roots: roots.into_iter().map(<[u8]>::to_vec).collect(),
            left_out: 0,
        };
        assert_eq!(read(&texts), Ok(expected));
    }
}

#[test]
fn a_bad_root_is_left_out_and_a_bad_chain_refuses_the_answer() {
    let [leaf, one, _] = ders();
    let (leaf, one) = (&leaf[..], &one[..]);
    let broken = "-----BEGIN CERTIFICATE-----\n????\n-----END CERTIFICATE-----\n";
    let bundle = read(&[pem(&[leaf]), format!("{broken}{}{}", pem(&[one]), pem(&[b"no DER"]))]).unwrap();
    assert_eq!((bundle.roots, bundle.left_out), (vec![one.to_vec()], 2));
    let many = |count: usize| vec![one; count];
    let too_much = |what, limit| AnswerError::TooMuch { what, limit };
    for (texts, error) in [
        (vec![], AnswerError::NoLeaf),
        (vec![pem(&[leaf])], AnswerError::NoRoots),
        (vec![pem(&[leaf, one])], AnswerError::NoRoots),
        (vec![pem(&[leaf]), String::new()], AnswerError::NoRoots),
        (vec![pem(&[leaf]), broken.into()], AnswerError::NoRoots),
        (vec![pem(&[leaf]), pem(&[b"no DER"])], AnswerError::NoRoots),
        (vec![String::new(), pem(&[one])], AnswerError::NoLeaf),
        (vec![pem(&[b"no DER"]), pem(&[one])], AnswerError::X509 { place: 0 }),
        (vec![pem(&[leaf]), pem(&[b"no DER"]), pem(&[one])], AnswerError::X509 { place: 1 }),
        (vec![broken.into(), pem(&[one])], AnswerError::Pem { place: 0, source: PemError::Section }),
        (vec![String::new(); MAX_TEXTS + 1], too_much("texts", MAX_TEXTS)),
        (vec![" ".repeat(MAX_BYTES), pem(&[one])], too_much("bytes", MAX_BYTES)),
        (vec![pem(&many(MAX_CHAIN + 1)), pem(&[one])], too_much("certificates in its chain", MAX_CHAIN)),
        (vec![pem(&[leaf]), pem(&many(MAX_ROOTS + 1))], too_much("roots", MAX_ROOTS)),
    ] {
        assert_eq!(read(&texts), Err(error));
    }
    assert!(read(&[pem(&many(MAX_CHAIN)), pem(&many(MAX_ROOTS))]).is_ok());
}

/// Pieces of which texts near a good one are made.
fn piece() -> impl Strategy<Value = String> {
    static DERS: OnceLock<[Vec<u8>; 3]> = OnceLock::new();
    let good = |place: usize| pem(&[&DERS.get_or_init(ders)[place]]);
    prop_oneof![
        4 => (0usize..3).prop_map(good),
        1 => "\\PC{0,30}",
        1 => Just("-----BEGIN CERTIFICATE-----\n".to_owned()),
        1 => Just("-----END CERTIFICATE-----\n".to_owned()),
        1 => Just("-----BEGIN ".to_owned()),
        1 => vec(any::<u8>(), 0..90).prop_map(|der| pem(&[&der])),
    ]
}

proptest! {
    #[test]
    fn no_answer_breaks_the_reader_and_the_bounds_hold(texts in vec(vec(piece(), 0..14).prop_map(|parts| parts.concat()), 0..6)) {
        if let Ok(bundle) = read(&texts) {
            prop_assert!((1..=MAX_CHAIN).contains(&bundle.chain.len()));
            prop_assert!((1..=MAX_ROOTS).contains(&bundle.roots.len()));
            prop_assert!(bundle.chain.iter().chain(&bundle.roots).all(|der| describe(der).is_some()));
        }
    }

    #[test]
    fn arbitrary_text_is_never_a_certificate(texts in vec("\\PC{0,200}", 0..5)) {
        prop_assert!(read(&texts).is_err());
    }
}
