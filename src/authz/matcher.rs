//! Matching one group, clause, match and field against one connection.
//!
//! A peer of a federated trust domain has a principal, and neither a namespace nor a service account of this mesh.
//! A peer without an identity has no principal, namespace or service account at all. So a positive
//! list of those never holds for it, whatever the pattern (even an empty prefix), and a negative
//! list always does.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

use crate::mesh::{Asked, Compiled};
use crate::model::policy::{Action, Clause, Group, Match, Policy, ServiceAccountMatch, StringMatch};
use crate::model::schedule::{TimeRange, Weekday};
use crate::model::spiffe::Identity;
use crate::model::timezone::LocalTime;

use super::Request;

/// A request with addresses in the form in which they are compared (IPv4 as IPv4), as one policy sees it.
#[derive(Clone, Copy)]
pub(super) struct Facts<'a> {
    pub peer: Option<&'a Identity>,
    /// Its namespace and service account are names of another mesh.
    pub foreign: bool,
    pub source: IpAddr,
    pub destination: SocketAddr,
    pub clock: Clock,
}

/// What a policy's clock says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Clock {
    At(LocalTime),
    /// The policy's zone is not in this build's database. Its time conditions hold, or they do not.
    Unknown {
        holds: bool,
    },
}

/// A field of a match. The order is that of explanations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field {
    Principals,
    NotPrincipals,
    ServiceAccounts,
    NotServiceAccounts,
    Namespaces,
    NotNamespaces,
    SourceIps,
    NotSourceIps,
    DestinationIps,
    NotDestinationIps,
    DestinationPorts,
    NotDestinationPorts,
    Times,
    NotTimes,
    Days,
    NotDays,
}

/// All fields.
pub(super) const FIELDS: [Field; 16] = [
    Field::Principals,
    Field::NotPrincipals,
    Field::ServiceAccounts,
    Field::NotServiceAccounts,
    Field::Namespaces,
    Field::NotNamespaces,
    Field::SourceIps,
    Field::NotSourceIps,
    Field::DestinationIps,
    Field::NotDestinationIps,
    Field::DestinationPorts,
    Field::NotDestinationPorts,
    Field::Times,
    Field::NotTimes,
    Field::Days,
    Field::NotDays,
];

// === impl Facts ===

impl<'a> Facts<'a> {
    /// As a policy without time conditions sees it.
    pub(super) fn of(request: &Request<'a>) -> Self {
        let to = request.destination;
        Self {
            peer: request.peer,
            foreign: request.foreign,
            source: request.source.to_canonical(),
            destination: SocketAddr::new(to.ip().to_canonical(), to.port()),
            clock: Clock::Unknown { holds: false },
        }
    }

    /// As `policy` sees it. The clock is only read for policies that ask.
    pub(super) fn to(self, policy: &Compiled, request: &Request<'_>) -> Self {
        if policy.is_timed() { Self { clock: Clock::of(policy, request), ..self } } else { self }
    }

    /// The place of the first group of a policy that fires.
    pub(super) fn first(self, policy: &Compiled, request: &Request<'_>) -> Option<usize> {
        let facts = self.to(policy, request);
        let asked = Asked { peer: self.peer, source: self.source, destination: self.destination };
        policy.first(&asked, |place| policy.groups.get(place).is_some_and(|group| facts.group(group)))
    }

    /// All clauses; none is "always".
    pub(super) fn group(&self, group: &Group) -> bool {
        group.clauses.iter().all(|clause| self.clause(clause))
    }

    /// Any match. A clause without matches says nothing, and holds.
    pub(super) fn clause(&self, clause: &Clause) -> bool {
        clause.matches.is_empty() || clause.matches.iter().any(|m| self.matches(m))
    }

    /// All fields; a match without any never holds.
    pub(super) fn matches(&self, m: &Match) -> bool {
        !m.is_empty() && FIELDS.iter().all(|field| self.field(*field, m))
    }

    /// One field: absent, or one entry holds; for a `not_` field, no entry holds.
    pub(super) fn field(&self, field: Field, m: &Match) -> bool {
        match field {
            Field::Principals => any_or_empty(&m.principals, |s| self.principal(s)),
            Field::NotPrincipals => !m.not_principals.iter().any(|s| self.principal(s)),
            Field::ServiceAccounts => any_or_empty(&m.service_accounts, |s| self.service_account(s)),
            Field::NotServiceAccounts => !m.not_service_accounts.iter().any(|s| self.service_account(s)),
            Field::Namespaces => any_or_empty(&m.namespaces, |s| self.namespace(s)),
            Field::NotNamespaces => !m.not_namespaces.iter().any(|s| self.namespace(s)),
            Field::SourceIps => any_or_empty(&m.source_ips, |net| contains(net, self.source)),
            Field::NotSourceIps => !m.not_source_ips.iter().any(|net| contains(net, self.source)),
            Field::DestinationIps => any_or_empty(&m.destination_ips, |net| contains(net, self.destination.ip())),
            Field::NotDestinationIps => !m.not_destination_ips.iter().any(|net| contains(net, self.destination.ip())),
            Field::DestinationPorts => any_or_empty(&m.destination_ports, |port| *port == self.destination.port()),
            Field::NotDestinationPorts => !m.not_destination_ports.contains(&self.destination.port()),
            Field::Times => any_or_empty(&m.times, |range| self.within(range, true)),
            Field::NotTimes => !m.not_times.iter().any(|range| self.within(range, false)),
            Field::Days => any_or_empty(&m.days, |day| self.is_day(*day, true)),
            Field::NotDays => !m.not_days.iter().any(|day| self.is_day(*day, false)),
        }
    }

    /// `positive`: whether an answer of true makes the field hold.
    fn within(&self, range: &TimeRange, positive: bool) -> bool {
        match self.clock {
            Clock::At(local) => range.contains(local.minute),
            Clock::Unknown { holds } => holds == positive,
        }
    }

    fn is_day(&self, day: Weekday, positive: bool) -> bool {
        match self.clock {
            Clock::At(local) => local.day == day,
            Clock::Unknown { holds } => holds == positive,
        }
    }

    fn principal(&self, wanted: &StringMatch) -> bool {
        self.peer.is_some_and(|peer| principal_matches(wanted, peer))
    }

    /// The peer, when its names are names of this mesh. Another mesh may call a namespace what it likes; whoever means
    /// one of its accounts writes a principal, with the trust domain.
    fn of_ours(&self) -> Option<&'a Identity> {
        self.peer.filter(|_| !self.foreign)
    }

    fn namespace(&self, wanted: &StringMatch) -> bool {
        self.of_ours().is_some_and(|peer| wanted.matches(&peer.namespace))
    }

    /// The trust domain is not asked: own names and aliases of it name the same accounts.
    fn service_account(&self, wanted: &ServiceAccountMatch) -> bool {
        self.of_ours()
            .is_some_and(|peer| peer.namespace == wanted.namespace && peer.service_account == wanted.service_account)
    }
}

// === impl Clock ===

impl Clock {
    fn of(policy: &Policy, request: &Request<'_>) -> Self {
        // To the safe side: a DENY without its window denies more, an ALLOW allows less, AUDIT does nothing. A dry
        // run tells what would be, so it makes no difference.
        let unknown = Self::Unknown { holds: policy.action == Action::Deny };
        policy.zone.at(request.now).map_or(unknown, Self::At)
    }
}

fn any_or_empty<T>(list: &[T], holds: impl FnMut(&T) -> bool) -> bool {
    list.is_empty() || list.iter().any(holds)
}

fn contains(net: &IpNet, address: IpAddr) -> bool {
    match (net, address) {
        (IpNet::V4(net), IpAddr::V4(address)) => net.contains(&address),
        (IpNet::V6(net), IpAddr::V6(address)) => net.contains(&address),
        (IpNet::V4(_), IpAddr::V6(_)) | (IpNet::V6(_), IpAddr::V4(_)) => false,
    }
}

/// Compares with `<trust domain>/ns/<namespace>/sa/<service account>` without writing it down.
pub(super) fn principal_matches(wanted: &StringMatch, peer: &Identity) -> bool {
    let parts = [&*peer.trust_domain, "/ns/", &*peer.namespace, "/sa/", &*peer.service_account];
    match wanted {
        StringMatch::Exact(exact) => {
            let length: usize = parts.iter().map(|part| part.len()).sum();
            length == exact.len() && strip_prefix(exact.as_bytes(), parts.iter())
        }
        StringMatch::Prefix(prefix) => strip_prefix(prefix.as_bytes(), parts.iter()),
        // It contains `/ns/` at least.
        StringMatch::Presence => true,
        StringMatch::Suffix(suffix) => strip_suffix(suffix.as_bytes(), parts.iter().rev()),
    }
}

/// True when the parts, one after another, begin with `rest`.
fn strip_prefix<'a>(mut rest: &[u8], parts: impl Iterator<Item = &'a &'a str>) -> bool {
    for part in parts {
        let n = rest.len().min(part.len());
        if rest[..n] != part.as_bytes()[..n] {
            return false;
        }
        rest = &rest[n..];
    }
    rest.is_empty()
}

/// True when the parts, given from the last to the first, end with `rest`.
fn strip_suffix<'a>(mut rest: &[u8], parts: impl Iterator<Item = &'a &'a str>) -> bool {
    for part in parts {
        let n = rest.len().min(part.len());
        if rest[rest.len() - n..] != part.as_bytes()[part.len() - n..] {
            return false;
        }
        rest = &rest[..rest.len() - n];
    }
    rest.is_empty()
}
