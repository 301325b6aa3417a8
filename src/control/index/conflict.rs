//! Pods that claim what another has.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use crate::model::name::NamespacedName;

/// Two pods claim one thing. The first in order of keys keeps it; the other is kept out of the mesh
/// until one of them changes, because nobody can tell whose traffic it would be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    pub kept: NamespacedName,
    pub refused: NamespacedName,
    pub claim: Claim,
}

/// What two pods claim.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Claim {
    Address(IpAddr),
    Netns(PathBuf),
    Uid(Arc<str>),
}

// === impl Conflict ===

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kept, refused, claim } = self;
        match claim {
            Claim::Address(ip) => write!(f, "pods {kept} and {refused} both claim the address {ip}")?,
            Claim::Netns(path) => write!(f, "pods {kept} and {refused} both claim the namespace {}", path.display())?,
            Claim::Uid(uid) => write!(f, "pods {kept} and {refused} both claim the UID {uid}")?,
        }
        write!(f, "; {refused} stays out of the mesh until one of them changes")
    }
}
