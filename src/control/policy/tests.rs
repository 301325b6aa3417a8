use serde_json::json;

use super::*;
use crate::kube::types::{AuthorizationPolicy, PeerAuthentication};

fn authorization(spec: serde_json::Value) -> Result<authorization::Authorization, Vec<Problem>> {
    let object: AuthorizationPolicy =
        serde_json::from_value(json!({"metadata": {"name": "a", "namespace": "demo"}, "spec": spec})).unwrap();
    authorization::parse(&object)
}

#[track_caller]
fn check_refused(spec: serde_json::Value, path: &str, reason: &str) {
    let problems = authorization(spec).expect_err("it was taken");
    let found = problems.iter().any(|p| p.path == path && p.reason.contains(reason) && !p.mend.is_empty());
    assert!(found, "{path}: {reason} is not in {problems:#?}");
}

fn source(fields: serde_json::Value) -> serde_json::Value {
    json!({"rules": [{"from": [{"source": fields}]}]})
}

#[test]
fn values_that_cannot_be_read_or_never_match() {
    let at = |field: &str| format!("spec.rules[0].from[0].source.{field}");
    for (fields, place, reason) in [
        (json!({"ipBlocks": ["10.0.0.0/33"]}), "ipBlocks[0]", "neither an address nor a CIDR"),
        (json!({"ipBlocks": ["1.2.3.4", "10.0.0"]}), "ipBlocks[1]", "`10.0.0`"),
        (json!({"notIpBlocks": ["x"]}), "notIpBlocks[0]", "`x`"),
        (json!({"remoteIpBlocks": ["x"]}), "remoteIpBlocks[0]", "`x`"),
        (json!({"principals": ["spiffe://td/ns/a/sa/b"]}), "principals[0]", "without their scheme"),
        (json!({"notPrincipals": ["spiffe://td/ns/a/sa/b"]}), "notPrincipals[0]", "can never match"),
        (json!({"principals": ["a*b"]}), "principals[0]", "`*` has a meaning only once"),
        (json!({"principals": ["*a*"]}), "principals[0]", "can never match"),
        (json!({"principals": [""]}), "principals[0]", "is empty"),
        (json!({"namespaces": ["**"]}), "namespaces[0]", "can never match"),
        (json!({"namespaces": []}), "namespaces", "empty list"),
        (json!({"requestPrincipals": []}), "requestPrincipals", "empty list"),
        (json!({"serviceAccounts": ["ns/*"]}), "serviceAccounts[0]", "compared exactly"),
        (json!({"serviceAccounts": ["a/b/c"]}), "serviceAccounts[0]", "not a service account"),
        (json!({"serviceAccounts": ["/b"]}), "serviceAccounts[0]", "not a service account"),
        (json!({"serviceAccounts": [""]}), "serviceAccounts[0]", "not a service account"),
        (json!({"serviceAccounts": ["a"], "namespaces": ["b"]}), "serviceAccounts", "Istio forbids"),
        (json!({"notServiceAccounts": ["a"], "principals": ["*"]}), "serviceAccounts", "Istio forbids"),
    ] {
        check_refused(source(fields), &at(place), reason);
    }
    check_refused(source(json!({})), "spec.rules[0].from[0].source", "is empty");
}

#[test]
fn ports_are_plain_numbers() {
    for port in ["0", "65536", "+80", "80 ", "http", "", "0x50", "-1"] {
        let spec = json!({"rules": [{"to": [{"operation": {"ports": [port]}}]}]});
        check_refused(spec, "spec.rules[0].to[0].operation.ports[0]", "is not a port");
    }
    authorization(json!({"rules": [{"to": [{"operation": {"ports": ["1", "65535"]}}]}]})).unwrap();
}

#[test]
fn empty_parts_are_mistakes_and_not_any() {
    check_refused(json!({"rules": [{"from": []}]}), "spec.rules[0].from", "empty list");
    check_refused(json!({"rules": [{"to": []}]}), "spec.rules[0].to", "empty list");
    check_refused(json!({"rules": [{}, {"when": []}]}), "spec.rules[1].when", "empty list");
    check_refused(json!({"rules": [{"from": [{}]}]}), "spec.rules[0].from[0].source", "is empty");
    check_refused(json!({"rules": [{"to": [{"operation": {}}]}]}), "spec.rules[0].to[0].operation", "is empty");
    check_refused(json!({"rules": [{"when": [{"key": "source.ip"}]}]}), "spec.rules[0].when[0]", "neither");
    check_refused(json!({"targetRefs": []}), "spec.targetRefs", "empty list");
}

#[test]
fn things_that_exclude_each_other() {
    let target = json!({"kind": "Service", "name": "s"});
    check_refused(json!({"selector": {}, "targetRefs": [target]}), "spec.selector", "targetRefs");
    check_refused(json!({"targetRef": target, "targetRefs": [target]}), "spec.targetRef", "targetRefs");
    check_refused(json!({"provider": {"name": "x"}}), "spec.provider", "CUSTOM only");
    check_refused(json!({"action": "CUSTOM"}), "spec.provider", "is missing");
    check_refused(json!({"selector": {"matchLabels": {"a": "b*"}}}), "spec.selector.matchLabels[a]", "`*`");
}

#[test]
fn when_keys_are_those_of_the_list() {
    let when = |key: &str, value: &str| json!({"rules": [{"when": [{"key": key, "values": [value]}]}]});
    for key in ["source.ipp", "source.name", "destination.labels[x]", "requests.headers[x]", "", "Source.ip"] {
        check_refused(when(key, "x"), "spec.rules[0].when[0].key", "not an attribute");
    }
    for (key, value) in [("source.ip", "x"), ("destination.ip", "x"), ("destination.port", "x")] {
        check_refused(when(key, value), "spec.rules[0].when[0].values[0]", "`x`");
    }
    for key in ["request.headers[x-y]", "request.auth.claims[a][b]", "connection.sni", "remote.ip", "experimental.x"] {
        let parsed = authorization(when(key, "x")).unwrap();
        assert!(!parsed.rules[0].clauses[0].alternatives[0].l7.is_empty(), "{key}");
    }
}

#[test]
fn times_and_days_are_plain() {
    let when = |key: &str, value: &str| json!({"rules": [{"when": [{"key": key, "values": [value]}]}]});
    for time in [
        "",
        "08:00",
        "8:00-18:00",
        "08:00-18",
        "08:00 - 18:00",
        "08:00-24:01",
        "24:00-08:00",
        "25:00-26:00",
        "08:60-09:00",
        "08:00-18:00-20:00",
        "+8:00-18:00",
        "*",
        "08:00:00-18:00:00",
        "-",
        "99:99-99:99",
    ] {
        check_refused(when("custom.time_of_day", time), "spec.rules[0].when[0].values[0]", "is not a span of the day");
    }
    for time in ["08:00-08:00", "00:00-00:00"] {
        check_refused(when("custom.time_of_day", time), "spec.rules[0].when[0].values[0]", "begins when it ends");
    }
    for day in ["", "Mo", "Montag", "Mon-", "Mon-Tue-Wed", "1", "weekend", "Mon,Tue", "*"] {
        check_refused(when("custom.day_of_week", day), "spec.rules[0].when[0].values[0]", "is not a day of the week");
    }
    check_refused(when("custom.time", "08:00-18:00"), "spec.rules[0].when[0].key", "not an attribute");
    let both = json!({"rules": [{"when": [{"key": "custom.day_of_week", "values": [], "notValues": ["Mon"]}]}]});
    check_refused(both, "spec.rules[0].when[0].values", "empty list");
    let parsed = authorization(when("custom.day_of_week", "sun-TUESDAY")).unwrap();
    let days: Vec<_> = parsed.rules[0].clauses[0].alternatives[0].l4.days.iter().map(ToString::to_string).collect();
    assert_eq!(days, ["Sunday", "Monday", "Tuesday"]);
}

#[test]
fn a_time_zone_is_one_of_the_database() {
    let with = |zone: &str| -> AuthorizationPolicy {
        let annotations = json!({authorization::TIMEZONE: zone});
        serde_json::from_value(
            json!({"metadata": {"name": "a", "namespace": "demo", "annotations": annotations}, "spec": {}}),
        )
        .unwrap()
    };
    assert_eq!(authorization::check_zone(&with("Europe/Vienna")), None);
    for zone in ["", "Europe/Wien", "CET-1", "+01:00", "/etc/localtime"] {
        let problem = authorization::check_zone(&with(zone)).unwrap();
        assert_eq!(problem.path, "metadata.annotations[culvert.dev/timezone]");
        assert!(problem.reason.contains("is not a time zone") && problem.mend.contains("Europe/Vienna"), "{problem}");
    }
}

#[test]
fn all_problems_are_told_at_once() {
    let spec = json!({"rules": [
        {"from": [{"source": {"ipBlocks": ["x", "y"]}}], "to": [{"operation": {"ports": ["z"]}}]},
        {"when": [{"key": "what", "values": ["x"]}]},
    ]});
    assert_eq!(authorization(spec).unwrap_err().len(), 4);
}

#[test]
fn peer_authentications() {
    let parse = |spec| {
        let value = json!({"metadata": {"name": "a", "namespace": "demo"}, "spec": spec});
        peer::parse(&serde_json::from_value::<PeerAuthentication>(value).unwrap())
    };
    let ports = json!({"8080": {"mode": "STRICT"}});
    let good = parse(json!({"selector": {"matchLabels": {"a": "b"}}, "portLevelMtls": ports})).unwrap();
    assert_eq!(
        (good.mode, good.ports.into_iter().collect::<Vec<_>>()),
        (peer::Mode::Unset, vec![(8080, peer::Mode::Strict)])
    );
    for (spec, path) in [
        (json!({"portLevelMtls": ports}), "spec.portLevelMtls"),
        (json!({"selector": {"matchLabels": {}}, "portLevelMtls": ports}), "spec.portLevelMtls"),
        (json!({"selector": {"matchLabels": {"a": "b"}}, "portLevelMtls": {"0": {}}}), "spec.portLevelMtls[0]"),
        (json!({"selector": {"matchLabels": {"a": "b"}}, "portLevelMtls": {"x": {}}}), "spec.portLevelMtls[x]"),
        (json!({"selector": {"matchLabels": {"": "b"}}}), "spec.selector.matchLabels[]"),
    ] {
        let problems = parse(spec).unwrap_err();
        assert!(problems.iter().any(|p| p.path == path), "{path}: {problems:?}");
    }
}
