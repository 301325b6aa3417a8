//! PeerAuthentication → DENY policies about peers without an identity.
//!
//! The mode of each port is computed first (port, workload, namespace, mesh; DISABLE is PERMISSIVE,
//! because HBONE is always accepted), and the policy is made from that. What is emitted and what a
//! workload refers to come from one function, so that neither can be there without the other.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::control::policy::Problem;
use crate::control::policy::peer::{self, Mode, Peer};
use crate::kube::types::PeerAuthentication;
use crate::kube::types::meta::StringMap;
use crate::model::name::NamespacedName;
use crate::model::policy::{Action, Clause, Group, Match, Policy, Scope, StringMatch};

use super::Settings;
use super::attach::selects;
use super::status::{Level, Reason, Status};

/// Name, in the root namespace, of the policy that denies every peer without an identity. No
/// Kubernetes object can have it: an underscore is not allowed there.
pub const STATIC_STRICT: &str = "istio_converted_static_strict";
/// Prefix of the names of policies made from one PeerAuthentication with ports.
pub const CONVERTED_PREFIX: &str = "converted_peer_authentication_";

/// All PeerAuthentications by the level on which they count; each list is oldest first.
#[derive(Default)]
pub(super) struct Peers {
    exist: bool,
    mesh: Vec<Peer>,
    namespaces: BTreeMap<Arc<str>, Vec<Peer>>,
    workloads: BTreeMap<Arc<str>, Vec<Peer>>,
}

/// What a workload refers to.
#[derive(Debug, PartialEq, Eq)]
enum Effect {
    /// DENY with these groups; some ports differ from the rest.
    Converted(Vec<Group>),
    /// Every port is permissive.
    Nothing,
    /// Every port is strict.
    Static,
}

const KIND: &str = "PeerAuthentication";

// === impl Peers ===

impl Peers {
    pub(super) fn build(
        objects: &BTreeMap<NamespacedName, PeerAuthentication>,
        settings: &Settings,
        statuses: &mut Vec<Status>,
    ) -> Self {
        let mut peers = Self { exist: !objects.is_empty(), ..Self::default() };
        for object in objects.values() {
            let peer = peer::parse(object).unwrap_or_else(|problems| {
                let peer = peer::closed(object);
                statuses.push(invalid(&peer.key, &problems));
                peer
            });
            let namespace = Arc::clone(&peer.key.namespace);
            match (&peer.selector, namespace == settings.root_namespace) {
                (None, true) => peers.mesh.push(peer),
                (None, false) => peers.namespaces.entry(namespace).or_default().push(peer),
                (Some(_), false) => peers.workloads.entry(namespace).or_default().push(peer),
                (Some(_), true) => statuses.push(status(
                    &peer.key,
                    Level::NotEnforced,
                    Reason::RootSelector,
                    "a selector has no meaning in the root namespace; move it to the pods' own namespace".to_owned(),
                )),
            }
        }
        let single = std::iter::once(&mut peers.mesh).chain(peers.namespaces.values_mut());
        for level in single {
            sort(level);
            report_level(level, statuses);
        }
        for level in peers.workloads.values_mut() {
            sort(level);
            for peer in level {
                statuses.push(accepted(&peer.key));
            }
        }
        peers
    }

    /// The policies that workloads may refer to.
    pub(super) fn policies(&self, settings: &Settings) -> Vec<Policy> {
        let mut policies = Vec::new();
        if self.exist {
            policies.push(deny(static_key(settings), vec![group(0, vec![vec![no_identity()]])]));
        }
        for peer in self.workloads.values().flatten() {
            if let Effect::Converted(groups) = effect(peer, self.is_strict(&peer.key.namespace)) {
                policies.push(deny(converted_key(peer), groups));
            }
        }
        policies
    }

    /// What a workload with these labels refers to.
    pub(super) fn key_for(&self, namespace: &str, labels: &StringMap, settings: &Settings) -> Option<NamespacedName> {
        let strict = self.is_strict(namespace);
        let own = self.workloads.get(namespace).into_iter().flatten();
        // The oldest wins, and each list is oldest first.
        let effect = match own.clone().find(|peer| peer.selector.as_ref().is_some_and(|s| selects(s, labels))) {
            Some(peer) => match effect(peer, strict) {
                Effect::Converted(_) => return Some(converted_key(peer)),
                effect => effect,
            },
            None if strict => Effect::Static,
            None => Effect::Nothing,
        };
        (effect == Effect::Static).then(|| static_key(settings))
    }

    /// The mode above the workload: its namespace's, else the mesh's, else PERMISSIVE.
    fn is_strict(&self, namespace: &str) -> bool {
        let mesh = resolve(self.mesh.first(), false);
        resolve(self.namespaces.get(namespace).and_then(|level| level.first()), mesh)
    }
}

fn resolve(peer: Option<&Peer>, parent: bool) -> bool {
    peer.map_or(parent, |peer| is_strict(peer.mode, parent))
}

const fn is_strict(mode: Mode, parent: bool) -> bool {
    match mode {
        Mode::Disable | Mode::Permissive => false,
        Mode::Strict => true,
        Mode::Unset => parent,
    }
}

/// What one workload-level object does below a parent's mode.
fn effect(peer: &Peer, parent: bool) -> Effect {
    let workload = is_strict(peer.mode, parent);
    let exceptions = peer.ports.iter().filter(|(_, mode)| is_strict(**mode, workload) != workload);
    let exceptions: Vec<u16> = exceptions.map(|(port, _)| *port).collect();
    if exceptions.is_empty() {
        return if workload { Effect::Static } else { Effect::Nothing };
    }
    if !workload {
        let strict = |(i, port)| group(i, vec![vec![Match { destination_ports: vec![port], ..no_identity() }]]);
        return Effect::Converted((0..).zip(exceptions).map(strict).collect());
    }
    // One group: no identity AND not this port AND not that port. As alternatives each of them
    // would deny what the others except.
    let mut clauses: Vec<Vec<Match>> = exceptions
        .into_iter()
        .map(|port| vec![Match { not_destination_ports: vec![port], ..Match::default() }])
        .collect();
    // The order is Istio's; it does not change the decision.
    let position = if peer.mode == Mode::Strict { 0 } else { clauses.len() };
    clauses.insert(position, vec![no_identity()]);
    Effect::Converted(vec![group(0, clauses)])
}

fn no_identity() -> Match {
    Match { not_principals: vec![StringMatch::Presence], ..Match::default() }
}

fn group(rule: u32, clauses: Vec<Vec<Match>>) -> Group {
    Group { rule, clauses: clauses.into_iter().map(|matches| Clause { matches }).collect() }
}

fn deny(key: NamespacedName, groups: Vec<Group>) -> Policy {
    Policy::new(key, Scope::Workload, Action::Deny, groups)
}

fn static_key(settings: &Settings) -> NamespacedName {
    NamespacedName::new(Arc::clone(&settings.root_namespace), STATIC_STRICT)
}

fn converted_key(peer: &Peer) -> NamespacedName {
    NamespacedName::new(Arc::clone(&peer.key.namespace), format!("{CONVERTED_PREFIX}{}", peer.key.name))
}

fn sort(level: &mut [Peer]) {
    level.sort_by(|a, b| (&a.created, &a.key).cmp(&(&b.created, &b.key)));
}

/// The first of a level counts, and the others are told so.
fn report_level(level: &[Peer], statuses: &mut Vec<Status>) {
    let Some((first, others)) = level.split_first() else { return };
    statuses.push(accepted(&first.key));
    for other in others {
        let message = format!("{} is older and wins; keep one of the two", first.key);
        statuses.push(status(&other.key, Level::NotEnforced, Reason::Shadowed, message));
    }
}

fn accepted(key: &NamespacedName) -> Status {
    status(key, Level::Info, Reason::Accepted, "enforced as written".to_owned())
}

fn invalid(key: &NamespacedName, problems: &[Problem]) -> Status {
    let problems: Vec<_> = problems.iter().map(ToString::to_string).collect();
    let message = format!("{}; until then it counts as STRICT", problems.join("; "));
    status(key, Level::Warning, Reason::Invalid, message)
}

fn status(key: &NamespacedName, level: Level, reason: Reason, message: String) -> Status {
    Status { kind: KIND, key: key.clone(), level, reason, message }
}
