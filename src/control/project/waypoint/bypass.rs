//! Which waypoints can be gone round (pure): workloads behind one at which policy admits somebody else.
//!
//! What policy says of a peer is read off the policies and not tried with examples: an example that is refused says
//! nothing of the next one. The reading errs to one side: who is not named here cannot be gone round.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::model::name::NamespacedName;
use crate::model::policy::{Action, Clause, Group, Match, Policy, Scope, StringMatch};
use crate::model::spiffe::Identity;
use crate::model::workload::{Tunnel, Workload};

use super::super::Projection;
use super::Binding;

/// A workload that can be reached without its waypoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bypass {
    /// UID of the workload.
    pub workload: Arc<str>,
    /// What can be gone round.
    pub waypoints: Vec<NamespacedName>,
    pub why: Why,
}

/// How it can be reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// It is outside of the mesh, so nobody judges what arrives.
    Outside,
    /// Policy does not refuse every other peer.
    Open {
        /// Of the ports that policies name.
        ports: Vec<u16>,
        /// So is every port that no policy names.
        others: bool,
    },
}

/// The workloads that can be reached without the waypoint that was named for them, in order of the projection.
pub fn bypassable(projection: &Projection) -> Vec<Bypass> {
    let policies = Policies::build(&projection.policies);
    let workloads: BTreeMap<&str, &Workload> = projection.workloads.iter().map(|w| (&*w.uid, w)).collect();
    let open = |binding: &Binding| {
        let workload = workloads.get(&*binding.workload)?;
        let why = if workload.tunnel == Tunnel::None || workload.native_tunnel {
            Why::Outside
        } else {
            why(&policies.applicable(workload), &binding.identities)?
        };
        Some(Bypass { workload: Arc::clone(&binding.workload), waypoints: binding.waypoints.clone(), why })
    };
    projection.bindings.iter().filter_map(open).collect()
}

/// The ports at which somebody else is admitted. Ports that no policy names are all alike, so one stands for them.
fn why(applicable: &[&Policy], identities: &[Identity]) -> Option<Why> {
    let groups = applicable.iter().flat_map(|policy| &policy.groups);
    let matches = groups.flat_map(|group| &group.clauses).flat_map(|clause| &clause.matches);
    let named: BTreeSet<u16> =
        matches.flat_map(|m| m.destination_ports.iter().chain(&m.not_destination_ports)).copied().collect();
    let is_open = |port: &u16| !At { port: *port, identities }.is_closed(applicable);
    let ports: Vec<u16> = named.iter().copied().filter(is_open).collect();
    let others = (0..=u16::MAX).find(|port| !named.contains(port)).is_some_and(|port| is_open(&port));
    (others || !ports.is_empty()).then_some(Why::Open { ports, others })
}

/// One port, and who the waypoints are.
struct At<'a> {
    port: u16,
    identities: &'a [Identity],
}

// === impl At ===

impl At<'_> {
    /// True when no peer but the waypoints can be admitted.
    fn is_closed(&self, applicable: &[&Policy]) -> bool {
        let mut denying = applicable.iter().filter(|policy| policy.action == Action::Deny);
        if denying.any(|policy| policy.groups.iter().any(|group| self.hits_all_others(group))) {
            return true;
        }
        let mut allowing = applicable.iter().filter(|policy| policy.action == Action::Allow).peekable();
        allowing.peek().is_some() && allowing.all(|policy| policy.groups.iter().all(|group| self.hits_no_other(group)))
    }

    /// It fires whoever else connects, from wherever and whenever.
    fn hits_all_others(&self, group: &Group) -> bool {
        let all = |m: &Match| {
            let rest = Match {
                not_principals: Vec::new(),
                not_service_accounts: Vec::new(),
                destination_ports: Vec::new(),
                not_destination_ports: Vec::new(),
                ..m.clone()
            };
            // What is left out here excepts the waypoints and this port at most.
            !m.is_empty()
                && rest.is_empty()
                && self.is_port(m)
                && m.not_principals.iter().all(|principal| self.is_waypoint(principal))
                && m.not_service_accounts.iter().all(|account| {
                    self.identities.iter().any(|identity| {
                        identity.namespace == account.namespace && identity.service_account == account.service_account
                    })
                })
        };
        group.clauses.iter().all(|clause: &Clause| clause.matches.iter().any(all))
    }

    /// It fires for the waypoints alone, or for nobody.
    fn hits_no_other(&self, group: &Group) -> bool {
        let none = |m: &Match| {
            let principals = !m.principals.is_empty() && m.principals.iter().all(|p| self.is_waypoint(p));
            m.is_empty() || !self.is_port(m) || principals || self.names_accounts(m)
        };
        group.clauses.iter().any(|clause: &Clause| clause.matches.iter().all(none))
    }

    fn is_port(&self, m: &Match) -> bool {
        (m.destination_ports.is_empty() || m.destination_ports.contains(&self.port))
            && !m.not_destination_ports.contains(&self.port)
    }

    fn is_waypoint(&self, principal: &StringMatch) -> bool {
        let StringMatch::Exact(text) = principal else { return false };
        self.identities.iter().any(|identity| *identity.principal().to_string() == **text)
    }

    fn names_accounts(&self, m: &Match) -> bool {
        !m.service_accounts.is_empty()
            && m.service_accounts.iter().all(|account| {
                self.identities.iter().any(|identity| {
                    identity.namespace == account.namespace && identity.service_account == account.service_account
                })
            })
    }
}

/// Policies by scope.
#[derive(Default)]
struct Policies<'a> {
    global: Vec<&'a Policy>,
    namespaces: BTreeMap<&'a str, Vec<&'a Policy>>,
    named: BTreeMap<&'a NamespacedName, &'a Policy>,
}

// === impl Policies ===

impl<'a> Policies<'a> {
    fn build(policies: &'a [Policy]) -> Self {
        let mut built = Self::default();
        for policy in policies.iter().filter(|policy| policy.is_enforced()) {
            match policy.scope {
                Scope::Global => built.global.push(policy),
                Scope::Namespace => built.namespaces.entry(&policy.key.namespace).or_default().push(policy),
                Scope::Workload => {
                    built.named.insert(&policy.key, policy);
                }
            }
        }
        built
    }

    fn applicable(&self, workload: &Workload) -> Vec<&'a Policy> {
        let own = self.namespaces.get(&*workload.namespace).into_iter().flatten();
        let named = workload.policies.iter().filter_map(|key| self.named.get(key));
        self.global.iter().chain(own).chain(named).copied().collect()
    }
}

#[cfg(test)]
mod tests;
