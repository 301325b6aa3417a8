//! What is told of a certificate in a dump: never its key.

use std::fmt;
use std::time::SystemTime;

use super::certs::Snapshot;
use crate::model::spiffe::Identity;
use crate::telemetry::cause::chain;
use crate::tls::{Described, describe};

/// An identity and its certificate in plain values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    pub identity: Identity,
    pub state: State,
    /// Leaf first; empty without a certificate.
    pub chain: Vec<Described>,
    /// What this identity trusts in peers.
    pub roots: Vec<Described>,
}

/// Whether an identity can be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// A certificate that is valid now, also when the last attempt to renew it failed.
    Available,
    /// The first attempt has not ended.
    Initializing,
    /// There is none, or it has expired; with the reason, causes included.
    Unavailable(String),
}

// === impl Held ===

impl Held {
    pub(super) fn of(identity: Identity, value: &Snapshot, now: SystemTime) -> Self {
        let error = value.error.as_ref().map(|error| chain(&**error));
        let state = match (&value.certificate, error) {
            (Some(certificate), _) if certificate.not_after() > now => State::Available,
            (_, Some(error)) => State::Unavailable(error),
            (Some(_), None) => State::Unavailable("the certificate has expired and is being renewed".to_owned()),
            (None, None) => State::Initializing,
        };
        let certificate = value.certificate.as_ref();
        let chain = certificate.iter().flat_map(|certificate| certificate.chain()).filter_map(describe).collect();
        let roots = certificate.iter().flat_map(|certificate| certificate.roots()).filter_map(describe).collect();
        Self { identity, state, chain, roots }
    }
}

// === impl State ===

impl fmt::Display for State {
    /// As Istio's dump has it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Available => f.write_str("Available"),
            Self::Initializing => f.write_str("Initializing"),
            Self::Unavailable(error) => write!(f, "Unavailable: {error}"),
        }
    }
}

#[cfg(test)]
mod tests;
