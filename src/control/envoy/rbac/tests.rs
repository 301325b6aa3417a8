use serde_json::json;

use super::*;
use crate::control::envoy::rules;

fn policy(name: &str, spec: Value) -> Policy {
    let object = json!({"metadata": {"name": name, "namespace": "demo"}, "spec": spec});
    rules::read(&serde_json::from_value(object).unwrap()).unwrap()
}

fn rendered(policies: &[Policy], layer: Layer) -> Vec<Value> {
    filters(&policies.iter().collect::<Vec<_>>(), layer)
}

const PORT: fn(&str) -> Value = |port| json!({"rules": [{"to": [{"operation": {"ports": [port]}}]}]});

#[test]
fn deny_is_judged_before_allow() {
    let mut deny = PORT("81");
    deny["action"] = "DENY".into();
    let policies = [policy("a", PORT("80")), policy("b", deny), policy("c", PORT("82"))];
    let one = |port: u16| json!({"permissions": [{"destination_port": port}], "principals": [{"any": true}]});
    let expected = [
        json!({"action": "DENY", "policies": {"demo/b rule 0": one(81)}}),
        json!({"action": "ALLOW", "policies": {"demo/a rule 0": one(80), "demo/c rule 0": one(82)}}),
    ];
    for layer in [Layer::Http, Layer::Tcp] {
        assert_eq!(rendered(&policies, layer), expected);
    }
    assert_eq!(rendered(&[], Layer::Http), [Value::Null; 0]);
}

#[test]
fn without_a_rule_allow_refuses_all_and_deny_nothing() {
    for layer in [Layer::Http, Layer::Tcp] {
        assert_eq!(rendered(&[policy("a", json!({}))], layer), [json!({"action": "ALLOW", "policies": {}})]);
        assert_eq!(rendered(&[policy("a", json!({"action": "DENY"}))], layer), [Value::Null; 0]);
    }
}

#[test]
fn bytes_never_match_what_speaks_of_requests() {
    let header = json!({"key": "request.headers[a]", "values": ["b"]});
    let spec = |action: &str| {
        json!({"action": action, "rules": [
            {"to": [{"operation": {"methods": ["GET"], "ports": ["80"]}}]},
            {"when": [header, {"key": "destination.port", "values": ["81"]}]},
            {"to": [{"operation": {"paths": ["/a"]}}]},
            {"to": [{"operation": {"ports": ["82"]}}]},
        ]})
    };
    let port = |port: u16| json!({"permissions": [{"destination_port": port}], "principals": [{"any": true}]});
    let any = json!({"permissions": [{"any": true}], "principals": [{"any": true}]});
    let allow = json!({"action": "ALLOW", "policies": {"demo/a rule 3": port(82)}});
    let deny = json!({"action": "DENY", "policies": {
        "demo/a rule 0": port(80), "demo/a rule 1": port(81), "demo/a rule 2": any, "demo/a rule 3": port(82),
    }});
    assert_eq!(rendered(&[policy("a", spec("ALLOW"))], Layer::Tcp), [allow]);
    assert_eq!(rendered(&[policy("a", spec("DENY"))], Layer::Tcp), [deny]);
}

/// Each field by itself, in Envoy's words.
#[test]
fn fields() {
    let from = |source: Value| json!({"from": [{"source": source}]});
    let to = |operation: Value| json!({"to": [{"operation": operation}]});
    let when = |key: &str, values: Value| json!({"when": [{"key": key, "values": values}]});
    let peer = |matcher: Value| json!({"filter_state": {"key": "io.istio.peer_principal", "string_match": matcher}});
    let regex = |regex: &str| json!({"safe_regex": {"regex": regex}});
    let any = || json!({"any": true});
    for (rule, permission, principal) in [
        (json!({}), any(), any()),
        (from(json!({"principals": ["td/ns/a/sa/b"]})), any(), peer(json!({"exact": "spiffe://td/ns/a/sa/b"}))),
        (from(json!({"principals": ["td/*"]})), any(), peer(json!({"prefix": "spiffe://td/"}))),
        (from(json!({"principals": ["*/sa/b"]})), any(), peer(regex(r"spiffe://.*\/sa\/b"))),
        (from(json!({"principals": ["*"]})), any(), peer(json!({"prefix": "spiffe://"}))),
        (from(json!({"namespaces": ["a-b"]})), any(), peer(regex(r"spiffe://[^/]+/ns/a\-b/sa/[^/]+"))),
        (from(json!({"namespaces": ["a*"]})), any(), peer(regex("spiffe://[^/]+/ns/a[^/]*/sa/[^/]+"))),
        (from(json!({"namespaces": ["*b"]})), any(), peer(regex("spiffe://[^/]+/ns/[^/]*b/sa/[^/]+"))),
        (from(json!({"serviceAccounts": ["b"]})), any(), peer(regex("spiffe://[^/]+/ns/demo/sa/b"))),
        (
            from(json!({"notIpBlocks": ["10.0.0.0/8"], "ipBlocks": ["fd00::1", "1.2.3.4"]})),
            any(),
            json!({"and_ids": {"ids": [
                {"or_ids": {"ids": [
                    {"filter_state": {
                        "key": "envoy.filters.listener.original_dst.remote_ip", "address_match": {"ranges": [{"address_prefix": "fd00::1", "prefix_len": 128}]},
                    }},
                    {"filter_state": {
                        "key": "envoy.filters.listener.original_dst.remote_ip", "address_match": {"ranges": [{"address_prefix": "1.2.3.4", "prefix_len": 32}]},
                    }},
                ]}},
                {"not_id": {"filter_state": {
                        "key": "envoy.filters.listener.original_dst.remote_ip", "address_match": {"ranges": [{"address_prefix": "10.0.0.0", "prefix_len": 8}]},
                    }}},
            ]}}),
        ),
        (
            to(json!({"hosts": ["A.b"]})),
            json!({"header": {"name": ":authority", "string_match": {"exact": "A.b", "ignore_case": true}}}),
            any(),
        ),
        (
            to(json!({"notMethods": ["GET"]})),
            json!({"not_rule": {"header": {"name": ":method", "string_match": {"exact": "GET"}}}}),
            any(),
        ),
        (to(json!({"hosts": ["*"]})), json!({"header": {"name": ":authority", "present_match": true}}), any()),
        (to(json!({"paths": ["/a*"]})), json!({"url_path": {"path": {"prefix": "/a"}}}), any()),
        (to(json!({"paths": ["*"]})), json!({"url_path": {"path": regex(".+")}}), any()),
        (
            when("destination.ip", json!(["10.0.0.1"])),
            json!({"destination_ip": {"address_prefix": "10.0.0.1", "prefix_len": 32}}),
            any(),
        ),
        (
            when("request.headers[X-A]", json!(["*b"])),
            any(),
            json!({"header": {"name": "x-a", "string_match": {"suffix": "b"}}}),
        ),
    ] {
        let filters = rendered(&[policy("a", json!({"rules": [rule]}))], Layer::Http);
        let found = &filters[0]["policies"]["demo/a rule 0"];
        assert_eq!(found, &json!({"permissions": [permission], "principals": [principal]}), "{rule}");
    }
}
