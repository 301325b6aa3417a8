//! A server that is known by its names, and lets in clients without a certificate: they prove themselves by what they
//! say afterwards.

use std::fmt;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::NoServerSessionStorage;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::version::TLS13;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::credentials::{ALPN, Issued};
use super::error::TlsError;
use super::handshake::HANDSHAKE_LIMIT;
use super::provider::provider;

/// Accepts connections with one certificate of names. Made anew when that is renewed; connections go on.
#[derive(Clone)]
pub struct NamedAcceptor {
    config: Arc<ServerConfig>,
}

/// What a client says first, with its stream.
pub struct Hello<S>(tokio_rustls::StartHandshake<S>);

/// A server's end of a connection whose client is not known yet.
#[derive(Debug)]
pub struct NamedStream<S>(tokio_rustls::server::TlsStream<S>);

/// The key does not fit the certificate, or cannot sign. The fault of who issued them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the private key of the server's certificate does not fit it")]
pub struct NamedKeyError;

// === impl NamedAcceptor ===

impl NamedAcceptor {
    /// # Errors
    /// The key does not fit.
    pub fn new(issued: &Issued) -> Result<Self, NamedKeyError> {
        let chain: Vec<CertificateDer<'static>> = issued.chain.iter().map(|der| der.clone().into()).collect();
        let provider = provider();
        let der = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(issued.key.pkcs8()));
        let signer = provider.key_provider.load_private_key(der.clone_key()).map_err(|_| NamedKeyError)?;
        let certified = CertifiedKey::new(chain, signer);
        certified.keys_match().map_err(|_| NamedKeyError)?;
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13])
            .map_err(|_| NamedKeyError)?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
        config.alpn_protocols = vec![ALPN.to_vec()];
        config.send_tls13_tickets = 0;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.max_early_data_size = 0;
        Ok(Self { config: Arc::new(config) })
    }

    /// The server's side of a handshake that `hello` has begun. The call computes, some 300 µs; what it answers waits for
    /// the client, who has [`HANDSHAKE_LIMIT`].
    ///
    /// # Errors
    /// See [`TlsError`]; the stream is dropped.
    pub fn answer<S>(&self, hello: Hello<S>) -> impl Future<Output = Result<NamedStream<S>, TlsError>> + use<S>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let handshake = hello.0.into_stream(Arc::clone(&self.config));
        async {
            let inner = tokio::time::timeout(HANDSHAKE_LIMIT, handshake)
                .await
                .map_err(|_| TlsError::Timeout { limit: HANDSHAKE_LIMIT })?
                .map_err(TlsError::from_io)?;
            if inner.get_ref().1.alpn_protocol() != Some(ALPN) {
                return Err(TlsError::NoAlpn);
            }
            Ok(NamedStream(inner))
        }
    }
}

// === impl Hello ===

impl<S: AsyncRead + AsyncWrite + Unpin> Hello<S> {
    /// Waits for a whole ClientHello, [`HANDSHAKE_LIMIT`] at most, and computes nothing.
    ///
    /// # Errors
    /// See [`TlsError`]; the stream is dropped.
    pub async fn read(stream: S) -> Result<Self, TlsError> {
        let reading = tokio_rustls::LazyConfigAcceptor::new(rustls::server::Acceptor::default(), stream);
        let read = tokio::time::timeout(HANDSHAKE_LIMIT, reading).await;
        read.map_err(|_| TlsError::Timeout { limit: HANDSHAKE_LIMIT })?.map(Self).map_err(TlsError::from_io)
    }
}

impl fmt::Debug for NamedAcceptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NamedAcceptor").finish_non_exhaustive()
    }
}

// === impl NamedStream ===

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for NamedStream<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for NamedStream<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

#[cfg(test)]
pub(crate) mod dial {
    //! A client that knows a server by its name, as a stranger's library has it.

    use rustls::pki_types::ServerName;
    use rustls::{ClientConfig, RootCertStore};

    use super::*;

    /// Connects over `stream`, believing `roots`.
    pub(crate) async fn connect<S: AsyncRead + AsyncWrite + Unpin>(
        roots: &[Vec<u8>],
        name: &str,
        stream: S,
    ) -> io::Result<tokio_rustls::client::TlsStream<S>> {
        let mut store = RootCertStore::empty();
        store.add_parsable_certificates(roots.iter().map(|der| CertificateDer::from(der.as_slice())));
        let mut config = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&TLS13])
            .unwrap()
            .with_root_certificates(store)
            .with_no_client_auth();
        config.alpn_protocols = vec![ALPN.to_vec()];
        let name = ServerName::try_from(name.to_owned()).unwrap();
        tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, stream).await
    }
}
