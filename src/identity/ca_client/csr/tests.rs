use super::*;

use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::prelude::{FromDer, GeneralName, ParsedExtension};

use crate::tls::fixture::id;

#[test]
fn the_request_is_the_one_of_istios_node_proxy() {
    let (one, two) = (request(&id("cart")).unwrap(), request(&id("cart")).unwrap());
    assert_ne!(one.key.pkcs8(), two.key.pkcs8(), "a new key for every request");
    assert!(one.pem.starts_with("-----BEGIN CERTIFICATE REQUEST-----"));
    let (_, pem) = x509_parser::pem::parse_x509_pem(one.pem.as_bytes()).unwrap();
    let (_, csr) = X509CertificationRequest::from_der(&pem.contents).unwrap();
    csr.verify_signature().unwrap();
    let info = &csr.certification_request_info;
    assert_eq!(info.subject.iter().count(), 0);
    assert_eq!(csr.signature_algorithm.algorithm.to_id_string(), "1.2.840.10045.4.3.2", "ECDSA with SHA-256");
    // The curve, as the parameter of the key's algorithm: P-256.
    let curve = info.subject_pki.algorithm.parameters.as_ref().unwrap().as_oid().unwrap();
    assert_eq!(curve.to_id_string(), "1.2.840.10045.3.1.7");
    let requested = info
        .iter_attributes()
        .find_map(|attribute| match attribute.parsed_attribute() {
            x509_parser::cri_attributes::ParsedCriAttribute::ExtensionRequest(request) => Some(request),
            _ => None,
        })
        .unwrap();
    let [san] = &requested.extensions[..] else { panic!("{requested:?}") };
    assert!(san.critical);
    let ParsedExtension::SubjectAlternativeName(names) = san.parsed_extension() else { panic!("{san:?}") };
    assert_eq!(names.general_names, [GeneralName::URI("spiffe://cluster.local/ns/shop/sa/cart")]);
    // The key is the request's.
    let pair = KeyPair::try_from(one.key.pkcs8()).unwrap();
    assert_eq!(rcgen::PublicKeyData::der_bytes(&pair), &*info.subject_pki.subject_public_key.data);
}
