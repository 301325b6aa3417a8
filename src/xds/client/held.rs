//! The names and versions of what was accepted.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::xds::convert::name;

use super::kind::Kind;
use super::update::Removed;
use super::version::Version;

/// What a name names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    Workload,
    Service,
    Policy,
}

type Names = HashMap<Arc<str>, Version>;

/// Some 50 bytes a resource, and the name, which a workload shares with the mesh.
#[derive(Debug, Default)]
pub(super) struct Held {
    workloads: Names,
    services: Names,
    policies: Names,
}

/// Bytes around a name and its version in a request: two tags and two lengths for each, and those of the pair.
const AROUND: usize = 12;

// === impl Held ===

impl Held {
    /// The name's one copy, if it is held.
    pub(super) fn name(&self, what: What, name: &str) -> Option<Arc<str>> {
        self.names(what).get_key_value(name).map(|(name, _)| Arc::clone(name))
    }

    /// Holds the name. Answers what had the same name and was something else, which is not held any more.
    pub(super) fn insert(&mut self, what: What, name: Arc<str>, version: Version) -> Option<Removed> {
        let other = match what {
            What::Workload => self.services.remove_entry(&name).and_then(|(name, _)| removed(What::Service, name)),
            What::Service => self.workloads.remove_entry(&name).and_then(|(name, _)| removed(What::Workload, name)),
            What::Policy => None,
        };
        self.names_mut(what).insert(name, version);
        other
    }

    /// Lets go of a name; `None` when it was not held.
    pub(super) fn remove(&mut self, kind: Kind, name: &str) -> Option<Removed> {
        whats(kind).iter().find_map(|what| {
            let (name, _) = self.names_mut(*what).remove_entry(name)?;
            removed(*what, name)
        })
    }

    pub(super) fn contains(&self, kind: Kind, name: &str) -> bool {
        whats(kind).iter().any(|what| self.names(*what).contains_key(name))
    }

    /// Whether what was removed is held again.
    pub(super) fn holds(&self, removed: &Removed) -> bool {
        match removed {
            Removed::Workload(uid) => self.workloads.contains_key(uid),
            Removed::Service(key) => self.services.contains_key(key.to_string().as_str()),
            Removed::Policy(key) => self.policies.contains_key(key.to_string().as_str()),
        }
    }

    pub(super) fn len(&self, kind: Kind) -> usize {
        whats(kind).iter().map(|what| self.names(*what).len()).sum()
    }

    /// Names with their versions for a request, as many as fit into `room` bytes, and the names that did not fit.
    pub(super) fn versions(&self, kind: Kind, mut room: usize) -> (BTreeMap<String, String>, Vec<Arc<str>>) {
        let (mut versions, mut left) = (BTreeMap::new(), Vec::new());
        for (name, version) in whats(kind).iter().flat_map(|what| self.names(*what)) {
            let version = version.to_string();
            match room.checked_sub(name.len() + version.len() + AROUND) {
                Some(rest) => {
                    room = rest;
                    versions.insert(name.to_string(), version);
                }
                None => left.push(Arc::clone(name)),
            }
        }
        (versions, left)
    }

    fn names(&self, what: What) -> &Names {
        match what {
            What::Workload => &self.workloads,
            What::Service => &self.services,
            What::Policy => &self.policies,
        }
    }

    fn names_mut(&mut self, what: What) -> &mut Names {
        match what {
            What::Workload => &mut self.workloads,
            What::Service => &mut self.services,
            What::Policy => &mut self.policies,
        }
    }
}

/// Workloads first: a removal means a uid before it means a host.
const fn whats(kind: Kind) -> &'static [What] {
    match kind {
        Kind::Address => &[What::Workload, What::Service],
        Kind::Authorization => &[What::Policy],
    }
}

/// Names of services and policies were checked against the key inside, so they parse.
fn removed(what: What, name: Arc<str>) -> Option<Removed> {
    match what {
        What::Workload => Some(Removed::Workload(name)),
        What::Service => name::parse(&name).map(Removed::Service),
        What::Policy => name::parse(&name).map(Removed::Policy),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::name::NamespacedName;

    #[test]
    fn a_removal_means_what_the_name_was_held_as() {
        let mut held = Held::default();
        held.insert(What::Workload, "a/b".into(), Version::None);
        held.insert(What::Policy, "a/b".into(), Version::None);
        assert_eq!(held.remove(Kind::Address, "a/b"), Some(Removed::Workload("a/b".into())));
        assert_eq!(held.remove(Kind::Address, "a/b"), None);
        assert_eq!(held.remove(Kind::Authorization, "a/b"), Some(Removed::Policy(NamespacedName::new("a", "b"))));
    }

    #[test]
    fn a_name_that_becomes_something_else_is_no_longer_what_it_was() {
        let mut held = Held::default();
        assert_eq!(held.insert(What::Workload, "a/b".into(), Version::None), None);
        let gone = held.insert(What::Service, "a/b".into(), Version::None);
        assert_eq!(gone, Some(Removed::Workload("a/b".into())));
        assert_eq!(held.len(Kind::Address), 1);
        let gone = held.insert(What::Workload, "a/b".into(), Version::None);
        assert_eq!(gone, Some(Removed::Service(NamespacedName::new("a", "b"))));
    }

    #[test]
    fn versions_fit_into_their_room() {
        let mut held = Held::default();
        for n in 0..100 {
            held.insert(What::Workload, format!("uid-{n:04}").into(), Version::new("ab"));
        }
        let (versions, left) = held.versions(Kind::Address, 10 * (8 + 2 + AROUND) + 5);
        assert_eq!((versions.len(), left.len()), (10, 90));
        assert!(versions.values().all(|version| version == "ab"));
        assert!(left.iter().all(|name| !versions.contains_key(&**name)));
    }
}
