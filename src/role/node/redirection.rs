//! Who lays a pod's rules: this daemon, or the node agent that announced the pod.

use std::sync::{Mutex, PoisonError};

use super::plane::PlaneError;
use crate::config::node::{CgroupExemption, NodeSettings, RedirectBackend};
use crate::redirect::{
    CgroupMatch, Change, Laid, Plan, Redirector, Target, Uncarried, Verdict, Wanted as Backend, Warden, probe,
};
use crate::sys::cgroup::{Cgroup, NoCgroup};
use crate::sys::netns::{Netns, NetnsError};
use crate::sys::socket;

/// How connections come to the listeners.
#[derive(Clone, Debug)]
pub enum Redirection {
    /// By rules of ours, laid and verified.
    Own(Redirector),
    /// By rules that istio-cni laid before it announced the pod and takes away by itself. They tell the daemon's packets
    /// from the pod's by their mark alone.
    Agent(Warden),
}

/// What is laid in one pod.
pub enum Laying {
    Own { plan: Plan, laid: Mutex<Laid> },
    Agent,
}

/// Why pods cannot be served whose rules an agent lays.
#[derive(Debug, thiserror::Error)]
pub enum Unable {
    /// CAP_SYS_ADMIN is missing. Configuration.
    #[error("network namespaces cannot be entered, which every pod needs")]
    Enter(#[from] NetnsError),
    /// CAP_NET_ADMIN is missing. Configuration.
    #[error(
        "sockets cannot carry the packet mark {mark:#x}, without which they would be redirected: give the process CAP_NET_ADMIN"
    )]
    Mark {
        mark: u32,
        #[source]
        source: std::io::Error,
    },
}

// === impl Laying ===

impl Laying {
    /// Nothing of ours was in the namespace before.
    pub fn is_first(&self) -> bool {
        match self {
            Self::Own { laid, .. } => laid.lock().unwrap_or_else(PoisonError::into_inner).change() == Change::Laid,
            Self::Agent => false,
        }
    }
}

// === impl Redirection ===

impl Redirection {
    /// For pods whose rules an agent lays, once it is known that namespaces can be entered and that a socket of ours can
    /// carry `mark`. Blocks.
    pub fn agent(mark: u32) -> Result<Self, Unable> {
        let warden = Warden::new()?;
        let marked = Netns::own()?.run(move || socket::unconnected(false, mark))?;
        marked.map(drop).map_err(|source| Unable::Mark { mark, source })?;
        Ok(Self::Agent(warden))
    }

    pub fn name(&self) -> &'static str {
        match self {
            Self::Own(redirector) => redirector.backend(),
            Self::Agent(_) => "node agent",
        }
    }

    pub fn warden(&self) -> &Warden {
        match self {
            Self::Own(redirector) => redirector.warden(),
            Self::Agent(warden) => warden,
        }
    }

    /// The mark of listeners: the agent's rules exempt by mark alone what accepted sockets send. Ours need none.
    pub fn listener_mark(&self, mark: u32) -> u32 {
        match self {
            Self::Own(_) => 0,
            Self::Agent(_) => mark,
        }
    }

    /// Lays and reads back. Blocks.
    pub fn lay(&self, target: Target<'_>, plan: Plan) -> Result<Laying, PlaneError> {
        Ok(match self {
            Self::Own(redirector) => {
                let laid = Mutex::new(redirector.lay(target, &plan)?);
                Laying::Own { plan, laid }
            }
            Self::Agent(_) => Laying::Agent,
        })
    }

    /// Reads back and lays anew what differs, telling each difference; true when something did. Blocks.
    pub fn mend(
        &self,
        target: Target<'_>,
        laying: &Laying,
        tell: impl Fn(&dyn std::fmt::Display),
    ) -> Result<bool, PlaneError> {
        let (Self::Own(redirector), Laying::Own { plan, laid }) = (self, laying) else { return Ok(false) };
        let Verdict::Differs(differences) = redirector.verify(target.netns, plan)? else { return Ok(false) };
        differences.iter().take(8).for_each(|difference| tell(difference));
        let again = redirector.lay(target, plan)?;
        *laid.lock().unwrap_or_else(PoisonError::into_inner) = again;
        Ok(true)
    }

    /// New connections pass; captured ones live on. An agent's rules stay until the agent takes them. Blocks.
    pub fn release(&self, netns: &Netns) -> Result<(), PlaneError> {
        match self {
            Self::Own(redirector) => Ok(redirector.withdraw_redirects(netns)?),
            Self::Agent(_) => Ok(()),
        }
    }

    /// Takes everything of ours away. Blocks.
    pub fn remove(&self, netns: &Netns) -> Result<(), PlaneError> {
        match self {
            Self::Own(redirector) => Ok(redirector.remove(netns).map(drop)?),
            Self::Agent(_) => Ok(()),
        }
    }

    /// What went past the mesh, where rules of ours count it. Blocks.
    pub fn uncarried(&self, netns: &Netns) -> Result<Option<Uncarried>, PlaneError> {
        match self {
            Self::Own(redirector) => Ok(Some(redirector.uncarried(netns)?)),
            Self::Agent(_) => Ok(None),
        }
    }

    pub const fn is_own(&self) -> bool {
        matches!(self, Self::Own(_))
    }
}

/// Finds the back end and says what was weaker than it could be. `mark` is that of our sockets in pods.
pub(super) fn redirection(settings: &NodeSettings, mark: u32) -> anyhow::Result<(Redirection, Option<CgroupMatch>)> {
    let backend = match settings.redirect_backend {
        RedirectBackend::Agent => {
            let redirection = Redirection::agent(mark)?;
            tracing::info!(backend = redirection.name(), mark = format!("{mark:#x}"), "redirection");
            return Ok((redirection, None));
        }
        RedirectBackend::Auto => Backend::Auto,
        RedirectBackend::Iptables => Backend::Iptables,
        RedirectBackend::Nftables => Backend::Nftables,
    };
    let cgroup = match settings.cgroup_exemption {
        CgroupExemption::Auto => Cgroup::own(),
        CgroupExemption::Off => Err(NoCgroup::Off),
    };
    let choice = probe(backend, cgroup)?;
    for note in &choice.notes {
        tracing::warn!("{note}");
    }
    let redirector = Redirector::new(choice.backend)?;
    tracing::info!(
        backend = redirector.backend(),
        cgroup = choice.cgroup.as_ref().map(|cgroup| cgroup.path.as_str()),
        "redirection"
    );
    Ok((Redirection::Own(redirector), choice.cgroup))
}
