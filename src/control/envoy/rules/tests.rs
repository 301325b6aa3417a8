use serde_json::json;

use super::*;

fn rules(spec: serde_json::Value) -> Result<Policy, Vec<Problem>> {
    let object = json!({"metadata": {"name": "a", "namespace": "demo"}, "spec": spec});
    read(&serde_json::from_value(object).unwrap())
}

#[test]
fn what_cannot_be_expressed_is_named() {
    let source = |field: &str, values: &[&str]| json!({"rules": [{"from": [{"source": {field: values}}]}]});
    let to = |field: &str, value: &str| json!({"rules": [{}, {"to": [{"operation": {field: [value]}}]}]});
    let when = |key: &str| json!({"rules": [{"when": [{"key": key, "values": ["10.0.0.1"]}]}]});
    let time = json!({"rules": [{"when": [{"key": "custom.time_of_day", "values": ["08:00-18:00"]}]}]});
    for (spec, path) in [
        (json!({"action": "AUDIT"}), "spec.action"),
        (json!({"action": "CUSTOM", "provider": {"name": "x"}}), "spec.action"),
        (source("remoteIpBlocks", &["10.0.0.1"]), "spec.rules[0].from[0].source.remoteIpBlocks"),
        (source("notRemoteIpBlocks", &["10.0.0.1"]), "spec.rules[0].from[0].source.notRemoteIpBlocks"),
        (source("requestPrincipals", &["*"]), "spec.rules[0].from[0].source.requestPrincipals"),
        (source("notRequestPrincipals", &["*"]), "spec.rules[0].from[0].source.notRequestPrincipals"),
        (source("ipBlocks", &["x"]), "spec.rules[0].from[0].source.ipBlocks[0]"),
        (to("methods", ""), "spec.rules[1].to[0].operation.methods[0]"),
        (to("notHosts", "a*b"), "spec.rules[1].to[0].operation.notHosts[0]"),
        (to("paths", "*a*"), "spec.rules[1].to[0].operation.paths[0]"),
        (to("paths", "/a{*}"), "spec.rules[1].to[0].operation.paths[0]"),
        (to("paths", "/{**}/{*}"), "spec.rules[1].to[0].operation.paths[0]"),
        (to("paths", "/{name}"), "spec.rules[1].to[0].operation.paths[0]"),
        (to("notPaths", "{*}"), "spec.rules[1].to[0].operation.notPaths[0]"),
        (when("remote.ip"), "spec.rules[0].when[0].key"),
        (time, "spec.rules[0].when[0].key"),
        (when("connection.sni"), "spec.rules[0].when[0].key"),
        (when("request.auth.claims[a]"), "spec.rules[0].when[0].key"),
        (when("experimental.envoy.filters.x"), "spec.rules[0].when[0].key"),
        (when("request.headers[:path]"), "spec.rules[0].when[0].key"),
        (when("request.headers[a b]"), "spec.rules[0].when[0].key"),
    ] {
        let problems = rules(spec.clone()).expect_err(&spec.to_string());
        assert!(problems.iter().any(|p| p.path == path && !p.mend.is_empty()), "{path} is not in {problems:?}");
    }
}

#[test]
fn every_part_keeps_its_place() {
    let policy = rules(json!({"action": "DENY", "rules": [{
        "from": [{"source": {"namespaces": ["a"]}}, {"source": {"principals": ["b*"]}}],
        "to": [{"operation": {"methods": ["GET"], "ports": ["80"]}}, {"operation": {"notPaths": ["/x/{*}/{**}", "/y*"]}}],
        "when": [{"key": "request.headers[X-A]", "notValues": ["*z"]}, {"key": "destination.port", "values": ["81"]}],
    }]}))
    .unwrap();
    let text = |text: &str| StringMatch::parse(text);
    let expected = Rule {
        from: vec![
            Match { namespaces: vec![text("a")], ..Match::default() },
            Match { principals: vec![text("b*")], ..Match::default() },
        ],
        to: vec![
            Operation {
                l4: Match { destination_ports: vec![80], ..Match::default() },
                methods: vec![text("GET")],
                ..Operation::default()
            },
            Operation {
                not_paths: vec![PathMatch::Template("/x/*/**".into()), PathMatch::Text(text("/y*"))],
                ..Operation::default()
            },
        ],
        when: vec![
            Condition::Header { name: "x-a".into(), values: Vec::new(), not_values: vec![text("*z")] },
            Condition::L4(Box::new(Match { destination_ports: vec![81], ..Match::default() })),
        ],
    };
    assert_eq!((policy.action, &policy.rules), (Action::Deny, &vec![expected]));
    assert!(policy.looks_at_paths());
}

#[test]
fn what_is_refused_is_closed() {
    for (action, expected, rules) in [
        (types::Action::Allow, Action::Allow, vec![]),
        (types::Action::Audit, Action::Deny, vec![]),
        (types::Action::Custom, Action::Deny, vec![Rule::default()]),
        (types::Action::Deny, Action::Deny, vec![Rule::default()]),
    ] {
        let closed = Policy::closed(NamespacedName::new("demo", "a"), action);
        assert_eq!((closed.action, closed.rules), (expected, rules), "{action:?}");
    }
}
