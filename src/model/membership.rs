//! Who is in the mesh (pure): the labels of a pod and of its namespace decide.
//!
//! Source of the rule: Istio's default enablement selectors (control-plane facts, A.1.1).

use std::fmt;

use super::pod::Pod;

/// The label that opts a namespace or a pod in (`ambient`) or a pod out (`none`).
pub const DATAPLANE_MODE: &str = "istio.io/dataplane-mode";

/// Whether a pod belongs to the mesh, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Membership {
    In(InReason),
    Out(OutReason),
}

/// What opted a pod in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InReason {
    /// A node agent has decided it.
    Announced,
    NamespaceLabel,
    PodLabel,
}

/// What keeps a pod out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutReason {
    /// Phase Succeeded or Failed.
    Finished,
    /// It shares the node's network: rules inside "its" namespace would be the node's.
    HostNetwork,
    NoAddress,
    /// Neither it nor its namespace has the label.
    NoLabel,
    /// `istio.io/dataplane-mode: none` on the pod.
    PodLabelNone,
    /// A sidecar was injected; two data planes on one pod would fight.
    Sidecar,
}

/// Decides from the pod and the value of its namespace's `istio.io/dataplane-mode` label.
pub fn membership(pod: &Pod, namespace_mode: Option<&str>) -> Membership {
    use Membership::{In, Out};
    let wanted = match (pod.dataplane_mode.as_deref(), namespace_mode) {
        (Some("ambient"), _) => InReason::PodLabel,
        (Some("none"), _) => return Out(OutReason::PodLabelNone),
        (_, Some("ambient")) => InReason::NamespaceLabel,
        _ => return Out(OutReason::NoLabel),
    };
    if pod.host_network {
        Out(OutReason::HostNetwork)
    } else if pod.has_sidecar {
        Out(OutReason::Sidecar)
    } else if pod.finished {
        Out(OutReason::Finished)
    } else if pod.addresses.is_empty() {
        Out(OutReason::NoAddress)
    } else {
        In(wanted)
    }
}

// === impl Membership ===

impl Membership {
    pub const fn is_in(self) -> bool {
        matches!(self, Self::In(_))
    }
}

impl fmt::Display for Membership {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::In(InReason::Announced) => "in: the node agent announced it",
            Self::In(InReason::NamespaceLabel) => "in: the namespace has istio.io/dataplane-mode=ambient",
            Self::In(InReason::PodLabel) => "in: the pod has istio.io/dataplane-mode=ambient",
            Self::Out(OutReason::Finished) => "out: the pod has finished",
            Self::Out(OutReason::HostNetwork) => "out: the pod uses the host's network, which is the node's own",
            Self::Out(OutReason::NoAddress) => "out: the pod has no address yet",
            Self::Out(OutReason::NoLabel) => {
                "out: neither the pod nor its namespace has istio.io/dataplane-mode=ambient"
            }
            Self::Out(OutReason::PodLabelNone) => "out: the pod has istio.io/dataplane-mode=none",
            Self::Out(OutReason::Sidecar) => {
                "out: the pod has an injected sidecar (annotation sidecar.istio.io/status)"
            }
        })
    }
}

#[cfg(test)]
mod tests;
