//! TLS to a control plane: a server with a host name, and no certificate of ours.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{CryptoProvider, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::version::TLS13;
use rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use tokio::io::{AsyncRead, AsyncWrite};

use super::credentials::ALPN;
use super::error::TlsError;
use super::handshake::within;
use super::provider::provider;
use super::roots::TrustedRoots;
use super::verify::{Refused, no_tls12, refuse};

/// Opens connections to one control plane, which proves itself by a DNS name or an address in its certificate
/// (RFC 9525). TLS 1.3 alone, ALPN `h2`; no resumption, so that every connection is verified against today's roots.
#[derive(Clone)]
pub struct ControlConnector {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
}

/// A name that no certificate can have. Configuration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name:?} is neither a DNS name nor an IP address: correct the address or the extra server name")]
pub struct ControlNameError {
    pub name: String,
}

/// A client's verifier of control planes: chain, validity and EKU, then one of the names.
#[derive(Debug)]
struct OfControl {
    names: Vec<ServerName<'static>>,
    provider: Arc<CryptoProvider>,
    roots: Arc<RootCertStore>,
    /// The names as they were given, for the error.
    said: Arc<[String]>,
}

// === impl ControlConnector ===

impl ControlConnector {
    /// A connector to `host`, a DNS name or an address (IPv6 without brackets), which is also the server name on the
    /// wire. A certificate for `also` is accepted as well.
    ///
    /// # Errors
    /// One of the two is no name.
    pub fn new(roots: &TrustedRoots, host: &str, also: Option<&str>) -> Result<Self, ControlNameError> {
        let names: Vec<_> = [Some(host), also].into_iter().flatten().map(server_name).collect::<Result<_, _>>()?;
        let said = [Some(host), also].into_iter().flatten().map(str::to_owned).collect();
        let name = server_name(host)?;
        let verifier = OfControl { names, provider: provider(), roots: roots.store(), said };
        let versions = ClientConfig::builder_with_provider(provider()).with_protocol_versions(&[&TLS13]);
        // It fails only for a provider without a suite of TLS 1.3, and ours has nothing else.
        let Ok(versions) = versions else { return Err(ControlNameError { name: host.to_owned() }) };
        let mut config =
            versions.dangerous().with_custom_certificate_verifier(Arc::new(verifier)).with_no_client_auth();
        config.alpn_protocols = vec![ALPN.to_vec()];
        config.resumption = Resumption::disabled();
        config.enable_early_data = false;
        Ok(Self { config: Arc::new(config), name })
    }

    /// Whether a certificate can have this name at all.
    ///
    /// # Errors
    /// It cannot.
    pub fn check_name(name: &str) -> Result<(), ControlNameError> {
        server_name(name).map(drop)
    }

    /// The client's side of a handshake over `stream`, within [`HANDSHAKE_LIMIT`](super::HANDSHAKE_LIMIT).
    ///
    /// # Errors
    /// See [`TlsError`]; the stream is dropped.
    pub async fn connect<S>(&self, stream: S) -> Result<impl AsyncRead + AsyncWrite + Send + Unpin + use<S>, TlsError>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin,
    {
        let handshake = tokio_rustls::TlsConnector::from(Arc::clone(&self.config)).connect(self.name.clone(), stream);
        let stream = within(handshake).await?;
        if stream.get_ref().1.alpn_protocol() != Some(ALPN) {
            return Err(TlsError::NoAlpn);
        }
        Ok(stream)
    }
}

fn server_name(name: &str) -> Result<ServerName<'static>, ControlNameError> {
    // A certificate's names have no dot of the root zone at their end.
    let bare = name.strip_suffix('.').unwrap_or(name).to_owned();
    ServerName::try_from(bare).map_err(|_| ControlNameError { name: name.to_owned() })
}

// === impl OfControl ===

impl ServerCertVerifier for OfControl {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let leaf = ParsedCertificate::try_from(end_entity)?;
        let algorithms = self.provider.signature_verification_algorithms.all;
        verify_server_cert_signed_by_trust_anchor(&leaf, &self.roots, intermediates, now, algorithms)?;
        if !self.names.iter().any(|name| verify_server_name(&leaf, name).is_ok()) {
            return Err(refuse(Refused::Name { expected: Arc::clone(&self.said) }));
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(no_tls12())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests;
