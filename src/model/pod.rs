//! The Kubernetes Pod as far as enrolment reads it.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use super::name::NamespacedName;

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
    /// Annotation `culvert.dev/netns`: path of its network namespace (static pods).
    pub netns: Option<PathBuf>,
}
