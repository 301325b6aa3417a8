//! Text of PEM, and the same bytes as DER: the two readers agree, what is found is written and read again as the same, and
//! no certificate that somebody made stops who looks into it.

use culvert::model::spiffe::Identity;
use culvert::tls::{
    certificates_leniently, describe, encode_certificates, identity_of, pem_certificate_request, pem_certificates,
    private_key_block,
};

pub fn feed(data: &[u8]) -> bool {
    let lenient = certificates_leniently(data).expect("the fuzzer's inputs are small");
    if let Ok(found) = pem_certificates(data) {
        assert_eq!((&lenient.certificates, lenient.broken), (&found, 0));
    } else {
        assert_ne!(lenient.broken, 0);
    }
    let text = encode_certificates(lenient.certificates.iter().map(Vec::as_slice));
    assert_eq!(pem_certificates(text.as_bytes()), Ok(lenient.certificates.clone()));
    lenient.certificates.iter().for_each(|der| look_into(der));
    look_into(data);

    if let Ok(Some(request)) = pem_certificate_request(data) {
        assert!(request.len() <= data.len());
    }
    if let Ok(text) = std::str::from_utf8(data)
        && let Ok(Some(block)) = private_key_block(text)
    {
        assert!(block.starts_with("-----BEGIN ") && block.ends_with(" PRIVATE KEY-----") && text.contains(block));
        assert_eq!(private_key_block(block), Ok(Some(block)));
    }
    !lenient.certificates.is_empty()
}

fn look_into(der: &[u8]) {
    if let Some(described) = describe(der) {
        assert_eq!(pem_certificates(described.pem.as_bytes()).as_deref(), Ok([der.to_vec()].as_slice()));
        assert!(described.serial.bytes().all(|b| b.is_ascii_digit() || b == b'-'), "{}", described.serial);
    }
    if let Ok(identity) = identity_of(der) {
        assert!(describe(der).is_some());
        assert_eq!(identity.to_string().parse::<Identity>(), Ok(identity));
    }
}
