//! The verbs that enrolment uses: refuse, lay, verify, withdraw, remove.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use super::backend::{Backend, Change, Uncarried, Verdict};
use super::error::RedirectError;
use super::guard::Claim;
use super::plan::Plan;
use super::warden::Warden;
use super::{routes, sweep};
use crate::sys::netns::{Netns, NetnsId};

/// Where a plan is laid.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// Shows that no other pod has the namespace.
    pub claim: &'a Claim,
    pub netns: &'a Netns,
    /// The pod's addresses as its object says.
    pub pod: &'a [IpAddr],
}

/// Proof that a namespace holds its plan: it was laid by us and read back. Nothing else makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct Laid {
    change: Change,
    namespace: NetnsId,
}

/// Lays plans with one back end. Cloning shares it. Every verb blocks for some milliseconds.
#[derive(Clone)]
pub struct Redirector {
    backend: Arc<dyn Backend>,
    warden: Warden,
}

// === impl Laid ===

impl Laid {
    /// What the apply had to do.
    pub fn change(&self) -> Change {
        self.change
    }

    pub fn namespace(&self) -> NetnsId {
        self.namespace
    }
}

// === impl Redirector ===

impl Redirector {
    /// Learns which namespaces are the daemon's own and the host's, so that they are never written into.
    pub fn new(backend: Arc<dyn Backend>) -> Result<Self, RedirectError> {
        Ok(Self { backend, warden: Warden::new()? })
    }

    pub fn warden(&self) -> &Warden {
        &self.warden
    }

    /// Refuses a namespace that is the host's, the daemon's, another pod's, or claimed by another.
    pub fn admit(&self, target: Target<'_>) -> Result<(), RedirectError> {
        self.warden.admit(target)
    }

    /// Admits the namespace, lays routes and then rules, and reads both back. A second call
    /// changes nothing; a difference is healed. Listeners must be there before.
    pub fn lay(&self, target: Target<'_>, plan: &Plan) -> Result<Laid, RedirectError> {
        self.admit(target)?;
        let netns = target.netns;
        let routing = !routes::verify(netns, plan.families())?.is_empty();
        if routing {
            routes::apply(netns, plan.families())?;
        }
        let change = match self.backend.apply(netns, plan)? {
            Change::None if routing => Change::Healed,
            change => change,
        };
        if change == Change::Laid && !routing {
            // Routes of ours without rules of this back end's: an earlier life had another one.
            sweep::others(netns, self.backend.name())?;
        }
        match self.verify(netns, plan)? {
            Verdict::Same => Ok(Laid { change, namespace: netns.id() }),
            Verdict::Differs(differences) => {
                Err(RedirectError::Differs { namespace: netns.path().to_owned(), differences })
            }
        }
    }

    /// Compares rules, routing rules and routes with the plan. Writes nothing.
    pub fn verify(&self, netns: &Netns, plan: &Plan) -> Result<Verdict, RedirectError> {
        let mut differences = routes::verify(netns, plan.families())?;
        if let Verdict::Differs(more) = self.backend.verify(netns, plan)? {
            differences.extend(more);
        }
        Ok(Verdict::of(differences))
    }

    /// Stops redirecting new connections. Captured ones live on; `remove` follows when they ended.
    pub fn withdraw_redirects(&self, netns: &Netns) -> Result<(), RedirectError> {
        self.backend.withdraw(netns)
    }

    /// Removes rules, then routing rules and routes. Absence is no error, and a step that fails
    /// does not stop the others. True when something was there.
    pub fn remove(&self, netns: &Netns) -> Result<bool, RedirectError> {
        let mut errors = Vec::new();
        let table = self.backend.remove(netns).unwrap_or_else(|error| {
            errors.push(error);
            false
        });
        let (rules, routes) = routes::remove(netns, &mut errors);
        RedirectError::gathered(errors).map(|()| table || rules + routes > 0)
    }

    /// What the pod sent and received past the mesh.
    pub fn uncarried(&self, netns: &Netns) -> Result<Uncarried, RedirectError> {
        self.backend.uncarried(netns)
    }

    pub fn backend(&self) -> &'static str {
        self.backend.name()
    }
}

impl fmt::Debug for Redirector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redirector").field("backend", &self.backend.name()).finish_non_exhaustive()
    }
}
