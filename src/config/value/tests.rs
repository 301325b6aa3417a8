use proptest::prelude::*;

use super::*;

#[test]
fn kinds() {
    let choice = Kind::Choice("auto|off");
    let good = [
        (Kind::Address, &["127.0.0.1:15000", "[::]:15020", "[fd00::1]:1"][..]),
        (Kind::Bool, &["true", "false"]),
        (Kind::Bytes, &["1", "4096", "256KiB", "64MiB", "1GiB", "7B"]),
        (choice, &["auto", "off"]),
        (Kind::Count, &["0", "10000"]),
        (Kind::Duration, &["0s", "500ms", "10s", "5m", "24h", "1h 30m"]),
        (Kind::Levels, &["info", "warn,culvert::hbone=debug", "off"]),
        (Kind::Name, &["cluster.local", "istio-system", "node_1"]),
        (Kind::Path, &["/var/run/culvert", "manifests"]),
        (Kind::Period, &["1ms", "24h"]),
        (Kind::Positive, &["1", "100"]),
        (Kind::Text, &["", "Kubernetes", "two words"]),
    ];
    for (kind, texts) in good {
        for text in texts {
            assert_eq!(kind.check(text), Ok(()), "{kind:?}");
        }
    }
    let bad = [
        (Kind::Address, &["", "15000", "localhost:15000", "::1:80", "1.2.3.4:70000"][..]),
        (Kind::Bool, &["", "yes", "1", "True"]),
        (Kind::Bytes, &["", "0", "0KiB", "KiB", "1KB", "1.5MiB", "-1", "+1", "99999999999GiB", "1 MiB"]),
        (choice, &["", "on", "Auto", "auto|off"]),
        (Kind::Count, &["", "-1", "+1", "1.0", "99999999999999999999"]),
        (Kind::Duration, &["", "10", "-1s", "ten", "1000y", "99999999999999999999s"]),
        (Kind::Levels, &["loud", "info,culvert=loud", "info,,"]),
        (Kind::Name, &["", "Upper", "a b", "a/b", "a\n"]),
        (Kind::Path, &["", "a\nb"]),
        (Kind::Period, &["0s", "0ms", ""]),
        (Kind::Positive, &["0", "", "-1"]),
        (Kind::Text, &["a\nb", "\u{1b}[31m"]),
    ];
    for (kind, texts) in bad {
        for text in texts {
            let error = kind.check(text).expect_err(&format!("{kind:?} {text:?}"));
            assert!(error.to_string().starts_with(&format!("{text:?} is not ")), "{error}");
        }
    }
}

#[test]
fn a_level_that_is_no_ascii_is_refused() {
    for text in [" \u{2dd8}=", "\u{2dd8}=info", "info,\u{e9}=debug"] {
        assert!(Kind::Levels.check(text).is_err(), "{text:?}");
    }
}

proptest! {
    #[test]
    fn no_text_panics(text in any::<String>()) {
        for kind in [Kind::Address, Kind::Bytes, Kind::Count, Kind::Duration, Kind::Levels, Kind::Name, Kind::Path] {
            drop(kind.check(&text));
        }
    }

    #[test]
    fn sizes_read_back(number in 1_u64..1 << 30, unit in 0_usize..4) {
        let (name, factor) = [("", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)][unit];
        prop_assert_eq!(bytes(&format!("{number}{name}")), Ok(number * factor));
    }

    #[test]
    fn durations_read_back(millis in 0_u64..1 << 40) {
        let duration = Duration::from_millis(millis);
        prop_assert_eq!(super::duration(&humantime::format_duration(duration).to_string()), Ok(duration));
    }
}

#[test]
fn endpoints() {
    let check = |text: &str, expected: Option<&str>| {
        assert_eq!(endpoint(text).ok().map(|endpoint| endpoint.to_string()).as_deref(), expected, "{text:?}");
    };
    check("https://istiod.istio-system.svc:15012", Some("https://istiod.istio-system.svc:15012"));
    check("istiod.istio-system.svc:15012", Some("https://istiod.istio-system.svc:15012"));
    check("istiod", Some("https://istiod:443"));
    check("https://istiod/", Some("https://istiod:443"));
    check("[fd00::1]:15012", Some("https://[fd00::1]:15012"));
    check("10.0.0.1:15012", Some("https://10.0.0.1:15012"));
    for bad in [
        "",
        "http://istiod:15012",
        "istiod:",
        "istiod:0",
        "istiod:70000",
        "istiod:port",
        "https://",
        ":15012",
        "https://a/b",
        "a?b",
        "user@istiod:1",
        "unix:///x",
        "a b",
    ] {
        check(bad, None);
    }
    assert_eq!(Kind::Endpoint.check(""), Ok(()));
}

#[test]
fn roots_are_a_path_a_word_or_certificates() {
    let pem = "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n";
    assert_eq!(roots("SYSTEM"), Ok(Roots::System));
    assert_eq!(roots(pem), Ok(Roots::Pem(pem.into())));
    assert_eq!(roots("./var/root-cert.pem"), Ok(Roots::File("./var/root-cert.pem".into())));
    assert!(roots("").is_err() && roots("a\nb").is_err());
}

proptest::proptest! {
    #[test]
    fn no_endpoint_panics(text in any::<String>()) {
        drop(endpoint(&text));
        drop(roots(&text));
    }
}
