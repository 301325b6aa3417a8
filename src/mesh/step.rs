//! Changes that are collected for one step.

use std::collections::HashMap;
use std::sync::Arc;

use crate::model::name::NamespacedName;
use crate::model::policy::Policy;
use crate::model::service::Service;
use crate::model::workload::Workload;

use super::compiled::Compiled;
use super::held::Held;
use super::names::Names;
use super::view::View;

/// What comes and goes, in the form in which the mesh holds it: small while it waits. `None` goes.
#[derive(Default)]
pub(super) struct Step {
    pub workloads: HashMap<Arc<str>, Option<Arc<Held>>>,
    pub services: HashMap<NamespacedName, Option<Arc<Service>>>,
    pub policies: HashMap<NamespacedName, Option<Arc<Compiled>>>,
    pub synced: bool,
    pub whole: bool,
}

/// Something that is not there any more.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Removed {
    /// By its UID.
    Workload(Arc<str>),
    /// By `<namespace>/<hostname>`.
    Service(NamespacedName),
    Policy(NamespacedName),
}

// === impl Step ===

impl Step {
    pub(super) fn remove(&mut self, removed: Removed) {
        match removed {
            Removed::Workload(uid) => drop(self.workloads.insert(uid, None)),
            Removed::Service(key) => drop(self.services.insert(key, None)),
            Removed::Policy(key) => drop(self.policies.insert(key, None)),
        }
    }

    /// Everything that there is goes, but for what comes in this step.
    pub(super) fn remove_all(&mut self, view: &View) {
        self.workloads = view.workloads().map(|held| (Arc::clone(&held.uid), None)).collect();
        self.services = view.services().map(|service| (service.key(), None)).collect();
        self.policies = view.policies().map(|policy| (policy.key.clone(), None)).collect();
    }

    /// A record that says what `view` has already is that of `view`.
    pub(super) fn workload(&mut self, workload: Workload, names: &mut Names, view: &View) {
        let new = Held::new(workload, names);
        let same = view.workload_by_uid(&new.uid).filter(|held| ***held == new);
        let held = same.cloned().unwrap_or_else(|| Arc::new(new));
        self.workloads.insert(Arc::clone(&held.uid), Some(held));
    }

    /// As [`Self::workload`].
    pub(super) fn service(&mut self, service: Service, names: &mut Names, view: &View) {
        let new = names.service(service);
        let same = view.service(&new.key()).filter(|held| ***held == new);
        let held = same.cloned().unwrap_or_else(|| Arc::new(new));
        self.services.insert(held.key(), Some(held));
    }

    /// As [`Self::workload`]: what has not changed is not compiled again.
    pub(super) fn policy(&mut self, policy: Policy, view: &View) {
        let same = view.policy(&policy.key).filter(|compiled| **compiled.policy() == policy);
        let compiled = same.cloned().unwrap_or_else(|| Arc::new(policy.into()));
        self.policies.insert(compiled.key.clone(), Some(compiled));
    }
}
