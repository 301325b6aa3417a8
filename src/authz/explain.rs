//! The words for a refusal: which policy, which rule, which attribute, and what it was.

use std::fmt::{self, Formatter};
use std::sync::Arc;

use crate::mesh::Compiled;
use crate::model::policy::{Clause, Group, Match};
use crate::model::timezone::LocalTime;

use super::Request;
use super::decision::Cause;
use super::matcher::{Clock, FIELDS, Facts, Field};
use super::values::{accounts, list};

/// How many ALLOW rules are looked at for the nearest one: a peer that is refused again and again must not make
/// this node read a long policy each time.
const MAX_RULES: usize = 256;

/// The ALLOW rule that came nearest to allowing.
pub(super) struct Nearest<'a> {
    pub policy: &'a Compiled,
    /// `None` when the policy has no rule at all.
    pub group: Option<&'a Group>,
}

pub(super) fn write(f: &mut Formatter<'_>, request: &Request<'_>, cause: &Cause) -> fmt::Result {
    match cause {
        Cause::Denied { policy, group } => {
            write!(f, "denied by {}", policy.key)?;
            match policy.groups.get(*group) {
                Some(group) => {
                    write!(f, " rule {}: ", group.rule)?;
                    matched(f, &Facts::of(request).to(policy, request), policy, group)
                }
                None => Ok(()),
            }
        }
        Cause::MissingPolicy(key) => {
            write!(f, "the policy {key} applies here and has not arrived; nothing is allowed until it has")
        }
        Cause::UnsentPolicy(key) => {
            write!(
                f,
                "the policy {key} applies here and was never sent; until it is, no peer without identity is allowed \
                 (plaintext)"
            )
        }
        Cause::NoneAllowed(policies) => {
            let Some(Nearest { policy, group }) = nearest(request, policies) else {
                return f.write_str("no ALLOW policy admits it");
            };
            write!(f, "no ALLOW policy admits it: {}", policy.key)?;
            match group {
                None => f.write_str(" has no rule and so allows nothing"),
                Some(group) => {
                    write!(f, " rule {} ", group.rule)?;
                    failed(f, &Facts::of(request).to(policy, request), policy, group)
                }
            }
        }
    }
}

/// Fewest clauses that fail, then fewest attributes that fail in the first of them; of equals the
/// first. Of very many rules the first [`MAX_RULES`] are compared.
pub(super) fn nearest<'a>(request: &Request<'_>, policies: &'a [Arc<Compiled>]) -> Option<Nearest<'a>> {
    let facts = Facts::of(request);
    let groups = policies.iter().flat_map(|policy| {
        let facts = facts.to(policy, request);
        policy.groups.iter().map(move |group| (policy, group, facts))
    });
    let best = groups.take(MAX_RULES).min_by_key(|(_, group, facts)| {
        let mut failing = group.clauses.iter().filter(|clause| !facts.clause(clause));
        let first =
            failing.next().and_then(|clause| closest(facts, clause)).map_or(0, |m| failing_fields(facts, m).count());
        (failing.count(), first)
    });
    match best {
        Some((policy, group, _)) => Some(Nearest { policy, group: Some(group) }),
        None => policies.first().map(|policy| Nearest { policy, group: None }),
    }
}

/// The attributes that made a DENY fire: those of the first match of each clause that holds.
fn matched(f: &mut Formatter<'_>, facts: &Facts<'_>, policy: &Compiled, group: &Group) -> fmt::Result {
    let holding = group.clauses.iter().filter_map(|clause| clause.matches.iter().find(|m| facts.matches(m)));
    let fields = holding.flat_map(|m| FIELDS.into_iter().filter(|field| is_set(*field, m)));
    let mut told: Vec<Attribute> = Vec::new();
    for attribute in fields.map(attribute) {
        if !told.contains(&attribute) {
            told.push(attribute);
        }
    }
    if told.is_empty() {
        return f.write_str("it covers every connection");
    }
    for (i, attribute) in told.into_iter().enumerate() {
        if i > 0 {
            f.write_str(", ")?;
        }
        actual(f, attribute, facts, policy)?;
    }
    Ok(())
}

/// What the nearest rule wanted of the first clause that fails, and what there was.
fn failed(f: &mut Formatter<'_>, facts: &Facts<'_>, policy: &Compiled, group: &Group) -> fmt::Result {
    let clause = group.clauses.iter().find(|clause| !facts.clause(clause));
    let Some(m) = clause.and_then(|clause| closest(facts, clause)) else {
        return f.write_str("never matches");
    };
    for (i, field) in failing_fields(facts, m).enumerate() {
        if i > 0 {
            f.write_str("; it ")?;
        }
        let (verb, values) = wanted(field, m);
        write!(f, "{verb} {values}, ")?;
        actual(f, attribute(field), facts, policy)?;
    }
    if m.is_empty() { f.write_str("never matches") } else { Ok(()) }
}

/// The match of a failing clause with the fewest failing fields.
pub(super) fn closest<'a>(facts: &Facts<'_>, clause: &'a Clause) -> Option<&'a Match> {
    clause.matches.iter().min_by_key(|m| failing_fields(facts, m).count())
}

pub(super) fn failing_fields(facts: &Facts<'_>, m: &Match) -> impl Iterator<Item = Field> {
    FIELDS.into_iter().filter(|field| !facts.field(*field, m))
}

/// What a field asks about.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Attribute {
    DestinationAddress,
    DestinationPort,
    Namespace,
    Principal,
    ServiceAccount,
    SourceAddress,
    Time,
}

pub(super) const fn attribute(field: Field) -> Attribute {
    match field {
        Field::Principals | Field::NotPrincipals => Attribute::Principal,
        Field::ServiceAccounts | Field::NotServiceAccounts => Attribute::ServiceAccount,
        Field::Namespaces | Field::NotNamespaces => Attribute::Namespace,
        Field::SourceIps | Field::NotSourceIps => Attribute::SourceAddress,
        Field::DestinationIps | Field::NotDestinationIps => Attribute::DestinationAddress,
        Field::DestinationPorts | Field::NotDestinationPorts => Attribute::DestinationPort,
        Field::Times | Field::NotTimes | Field::Days | Field::NotDays => Attribute::Time,
    }
}

/// `the peer is …`.
pub(super) fn actual(f: &mut Formatter<'_>, attribute: Attribute, facts: &Facts<'_>, policy: &Compiled) -> fmt::Result {
    match (attribute, facts.peer) {
        (Attribute::DestinationAddress, _) => write!(f, "the destination is {}", facts.destination.ip()),
        (Attribute::DestinationPort, _) => write!(f, "the port is {}", facts.destination.port()),
        (Attribute::SourceAddress, _) => write!(f, "the source is {}", facts.source),
        (Attribute::Time, _) => match facts.clock {
            Clock::At(LocalTime { minute, day }) => {
                write!(f, "the time is {day} {:02}:{:02} ({})", minute / 60, minute % 60, policy.zone)
            }
            Clock::Unknown { .. } => write!(f, "the time zone {} is not known to this release", policy.zone),
        },
        (_, None) => f.write_str("the peer has no identity (plaintext)"),
        (Attribute::Principal, Some(peer)) => write!(f, "the peer is {}", peer.principal()),
        (Attribute::Namespace | Attribute::ServiceAccount, Some(peer)) if facts.foreign => {
            write!(f, "the peer is of another mesh ({}), whose names are not this one's", peer.principal())
        }
        (Attribute::Namespace, Some(peer)) => write!(f, "the peer's namespace is {}", peer.namespace),
        (Attribute::ServiceAccount, Some(peer)) => {
            write!(f, "the peer's service account is {}/{}", peer.namespace, peer.service_account)
        }
    }
}

/// `wants principal a or b`, or `refuses principal a or b`.
pub(super) fn wanted(field: Field, m: &Match) -> (&'static str, String) {
    match field {
        Field::Principals => ("wants principal", list(&m.principals)),
        Field::NotPrincipals => ("refuses principal", list(&m.not_principals)),
        Field::ServiceAccounts => ("wants service account", accounts(&m.service_accounts)),
        Field::NotServiceAccounts => ("refuses service account", accounts(&m.not_service_accounts)),
        Field::Namespaces => ("wants namespace", list(&m.namespaces)),
        Field::NotNamespaces => ("refuses namespace", list(&m.not_namespaces)),
        Field::SourceIps => ("wants source", list(&m.source_ips)),
        Field::NotSourceIps => ("refuses source", list(&m.not_source_ips)),
        Field::DestinationIps => ("wants destination", list(&m.destination_ips)),
        Field::NotDestinationIps => ("refuses destination", list(&m.not_destination_ips)),
        Field::DestinationPorts => ("wants port", list(&m.destination_ports)),
        Field::NotDestinationPorts => ("refuses port", list(&m.not_destination_ports)),
        Field::Times => ("wants time", list(&m.times)),
        Field::NotTimes => ("refuses time", list(&m.not_times)),
        Field::Days => ("wants day", list(&m.days)),
        Field::NotDays => ("refuses day", list(&m.not_days)),
    }
}

pub(super) fn is_set(field: Field, m: &Match) -> bool {
    !wanted(field, m).1.is_empty()
}
