//! What goes wrong in a handshake, and whose fault it is.

use std::io;
use std::time::Duration;

use rustls::{AlertDescription, CertificateError, Error as Rustls};

use super::san::SanError;
use super::verify::Refused;
use crate::model::spiffe::Identity;

/// Whose fault a failed handshake is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The far side, or something between it and us.
    Peer,
    /// This daemon or its certificate.
    Us,
}

/// Why a handshake failed.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The peer's leaf or an intermediate has expired or is not valid yet. Peer, or one of the two clocks.
    #[error("the peer's certificate is outside of its validity: renew it, or compare both clocks")]
    Expired,
    /// The connection ended or broke before the handshake was over. Peer.
    #[error("the connection ended during the TLS handshake")]
    Io(#[source] io::Error),
    /// The peer's leaf names no identity. Peer.
    #[error("the peer's certificate names no identity")]
    NoIdentity(#[source] SanError),
    /// ALPN did not end in `h2`. Peer.
    #[error("the peer does not speak HTTP/2 over TLS (ALPN `h2`): is this port HBONE?")]
    NoAlpn,
    /// The client presented no certificate. Peer.
    #[error("the peer presented no certificate: HBONE needs mutual TLS")]
    NoCertificate,
    /// Bytes that are no TLS. Peer.
    #[error("the peer does not speak TLS on this port")]
    NotTls,
    /// The peer and we share no TLS version, suite or group, or the peer broke the protocol. Peer.
    #[error("the TLS handshake failed")]
    Protocol(#[source] Rejected),
    /// The peer sent an alert: it does not accept our certificate or our parameters. Ours to look at first.
    #[error("the peer refused our side of the handshake (alert {alert}): look at its log, and at our certificate")]
    RefusedByPeer { alert: String },
    /// The peer's leaf or an intermediate is on a revocation list of its issuer. Peer.
    #[error("the peer's certificate is revoked: its issuer has put it on the revocation list")]
    Revoked,
    /// The revocation list that is configured cannot be read, so whom it names is not known. Configuration.
    #[error("the revocation list of this node cannot be read, so nobody is let in: mend the file (setting crl-file)")]
    RevocationUnknown,
    /// No handshake within the limit. Peer.
    #[error("no TLS handshake within {} s", limit.as_secs_f32())]
    Timeout { limit: Duration },
    /// The chain does not end in a root that we trust, or a signature in it is wrong. Peer, or the roots configured here.
    #[error(
        "the peer's certificate is not signed by a root that this mesh trusts: compare root-cert.pem on both sides"
    )]
    UnknownRoot,
    /// The client is of another trust domain than ours. Peer, or policy.
    #[error("the peer is {got}, of another trust domain than ours, {expected}")]
    WrongTrustDomain { expected: String, got: Identity },
    /// A control plane's server has a certificate for other names than the one we called. Peer, or the address, or the
    /// extra name that is accepted.
    #[error("the server's certificate is for none of: {}: compare the address, and the extra name that is accepted", expected.join(", "))]
    WrongName { expected: Vec<String> },
    /// The server is not who we meant to talk to. Peer, or a stale address.
    #[error("the peer is {got}, expected one of: {}", list(expected))]
    WrongIdentity { expected: Vec<Identity>, got: Identity },
}

/// The TLS library's own words, without its types.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub struct Rejected(String);

fn list(identities: &[Identity]) -> String {
    identities.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

// === impl TlsError ===

impl TlsError {
    /// Whose fault it is, for logs and metrics.
    pub const fn fault(&self) -> Fault {
        match self {
            Self::RefusedByPeer { .. } | Self::RevocationUnknown => Fault::Us,
            _ => Fault::Peer,
        }
    }

    pub(super) fn from_io(error: io::Error) -> Self {
        let Some(inner) = error.get_ref().and_then(|inner| inner.downcast_ref::<Rustls>()) else {
            return Self::Io(error);
        };
        match inner {
            Rustls::AlertReceived(AlertDescription::CloseNotify) => Self::Io(error),
            Rustls::AlertReceived(AlertDescription::NoApplicationProtocol) | Rustls::NoApplicationProtocol => {
                Self::NoAlpn
            }
            Rustls::AlertReceived(alert) => Self::RefusedByPeer { alert: format!("{alert:?}") },
            Rustls::InvalidCertificate(reason) => Self::from_certificate(reason),
            Rustls::InvalidMessage(_) => Self::NotTls,
            Rustls::NoCertificatesPresented => Self::NoCertificate,
            other => Self::Protocol(Rejected(other.to_string())),
        }
    }

    fn from_certificate(reason: &CertificateError) -> Self {
        match reason {
            CertificateError::BadSignature | CertificateError::UnknownIssuer => Self::UnknownRoot,
            CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. } => Self::Expired,
            CertificateError::Revoked => Self::Revoked,
            CertificateError::UnknownRevocationStatus => Self::RevocationUnknown,
            CertificateError::Other(other) => match other.0.downcast_ref::<Refused>() {
                Some(Refused::Identity { expected, got }) => {
                    Self::WrongIdentity { expected: expected.to_vec(), got: got.clone() }
                }
                Some(Refused::Name { expected }) => Self::WrongName { expected: expected.to_vec() },
                Some(Refused::San(reason)) => Self::NoIdentity(reason.clone()),
                Some(Refused::TrustDomain { expected, got }) => {
                    Self::WrongTrustDomain { expected: expected.to_string(), got: got.clone() }
                }
                None => Self::Protocol(Rejected(other.to_string())),
            },
            other => Self::Protocol(Rejected(other.to_string())),
        }
    }
}
