//! What can go wrong while rules are laid, read or taken away.

use std::fmt;
use std::path::PathBuf;

use super::backend::Difference;
use super::guard::Refusal;
use crate::sys::exec::ExecError;
use crate::sys::netlink::NetlinkError;
use crate::sys::netns::NetnsError;

/// A failed verb of this folder.
#[derive(Debug, thiserror::Error)]
pub enum RedirectError {
    /// What was laid reads back differently. Another program writes into the pod, or us.
    #[error("the rules of {} read back differently after they were laid: {}", namespace.display(), Shown(differences))]
    Differs { namespace: PathBuf, differences: Vec<Difference> },
    /// The kernel lacks something. Kernel: build or load what is named.
    #[error("the kernel refused {what} in {}: it needs {feature}", namespace.display())]
    Feature {
        feature: &'static str,
        namespace: PathBuf,
        what: String,
        #[source]
        source: NetlinkError,
    },
    /// The kernel refused or did not answer. Kernel, or a missing CAP_NET_ADMIN.
    #[error("cannot {doing} in {}", namespace.display())]
    Kernel {
        doing: &'static str,
        namespace: PathBuf,
        #[source]
        source: NetlinkError,
    },
    /// The namespace could not be entered. Configuration or kernel.
    #[error("cannot enter the pod's namespace")]
    Namespace(#[from] NetnsError),
    /// No back end works on this node. Kernel or configuration; each reason is here.
    #[error("this node can redirect neither by nf_tables ({nftables}) nor by iptables ({iptables})")]
    NoBackend { iptables: String, nftables: String },
    /// iptables failed. Kernel, or its programs.
    #[error("cannot {doing} with iptables in {}", namespace.display())]
    Program {
        doing: &'static str,
        namespace: PathBuf,
        #[source]
        source: ExecError,
    },
    /// The namespace must not be written into. Configuration, or a pod that was replaced.
    #[error("{}: nothing was written", namespace.display())]
    Refused {
        namespace: PathBuf,
        #[source]
        source: Refusal,
    },
    /// Several steps of a clean-up failed; the others were done.
    #[error("{} steps failed: {}", .0.len(), Shown(.0))]
    Several(Vec<Self>),
}

/// Items on one line, a dozen at most: an attacker can add rules without end.
struct Shown<'a, T>(&'a [T]);

// === impl RedirectError ===

impl RedirectError {
    /// One error for what a clean-up gathered.
    pub(super) fn gathered(mut errors: Vec<Self>) -> Result<(), Self> {
        match errors.len() {
            0 => Ok(()),
            1 => Err(errors.remove(0)),
            _ => Err(Self::Several(errors)),
        }
    }
}

// === impl Shown ===

impl<T: fmt::Display> fmt::Display for Shown<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const MOST: usize = 12;
        for (at, item) in self.0.iter().take(MOST).enumerate() {
            let separator = if at == 0 { "" } else { "; " };
            write!(f, "{separator}{item}")?;
        }
        match self.0.len().saturating_sub(MOST) {
            0 => Ok(()),
            more => write!(f, "; and {more} more"),
        }
    }
}
