//! Where certificates come from.

use std::error::Error;
use std::future::Future;

use crate::model::spiffe::Identity;
pub use crate::tls::Issued;

/// Issues certificates: the embedded CA, or a client of a CA on the network.
pub trait CertSource: Send + Sync + 'static {
    /// A fresh certificate and key for `identity`. What comes back is checked by the caller; a source is not trusted
    /// to have answered for the right one. Dropping the future gives the attempt up.
    fn fetch(&self, identity: &Identity) -> impl Future<Output = Result<Issued, SourceError>> + Send;
}

/// Why a source gave no certificate.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The source answered that it will not issue this. Configuration of the CA, or ours.
    #[error("the certificate source refused")]
    Refused(#[source] Box<dyn Error + Send + Sync>),
    /// The source could not be asked. Network, or the source.
    #[error("the certificate source is away")]
    Unavailable(#[source] Box<dyn Error + Send + Sync>),
    /// The source answered, and not with a certificate. The source.
    #[error("the certificate source answered with what cannot be used")]
    Unusable(#[source] Box<dyn Error + Send + Sync>),
}
