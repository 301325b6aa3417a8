use super::*;
use proptest::prelude::*;

#[test]
fn reads_what_it_writes() {
    let id = Identity::new("cluster.local", "shop", "cart");
    assert_eq!(id.to_string(), "spiffe://cluster.local/ns/shop/sa/cart");
    assert_eq!(id.principal().to_string(), "cluster.local/ns/shop/sa/cart");
    assert_eq!(id.to_string().parse(), Ok(id));
}

#[test]
fn refuses_other_shapes() {
    for (uri, why) in [
        ("", IdentityError::Shape),
        ("https://cluster.local/ns/a/sa/b", IdentityError::Shape),
        ("spiffe://cluster.local", IdentityError::Shape),
        ("spiffe://cluster.local/ns/a/sa/b/c", IdentityError::Shape),
        ("spiffe://cluster.local/ns/a/sa/b/", IdentityError::Shape),
        ("spiffe://cluster.local/sa/a/ns/b", IdentityError::Shape),
        ("spiffe:///ns/a/sa/b", IdentityError::Part("trust domain")),
        ("spiffe://Cluster.local/ns/a/sa/b", IdentityError::Part("trust domain")),
        ("spiffe://td:80/ns/a/sa/b", IdentityError::Part("trust domain")),
        ("spiffe://td/ns//sa/b", IdentityError::Part("namespace")),
        ("spiffe://td/ns/a/sa/", IdentityError::Part("service account")),
        ("spiffe://td/ns/a/sa/b%2f", IdentityError::Part("service account")),
        ("spiffe://td/ns/a/sa/b\0", IdentityError::Characters),
        ("spiffe://td/ns/a/sa/b c", IdentityError::Characters),
    ] {
        assert_eq!(uri.parse::<Identity>(), Err(why), "{uri:?}");
    }
    let long = format!("spiffe://td/ns/a/sa/{}", "b".repeat(2048));
    assert_eq!(long.parse::<Identity>(), Err(IdentityError::Characters));
}

proptest! {
    #[test]
    fn any_text_parses_or_is_refused_and_what_parses_is_unchanged(uri in ".{0,80}") {
        if let Ok(id) = uri.parse::<Identity>() {
            prop_assert_eq!(id.to_string(), uri);
        }
    }

    #[test]
    fn near_misses_never_change_meaning(td in "[a-z.]{1,8}", ns in "[a-z-]{1,8}", sa in "[a-z-]{1,8}", cut in 0usize..40, byte in any::<u8>()) {
        let id = Identity::new(td, ns, sa);
        let mut bytes = id.to_string().into_bytes();
        let at = cut % bytes.len();
        let same = bytes[at] == byte;
        bytes[at] = byte;
        if let Ok(text) = String::from_utf8(bytes)
            && let Ok(other) = text.parse::<Identity>()
        {
            prop_assert_eq!(other == id, same);
        }
    }
}
