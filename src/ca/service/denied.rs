//! Why a certificate is not issued.

use std::time::Duration;

use tonic::Status;

use super::super::error::CaError;
use crate::model::spiffe::Identity;

/// Each with the reason for the log; [`Self::status`] is what the peer hears.
#[derive(Debug, thiserror::Error)]
pub enum Denied {
    /// Peer: it names a signer that is not ours.
    #[error("asks for the signer {signer:?}: there is one signer here, and it has no name")]
    CertSigner { signer: String },
    /// Peer.
    #[error("{most} requests of this caller were on their way already: it asks again when some have been answered")]
    AtOnce { most: usize },
    /// Peer.
    #[error("the certificate request is refused")]
    Csr(#[source] Option<CaError>),
    /// Peer.
    #[error("ImpersonatedIdentity is no identity of a workload")]
    Identity,
    /// Peer, or the line to it.
    #[error("the request was not whole, or not answered, {} s after it began", within.as_secs())]
    Late { within: Duration },
    /// Peer, or a pod that its manifest has on another node, or not yet.
    #[error("{identity} is of no pod that runs on {node}")]
    NotOnNode { node: String, identity: Identity },
    /// Peer: the token is a workload's, which speaks for itself alone.
    #[error("the token is of {own}, and speaks for nobody else")]
    NotOwn { own: Identity },
    /// Peer: a node has no identity of its own.
    #[error("the token is of a node, and no ImpersonatedIdentity says for whom the certificate is")]
    NobodyNamed,
    /// Peer.
    #[error("more certificates were asked for than this caller may have")]
    Rate,
    /// Ours, or of the CA's directory.
    #[error("no certificate could be signed")]
    Sign(#[source] CaError),
    /// Peer, or one of the two configurations.
    #[error("{identity} is of another trust domain than {expected}")]
    TrustDomain { identity: Identity, expected: String },
    /// Peer.
    #[error("asks for {seconds} s: a certificate lives 90 days at most")]
    Ttl { seconds: i64 },
}

// === impl Denied ===

impl Denied {
    /// The metric's label.
    pub const fn label(&self) -> &'static str {
        match self {
            Self::AtOnce { .. } => "at_once",
            Self::CertSigner { .. } => "cert_signer",
            Self::Csr(_) => "csr",
            Self::Identity | Self::NobodyNamed => "identity",
            Self::Late { .. } => "late",
            Self::NotOnNode { .. } => "not_on_node",
            Self::NotOwn { .. } => "not_own",
            Self::Rate => "rate",
            Self::Sign(_) => "sign",
            Self::TrustDomain { .. } => "trust_domain",
            Self::Ttl { .. } => "ttl",
        }
    }

    /// What the peer hears: Istio's codes, and nothing of what is known here.
    pub fn status(&self) -> Status {
        match self {
            Self::CertSigner { .. } | Self::Csr(_) | Self::Ttl { .. } => {
                Status::invalid_argument("the certificate request is refused")
            }
            Self::Identity
            | Self::NobodyNamed
            | Self::NotOnNode { .. }
            | Self::NotOwn { .. }
            | Self::TrustDomain { .. } => Status::unauthenticated("impersonation is refused"),
            Self::AtOnce { .. } => {
                Status::resource_exhausted("too many requests at once: ask again when some have been answered")
            }
            Self::Late { within } => {
                Status::deadline_exceeded(format!("no whole request within {} s", within.as_secs()))
            }
            Self::Rate => Status::resource_exhausted("too many requests"),
            Self::Sign(_) => Status::unavailable("no certificate can be signed now"),
        }
    }
}
