//! Which policies a workload refers to by name.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::control::index::Index;
use crate::kube::types::meta::StringMap;
use crate::model::name::NamespacedName;
use crate::model::policy::Policy;

use super::peer::Peers;
use super::status::Status;
use super::{Settings, authorization};

/// All policies, and the selectors by which workloads come to them.
pub(super) struct Attachments {
    policies: Vec<Policy>,
    /// Namespace of the policy → its selectors, in order of keys.
    selectors: BTreeMap<Arc<str>, Vec<(StringMap, NamespacedName)>>,
    peers: Peers,
    settings: Settings,
}

// === impl Attachments ===

impl Attachments {
    pub(super) fn build(index: &Index, settings: &Settings, statuses: &mut Vec<Status>) -> Self {
        let mut policies = Vec::new();
        let mut selectors: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for (key, object) in &index.authorization_policies {
            let converted = authorization::convert(key, object, settings);
            statuses.extend(converted.statuses);
            let Some(policy) = converted.policy else { continue };
            policies.push(policy);
            if let Some(labels) = converted.selector {
                selectors.entry(Arc::clone(&key.namespace)).or_default().push((labels, key.clone()));
            }
        }
        let peers = Peers::build(&index.peer_authentications, settings, statuses);
        policies.extend(peers.policies(settings));
        Self { policies, selectors, peers, settings: settings.clone() }
    }

    /// AuthorizationPolicies whose selector matches, of the workload's namespace and of the root
    /// namespace, by key; then what PeerAuthentication demands.
    pub(super) fn keys_for(&self, namespace: &str, labels: &StringMap) -> Vec<NamespacedName> {
        let root: &str = &self.settings.root_namespace;
        let root = (root != namespace).then_some(root);
        let candidates =
            [Some(namespace), root].into_iter().flatten().filter_map(|ns| self.selectors.get(ns)).flatten();
        let matching = candidates.filter(|(selector, _)| selects(selector, labels)).map(|(_, key)| key.clone());
        let mut keys: Vec<_> = matching.collect();
        keys.sort();
        keys.extend(self.peers.key_for(namespace, labels, &self.settings));
        keys
    }

    pub(super) fn into_policies(self) -> Vec<Policy> {
        self.policies
    }
}

/// True when every label of the selector is there with that value.
pub(super) fn selects(selector: &StringMap, labels: &StringMap) -> bool {
    selector.iter().all(|(key, value)| labels.get(key) == Some(value))
}
