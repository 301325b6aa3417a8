//! Policies by scope.

use std::collections::HashMap;
use std::sync::Arc;

use crate::model::name::NamespacedName;
use crate::model::policy::{Policy, Scope};
use crate::model::workload::Workload;

use super::compiled::Compiled;

/// What applies to a workload.
#[derive(Clone, Debug, Default)]
pub struct Applicable {
    /// Of the mesh, then of its namespace, then those that it names; the first two in order of keys.
    pub policies: Vec<Arc<Compiled>>,
    /// Policies that it names and that are not here (yet). Nothing may be allowed meanwhile.
    pub missing: Vec<NamespacedName>,
}

/// All policies, found by key and by scope.
#[derive(Default)]
pub(super) struct Policies {
    by_key: HashMap<NamespacedName, Arc<Compiled>>,
    global: Vec<Arc<Compiled>>,
    by_namespace: HashMap<Arc<str>, Vec<Arc<Compiled>>>,
}

// === impl Policies ===

impl Policies {
    /// What is in `before` and has not changed is not compiled again.
    pub(super) fn build(policies: Vec<Policy>, before: &Self) -> Self {
        let mut built = Self::default();
        for policy in policies {
            let same = before.by_key.get(&policy.key).filter(|compiled| **compiled.policy() == policy);
            let compiled = same.cloned().unwrap_or_else(|| Arc::new(policy.into()));
            built.by_key.insert(compiled.key.clone(), compiled);
        }
        let mut sorted: Vec<_> = built.by_key.values().collect();
        sorted.sort_by(|a, b| a.key.cmp(&b.key));
        for policy in sorted {
            let list = match policy.scope {
                Scope::Global => &mut built.global,
                Scope::Namespace => built.by_namespace.entry(Arc::clone(&policy.key.namespace)).or_default(),
                Scope::Workload => continue,
            };
            list.push(Arc::clone(policy));
        }
        built
    }

    pub(super) fn all(&self) -> impl ExactSizeIterator<Item = &Arc<Compiled>> {
        self.by_key.values()
    }

    pub(super) fn applicable(&self, workload: &Workload) -> Applicable {
        let own = self.by_namespace.get(&workload.namespace);
        let mut policies: Vec<_> = self.global.iter().chain(own.into_iter().flatten()).cloned().collect();
        let mut missing = Vec::new();
        for key in &workload.policies {
            match self.by_key.get(key) {
                // One that applies by its scope already is judged once.
                Some(policy) if policies.iter().any(|p| Arc::ptr_eq(p, policy)) => {}
                Some(policy) => policies.push(Arc::clone(policy)),
                None => missing.push(key.clone()),
            }
        }
        Applicable { policies, missing }
    }
}
