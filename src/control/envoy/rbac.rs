//! Policies as Envoy's RBAC.
//!
//! Envoy knows permissions (what is done) and principals (who does it); a policy of its holds when
//! one of each does. A rule of ours becomes one of each.

use serde_json::{Map, Value, json};

use super::extension::{PEER, REMOTE_ADDRESS, config};
use super::originate::block;
use super::rules::{Condition, Operation, PathMatch, Policy, Rule};
use crate::model::policy::{Action, Match, ServiceAccountMatch, StringMatch};

/// What the filter sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layer {
    Http,
    /// Bytes: an ALLOW rule with a part that speaks of requests never matches, a DENY rule loses
    /// that part and denies more.
    Tcp,
}

/// The rules of the filters that a chain needs, in the order in which Istio judges: DENY, then ALLOW.
pub(super) fn filters(policies: &[&Policy], layer: Layer) -> Vec<Value> {
    let mut filters = Vec::new();
    for (action, word) in [(Action::Deny, "DENY"), (Action::Allow, "ALLOW")] {
        let mut of_action = policies.iter().filter(|policy| policy.action == action).peekable();
        if of_action.peek().is_none() {
            continue;
        }
        let mut rules = Map::new();
        for policy in of_action {
            for (number, rule) in policy.rules.iter().enumerate() {
                if let Some(rule) = judged(rule, action, layer) {
                    rules.insert(format!("{} rule {number}", policy.key), rule);
                }
            }
        }
        // Without a rule DENY refuses nothing and ALLOW everything.
        if action == Action::Allow || !rules.is_empty() {
            filters.push(json!({"action": word, "policies": rules}));
        }
    }
    filters
}

fn judged(rule: &Rule, action: Action, layer: Layer) -> Option<Value> {
    let (mut permissions, mut principals) = (Vec::new(), Vec::new());
    let loses = |is_http: bool| is_http && layer == Layer::Tcp;
    let http = rule.to.iter().any(Operation::is_http)
        || rule.when.iter().any(|condition| matches!(condition, Condition::Header { .. }));
    if loses(http) && action == Action::Allow {
        return None;
    }
    if !rule.to.is_empty() {
        permissions.push(any_of("or_rules", "rules", rule.to.iter().map(|to| operation(to, layer)).collect()));
    }
    if !rule.from.is_empty() {
        principals.push(any_of(
            "or_ids",
            "ids",
            rule.from.iter().map(|from| all_of("and_ids", "ids", source(from))).collect(),
        ));
    }
    for condition in &rule.when {
        match condition {
            Condition::L4(l4) => {
                permissions.extend(destination(l4));
                principals.extend(source(l4));
            }
            Condition::Header { .. } if loses(true) => {}
            Condition::Header { name, values, not_values } => {
                let header = |value: &StringMatch| header(name, value, false);
                principals.extend(both("or_ids", "ids", "not_id", values, not_values, header));
            }
        }
    }
    let permissions = all_of("and_rules", "rules", permissions);
    Some(json!({"permissions": [permissions], "principals": [all_of("and_ids", "ids", principals)]}))
}

fn operation(to: &Operation, layer: Layer) -> Value {
    let mut parts = destination(&to.l4);
    if layer == Layer::Http {
        let host = |value: &StringMatch| header(":authority", value, true);
        let method = |value: &StringMatch| header(":method", value, false);
        parts.extend(both("or_rules", "rules", "not_rule", &to.hosts, &to.not_hosts, host));
        parts.extend(both("or_rules", "rules", "not_rule", &to.methods, &to.not_methods, method));
        parts.extend(both("or_rules", "rules", "not_rule", &to.paths, &to.not_paths, path));
    }
    all_of("and_rules", "rules", parts)
}

fn destination(l4: &Match) -> Vec<Value> {
    let ip = |net: &ipnet::IpNet| json!({"destination_ip": net_block(net)});
    let port = |port: &u16| json!({"destination_port": port});
    let mut parts = both("or_rules", "rules", "not_rule", &l4.destination_ips, &l4.not_destination_ips, ip);
    parts.extend(both("or_rules", "rules", "not_rule", &l4.destination_ports, &l4.not_destination_ports, port));
    parts
}

fn source(l4: &Match) -> Vec<Value> {
    // Envoy's own `remote_ip` believes X-Forwarded-For, and `direct_remote_ip` is the internal connection's.
    let ip = |net: &ipnet::IpNet| json!({"filter_state": {"key": REMOTE_ADDRESS, "address_match": {"ranges": [net_block(net)]}}});
    let mut parts = both("or_ids", "ids", "not_id", &l4.namespaces, &l4.not_namespaces, namespace);
    parts.extend(both("or_ids", "ids", "not_id", &l4.principals, &l4.not_principals, principal));
    parts.extend(both("or_ids", "ids", "not_id", &l4.service_accounts, &l4.not_service_accounts, account));
    parts.extend(both("or_ids", "ids", "not_id", &l4.source_ips, &l4.not_source_ips, ip));
    parts
}

fn net_block(net: &ipnet::IpNet) -> Value {
    let mut value = block(net.addr());
    value["prefix_len"] = net.prefix_len().into();
    value
}

fn path(path: &PathMatch) -> Value {
    match path {
        PathMatch::Text(text) => json!({"url_path": {"path": text_matcher(text)}}),
        PathMatch::Template(template) => json!({"uri_template": {
            "name": "envoy.path.match.uri_template.uri_template_matcher",
            "typed_config": config(
                "path.match.uri_template.v3.UriTemplateMatchConfig",
                json!({"path_template": template}),
            ),
        }}),
    }
}

fn header(name: &str, value: &StringMatch, ignore_case: bool) -> Value {
    if *value == StringMatch::Presence {
        return json!({"header": {"name": name, "present_match": true}});
    }
    let mut matcher = text_matcher(value);
    if ignore_case {
        matcher["ignore_case"] = true.into();
    }
    json!({"header": {"name": name, "string_match": matcher}})
}

fn text_matcher(value: &StringMatch) -> Value {
    match value {
        StringMatch::Exact(text) => json!({"exact": text}),
        StringMatch::Prefix(text) => json!({"prefix": text}),
        StringMatch::Suffix(text) => json!({"suffix": text}),
        StringMatch::Presence => pattern(".+"),
    }
}

fn principal(value: &StringMatch) -> Value {
    peer(match value {
        StringMatch::Exact(text) => json!({"exact": format!("spiffe://{text}")}),
        StringMatch::Prefix(text) => json!({"prefix": format!("spiffe://{text}")}),
        // Not Envoy's suffix: it could begin inside of the scheme.
        StringMatch::Suffix(text) => pattern(&format!("spiffe://.*{}", escaped(text))),
        StringMatch::Presence => json!({"prefix": "spiffe://"}),
    })
}

fn namespace(value: &StringMatch) -> Value {
    let namespace = match value {
        StringMatch::Exact(text) => escaped(text),
        StringMatch::Prefix(text) => format!("{}[^/]*", escaped(text)),
        StringMatch::Suffix(text) => format!("[^/]*{}", escaped(text)),
        StringMatch::Presence => "[^/]+".to_owned(),
    };
    peer(pattern(&format!("spiffe://[^/]+/ns/{namespace}/sa/[^/]+")))
}

fn account(value: &ServiceAccountMatch) -> Value {
    let ServiceAccountMatch { namespace, service_account } = value;
    peer(pattern(&format!("spiffe://[^/]+/ns/{}/sa/{}", escaped(namespace), escaped(service_account))))
}

/// The identity that the caller proved to the waypoint.
fn peer(matcher: Value) -> Value {
    json!({"filter_state": {"key": PEER, "string_match": matcher}})
}

/// RE2, of the whole string.
fn pattern(regex: &str) -> Value {
    json!({"safe_regex": {"regex": regex}})
}

/// A text as a pattern of itself: RE2 takes a backslash before any ASCII that is no letter or digit.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_ascii() && !c.is_ascii_alphanumeric() && c != '_' {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

/// One of `yes`, unless it is empty, and none of `no`.
fn both<T>(or: &str, list: &str, not: &str, yes: &[T], no: &[T], matcher: impl Fn(&T) -> Value) -> Vec<Value> {
    let mut parts = Vec::new();
    if !yes.is_empty() {
        parts.push(any_of(or, list, yes.iter().map(&matcher).collect()));
    }
    if !no.is_empty() {
        parts.push(json!({(not): any_of(or, list, no.iter().map(&matcher).collect())}));
    }
    parts
}

fn any_of(or: &str, list: &str, parts: Vec<Value>) -> Value {
    one_or(parts, |parts| json!({(or): {(list): parts}}))
}

fn all_of(and: &str, list: &str, parts: Vec<Value>) -> Value {
    one_or(parts, |parts| json!({(and): {(list): parts}}))
}

/// A single part stands for itself; no part is always true.
fn one_or(mut parts: Vec<Value>, several: impl FnOnce(Vec<Value>) -> Value) -> Value {
    match parts.len() {
        0 => json!({"any": true}),
        1 => parts.swap_remove(0),
        _ => several(parts),
    }
}

#[cfg(test)]
mod tests;
