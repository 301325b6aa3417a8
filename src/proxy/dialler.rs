//! Dialling from a pod's namespace.
//!
//! A socket belongs to the namespace of the thread that makes it, and entering one means another thread: two changes of
//! context before the first packet. So a few sockets are made ahead, as many as were wanted of late.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::net::TcpStream;

use super::outcome::Failure;
use crate::sys::netns::{Netns, NetnsError};
use crate::sys::socket::{Unconnected, unconnected};

/// Sockets that lie ready, for one family: a burst of this many is served while the next ones are made. A descriptor
/// and about 2 KiB of kernel memory each.
const MOST: usize = 16;

/// Opens connections from one pod's namespace.
pub struct Dialler {
    netns: Netns,
    mark: u32,
    limit: Duration,
    /// IPv4, IPv6.
    ready: [Mutex<Ready>; 2],
}

#[derive(Default)]
struct Ready {
    sockets: Vec<Unconnected>,
    /// Taken since the last making: what a pod does not use is not kept for it.
    taken: usize,
    making: bool,
}

/// Why a dial from a pod's namespace failed.
#[derive(Debug)]
pub enum DialError {
    Connect(io::Error),
    /// The namespace could not be entered.
    Namespace(NetnsError),
    Timeout(Duration),
}

// === impl Dialler ===

impl Dialler {
    /// `mark` is the packet mark of the daemon's sockets, `limit` what a whole dial may take.
    pub fn new(netns: Netns, mark: u32, limit: Duration) -> Arc<Self> {
        Arc::new(Self { netns, mark, limit, ready: Default::default() })
    }

    /// Connects to `remote`, showing it `source` when one is given.
    pub async fn dial(self: &Arc<Self>, remote: SocketAddr, source: Option<IpAddr>) -> Result<TcpStream, DialError> {
        let attempt = async {
            let socket = self.socket(remote.is_ipv6()).await?;
            socket.start(remote, source).map_err(DialError::Connect)?.connected().await.map_err(DialError::Connect)
        };
        tokio::time::timeout(self.limit, attempt).await.unwrap_or(Err(DialError::Timeout(self.limit)))
    }

    async fn socket(self: &Arc<Self>, ipv6: bool) -> Result<Unconnected, DialError> {
        let (socket, make) = {
            let mut ready = self.lock(ipv6);
            ready.taken += 1;
            let socket = ready.sockets.pop();
            // Half a stock left is time enough to make the other half.
            let make = !ready.making && ready.sockets.len() < MOST / 2;
            ready.making |= make;
            (socket, make)
        };
        let mark = self.mark;
        let socket = match socket {
            Some(socket) => Ok(socket),
            None => match self.netns.run_async(move || unconnected(ipv6, mark)).await {
                Ok(made) => made.map_err(DialError::Connect),
                Err(error) => Err(DialError::Namespace(error)),
            },
        };
        if make {
            let this = Arc::downgrade(self);
            self.netns.run_later(move || Self::make(&this, ipv6));
        }
        socket
    }

    /// Makes what is missing; runs inside the namespace.
    fn make(this: &Weak<Self>, ipv6: bool) {
        let Some(this) = this.upgrade() else { return };
        let want = {
            let mut ready = this.lock(ipv6);
            std::mem::take(&mut ready.taken).min(MOST.saturating_sub(ready.sockets.len()))
        };
        // Out of descriptors: the next dial finds no socket ready and says so.
        let made: Vec<_> = (0..want).map_while(|_| unconnected(ipv6, this.mark).ok()).collect();
        let mut ready = this.lock(ipv6);
        ready.sockets.extend(made);
        ready.making = false;
    }

    fn lock(&self, ipv6: bool) -> std::sync::MutexGuard<'_, Ready> {
        self.ready[usize::from(ipv6)].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl DialError ===

impl DialError {
    /// The failure of a dial to another host.
    pub(super) fn into_hop_failure(self, to: SocketAddr) -> Failure {
        match self {
            Self::Connect(source) => Failure::HopConnect { to, source },
            Self::Namespace(source) => Failure::Socket(Box::new(source)),
            Self::Timeout(limit) => Failure::HopTimeout { to, limit },
        }
    }

    /// The failure of a dial to an application on this node.
    pub(super) fn into_app_failure(self, to: SocketAddr) -> Failure {
        match self {
            Self::Connect(source) => Failure::AppConnect { to, source },
            Self::Namespace(source) => Failure::Socket(Box::new(source)),
            Self::Timeout(limit) => Failure::AppTimeout { to, limit },
        }
    }
}

#[cfg(test)]
mod tests;
