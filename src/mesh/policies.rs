//! Policies by name and by scope.

use std::collections::HashMap;
use std::sync::Arc;

use crate::model::name::NamespacedName;

use super::compiled::Compiled;
use super::held::Held;
use super::index::{All, Index};
use super::keys::{ByScope, PolicyByKey, borrowed};

/// What applies to a workload.
#[derive(Clone, Debug, Default)]
pub struct Applicable {
    /// Of the mesh, then of its namespace, then those that it names; the first two in order of keys.
    pub policies: Vec<Arc<Compiled>>,
    /// Policies that it names and that are not here (yet). Nothing may be allowed meanwhile.
    pub missing: Vec<NamespacedName>,
    /// Policies that it names, that are not here, and that may never come: converted PeerAuthentications after the
    /// first sync. What they can say is known: peers without identity are refused. That is done meanwhile.
    pub unsent: Vec<NamespacedName>,
}

/// All policies.
#[derive(Clone, Default)]
pub(super) struct Policies {
    by_key: Index<PolicyByKey>,
    by_scope: Index<ByScope>,
    /// Every policy that there is has been sent once.
    synced: bool,
}

/// What istiod calls a PeerAuthentication with port levels that it turned into a policy. A workload may name one that
/// is never made (control-plane facts, C.4.3, quirks 1 and 2); all that one ever refuses is a peer without identity. The
/// underscores keep people's policies apart: Kubernetes takes none in a name.
const CONVERTED: &str = "converted_peer_authentication_";

// === impl Applicable ===

impl Applicable {
    /// True when a connection need not wait for a policy: none is missing that could matter to a peer with identity,
    /// or without one.
    pub fn is_complete(&self, with_identity: bool) -> bool {
        self.missing.is_empty() && (with_identity || self.unsent.is_empty())
    }
}

// === impl Policies ===

impl Policies {
    /// One step: policies that come (`Some`) and go. Answers whether anything changed.
    pub(super) fn change(&mut self, policies: HashMap<NamespacedName, Option<Arc<Compiled>>>) -> bool {
        let (mut out, mut into) = (Vec::new(), Vec::new());
        for (key, policy) in policies {
            let old = self.by_key.first(borrowed(&key));
            if old.map(Arc::as_ptr) != policy.as_ref().map(Arc::as_ptr) {
                out.extend(old.cloned());
                into.extend(policy);
            }
        }
        self.by_key.change(&out, &into);
        self.by_scope.change(&out, &into);
        !(out.is_empty() && into.is_empty())
    }

    /// Answers whether that is news.
    pub(super) fn set_synced(&mut self) -> bool {
        !std::mem::replace(&mut self.synced, true)
    }

    pub(super) const fn is_synced(&self) -> bool {
        self.synced
    }

    pub(super) fn get(&self, key: &NamespacedName) -> Option<&Arc<Compiled>> {
        self.by_key.first(borrowed(key))
    }

    pub(super) fn all(&self) -> All<'_, Compiled> {
        self.by_key.all()
    }

    pub(super) fn applicable(&self, workload: &Held) -> Applicable {
        let scoped = self.by_scope.find(None).chain(self.by_scope.find(Some(&*workload.namespace)));
        let mut applicable =
            Applicable { policies: scoped.map(|(policy, _)| Arc::clone(policy)).collect(), ..Applicable::default() };
        for key in &workload.policies {
            match self.get(key) {
                // One that applies by its scope already is judged once.
                Some(policy) if applicable.policies.iter().any(|p| Arc::ptr_eq(p, policy)) => {}
                Some(policy) => applicable.policies.push(Arc::clone(policy)),
                None if self.synced && key.name.starts_with(CONVERTED) => applicable.unsent.push(key.clone()),
                None => applicable.missing.push(key.clone()),
            }
        }
        applicable
    }
}
