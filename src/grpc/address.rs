//! The address of a control plane.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use http::Uri;

/// `https://host:port`. The scheme may be left out; without a port it is 443 (RFC 9110 section 4.2.2).
#[derive(Clone, PartialEq, Eq)]
pub struct Address {
    host: Arc<str>,
    port: u16,
    shown: Arc<str>,
}

/// Why a text is no address of a control plane. Configuration. None repeats a text that may hold a password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// No host, or bytes that no address has.
    #[error("not an address: write https://host:port")]
    Form,
    /// More than a host and a port.
    #[error("an address has a host and a port and nothing else: write https://host:port")]
    More,
    /// Tokens and keys do not travel in clear.
    #[error("{scheme} is not spoken to a control plane: write https://host:port, of istiod's ports 15012")]
    Scheme { scheme: String },
}

// === impl Address ===

impl Address {
    /// A DNS name, or an address without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// As `https://host:port`, for logs, errors and the origin of requests.
    pub fn as_str(&self) -> &Arc<str> {
        &self.shown
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let text = text.trim();
        let full = if text.contains("://") { text.to_owned() } else { format!("https://{text}") };
        let uri: Uri = full.parse().map_err(|_| AddressError::Form)?;
        match uri.scheme_str() {
            Some("https") => {}
            Some(scheme) => return Err(AddressError::Scheme { scheme: scheme.to_owned() }),
            None => return Err(AddressError::Form),
        }
        let authority = uri.authority().ok_or(AddressError::Form)?;
        if authority.as_str().contains('@') || !matches!(uri.path(), "" | "/") || uri.query().is_some() {
            return Err(AddressError::More);
        }
        let bracketed = authority.host();
        let host = bracketed.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(bracketed);
        if host.is_empty() {
            return Err(AddressError::Form);
        }
        // The library gives no port for one that is no number, so its text is read here.
        let port = match authority.as_str().strip_prefix(bracketed) {
            Some("") => 443,
            Some(rest) => rest.strip_prefix(':').and_then(|port| port.parse().ok()).ok_or(AddressError::Form)?,
            None => return Err(AddressError::Form),
        };
        if port == 0 {
            return Err(AddressError::Form);
        }
        let shown = format!("https://{bracketed}:{port}");
        Ok(Self { host: host.into(), port, shown: shown.into() })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

#[cfg(test)]
mod tests;
