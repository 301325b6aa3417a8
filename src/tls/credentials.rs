//! One certificate as it was issued, and the same after it was checked and made ready for handshakes.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use rustls::client::Resumption;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::NoServerSessionStorage;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::version::TLS13;
use rustls::{ClientConfig, ServerConfig};

use super::error::TlsError;
use super::path::{self, Of, Path};
use super::provider::provider;
use super::roots::{RootsError, TrustedRoots};
use super::san::{SanError, identity_of};
use super::sessions::{Client, Clients, Tickets, ticketer};
use super::trust::{Trust, Verdict, unix};
use super::verify::{OfClients, OfServers, Own};
use crate::model::spiffe::Identity;

/// The only application protocol of HBONE (RFC 7301, RFC 9113 section 3.1).
pub(super) const ALPN: &[u8] = b"h2";

/// A private key in PKCS#8 DER. Never printed; wiped when it is dropped.
pub struct PrivateKey(Vec<u8>);

/// What a certificate source hands over: nothing in it has been checked.
#[derive(Debug)]
pub struct Issued {
    /// Leaf first, then intermediates; DER.
    pub chain: Vec<Vec<u8>>,
    pub key: PrivateKey,
    /// The roots to trust in peers; DER.
    pub roots: Vec<Vec<u8>>,
    pub not_before: SystemTime,
    pub not_after: SystemTime,
}

/// A certificate that verified against its own roots for its own identity, with the TLS configurations built from it.
/// Cheap to clone. Configurations are built once here and not for each connection.
#[derive(Clone)]
pub struct Credentials(Arc<Built>);

struct Built {
    chain: Vec<CertificateDer<'static>>,
    identity: Identity,
    not_after: SystemTime,
    not_before: SystemTime,
    roots: TrustedRoots,
    /// Without a set of expected servers.
    client: ClientConfig,
    clients: Clients,
    own: Own,
    /// As a client's and as a server's certificate.
    paths: [Path; 2],
    server: Arc<ServerConfig>,
}

/// Why an issued certificate is not taken into use. The fault of the certificate source unless said otherwise.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// The chain does not verify against the roots that came with it, or is not valid now (clock).
    #[error(
        "the certificate issued for {identity} does not verify against its own roots: look at the CA, and at the clock"
    )]
    Chain {
        identity: Identity,
        #[source]
        source: Box<TlsError>,
    },
    /// The private key does not belong to the leaf, or is of a kind that cannot sign.
    #[error("the private key issued for {identity} does not fit its certificate")]
    Key { identity: Identity },
    /// No leaf came.
    #[error("no certificate was issued for {identity}")]
    NoLeaf { identity: Identity },
    /// No root came, or none that parses and has not expired.
    #[error("no usable root came with the certificate of {identity}")]
    NoRoot {
        identity: Identity,
        #[source]
        source: RootsError,
    },
    /// The leaf names nobody.
    #[error("the certificate issued for {identity} names no identity")]
    San {
        identity: Identity,
        #[source]
        source: SanError,
    },
    /// The leaf is somebody else's.
    #[error("asked for a certificate of {identity}, was issued one of {got}")]
    WrongIdentity { identity: Identity, got: Identity },
}

// === impl PrivateKey ===

impl PrivateKey {
    pub const fn from_pkcs8(der: Vec<u8>) -> Self {
        Self(der)
    }

    /// The bytes, for a signer or for the file of a CA.
    pub fn pkcs8(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for PrivateKey {
    fn drop(&mut self) {
        self.0.fill(0);
        // Keeps the optimiser from dropping a write that nobody reads.
        std::hint::black_box(&self.0);
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateKey(..)")
    }
}

// === impl Credentials ===

impl Credentials {
    /// As [`Self::build_within`], with nobody to trust beside the roots that came with the certificate.
    ///
    /// # Errors
    /// As there.
    pub fn build(issued: &Issued, identity: &Identity, now: SystemTime) -> Result<Self, CredentialsError> {
        Self::build_within(&Trust::default(), issued, identity, now)
    }

    /// Checks `issued` (identity, chain to its own roots, validity at `now`, revocation, key) and builds the server's
    /// configuration. Peers are held against its roots and `trust`. Lists that cannot be read refuse peers, not this.
    ///
    /// # Errors
    /// See [`CredentialsError`]; nothing of a refused certificate is kept.
    pub fn build_within(
        trust: &Trust,
        issued: &Issued,
        identity: &Identity,
        now: SystemTime,
    ) -> Result<Self, CredentialsError> {
        let whose = || identity.clone();
        let chain: Vec<CertificateDer<'static>> = issued.chain.iter().map(|der| der.clone().into()).collect();
        let (leaf, intermediates) =
            chain.split_first().ok_or_else(|| CredentialsError::NoLeaf { identity: whose() })?;
        let got = identity_of(leaf).map_err(|source| CredentialsError::San { identity: whose(), source })?;
        if got != *identity {
            return Err(CredentialsError::WrongIdentity { identity: whose(), got });
        }

        let no_root = |source| CredentialsError::NoRoot { identity: whose(), source };
        let roots = TrustedRoots::of(&issued.roots, now).map_err(no_root)?;
        let provider = provider();
        let store = roots.store();
        // Both uses: a leaf that may only be a client (or a server) is found now and not by our peers.
        let path = |of| {
            let accept = |path: &Path| match trust.judge(path) {
                Verdict::Revoked => Err(webpki::Error::CertRevoked),
                Verdict::Good | Verdict::Unknown => Ok(()),
            };
            path::verify(of, leaf, intermediates, &store.roots, unix(now), accept).map_err(|error| {
                let source = Box::new(TlsError::from_io(std::io::Error::other(error)));
                CredentialsError::Chain { identity: whose(), source }
            })
        };
        let paths = [path(Of::Client)?, path(Of::Server)?];

        let bad_key = |_| CredentialsError::Key { identity: whose() };
        let der = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(issued.key.pkcs8()));
        let signer = provider.key_provider.load_private_key(der.clone_key()).map_err(bad_key)?;
        let certified = CertifiedKey::new(chain.clone(), signer);
        certified.keys_match().map_err(bad_key)?;
        let key = Arc::new(SingleCertAndKey::from(certified));

        let own = Own {
            domain: Arc::clone(&identity.trust_domain),
            roots: store,
            trust: trust.clone(),
            fresh: Arc::default(),
        };
        let time = Arc::new(trust.clone());
        let mut server = ServerConfig::builder_with_details(Arc::clone(&provider), Arc::clone(&time) as _)
            .with_protocol_versions(&[&TLS13])
            .map_err(bad_key)?
            .with_client_cert_verifier(Arc::new(OfClients { own: own.clone() }))
            .with_cert_resolver(Arc::clone(&key) as _);
        server.alpn_protocols = vec![ALPN.to_vec()];
        // Tickets are sealed and hold the client's chain, so that it can be verified again. One for each connection: it
        // is used once, and its successor comes with the connection that it makes.
        server.send_tls13_tickets = 0;
        if let Some(ticketer) = ticketer(trust, issued.not_after.duration_since(now).unwrap_or_default()) {
            server.ticketer = ticketer;
            server.send_tls13_tickets = 1;
        }
        server.session_storage = Arc::new(NoServerSessionStorage {});
        server.max_early_data_size = 0;

        let nobody = OfServers { expected: [].into(), own: own.clone() };
        let mut client = ClientConfig::builder_with_details(provider, time)
            .with_protocol_versions(&[&TLS13])
            .map_err(bad_key)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(nobody))
            .with_client_cert_resolver(key);
        client.alpn_protocols = vec![ALPN.to_vec()];
        client.resumption = Resumption::disabled();
        client.enable_sni = false;
        client.enable_early_data = false;

        Ok(Self(Arc::new(Built {
            chain,
            identity: whose(),
            not_after: issued.not_after,
            not_before: issued.not_before,
            roots,
            client,
            clients: Clients::default(),
            own,
            paths,
            server: Arc::new(server),
        })))
    }

    pub fn identity(&self) -> &Identity {
        &self.0.identity
    }

    pub fn not_after(&self) -> SystemTime {
        self.0.not_after
    }

    pub fn not_before(&self) -> SystemTime {
        self.0.not_before
    }

    /// When the first of the trusted roots expires. Those that had expired when this was built are not among them.
    pub fn roots_not_after(&self) -> Option<SystemTime> {
        Some(self.0.roots.first_end())
    }

    /// Leaf first, then intermediates; DER.
    pub fn chain(&self) -> impl Iterator<Item = &[u8]> {
        self.0.chain.iter().map(AsRef::as_ref)
    }

    /// The roots that peers are verified against, as they came; DER.
    pub fn roots(&self) -> impl Iterator<Item = &[u8]> {
        self.0.roots.ders().iter().map(Vec::as_slice)
    }

    /// True when a list that is in force names this certificate, or an intermediate that it needs. Peers refuse it.
    pub fn is_revoked(&self) -> bool {
        self.0.paths.iter().any(|path| self.0.own.trust.judge(path) == Verdict::Revoked)
    }

    /// The leaf's number.
    #[cfg(test)]
    pub(crate) fn serial(&self) -> Vec<u8> {
        self.0.paths[0].serial().to_vec()
    }

    pub(super) fn own(&self) -> &Own {
        &self.0.own
    }

    pub(super) fn server_config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.0.server)
    }

    /// The client's configuration for a set of expected servers, made once for each set and each state of what is
    /// trusted: key and chain are shared, verifier and tickets are its own.
    pub(super) fn client(&self, expected: &Arc<[Identity]>) -> Client {
        let own = &self.0.own;
        self.0.clients.get(expected, own.trust.version(), || {
            let tickets = Tickets::new(Arc::clone(own.trust.clock()));
            let mut config = self.0.client.clone();
            let verifier = OfServers { expected: Arc::clone(expected), own: own.clone() };
            config.dangerous().set_certificate_verifier(Arc::new(verifier));
            config.resumption = tickets.resumption();
            Client { config: Arc::new(config), tickets }
        })
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("identity", &self.0.identity)
            .field("not_after", &self.0.not_after)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
