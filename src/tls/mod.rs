//! Mutual TLS 1.3 with SPIFFE identities, TLS 1.3 to a control plane, and the certificates and PEM files that both need.
//!
//! Owns: the crypto provider and its suites, verification of peers, the handshake with its deadline and its resumption,
//! the stream after it, revocation lists and the roots of other trust domains with the files that they come from. Never: a socket, a decision about who may talk to whom beyond "this is really that identity", a
//! certificate's rotation (`identity`). No type of the TLS library leaves this folder: a peer is an
//! [`Identity`](crate::model::spiffe::Identity), a certificate is DER bytes, an error is a [`TlsError`].

mod control;
mod credentials;
mod crl;
mod describe;
mod digest;
mod error;
mod follow;
mod handshake;
mod named;
mod path;
mod pem;
mod provider;
mod roots;
mod san;
mod sessions;
mod stream;
mod trust;
mod verify;

#[cfg(test)]
pub(crate) mod fixture;

pub use control::{ControlConnector, ControlNameError};
pub use credentials::{Credentials, CredentialsError, Issued, PrivateKey};
pub use crl::{CrlError, Lists, MAX_FILE as MAX_CRL_FILE};
pub use describe::{Described, describe};
pub use digest::sha256;
pub use error::{Fault, TlsError};
pub use follow::{Files, Follower};
pub use handshake::{Acceptor, Connector, HANDSHAKE_LIMIT};
#[cfg(test)]
pub(crate) use named::dial;
pub use named::{Hello, NamedAcceptor, NamedKeyError, NamedStream};
pub use pem::{
    Lenient, MAX_PEM, PemError, base64, certificate_request as pem_certificate_request,
    certificates as pem_certificates, certificates_leniently, encode_certificates, encode_key, private_key_block,
};
pub use provider::{post_quantum_alone, random_bytes, random_unit};
pub use roots::{RootsError, TrustedRoots};
pub use san::{SanError, identity_of};
pub use stream::TlsStream;
pub use trust::{Clock, Domains, NoRoots, Proof, Revocation, Trust};
