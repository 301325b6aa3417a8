use proptest::prelude::*;

use super::*;

#[track_caller]
fn refused(query: &str, part: &str) {
    let error = Question::from_query(query).expect_err(query).to_string();
    assert!(error.contains(part), "{query}: {error}");
    assert!(error.len() < 400, "{error}");
}

#[test]
fn questions_as_they_are_written() {
    let read = |query: &str| Question::from_query(query).unwrap_or_else(|error| panic!("{query}: {error}"));
    let server = Callee::Pod { pod: NamespacedName::new("demo", "server"), port: 80 };
    for (query, caller) in [
        ("from=demo/client&to=demo/server:80", Caller::Pod(NamespacedName::new("demo", "client"))),
        ("to=demo%2Fserver%3a80&from=demo%2fclient", Caller::Pod(NamespacedName::new("demo", "client"))),
        ("ip=fd00::1&to=demo/server:80", Caller::Address("fd00::1".parse().unwrap())),
        (
            "identity=spiffe://td/ns/a/sa/b&ip=::1&to=demo/server:80",
            Caller::Identity { identity: Identity::new("td", "a", "b"), address: "::1".parse().unwrap() },
        ),
        (
            "sa=demo/a&to=demo/server:80",
            Caller::ServiceAccount { account: NamespacedName::new("demo", "a"), address: None },
        ),
        (
            "ip=10.0.0.1&sa=demo/a&to=demo/server:80",
            Caller::ServiceAccount {
                account: NamespacedName::new("demo", "a"),
                address: Some("10.0.0.1".parse().unwrap()),
            },
        ),
    ] {
        assert_eq!(read(query), Question { caller, callee: server.clone() }, "{query}");
    }
    for to in ["10.0.0.1:80", "[fd00::1]:80"] {
        assert_eq!(read(&format!("ip=::1&to={to}")).callee, Callee::Address(to.parse().unwrap()));
    }
}

#[test]
fn what_is_no_question_says_what_to_write() {
    for (query, part) in [
        ("", "nobody calls"),
        ("to=a/b:80", "nobody calls"),
        ("from=a/b&sa=a/b&to=a/b:80", "exactly one"),
        ("from=a/b&ip=10.0.0.1&to=a/b:80", "exactly one"),
        ("from=a/b", "nothing is called"),
        ("from=a/b&from=a/b&to=a/b:80", "twice"),
        ("from=a/b&to=a/b:80&x=1", "\"x\" is neither from, sa, identity, ip nor to"),
        ("from&to=a/b:80", "KEY=VALUE"),
        ("from=a/b&&to=a/b:80", "KEY=VALUE"),
        ("from=a%2&to=a/b:80", "%XX"),
        ("from=a%0a/b&to=a/b:80", "%XX"),
        ("from=a%C3%A4/b&to=a/b:80", "%XX"),
        ("from=ab&to=a/b:80", "NAMESPACE/NAME"),
        ("from=a/b/c&to=a/b:80", "NAMESPACE/NAME"),
        ("from=/b&to=a/b:80", "NAMESPACE/NAME"),
        ("from=a/b&to=a/b", "NAMESPACE/POD:PORT"),
        ("from=a/b&to=a/b:0", "from 1 on"),
        ("from=a/b&to=a/b:65536", "from 1 on"),
        ("from=a/b&to=a/b:%2B80", "from 1 on"),
        ("from=a/b&to=10.0.0.1:0", "from 1 on"),
        ("from=a/b&to=[fe80::1%251]:80", "not a destination"),
        ("ip=10.0.0&to=a/b:80", "not an address"),
        ("identity=spiffe://td/ns/a/sa/b&to=a/b:80", "an identity has one"),
        ("identity=td/ns/a/sa/b&ip=::1&to=a/b:80", "not spiffe://"),
    ] {
        refused(query, part);
    }
    refused(&format!("from=a/{}&to=a/b:80", "x".repeat(254)), "NAMESPACE/NAME");
    refused(&"x".repeat(MAX_QUERY + 1), "longer than");
}

fn name() -> impl Strategy<Value = NamespacedName> {
    ("[a-z0-9.-]{1,253}", "[a-z0-9.-]{1,253}").prop_map(|(ns, name)| NamespacedName::new(ns, name))
}

fn question() -> impl Strategy<Value = Question> {
    let caller = prop_oneof![
        name().prop_map(Caller::Pod),
        any::<IpAddr>().prop_map(Caller::Address),
        (name(), any::<Option<IpAddr>>()).prop_map(|(account, address)| Caller::ServiceAccount { account, address }),
    ];
    let callee = prop_oneof![
        (name(), 1..=u16::MAX).prop_map(|(pod, port)| Callee::Pod { pod, port }),
        (any::<IpAddr>(), 1..=u16::MAX).prop_map(|(ip, port)| Callee::Address(SocketAddr::new(ip, port))),
    ];
    (caller, callee).prop_map(|(caller, callee)| Question { caller, callee })
}

/// Every byte as `%XX`, as a careful client may write it.
fn encoded(query: &str) -> String {
    let value = |text: &str| text.bytes().map(|b| format!("%{b:02X}")).collect::<String>();
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs.map(|(key, text)| format!("{key}={}", value(text))).collect::<Vec<_>>().join("&")
}

proptest! {
    #[test]
    fn a_question_survives_its_query(question in question()) {
        let query = question.to_query();
        prop_assert!(format!("/explain?{query}").parse::<http::Uri>().is_ok(), "{query}");
        prop_assert_eq!(&Question::from_query(&query), &Ok(question.clone()));
        prop_assert!(encoded(&query).len() <= MAX_QUERY);
        prop_assert_eq!(Question::from_query(&encoded(&query)), Ok(question));
    }

    #[test]
    fn no_text_does_harm(text in "(from|to|sa|ip|%|=|&|/|:|a|80|\\[|\\]|\\PC){0,40}") {
        if let Ok(question) = Question::from_query(&text) {
            // Whatever is read means the same when it is written again.
            prop_assert_eq!(Question::from_query(&question.to_query()), Ok(question));
        }
    }
}
