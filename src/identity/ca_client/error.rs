//! Why a CA on the network gave no certificate, and what to do about it.

use std::sync::Arc;
use std::time::Duration;

use tonic::{Code, Status};

use super::answer::AnswerError;
use crate::grpc::{Address, ConnectError, TokenError, lost};
use crate::identity::source::SourceError;

/// Longest text of a CA's answer that is repeated, in characters.
const MAX_MESSAGE: usize = 300;

/// Each names the CA's address and the mend.
#[derive(Debug, thiserror::Error)]
pub enum CaError {
    /// The CA.
    #[error("the answer of the CA {ca} is refused")]
    Answer {
        ca: Address,
        #[source]
        source: AnswerError,
    },
    /// The CA, or the way to it: a status that does not mean no.
    #[error("the CA {ca} failed with {code:?} ({message}): {mend}")]
    Away { ca: Address, code: Code, message: String, mend: &'static str },
    /// Network, configuration or the CA; the source has the address.
    #[error("the CA cannot be reached")]
    Connect(#[source] Arc<ConnectError>),
    /// Us, or the kernel's generator.
    #[error("no certificate request could be made: {0}")]
    Csr(&'static str),
    /// Us: the attempt to connect ended without a word.
    #[error("the attempt to connect to the CA {ca} was cut off")]
    Cut { ca: Address },
    /// The CA, or the network.
    #[error("the CA {ca} did not answer within {} s: look at its load and its log", limit.as_secs_f32())]
    Deadline { ca: Address, limit: Duration },
    /// Network, or the CA: the connection ended before the answer, and another one did too or could not be tried.
    #[error("the connection to the CA {ca} broke ({message}): it is tried again; if it lasts, look at the CA's log")]
    Lost { ca: Address, message: String },
    /// The CA says no. Configuration, there or here.
    #[error("the CA {ca} refused with {code:?} ({message}): {mend}")]
    Refused { ca: Address, code: Code, message: String, mend: &'static str },
    /// Configuration here.
    #[error("there is no token for the CA {ca}")]
    Token {
        ca: Address,
        #[source]
        source: TokenError,
    },
}

// === impl CaError ===

impl CaError {
    /// What a status means. A CA that is restarting, full or in trouble is away; one that has understood and will not is
    /// a refusal.
    pub(super) fn of(ca: &Address, status: &Status) -> Self {
        let (code, ca) = (status.code(), ca.clone());
        let message = said(status);
        if lost(status) {
            return Self::Lost { ca, message };
        }
        let refused = match code {
            Code::Unauthenticated => Some(
                "it does not know us, or not as a node that may ask for others: look at the token (its audience, its \
                 age), at the trusted node accounts of the CA, and whether it sees a pod of this identity on this node",
            ),
            Code::PermissionDenied => Some(
                "look at the trusted node accounts of the CA, and whether it sees a pod of this identity on this node",
            ),
            Code::InvalidArgument => Some(
                "it does not like the request: compare the lifetime that is asked for with the CA's greatest, and \
                 the trust domain with the CA's",
            ),
            Code::Unimplemented | Code::NotFound => {
                Some("nobody issues certificates there: compare the address with the CA's, istiod's port is 15012")
            }
            Code::OutOfRange => Some("its answer, or what was asked, is larger than either side takes"),
            Code::AlreadyExists | Code::FailedPrecondition => Some("look at the CA's log"),
            _ => None,
        };
        match refused {
            Some(mend) => Self::Refused { ca, code, message, mend },
            None => Self::Away { ca, code, message, mend: "it is tried again; if it lasts, look at the CA's log" },
        }
    }
}

impl From<CaError> for SourceError {
    fn from(error: CaError) -> Self {
        match error {
            CaError::Answer { .. } => Self::Unusable(error.into()),
            CaError::Refused { .. } => Self::Refused(error.into()),
            CaError::Away { .. }
            | CaError::Connect(_)
            | CaError::Csr(_)
            | CaError::Cut { .. }
            | CaError::Deadline { .. }
            | CaError::Lost { .. }
            | CaError::Token { .. } => Self::Unavailable(error.into()),
        }
    }
}

/// What the CA said, or our side of the connection; bounded, on one line.
fn said(status: &Status) -> String {
    let text = match (status.message(), std::error::Error::source(status)) {
        ("", Some(source)) => crate::telemetry::cause::chain(source),
        ("", None) => "without a word".to_owned(),
        (message, _) => message.to_owned(),
    };
    text.chars().take(MAX_MESSAGE).map(|c| if c.is_control() { ' ' } else { c }).collect()
}
