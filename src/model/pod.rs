//! The Kubernetes Pod as far as enrolment reads it.

use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::name::NamespacedName;
use crate::sys::netns::Netns;

/// A pod. Who it is comes from here and from nowhere else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pod {
    pub key: NamespacedName,
    /// `metadata.uid`; a static pod without one gets `static:<namespace>/<name>`.
    pub uid: Arc<str>,
    pub service_account: Arc<str>,
    /// `spec.nodeName`; empty when it is not scheduled.
    pub node: Arc<str>,
    pub addresses: Vec<IpAddr>,
    pub host_network: bool,
    /// Phase Succeeded or Failed: nothing runs in it any more.
    pub finished: bool,
    /// Label `istio.io/dataplane-mode` on the pod.
    pub dataplane_mode: Option<Arc<str>>,
    /// Annotation `sidecar.istio.io/status` is there: a sidecar was injected.
    pub has_sidecar: bool,
    /// Annotation `ambient.istio.io/dns-capture`: overrides the mesh's setting. `None` when it is not there or says nothing.
    pub dns_capture: Option<bool>,
    pub netns: Option<PodNetns>,
}

/// Where a pod's network namespace is had from.
#[derive(Clone, Debug)]
pub enum PodNetns {
    /// Annotation `culvert.dev/netns`: its path (static pods). It is opened whenever it is needed.
    Path(PathBuf),
    /// A node agent sent it, and says when the pod is gone. The pod's addresses are those inside.
    Handle(Netns),
}

// === impl PodNetns ===

/// Paths by their text, handles by the namespace that they are of.
impl PartialEq for PodNetns {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Path(a), Self::Path(b)) => a == b,
            (Self::Handle(a), Self::Handle(b)) => a.id() == b.id(),
            (Self::Path(_), Self::Handle(_)) | (Self::Handle(_), Self::Path(_)) => false,
        }
    }
}

impl Eq for PodNetns {}

impl fmt::Display for PodNetns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => path.display().fmt(f),
            Self::Handle(netns) => netns.path().display().fmt(f),
        }
    }
}

impl PodNetns {
    /// `None` for a handle, which no path leads to.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::Path(path) => Some(path),
            Self::Handle(_) => None,
        }
    }
}

impl<T: Into<PathBuf>> From<T> for PodNetns {
    fn from(path: T) -> Self {
        Self::Path(path.into())
    }
}

// === impl Pod ===

impl Pod {
    /// A node agent gave it to us.
    pub fn is_announced(&self) -> bool {
        matches!(self.netns, Some(PodNetns::Handle(_)))
    }
}
