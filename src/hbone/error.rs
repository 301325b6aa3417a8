//! Why a tunnel did not come about, or ended.

use std::sync::Arc;
use std::time::Duration;

use super::tunnel::ResetKind;

/// Why a CONNECT did not open a tunnel.
#[derive(Clone, Debug, thiserror::Error)]
pub enum TunnelError {
    /// 400: the far side finds the request wrong or meant for another. Ours to look at, or a stale address.
    #[error("the far side answered 400: the destination is not one of its workloads")]
    BadRequest,
    /// The connection went away before the answer. Peer or network.
    #[error("the connection was lost before the far side answered")]
    ConnectionLost(#[source] Option<Cause>),
    /// The peer is leaving (GOAWAY), or refused the stream unseen (REFUSED_STREAM). Nothing was done: another
    /// connection may be tried, and the pool does so.
    #[error("the far side did not take the stream")]
    NotTaken,
    /// An answer that HBONE does not know. Peer.
    #[error("the far side answered {status}")]
    Other { status: u16 },
    /// 401: the far side's policy does not allow it. Policy.
    #[error("the far side answered 401: its policy does not allow this identity or address")]
    Refused,
    /// The far side reset the stream in place of an answer. Peer.
    #[error("the far side reset the stream ({kind:?}) in place of an answer")]
    Reset { kind: ResetKind },
    /// No answer in time. Peer.
    #[error("the far side did not answer CONNECT within {} s", limit.as_secs())]
    Timeout { limit: Duration },
    /// 503: the app does not accept, or the far side cannot serve now. The far app.
    #[error("the far side answered 503: the app did not accept, or it is not ready")]
    Unavailable,
    /// Something in the request cannot be sent. Us.
    #[error("the CONNECT request cannot be written")]
    Unsendable,
}

/// Why a connection ended, for its driver's caller.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ConnectionError {
    /// No answer to a PING. Peer or network.
    #[error("the peer did not answer a PING within {} s", limit.as_secs())]
    Dead { limit: Duration },
    /// Too many streams opened and reset at once. Peer.
    #[error("the peer opens and resets streams too fast")]
    Flood,
    /// No preface or no request in time. Peer.
    #[error("the peer sent no {what} within {} s", limit.as_secs())]
    Idle { what: &'static str, limit: Duration },
    /// The peer broke HTTP/2 or its bounds, or the stream under it broke. Peer or network.
    #[error("the HTTP/2 connection failed")]
    Protocol(#[source] Cause),
}

/// The HTTP/2 library's own words, without its types.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub struct Cause(Arc<str>);

// === impl TunnelError ===

impl TunnelError {
    /// True when the far side has certainly not acted on the request.
    pub const fn is_retryable(&self) -> bool {
        matches!(self, Self::NotTaken)
    }

    pub(super) const fn from_status(status: u16) -> Self {
        match status {
            400 => Self::BadRequest,
            401 => Self::Refused,
            503 => Self::Unavailable,
            status => Self::Other { status },
        }
    }

    pub(super) fn from_h2(error: &h2::Error) -> Self {
        match error.reason() {
            // On a stream, GOAWAY means that its number is above the last one that the peer will look at.
            _ if error.is_go_away() && error.is_remote() => Self::NotTaken,
            Some(h2::Reason::REFUSED_STREAM) => Self::NotTaken,
            Some(reason) if error.is_reset() => Self::Reset { kind: ResetKind::from_reason(reason) },
            _ => Self::ConnectionLost(Some(error.into())),
        }
    }
}

// === impl Cause ===

impl From<&h2::Error> for Cause {
    fn from(error: &h2::Error) -> Self {
        Self(error.to_string().into())
    }
}
