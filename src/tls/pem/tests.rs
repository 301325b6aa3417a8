use super::*;
use proptest::prelude::*;

#[test]
fn finds_one_key_among_other_sections() {
    let params = "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n";
    let ec = "-----BEGIN EC PRIVATE KEY-----\nAAAA\n-----END EC PRIVATE KEY-----";
    let pkcs8 = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----";
    assert_eq!(private_key_block(&format!("{params}{ec}\n")), Ok(Some(ec)));
    assert_eq!(private_key_block(&format!("text before\n{pkcs8}\nand after")), Ok(Some(pkcs8)));
    assert_eq!(private_key_block(params), Ok(None));
    assert_eq!(private_key_block(&format!("{ec}\n{pkcs8}")), Err(PemError::SeveralKeys));
    assert_eq!(private_key_block(&format!("{ec}\n{ec}")), Err(PemError::SeveralKeys));
    assert_eq!(private_key_block("-----BEGIN PRIVATE KEY-----\nAAAA"), Err(PemError::Section));
    assert_eq!(private_key_block(&" ".repeat(MAX_PEM + 1)), Err(PemError::TooLarge));
    assert_eq!(certificates(&vec![b' '; MAX_PEM + 1]), Err(PemError::TooLarge));
    assert_eq!(certificates(b"-----BEGIN CERTIFICATE-----\n!!!!\n-----END CERTIFICATE-----\n"), Err(PemError::Section));
}

proptest! {
    #[test]
    fn certificates_are_read_as_they_were_written(chain in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..200), 0..4)) {
        let text = encode_certificates(chain.iter().map(Vec::as_slice));
        prop_assert!(text.lines().all(|line| line.len() <= 64));
        prop_assert_eq!(certificates(text.as_bytes()), Ok(chain));
    }

    #[test]
    fn a_key_is_found_as_it_was_written(der in proptest::collection::vec(any::<u8>(), 1..200)) {
        let text = encode_key(&der);
        prop_assert_eq!(private_key_block(&text), Ok(Some(text.trim_end())));
    }

    #[test]
    fn no_text_panics(text in "(-----(BEGIN|END) (EC )?(PRIVATE KEY|CERTIFICATE)-----|[A-Za-z=\n -]{0,20}){0,8}") {
        if let Ok(Some(block)) = private_key_block(&text) {
            prop_assert!(text.contains(block));
        }
        drop(certificates(text.as_bytes()));
    }
}
