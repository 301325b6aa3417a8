//! Why the pool gave no tunnel.

use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::hbone::error::{ConnectionError, TunnelError};

/// Why the pool gave no tunnel. The same error goes to all who waited for the same dial.
#[derive(Debug, thiserror::Error)]
pub enum PoolError<E: Error + 'static> {
    /// The pod is being withdrawn. Us.
    #[error("the pod's connections are being closed")]
    Closed,
    /// The dialler failed; its error says whose fault.
    #[error("no connection to {destination}")]
    Dial {
        destination: SocketAddr,
        #[source]
        source: Arc<E>,
    },
    /// The dial ran into the pool's own limit. Us: the dialler's deadlines should have come first.
    #[error("no connection to {destination} within {} s", limit.as_secs())]
    DialTimeout { destination: SocketAddr, limit: Duration },
    /// Every connection is in use and no more may be opened. The local app, or the settings.
    #[error("the pod has its {limit} connections open: raise the limit, or look at what it connects to")]
    Full { limit: usize },
    /// HTTP/2 did not begin. Peer.
    #[error("no HTTP/2 connection to {destination}")]
    Open {
        destination: SocketAddr,
        #[source]
        source: ConnectionError,
    },
    /// The far side's answer to CONNECT.
    #[error("no tunnel through {destination}")]
    Tunnel {
        destination: SocketAddr,
        #[source]
        source: TunnelError,
    },
}

// === impl PoolError ===

impl<E: Error> Clone for PoolError<E> {
    fn clone(&self) -> Self {
        match self {
            Self::Closed => Self::Closed,
            Self::Dial { destination, source } => Self::Dial { destination: *destination, source: Arc::clone(source) },
            Self::DialTimeout { destination, limit } => Self::DialTimeout { destination: *destination, limit: *limit },
            Self::Full { limit } => Self::Full { limit: *limit },
            Self::Open { destination, source } => Self::Open { destination: *destination, source: source.clone() },
            Self::Tunnel { destination, source } => Self::Tunnel { destination: *destination, source: source.clone() },
        }
    }
}
