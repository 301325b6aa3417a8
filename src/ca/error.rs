//! What is wrong with a CA's directory or with what it was asked.

use std::io;
use std::path::PathBuf;

use crate::tls::{CredentialsError, PemError};

/// Each ends in one line that names the file and the mend.
#[derive(Debug, thiserror::Error)]
pub enum CaError {
    /// The revocation list cannot be read. Configuration.
    #[error("{}: not a revocation list in PEM: write it again, or remove it", path.display())]
    Crl { path: PathBuf },
    /// The request is not a PKCS#10 request, its signature is wrong, or its key is of a kind that we do not sign. Peer.
    #[error("the certificate request is refused: {0}")]
    Csr(&'static str),
    /// The signing certificate or every root has expired. Configuration.
    #[error("{}: expired: put a valid one there, with its key, or empty the directory to have a new root made", path.display())]
    Expired { path: PathBuf },
    /// Some of the four files are there and some are not. Never repaired by making a new root: that would cut the
    /// mesh in two. Configuration.
    #[error("{}: {missing} is missing: the directory holds all of root-cert.pem, ca-cert.pem, ca-key.pem and cert-chain.pem, or none", dir.display())]
    Incomplete { dir: PathBuf, missing: &'static str },
    /// Reading, writing or locking failed. Configuration or kernel.
    #[error("{}: cannot {what}: check that the path exists and that this user may", path.display())]
    Io {
        what: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// The key cannot be read as EC (P-256, P-384) or RSA. Configuration.
    #[error("{}: not an EC or RSA private key that this CA can use: write it as PKCS#8", path.display())]
    Key { path: PathBuf },
    /// The key is another certificate's. Configuration.
    #[error("{}: not the private key of ca-cert.pem: put the two that belong together there", path.display())]
    KeyMismatch { path: PathBuf },
    /// The signing certificate may not sign certificates. Configuration.
    #[error("{}: not a CA certificate (basic constraints or key usage): issue it with CA:TRUE and keyCertSign", path.display())]
    NotACa { path: PathBuf },
    /// The chain from the signing certificate does not reach a root. Configuration.
    #[error("{}: the signing certificate does not lead to a root in root-cert.pem: put the intermediates between them there", path.display())]
    NotAnchored {
        path: PathBuf,
        #[source]
        source: Box<CredentialsError>,
    },
    /// The signing certificate is not valid yet. Configuration, or the clock.
    #[error("{}: not valid yet: check the clock", path.display())]
    NotYetValid { path: PathBuf },
    /// Not PEM, or no certificate in it. Configuration.
    #[error("{}: not a PEM file of {expected}: write it again", path.display())]
    Pem {
        path: PathBuf,
        expected: &'static str,
        #[source]
        source: Option<PemError>,
    },
    /// The directory's own list revokes the certificate that signs, or one above it. Configuration.
    #[error("{}: revokes a certificate of the signing chain: nodes would refuse what it signs; put another signer there", path.display())]
    Revoked { path: PathBuf },
    /// The new roots are other ones, and neither set holds the other: peers would not know each other. Configuration.
    #[error("{}: neither holds the roots that are in use nor is held by them: add the new root beside the old one first", path.display())]
    RootsReplaced { path: PathBuf },
    /// Making a key or a signature failed. Us, or the kernel's generator.
    #[error("signing failed: {0}")]
    Sign(&'static str),
}
