use proptest::prelude::*;

use super::*;

#[test]
fn queries() {
    let check = |query: &str, reset: bool, level: Option<&str>| {
        assert_eq!(Asked::parse(query), Some(Asked { reset, level: level.map(str::to_owned) }), "{query}");
    };
    check("", false, None);
    check("level=debug", false, Some("debug"));
    check("level=proxy%3Ddebug%2Cinfo", false, Some("proxy=debug,info"));
    check("level=proxy=debug,info", false, Some("proxy=debug,info"));
    check("level=info&reset", true, Some("info"));
    check("reset=", true, None);
    for bad in ["colour=blue", "level=%", "level=%4", "level=%zz", "level=%ff", "debug"] {
        assert_eq!(Asked::parse(bad), None, "{bad}");
    }
}

proptest! {
    #[test]
    fn no_query_panics(query in any::<String>()) {
        drop(Asked::parse(&query));
    }

    #[test]
    fn what_is_encoded_comes_back(text in any::<String>()) {
        let encoded: String = text.bytes().map(|byte| format!("%{byte:02x}")).collect();
        prop_assert_eq!(decode(&encoded), Some(text));
    }
}
