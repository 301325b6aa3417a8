use super::*;
use proptest::prelude::*;

#[test]
fn an_address_is_a_host_and_a_port() {
    for (text, host, port, shown) in [
        (
            "https://istiod.istio-system.svc:15012",
            "istiod.istio-system.svc",
            15012,
            "https://istiod.istio-system.svc:15012",
        ),
        ("istiod.istio-system.svc:15012", "istiod.istio-system.svc", 15012, "https://istiod.istio-system.svc:15012"),
        (" https://ca.example/ ", "ca.example", 443, "https://ca.example:443"),
        ("10.1.2.3:15012", "10.1.2.3", 15012, "https://10.1.2.3:15012"),
        ("https://[2001:db8::1]:15012", "2001:db8::1", 15012, "https://[2001:db8::1]:15012"),
    ] {
        let address: Address = text.parse().unwrap();
        assert_eq!((address.host(), address.port(), &**address.as_str()), (host, port, shown));
    }
}

#[test]
fn what_is_no_address_is_refused_without_repeating_it() {
    for (text, error) in [
        ("", AddressError::Form),
        ("https://", AddressError::Form),
        ("https://host:", AddressError::Form),
        ("https://host:0", AddressError::Form),
        ("https://host:99999", AddressError::Form),
        ("two words:1", AddressError::Form),
        ("http://istiod:15010", AddressError::Scheme { scheme: "http".into() }),
        ("unix:///run/x", AddressError::Form),
        ("https://me:secret@host:1", AddressError::More),
        ("https://host:1/path", AddressError::More),
        ("https://host:1/?token=secret", AddressError::More),
    ] {
        let refused = text.parse::<Address>().unwrap_err();
        assert_eq!(refused, error, "{text}");
        assert!(!refused.to_string().contains("secret"));
    }
}

proptest! {
    #[test]
    fn no_text_breaks_the_reader_and_what_is_shown_reads_back(text in "\\PC{0,40}") {
        if let Ok(address) = text.parse::<Address>() {
            prop_assert_eq!(address.as_str().parse::<Address>(), Ok(address));
        }
    }
}
