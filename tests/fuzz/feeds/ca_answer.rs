//! A CA's answer, as the message that comes over the wire: what is taken is bounded, has a leaf and roots, each of them a
//! certificate, and is the same when it is written plainly.

use culvert::identity::ca_client::answer::{MAX_CHAIN, MAX_ROOTS, MAX_TEXTS, read};
use culvert::proto::ca::IstioCertificateResponse;
use culvert::tls::{describe, encode_certificates};
use prost::Message;

pub fn feed(data: &[u8]) -> bool {
    let Ok(IstioCertificateResponse { cert_chain }) = IstioCertificateResponse::decode(data) else { return false };
    let mut bundle = match read(&cert_chain) {
        Ok(bundle) => bundle,
        Err(error) => {
            assert!(error.to_string().len() < 200);
            return false;
        }
    };
    assert!((2..=MAX_TEXTS).contains(&cert_chain.len()));
    assert!((1..=MAX_CHAIN).contains(&bundle.chain.len()) && (1..=MAX_ROOTS).contains(&bundle.roots.len()));
    assert!(bundle.chain.iter().chain(&bundle.roots).all(|der| describe(der).is_some()));
    let mut plain: Vec<_> = bundle.chain.iter().map(|der| encode_certificates([der.as_slice()])).collect();
    plain.push(encode_certificates(bundle.roots.iter().map(Vec::as_slice)));
    bundle.left_out = 0;
    assert_eq!(read(&plain), Ok(bundle));
    true
}
