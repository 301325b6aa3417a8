//! Removing what an earlier process left, with whichever back end.

use super::backend::Backend;
use super::error::RedirectError;
use super::iptables::Iptables;
use super::nftables::Nftables;
use super::routes;
use crate::sys::netns::Netns;

/// What a sweep found and removed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Variants of iptables that held chains of ours.
    pub iptables: Vec<&'static str>,
    pub nftables: bool,
    pub routes: usize,
    pub rules: usize,
}

// === impl Swept ===

impl Swept {
    /// True when nothing of ours was there.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Removes what an earlier process laid with another back end than `kept`: two sets of rules would both redirect, and
/// only one of them would go when the pod leaves.
pub(super) fn others(netns: &Netns, kept: &str) -> Result<(), RedirectError> {
    let iptables = Iptables::installed().into_iter().map(|one| Box::new(one) as Box<dyn Backend>);
    let all = std::iter::once(Box::new(Nftables) as Box<dyn Backend>).chain(iptables);
    let removed = all.filter(|backend| backend.name() != kept).map(|backend| backend.remove(netns));
    RedirectError::gathered(removed.filter_map(Result::err).collect())
}

/// Recognises and removes everything of ours in the namespace: the table `culvert`, the chains
/// `CULVERT_*`, and rules and routes with our protocol number. Nothing else is touched. A step
/// that fails does not stop the others; what could be removed is gone when the error returns.
pub fn sweep(netns: &Netns) -> Result<Swept, RedirectError> {
    let mut swept = Swept::default();
    let mut errors = Vec::new();
    match Nftables.remove(netns) {
        Ok(found) => swept.nftables = found,
        Err(error) => errors.push(error),
    }
    // Programs that are not installed can have left nothing.
    for backend in Iptables::installed() {
        match backend.remove(netns) {
            Ok(true) => swept.iptables.push(backend.name()),
            Ok(false) => {}
            Err(error) => errors.push(error),
        }
    }
    (swept.rules, swept.routes) = routes::remove(netns, &mut errors);
    RedirectError::gathered(errors).map(|()| swept)
}
