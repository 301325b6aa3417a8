//! AuthorizationPolicies as a waypoint enforces them: L4 fields and those of requests.
//!
//! What cannot be expressed for Envoy without guessing is a problem that names the field. A policy
//! with a problem is enforced closed: see [`Policy::closed`].

use crate::control::policy::Problem;
use crate::control::policy::authorization;
use crate::kube::types::AuthorizationPolicy;
use crate::kube::types::authorization as types;
use crate::model::name::NamespacedName;
use crate::model::policy::{Action, Match, StringMatch};

/// A policy that is attached to a waypoint or to a service behind one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    pub key: NamespacedName,
    pub action: Action,
    /// One must fire. Without a rule the policy never does: an ALLOW policy then refuses everything.
    pub rules: Vec<Rule>,
}

/// All three must hold; an empty list of alternatives is "any".
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rule {
    /// Alternatives, with fields of the source alone.
    pub from: Vec<Match>,
    /// Alternatives.
    pub to: Vec<Operation>,
    /// Every one must hold.
    pub when: Vec<Condition>,
}

/// What is done. All fields must hold; for each the positive list is empty or one entry holds, and
/// no entry of the `not_` list does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Operation {
    /// With fields of the destination alone.
    pub l4: Match,
    /// Against the authority, case-insensitive. A port in it counts.
    pub hosts: Vec<StringMatch>,
    pub not_hosts: Vec<StringMatch>,
    pub methods: Vec<StringMatch>,
    pub not_methods: Vec<StringMatch>,
    /// Without the query.
    pub paths: Vec<PathMatch>,
    pub not_paths: Vec<PathMatch>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathMatch {
    Text(StringMatch),
    /// Envoy's URI template: `*` is one segment, `**` all that follow.
    Template(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    L4(Box<Match>),
    Header { name: String, values: Vec<StringMatch>, not_values: Vec<StringMatch> },
}

// === impl Policy ===

impl Policy {
    /// What stands for a policy that cannot be enforced as written: everything that it covers is refused. AUDIT
    /// refuses nothing in any case.
    pub fn closed(key: NamespacedName, action: types::Action) -> Self {
        let (action, rules) = match action {
            types::Action::Allow => (Action::Allow, Vec::new()),
            types::Action::Audit => (Action::Deny, Vec::new()),
            types::Action::Custom | types::Action::Deny => (Action::Deny, vec![Rule::default()]),
        };
        Self { key, action, rules }
    }

    /// What it asks of the caller.
    pub fn callers_mut(&mut self) -> impl Iterator<Item = &mut Match> {
        self.rules.iter_mut().flat_map(|rule| {
            let when = rule.when.iter_mut().filter_map(|condition| match condition {
                Condition::L4(l4) => Some(&mut **l4),
                Condition::Header { .. } => None,
            });
            rule.from.iter_mut().chain(when)
        })
    }

    /// True when a request's path decides something.
    pub fn looks_at_paths(&self) -> bool {
        let mut operations = self.rules.iter().flat_map(|rule| &rule.to);
        operations.any(|to| !to.paths.is_empty() || !to.not_paths.is_empty())
    }
}

// === impl Operation ===

impl Operation {
    /// True when only a proxy that reads requests can judge it.
    pub fn is_http(&self) -> bool {
        *self != Self { l4: self.l4.clone(), ..Self::default() }
    }
}

/// Reads a policy. Whom it is for (`targetRefs`) and whether it is only tried out is the caller's.
///
/// # Errors
/// All that is wrong in it, or that a waypoint cannot judge.
pub fn read(object: &AuthorizationPolicy) -> Result<Policy, Vec<Problem>> {
    let parsed = authorization::parse(object)?;
    let key = NamespacedName::new(object.metadata.namespace.clone(), object.metadata.name.clone());
    let mut reader = Reader::default();
    let action = match object.spec.action {
        types::Action::Allow => Action::Allow,
        types::Action::Deny => Action::Deny,
        other => {
            let name = if other == types::Action::Audit { "AUDIT" } else { "CUSTOM" };
            let reason = format!("{name} has no counterpart in the waypoint's configuration");
            reader.problem("spec.action", reason, "use ALLOW or DENY");
            Action::Allow
        }
    };
    let rules = object.spec.rules.iter().zip(&parsed.rules).enumerate();
    let rules = rules.map(|(i, (raw, checked))| reader.rule(&format!("spec.rules[{i}]"), raw, checked)).collect();
    if reader.problems.is_empty() { Ok(Policy { key, action, rules }) } else { Err(reader.problems) }
}

/// Conditions of L4 that Envoy can judge.
const JUDGED: [&str; 6] = [
    "destination.ip",
    "destination.port",
    "source.ip",
    "source.namespace",
    "source.principal",
    "source.serviceAccount",
];

#[derive(Default)]
struct Reader {
    problems: Vec<Problem>,
}

// === impl Reader ===

impl Reader {
    fn problem(&mut self, path: impl Into<String>, reason: impl Into<String>, mend: &str) {
        self.problems.push(Problem { path: path.into(), reason: reason.into(), mend: mend.into() });
    }

    /// `checked` has the clauses of `raw` in its own order: `to`, `from`, then each `when`.
    fn rule(&mut self, path: &str, raw: &types::Rule, checked: &authorization::Rule) -> Rule {
        let mut rule = Rule::default();
        let mut clauses = checked.clauses.iter();
        if let (Some(to), Some(clause)) = (&raw.to, raw.to.as_ref().and_then(|_| clauses.next())) {
            for (to, alternative) in to.iter().zip(&clause.alternatives) {
                let path = format!("{path}.{}.operation", alternative.place);
                let raw = to.operation.clone().unwrap_or_default();
                rule.to.push(self.operation(&path, &raw, alternative.l4.clone()));
            }
        }
        if let (Some(from), Some(clause)) = (&raw.from, raw.from.as_ref().and_then(|_| clauses.next())) {
            for (from, alternative) in from.iter().zip(&clause.alternatives) {
                self.source(&format!("{path}.{}.source", alternative.place), from.source.as_ref());
                rule.from.push(alternative.l4.clone());
            }
        }
        for (condition, clause) in raw.when.iter().flatten().zip(clauses) {
            for alternative in &clause.alternatives {
                let path = format!("{path}.{}", alternative.place);
                rule.when.extend(self.condition(&path, condition, &alternative.l4));
            }
        }
        rule
    }

    /// What of a source no waypoint of ours can know.
    fn source(&mut self, path: &str, source: Option<&types::Source>) {
        const FORWARDED: (&str, &str) = (
            "needs a trusted X-Forwarded-For, and the waypoint trusts none",
            "use ipBlocks: the waypoint sees the caller's own address",
        );
        const TOKEN: (&str, &str) =
            ("needs a RequestAuthentication, which is not read", "name the caller by principals or namespaces");
        let Some(source) = source else { return };
        for (field, list, (reason, mend)) in [
            ("remoteIpBlocks", &source.remote_ip_blocks, FORWARDED),
            ("notRemoteIpBlocks", &source.not_remote_ip_blocks, FORWARDED),
            ("requestPrincipals", &source.request_principals, TOKEN),
            ("notRequestPrincipals", &source.not_request_principals, TOKEN),
        ] {
            if list.is_some() {
                self.problem(format!("{path}.{field}"), reason, mend);
            }
        }
    }

    fn operation(&mut self, path: &str, raw: &types::Operation, l4: Match) -> Operation {
        Operation {
            l4,
            hosts: self.strings(path, "hosts", raw.hosts.as_ref()),
            not_hosts: self.strings(path, "notHosts", raw.not_hosts.as_ref()),
            methods: self.strings(path, "methods", raw.methods.as_ref()),
            not_methods: self.strings(path, "notMethods", raw.not_methods.as_ref()),
            paths: self.paths(path, "paths", raw.paths.as_ref()),
            not_paths: self.paths(path, "notPaths", raw.not_paths.as_ref()),
        }
    }

    fn condition(&mut self, path: &str, raw: &types::Condition, l4: &Match) -> Option<Condition> {
        // By name: a field of `Match` that Envoy has no word for must not be lost in silence.
        if JUDGED.contains(&raw.key.as_str()) {
            return Some(Condition::L4(Box::new(l4.clone())));
        }
        let header = raw.key.strip_prefix("request.headers[").and_then(|rest| rest.strip_suffix(']'));
        let Some(name) = header else {
            let reason = format!("`{}` is not known to the waypoint", raw.key);
            self.problem(format!("{path}.key"), reason, "use source.*, destination.* or request.headers[NAME]");
            return None;
        };
        // RFC 9110 section 5.6.2; of pseudo-headers there are fields of their own.
        let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
        if !name.bytes().all(token) {
            let reason = format!("`{name}` is not the name of a header");
            self.problem(format!("{path}.key"), reason, "write it as it stands in a request");
        }
        Some(Condition::Header {
            name: name.to_ascii_lowercase(),
            values: self.strings(path, "values", raw.values.as_ref()),
            not_values: self.strings(path, "notValues", raw.not_values.as_ref()),
        })
    }

    fn strings(&mut self, path: &str, field: &str, list: Option<&Vec<String>>) -> Vec<StringMatch> {
        let list = list.into_iter().flatten().enumerate();
        list.map(|(i, text)| self.string(&format!("{path}.{field}[{i}]"), text)).collect()
    }

    /// `*` stands alone, first or last. Elsewhere Istio compares it as a letter, which nobody means.
    fn string(&mut self, path: &str, text: &str) -> StringMatch {
        let matcher = StringMatch::parse(text);
        let inner = match &matcher {
            StringMatch::Exact(inner) | StringMatch::Prefix(inner) | StringMatch::Suffix(inner) => inner,
            StringMatch::Presence => return matcher,
        };
        if text.is_empty() {
            self.problem(path, "it is empty", "write a value, or `*` for any");
        } else if inner.contains('*') {
            self.problem(path, format!("`{text}` has a `*` that is neither first nor last"), "write one `*` at an end");
        }
        matcher
    }

    fn paths(&mut self, path: &str, field: &str, list: Option<&Vec<String>>) -> Vec<PathMatch> {
        let mut all = Vec::new();
        for (i, text) in list.into_iter().flatten().enumerate() {
            let path = format!("{path}.{field}[{i}]");
            if !text.contains(['{', '}']) {
                all.push(PathMatch::Text(self.string(&path, text)));
            } else if let Some(template) = template(text) {
                all.push(PathMatch::Template(template));
            } else {
                let reason = format!("`{text}` is not a template of a path");
                self.problem(path, reason, "write `{*}` for one whole segment, `{**}` once and last");
            }
        }
        all
    }
}

/// Istio's `{*}` and `{**}` as Envoy's `*` and `**`. Whole segments, five operators at most, and `**` is the last
/// of them: what Envoy takes.
fn template(text: &str) -> Option<String> {
    let mut segments = text.strip_prefix('/')?.split('/').peekable();
    let (mut out, mut operators, mut rest) = (String::new(), 0, false);
    while let Some(segment) = segments.next() {
        let operator = match segment {
            "{*}" => "*",
            "{**}" => "**",
            literal => {
                let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~!$&'()+,;:@=%".contains(&b);
                // Envoy takes no empty segment but the last.
                let empty = literal.is_empty() && segments.peek().is_some();
                if empty || !literal.bytes().all(plain) {
                    return None;
                }
                out += &format!("/{literal}");
                continue;
            }
        };
        operators += 1;
        if rest || operators > 5 {
            return None;
        }
        rest = operator == "**";
        out += &format!("/{operator}");
    }
    Some(out)
}

#[cfg(test)]
mod tests;
