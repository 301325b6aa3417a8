//! What there is: the workloads that policies speak of, arranged for the questions of the checks.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crate::control::index::{Index, IndexedPod};
use crate::control::policy::authorization::{self, Authorization, split_selector};
use crate::control::project::{Projection, Settings};
use crate::kube::types::AuthorizationPolicy;
use crate::kube::types::gateway::GATEWAY_NAME;
use crate::kube::types::meta::StringMap;
use crate::model::membership::{Membership, OutReason};
use crate::model::name::NamespacedName;
use crate::model::policy::Policy;
use crate::model::workload::{Tunnel, Workload};

use super::Object;

/// The facts that checks ask for.
pub(super) struct World<'a> {
    pub index: &'a Index,
    pub projection: &'a Projection,
    pub settings: &'a Settings,
    pub policies: Vec<Authored<'a>>,
    /// Namespace → service account → whether some workload with it has an identity.
    accounts: BTreeMap<&'a str, BTreeMap<&'a str, bool>>,
    /// By UID.
    workloads: BTreeMap<&'a str, &'a Workload>,
    addresses: BTreeSet<IpAddr>,
}

/// An AuthorizationPolicy in its three forms.
pub(super) struct Authored<'a> {
    pub key: &'a NamespacedName,
    pub object: &'a AuthorizationPolicy,
    /// `None` when a value of it cannot be read.
    pub parsed: Option<Authorization>,
    /// `None` when nothing of it is judged at L4.
    pub policy: Option<&'a Policy>,
}

/// What a policy can cover.
#[derive(Clone, Copy)]
pub(super) struct Covered<'a> {
    pub pod: &'a IndexedPod,
    /// `None` before it has an address.
    pub workload: Option<&'a Workload>,
    pub membership: Membership,
}

// === impl World ===

impl<'a> World<'a> {
    pub(super) fn of(index: &'a Index, projection: &'a Projection, settings: &'a Settings) -> Self {
        let by_key: BTreeMap<_, _> = projection.policies.iter().map(|policy| (&policy.key, policy)).collect();
        let policies = index.authorization_policies.iter().map(|(key, object)| Authored {
            key,
            object,
            parsed: authorization::parse(object).ok(),
            policy: by_key.get(key).copied(),
        });
        let mut accounts: BTreeMap<&str, BTreeMap<&str, bool>> = BTreeMap::new();
        let mut account = |namespace, name, has_identity: bool| {
            *accounts.entry(namespace).or_default().entry(name).or_default() |= has_identity;
        };
        for workload in &projection.workloads {
            let has_identity = workload.tunnel == Tunnel::Hbone || workload.native_tunnel;
            account(&workload.namespace, &workload.service_account, has_identity);
        }
        for indexed in index.pods.values().filter(|indexed| !indexed.pod.finished) {
            let pod = &indexed.pod;
            account(&pod.key.namespace, &pod.service_account, may_have_identity(index.membership(pod), indexed));
        }
        Self {
            index,
            projection,
            settings,
            policies: policies.collect(),
            accounts,
            workloads: projection.workloads.iter().map(|w| (&*w.uid, w)).collect(),
            addresses: projection.workloads.iter().flat_map(|w| w.addresses.iter().copied()).collect(),
        }
    }

    pub(super) fn has_workloads(&self) -> bool {
        !self.accounts.is_empty()
    }

    /// Service accounts of a namespace's workloads, each with whether one that has it has an identity.
    pub(super) fn accounts(&self, namespace: &str) -> Option<&BTreeMap<&'a str, bool>> {
        self.accounts.get(namespace)
    }

    /// Namespaces with workloads, in order.
    pub(super) fn inhabited(&self) -> impl Iterator<Item = &'a str> {
        self.accounts.keys().copied()
    }

    pub(super) fn is_declared(&self, namespace: &str) -> bool {
        self.index.namespaces.contains_key(namespace)
    }

    /// Names of all namespaces, declared or inhabited.
    pub(super) fn namespaces(&self) -> impl Iterator<Item = &'a str> {
        let declared = self.index.namespaces.keys().map(|name| &**name);
        self.inhabited().chain(declared)
    }

    /// Every account that has an identity.
    pub(super) fn identities(&self) -> impl Iterator<Item = (&'a str, &'a str)> {
        let all = self.accounts.iter().flat_map(|(namespace, names)| names.iter().map(move |name| (*namespace, name)));
        all.filter(|(_, (_, has_identity))| **has_identity).map(|(namespace, (name, _))| (namespace, *name))
    }

    pub(super) fn is_address(&self, address: IpAddr) -> bool {
        self.addresses.contains(&address)
    }

    fn workload_of(&self, pod: &NamespacedName) -> Option<&'a Workload> {
        let uid = format!("{}//Pod/{pod}", self.settings.cluster);
        self.workloads.get(uid.as_str()).copied()
    }

    /// The pods of a selector: those of the object's own namespace, or of all when it is the root
    /// namespace. Pods that have finished are covered by nothing.
    pub(super) fn covered(&self, namespace: &str, selector: Option<&StringMap>) -> Vec<Covered<'a>> {
        let everywhere = *self.settings.root_namespace == *namespace;
        let pods = self.index.pods.values().filter(|indexed| {
            let labels = &indexed.object.metadata.labels;
            (everywhere || *indexed.pod.key.namespace == *namespace)
                && selector.is_none_or(|selector| selector.iter().all(|(key, value)| labels.get(key) == Some(value)))
        });
        let covered = pods.map(|pod| Covered {
            pod,
            workload: self.workload_of(&pod.pod.key),
            membership: self.index.membership(&pod.pod),
        });
        // The label `none` hides that a pod has finished.
        covered.filter(|covered| !covered.pod.pod.finished).collect()
    }
}

// === impl Authored ===

impl<'a> Authored<'a> {
    pub(super) fn name(&self) -> Object {
        Object::new("AuthorizationPolicy", self.key)
    }

    pub(super) fn has_targets(&self) -> bool {
        self.object.spec.target_ref.is_some() || self.object.spec.target_refs.is_some()
    }

    pub(super) fn selector(&self) -> Option<StringMap> {
        split_selector(self.object.spec.selector.as_ref()).0
    }

    pub(super) fn covered(&self, world: &World<'a>) -> Vec<Covered<'a>> {
        world.covered(&self.key.namespace, self.selector().as_ref())
    }
}

/// False only when it is sure that peers see no identity of it.
fn may_have_identity(membership: Membership, pod: &IndexedPod) -> bool {
    match membership {
        // A sidecar speaks for its pod, and a pod without an address will have one.
        Membership::In(_) | Membership::Out(OutReason::Sidecar | OutReason::NoAddress) => true,
        Membership::Out(
            OutReason::Finished | OutReason::HostNetwork | OutReason::NoLabel | OutReason::PodLabelNone,
        ) => is_gateway(pod),
    }
}

/// A waypoint or gateway, which terminates tunnels itself and is captured by nobody.
pub(super) fn is_gateway(pod: &IndexedPod) -> bool {
    pod.object.metadata.labels.contains_key(GATEWAY_NAME)
}
