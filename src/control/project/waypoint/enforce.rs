//! `culvert.dev/enforce-waypoint`: nobody but the waypoint may connect, in a tunnel or without one.
//!
//! A connection arrives at a pod and no longer tells which Service was called. So what may connect is asked for each
//! workload: the waypoints of everything that carries the label and leads to it. One policy a set of waypoints denies
//! all other peers; with no usable waypoint, or with none that has a pod, it denies everybody.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::kube::types::ObjectMeta;
use crate::model::name::NamespacedName;
use crate::model::policy::{Action, Clause, Group, Match, Policy, Scope, StringMatch};
use crate::model::spiffe::Identity;
use crate::model::workload::Tunnel;

use super::super::Projection;
use super::super::status::{Level, Reason, Status};
use super::apply::{Member, Object, Parties, Served};
use super::declared::Waypoints;
use super::labels;

/// Begin of the policies' names; `<namespace>_<Gateway>` of each waypoint follows. No object of Kubernetes can have an
/// underscore in its name.
const PREFIX: &str = "culvert_enforce_waypoint";

/// An object that carries the label, and what came of it.
#[derive(Default)]
struct Ground {
    waypoints: BTreeSet<NamespacedName>,
    workloads: usize,
    /// Nobody may connect to them.
    closed: usize,
    /// They are outside of the mesh.
    outside: usize,
    /// It is a service, and no waypoint takes calls to its addresses.
    is_bare: bool,
}

type Grounds = BTreeMap<(&'static str, NamespacedName), Ground>;

/// Adds the policies, attaches them, and says what came of each label.
pub(super) fn enforce(waypoints: &Waypoints<'_>, parties: &Parties<'_>, projection: &mut Projection) {
    let mut grounds = declared(waypoints, parties, &mut projection.statuses);
    let mut made: BTreeMap<NamespacedName, Policy> = BTreeMap::new();
    for member in &parties.members {
        let Some(workload) = projection.workloads.get_mut(member.workload) else { continue };
        let services = workload.services.iter().filter_map(|membership| parties.services.get(&membership.service));
        let all = of_pod(member, waypoints);
        let leading: Vec<_> =
            services.filter(|service| all.is_some() || wants(service.object.meta) == Some(true)).collect();
        let asking = leading.iter().filter(|service| wants(service.object.meta) == Some(true));
        let asking: Vec<_> =
            asking.map(|service| (service.object.kind, service.object.key.clone())).chain(all).collect();
        if asking.is_empty() {
            continue;
        }
        if member.is_instance {
            projection.statuses.extend((wants(member.object.meta) == Some(true)).then(|| on_instance(member)));
            continue;
        }
        let bounds = leading.iter().map(|service| &service.bound).chain([&member.bound]);
        let allowed: BTreeSet<_> = bounds.flat_map(|bound| &bound.usable).cloned().collect();
        let found = allowed.iter().filter_map(|key| waypoints.get(key));
        let identities: BTreeSet<_> = found.flat_map(|waypoint| &waypoint.identities).collect();
        for place in asking {
            let ground = grounds.entry(place).or_default();
            ground.workloads += 1;
            ground.closed += usize::from(identities.is_empty());
            ground.outside += usize::from(workload.tunnel == Tunnel::None || workload.native_tunnel);
            ground.waypoints.extend(allowed.iter().cloned());
        }
        let key = policy_key(&allowed, waypoints);
        workload.policies.push(key.clone());
        made.entry(key.clone()).or_insert_with(|| only(key, &identities));
    }
    projection.policies.extend(made.into_values());
    projection.statuses.extend(grounds.iter().flat_map(|((kind, key), ground)| ground.statuses(kind, key)));
}

/// Everything that carries the label, and a doubt for each value that nobody knows.
fn declared(waypoints: &Waypoints<'_>, parties: &Parties<'_>, statuses: &mut Vec<Status>) -> Grounds {
    let mut grounds = Grounds::new();
    for (name, object) in &waypoints.index.namespaces {
        let (key, meta) = (NamespacedName::new("", Arc::clone(name)), &object.metadata);
        statuses.extend(doubt(Object { kind: "Namespace", key: &key, meta }));
        if wants(meta) == Some(true) {
            grounds.insert(("Namespace", key), Ground::default());
        }
    }
    for Served { object, bound } in parties.services.values() {
        statuses.extend(doubt(*object));
        if wants(object.meta) == Some(true) {
            let ground = Ground { is_bare: bound.usable.is_empty(), ..Ground::default() };
            grounds.insert((object.kind, object.key.clone()), ground);
        }
    }
    statuses.extend(parties.members.iter().filter_map(|member| doubt(member.object)));
    grounds
}

/// The pod's own label, else its namespace's: whatever leads to the pod must be a waypoint.
fn of_pod(member: &Member<'_>, waypoints: &Waypoints<'_>) -> Option<(&'static str, NamespacedName)> {
    let namespace = &member.object.key.namespace;
    match wants(member.object.meta) {
        Some(true) => Some((member.object.kind, member.object.key.clone())),
        Some(false) => None,
        None => {
            let asks = waypoints.index.namespaces.get(namespace).and_then(|object| wants(&object.metadata))?;
            asks.then(|| ("Namespace", NamespacedName::new("", Arc::clone(namespace))))
        }
    }
}

fn doubt(object: Object<'_>) -> Option<Status> {
    let value = object.meta.labels.get(labels::ENFORCE).filter(|value| !["true", "false"].contains(&value.as_str()))?;
    Some(Status {
        kind: object.kind,
        key: object.key.clone(),
        level: Level::Warning,
        reason: Reason::Invalid,
        message: format!("{} is `{value}` and counts as true; write true or false", labels::ENFORCE),
    })
}

/// What the label says. A word that nobody knows was not written to have nothing enforced.
fn wants(meta: &ObjectMeta) -> Option<bool> {
    meta.labels.get(labels::ENFORCE).map(|value| value != "false")
}

fn policy_key(allowed: &BTreeSet<NamespacedName>, waypoints: &Waypoints<'_>) -> NamespacedName {
    let Some(first) = allowed.first() else {
        return NamespacedName::new(Arc::clone(&waypoints.settings.root_namespace), format!("{PREFIX}_none"));
    };
    let names: String = allowed.iter().map(|key| format!("_{}_{}", key.namespace, key.name)).collect();
    NamespacedName::new(Arc::clone(&first.namespace), format!("{PREFIX}{names}"))
}

/// Denies every peer that is none of these, so also a peer without an identity.
fn only(key: NamespacedName, identities: &BTreeSet<&Identity>) -> Policy {
    let exact = |identity: &&Identity| StringMatch::Exact(identity.principal().to_string().into());
    let not_principals: Vec<_> = identities.iter().map(exact).collect();
    // A group without clauses fires for everybody; a match without a field never does.
    let clauses = if not_principals.is_empty() {
        Vec::new()
    } else {
        vec![Clause { matches: vec![Match { not_principals, ..Match::default() }] }]
    };
    Policy::new(key, Scope::Workload, Action::Deny, vec![Group { rule: 0, clauses }])
}

fn on_instance(member: &Member<'_>) -> Status {
    Status {
        kind: member.object.kind,
        key: member.object.key.clone(),
        level: Level::Warning,
        reason: Reason::WaypointIgnored,
        message: format!("{} does nothing on a pod that is a waypoint's own", labels::ENFORCE),
    }
}

// === impl Ground ===

impl Ground {
    fn statuses(&self, kind: &'static str, key: &NamespacedName) -> Vec<Status> {
        let Self { waypoints, workloads, closed, outside, is_bare } = self;
        let status = |level, reason, message| Status { kind, key: key.clone(), level, reason, message };
        let mut statuses = Vec::new();
        if *outside > 0 {
            let message = format!(
                "{outside} of its {workloads} workloads are outside of the mesh, where nobody enforces {}; enrol them",
                labels::ENFORCE
            );
            statuses.push(status(Level::NotEnforced, Reason::NotEnrolled, message));
        }
        if *closed > 0 {
            let message = format!(
                "nobody may connect to {closed} of its {workloads} workloads: no waypoint with a pod is bound to them; \
                 name one with {}",
                labels::USE
            );
            statuses.push(status(Level::Warning, Reason::NoWaypointToEnforce, message));
        } else if *is_bare {
            let message = format!(
                "no usable waypoint takes calls to its addresses, so they are refused; name one with {} that is for \
                 services",
                labels::USE
            );
            statuses.push(status(Level::Warning, Reason::NoWaypointToEnforce, message));
        }
        if statuses.is_empty() {
            let names: Vec<_> = waypoints.iter().map(ToString::to_string).collect();
            let message = match names.as_slice() {
                [] => "no workload of it is in the mesh".to_owned(),
                names => format!("nobody but {} may connect to its {workloads} workloads", names.join(" and ")),
            };
            statuses.push(status(Level::Info, Reason::WaypointEnforced, message));
        }
        statuses
    }
}

#[cfg(test)]
mod tests;
