//! The verbs of the back end: programs run in the pod's namespace.

use std::collections::HashMap;

use super::programs::Variant;
use super::render::{self, Found, removal, render, withdrawal};
use super::save::Saved;
use crate::redirect::backend::{Backend, Change, Count, Difference, Uncarried, Verdict};
use crate::redirect::error::RedirectError;
use crate::redirect::plan::{Families, Plan};
use crate::redirect::routes::families;
use crate::sys::netns::Netns;

/// iptables of one variant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Iptables {
    variant: Variant,
}

// === impl Iptables ===

impl Iptables {
    pub fn new(variant: Variant) -> Self {
        Self { variant }
    }

    /// Every variant whose programs are there and run. `iptables` alone is left out when it is
    /// only another name of one of the others.
    pub fn installed() -> Vec<Self> {
        let mut found: Vec<_> = [Variant::Legacy, Variant::Nft].into_iter().filter(|one| one.is_installed()).collect();
        if found.is_empty() && Variant::Plain.is_installed() {
            found.push(Variant::Plain);
        }
        found.into_iter().map(Self::new).collect()
    }

    pub fn variant(self) -> Variant {
        self.variant
    }

    fn differences(self, netns: &Netns, plan: &Plan) -> Result<Vec<Difference>, RedirectError> {
        let mut differences = Vec::new();
        for &v6 in plan.families().v6() {
            let saved = self.variant.save(netns, v6)?;
            differences.extend(render::differences(plan, v6, &saved));
        }
        Ok(differences)
    }

    /// Both families; IPv6's is left out only where neither the namespace nor the programs have it.
    fn each_saved(self, netns: &Netns) -> Result<Vec<(bool, Saved)>, RedirectError> {
        let mut all = vec![(false, self.variant.save(netns, false)?)];
        match self.variant.save(netns, true) {
            Ok(saved) => all.push((true, saved)),
            Err(_) if families(netns)? == Families::V4Only => {}
            Err(error) => return Err(error),
        }
        Ok(all)
    }
}

impl Backend for Iptables {
    fn name(&self) -> &'static str {
        self.variant.name()
    }

    fn apply(&self, netns: &Netns, plan: &Plan) -> Result<Change, RedirectError> {
        let mut change = Change::None;
        for &v6 in plan.families().v6() {
            let saved = self.variant.save(netns, v6)?;
            if render::differences(plan, v6, &saved).is_empty() {
                continue;
            }
            let healed = !saved.is_empty();
            let counts: HashMap<String, Count> = saved.counts();
            let text = render(plan, &Found { counts: &counts, saved: &saved });
            self.variant.restore(netns, v6, "lay the rules", text)?;
            if change != Change::Healed {
                change = if healed { Change::Healed } else { Change::Laid };
            }
        }
        Ok(change)
    }

    fn remove(&self, netns: &Netns) -> Result<bool, RedirectError> {
        let mut errors = Vec::new();
        let mut found = false;
        for (v6, saved) in self.each_saved(netns)? {
            if saved.is_empty() {
                continue;
            }
            found = true;
            if let Err(error) = self.variant.restore(netns, v6, "remove the rules", removal(&saved)) {
                errors.push(error);
            }
        }
        RedirectError::gathered(errors).map(|()| found)
    }

    fn uncarried(&self, netns: &Netns) -> Result<Uncarried, RedirectError> {
        let mut uncarried = Uncarried::default();
        for (_, saved) in self.each_saved(netns)? {
            for (name, count) in saved.counts() {
                uncarried.add(&name, count);
            }
        }
        Ok(uncarried)
    }

    fn verify(&self, netns: &Netns, plan: &Plan) -> Result<Verdict, RedirectError> {
        self.differences(netns, plan).map(Verdict::of)
    }

    fn withdraw(&self, netns: &Netns) -> Result<(), RedirectError> {
        for (v6, saved) in self.each_saved(netns)? {
            if let Some(text) = withdrawal(&saved) {
                self.variant.restore(netns, v6, "withdraw the redirects", text)?;
            }
        }
        Ok(())
    }
}
