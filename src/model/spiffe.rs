//! SPIFFE identities of workloads: `spiffe://<trust domain>/ns/<namespace>/sa/<service account>`.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// A workload's identity. Equality is structural: all three parts, case-sensitive.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Identity {
    pub trust_domain: Arc<str>,
    pub namespace: Arc<str>,
    pub service_account: Arc<str>,
}

/// Why a URI is not a workload identity. Always the fault of who wrote the URI.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// A byte outside printable ASCII, or longer than the SPIFFE limit of 2048 bytes.
    #[error("an identity is at most 2048 bytes of printable ASCII")]
    Characters,
    /// Empty trust domain, namespace or service account, or a character that the part may not hold.
    #[error("`{0}` is empty or holds a character that it may not")]
    Part(&'static str),
    /// Another shape than `spiffe://<trust domain>/ns/<namespace>/sa/<service account>`.
    #[error("an identity reads spiffe://<trust domain>/ns/<namespace>/sa/<service account>")]
    Shape,
}

/// SPIFFE-ID 2.1: implementations must accept URIs of up to 2048 bytes.
const MAX_URI: usize = 2048;

// === impl Identity ===

impl Identity {
    pub fn new(
        trust_domain: impl Into<Arc<str>>,
        namespace: impl Into<Arc<str>>,
        service_account: impl Into<Arc<str>>,
    ) -> Self {
        Self { trust_domain: trust_domain.into(), namespace: namespace.into(), service_account: service_account.into() }
    }

    /// The form that AuthorizationPolicy principals use: `<trust domain>/ns/<ns>/sa/<sa>`.
    pub fn principal(&self) -> Principal<'_> {
        Principal(self)
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "spiffe://{}", self.principal())
    }
}

impl FromStr for Identity {
    type Err = IdentityError;

    /// Parses exact bytes: no trimming, no percent-decoding, no empty part. A NUL or any other
    /// control byte inside a SAN is refused here and not left to a later comparison.
    fn from_str(uri: &str) -> Result<Self, IdentityError> {
        if uri.len() > MAX_URI || !uri.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(IdentityError::Characters);
        }
        let rest = uri.strip_prefix("spiffe://").ok_or(IdentityError::Shape)?;
        let mut parts = rest.split('/');
        let (Some(td), Some("ns"), Some(ns), Some("sa"), Some(sa), None) =
            (parts.next(), parts.next(), parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(IdentityError::Shape);
        };
        // SPIFFE-ID 2.1 (trust domain) and 2.2 (path segments).
        let domain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b);
        let segment = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
        if td.is_empty() || !td.bytes().all(domain) {
            return Err(IdentityError::Part("trust domain"));
        }
        if ns.is_empty() || !ns.bytes().all(segment) {
            return Err(IdentityError::Part("namespace"));
        }
        if sa.is_empty() || !sa.bytes().all(segment) {
            return Err(IdentityError::Part("service account"));
        }
        Ok(Self::new(td, ns, sa))
    }
}

/// Displays an [`Identity`] without the scheme.
pub struct Principal<'a>(&'a Identity);

// === impl Principal ===

impl fmt::Display for Principal<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Identity { trust_domain, namespace, service_account } = self.0;
        write!(f, "{trust_domain}/ns/{namespace}/sa/{service_account}")
    }
}

#[cfg(test)]
mod tests;
