//! The handshake, on both sides, with its deadline.

use std::future::Future;
use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, CommonState, NamedGroup, ServerConfig};
use tokio::io::{AsyncRead, AsyncWrite};

use super::credentials::{ALPN, Credentials};
use super::error::TlsError;
use super::san::identity_of;
use super::stream::TlsStream;
use crate::model::spiffe::Identity;

/// The whole handshake, 10 s: two round trips with room for a lost SYN-sized packet or three. A peer that stalls
/// costs one task for this long and nothing more.
pub const HANDSHAKE_LIMIT: Duration = Duration::from_secs(10);

/// Accepts connections of peers with one certificate of ours. Made anew at each rotation; connections go on.
#[derive(Clone)]
pub struct Acceptor {
    config: Arc<ServerConfig>,
}

/// Opens connections to servers of an expected set with one certificate of ours.
#[derive(Clone)]
pub struct Connector {
    config: Arc<ClientConfig>,
}

// === impl Acceptor ===

impl Acceptor {
    pub fn new(credentials: &Credentials) -> Self {
        Self { config: credentials.server_config() }
    }

    /// The server's side of a handshake over `stream`.
    ///
    /// # Errors
    /// See [`TlsError`]; the stream is dropped.
    pub async fn accept<S>(&self, stream: S) -> Result<TlsStream<S>, TlsError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let handshake = tokio_rustls::TlsAcceptor::from(Arc::clone(&self.config)).accept(stream);
        let inner = within(handshake).await?;
        finish(inner.into())
    }
}

// === impl Connector ===

impl Connector {
    /// A connector that accepts servers which are one of `expected`; none is accepted when it is empty.
    pub fn new(credentials: &Credentials, expected: &Arc<[Identity]>) -> Self {
        Self { config: credentials.client_config(expected) }
    }

    /// The client's side of a handshake over `stream`.
    ///
    /// # Errors
    /// See [`TlsError`]; the stream is dropped.
    pub async fn connect<S>(&self, stream: S) -> Result<TlsStream<S>, TlsError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        // An address is never sent as SNI (RFC 6066 section 3), and the verifier does not look at it.
        let name = ServerName::IpAddress(Ipv4Addr::UNSPECIFIED.into());
        let handshake = tokio_rustls::TlsConnector::from(Arc::clone(&self.config)).connect(name, stream);
        let inner = within(handshake).await?;
        finish(inner.into())
    }
}

pub(super) async fn within<T>(handshake: impl Future<Output = io::Result<T>>) -> Result<T, TlsError> {
    match tokio::time::timeout(HANDSHAKE_LIMIT, handshake).await {
        Ok(result) => result.map_err(TlsError::from_io),
        Err(_) => Err(TlsError::Timeout { limit: HANDSHAKE_LIMIT }),
    }
}

/// The checks that the library leaves to its caller: a peer that offered no ALPN at all, and who it is.
fn finish<S>(inner: tokio_rustls::TlsStream<S>) -> Result<TlsStream<S>, TlsError> {
    let state: &CommonState = inner.get_ref().1;
    if state.alpn_protocol() != Some(ALPN) {
        return Err(TlsError::NoAlpn);
    }
    // The same function on the same bytes as in the verifier, so this is the identity that was verified.
    let leaf = state.peer_certificates().and_then(<[_]>::first).ok_or(TlsError::NoCertificate)?;
    let peer = identity_of(leaf).map_err(TlsError::NoIdentity)?;
    let group = match state.negotiated_key_exchange_group().map(|group| group.name()) {
        Some(NamedGroup::X25519MLKEM768) => "X25519MLKEM768",
        Some(NamedGroup::X25519) => "X25519",
        Some(NamedGroup::secp256r1) => "P-256",
        Some(NamedGroup::secp384r1) => "P-384",
        _ => "other",
    };
    Ok(TlsStream { inner, peer, group })
}

#[cfg(test)]
mod tests;
