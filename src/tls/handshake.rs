//! The handshake, on both sides, with its deadline.

use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, CommonState, HandshakeKind, NamedGroup, ServerConfig};
use tokio::io::{AsyncRead, AsyncWrite};

use super::credentials::{ALPN, Credentials};
use super::error::TlsError;
use super::path::Path;
use super::sessions::{Client, Tickets};
use super::stream::TlsStream;
use super::trust::Proof;
use crate::model::spiffe::Identity;

/// The whole handshake, 10 s: two round trips with room for a lost SYN-sized packet or three. A peer that stalls
/// costs one task for this long and nothing more.
pub const HANDSHAKE_LIMIT: Duration = Duration::from_secs(10);

/// Accepts connections of peers with one certificate of ours. Made anew at each rotation; connections go on.
#[derive(Clone)]
pub struct Acceptor {
    config: Arc<ServerConfig>,
    credentials: Credentials,
}

/// Opens connections to servers of an expected set with one certificate of ours.
#[derive(Clone)]
pub struct Connector {
    at: IpAddr,
    config: Arc<ClientConfig>,
    credentials: Credentials,
    expected: Arc<[Identity]>,
    tickets: Arc<Tickets>,
}

// === impl Acceptor ===

impl Acceptor {
    pub fn new(credentials: &Credentials) -> Self {
        Self { config: credentials.server_config(), credentials: credentials.clone() }
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
        let own = self.credentials.own();
        let judged = shown(inner.get_ref().1).and_then(|shown| {
            let peer = own.client_after(shown.leaf, shown.rest, shown.resumed);
            peer.map_err(|error| TlsError::from_io(io::Error::other(error))).map(|peer| (peer, shown.resumed))
        });
        let judged = judged?;
        Ok(finish(inner.into(), &self.credentials, judged))
    }
}

// === impl Connector ===

impl Connector {
    /// A connector that accepts servers which are one of `expected`; none is accepted when it is empty.
    pub fn new(credentials: &Credentials, expected: &Arc<[Identity]>) -> Self {
        let Client { config, tickets } = credentials.client(expected);
        let (expected, credentials) = (Arc::clone(expected), credentials.clone());
        Self { at: Ipv4Addr::UNSPECIFIED.into(), config, credentials, expected, tickets }
    }

    /// Where the server is: a session is resumed only with the address that it was made with. It is not sent.
    #[must_use]
    pub fn at(self, at: IpAddr) -> Self {
        Self { at, ..self }
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
        let name = ServerName::IpAddress(self.at.into());
        let handshake = tokio_rustls::TlsConnector::from(Arc::clone(&self.config)).connect(name, stream);
        let inner = within(handshake).await?;
        let own = self.credentials.own();
        let judged = shown(inner.get_ref().1).and_then(|shown| {
            let peer = own.server_after(&self.expected, shown.leaf, shown.rest, shown.resumed);
            peer.map_err(|error| TlsError::from_io(io::Error::other(error))).map(|peer| (peer, shown.resumed))
        });
        match judged {
            Ok(judged) => {
                let stream = finish(inner.into(), &self.credentials, judged);
                self.tickets.expire(stream.proof.expires);
                Ok(stream)
            }
            Err(error) => {
                self.tickets.forget();
                Err(error)
            }
        }
    }
}

pub(super) async fn within<T>(handshake: impl Future<Output = io::Result<T>>) -> Result<T, TlsError> {
    match tokio::time::timeout(HANDSHAKE_LIMIT, handshake).await {
        Ok(result) => result.map_err(TlsError::from_io),
        Err(_) => Err(TlsError::Timeout { limit: HANDSHAKE_LIMIT }),
    }
}

/// What a peer has shown.
struct Shown<'a> {
    leaf: &'a CertificateDer<'static>,
    rest: &'a [CertificateDer<'static>],
    resumed: bool,
}

/// The checks that the library leaves to its caller: a peer that offered no ALPN at all, or no certificate. Of a resumed
/// session it gives out the certificates of the handshake that began it.
fn shown(state: &CommonState) -> Result<Shown<'_>, TlsError> {
    if state.alpn_protocol() != Some(ALPN) {
        return Err(TlsError::NoAlpn);
    }
    let (leaf, rest) = state.peer_certificates().and_then(<[_]>::split_first).ok_or(TlsError::NoCertificate)?;
    Ok(Shown { leaf, rest, resumed: state.handshake_kind() == Some(HandshakeKind::Resumed) })
}

/// Only a peer that was judged after the handshake gets a stream: nobody reads or writes before.
fn finish<S>(
    inner: tokio_rustls::TlsStream<S>,
    credentials: &Credentials,
    ((peer, path), resumed): ((Identity, Path), bool),
) -> TlsStream<S> {
    let state: &CommonState = inner.get_ref().1;
    let expires = path.not_after().min(credentials.not_after());
    let federated = credentials.own().federated(&peer);
    let proof = Arc::new(Proof { path, expires, federated });
    let group = match state.negotiated_key_exchange_group().map(|group| group.name()) {
        Some(NamedGroup::X25519MLKEM768) => "X25519MLKEM768",
        Some(NamedGroup::X25519) => "X25519",
        Some(NamedGroup::secp256r1) => "P-256",
        Some(NamedGroup::secp384r1) => "P-384",
        _ => "other",
    };
    TlsStream { inner, peer, group, proof, resumed }
}

#[cfg(test)]
mod tests;
