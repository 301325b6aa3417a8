//! Which back end this node can use, found by doing: a plan is laid into a throw-away namespace.

use std::sync::Arc;

use super::backend::{Backend, Verdict};
use super::error::RedirectError;
use super::iptables::{Iptables, Variant};
use super::nftables::Nftables;
use super::plan::{CgroupMatch, Families, Plan, PlanInput, plan};
use super::routes;
use crate::model::ports;
use crate::sys::cgroup::{Cgroup, NoCgroup};
use crate::sys::netns::Netns;

/// Which back end the operator asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Wanted {
    /// nf_tables, and iptables where that does not work.
    #[default]
    Auto,
    /// The first variant of iptables that works; the one that holds rules on the node before others.
    Iptables,
    Nftables,
}

/// What the probe found.
#[derive(Clone)]
pub struct Choice {
    pub backend: Arc<dyn Backend>,
    /// For [`PlanInput::cgroup`]; `None` when the mark alone must do.
    pub cgroup: Option<CgroupMatch>,
    /// What an operator should know: why a weaker choice was made. One sentence each.
    pub notes: Vec<String>,
}

/// Tries the back ends in a new namespace, with the daemon's cgroup (`Cgroup::own()`) where it has
/// one. A cgroup match that the kernel refuses falls back to the mark alone, with a note.
/// Needs CAP_SYS_ADMIN and CAP_NET_ADMIN. Blocks for some tens of milliseconds.
pub fn probe(wanted: Wanted, cgroup: Result<Cgroup, NoCgroup>) -> Result<Choice, RedirectError> {
    let mut notes = Vec::new();
    let cgroup = match cgroup {
        Ok(Cgroup { id, level, path }) => Some(CgroupMatch { id, level, path }),
        Err(reason) => {
            notes.push(format!("the daemon's sockets are known by their mark alone: {reason}"));
            None
        }
    };
    let nftables = match wanted {
        Wanted::Auto | Wanted::Nftables => try_one(Arc::new(Nftables), cgroup.clone(), notes.clone()),
        Wanted::Iptables => Err("not asked for".to_owned()),
    };
    let nftables = match nftables {
        Ok(choice) => return Ok(choice),
        Err(reason) => reason,
    };
    if wanted == Wanted::Nftables {
        return Err(RedirectError::NoBackend { iptables: "not asked for".to_owned(), nftables });
    }
    if wanted == Wanted::Auto {
        notes.push(format!("iptables is used because nf_tables does not work: {nftables}"));
    }
    let mut reasons = Vec::new();
    for backend in candidates() {
        match try_one(Arc::new(backend), cgroup.clone(), notes.clone()) {
            Ok(choice) => return Ok(choice),
            Err(reason) => reasons.push(format!("{}: {reason}", backend.name())),
        }
    }
    let iptables = if reasons.is_empty() { "not installed".to_owned() } else { reasons.join("; ") };
    Err(RedirectError::NoBackend { iptables, nftables })
}

/// Legacy goes first only where it is in use already.
fn candidates() -> Vec<Iptables> {
    let mut candidates = Iptables::installed();
    let used = Variant::Legacy.is_in_use();
    candidates.sort_by_key(|one| one.variant() == Variant::Legacy && !used);
    candidates
}

fn try_one(backend: Arc<dyn Backend>, cgroup: Option<CgroupMatch>, mut notes: Vec<String>) -> Result<Choice, String> {
    let Some(wanted) = cgroup else {
        return lay(backend.as_ref(), None).map(|()| Choice { backend, cgroup: None, notes });
    };
    match lay(backend.as_ref(), Some(wanted.clone())) {
        Ok(()) => Ok(Choice { backend, cgroup: Some(wanted), notes }),
        Err(reason) => {
            lay(backend.as_ref(), None)?;
            notes.push(format!("the daemon's sockets are known by their mark alone: {reason}"));
            Ok(Choice { backend, cgroup: None, notes })
        }
    }
}

/// Lays a plan into a new namespace and reads it back. The namespace ends with the attempt.
fn lay(backend: &dyn Backend, cgroup: Option<CgroupMatch>) -> Result<(), String> {
    let attempt = || -> Result<(), RedirectError> {
        let netns = Netns::fresh()?;
        let families: Families = routes::families(&netns)?;
        let plan: Plan = plan(&PlanInput { cgroup, dns: Some(ports::DNS), families, ..PlanInput::default() });
        routes::apply(&netns, families)?;
        backend.apply(&netns, &plan)?;
        // A kernel that shows a rule otherwise than it was written would be healed for ever.
        match backend.verify(&netns, &plan)? {
            Verdict::Same => Ok(()),
            Verdict::Differs(differences) => {
                Err(RedirectError::Differs { namespace: netns.path().to_owned(), differences })
            }
        }
    };
    attempt().map_err(|error| with_cause(&error))
}

/// The error and its causes on one line.
fn with_cause(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        text.push_str(": ");
        text.push_str(&next.to_string());
        cause = next.source();
    }
    text
}
