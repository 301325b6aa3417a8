//! Which name server a redirected question was meant for.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::sys::netlink::{NetlinkError, NetlinkSocket, Protocol, conntrack};
use crate::sys::netns::Netns;
use crate::sys::socket;

/// Idle sockets that are kept: look-ups take microseconds, so there are seldom two at once.
const IDLE: usize = 2;
/// After which the pod's server is looked at again, though the mesh can answer for it: pods seldom change theirs.
const OLD: Duration = Duration::from_secs(10);

/// The way to a pod's connection tracking.
pub(super) struct Origins {
    netns: Netns,
    idle: Mutex<Vec<NetlinkSocket>>,
    /// That it does not work was said.
    told: AtomicBool,
    /// The server that was meant last, and when it was noted.
    meant: Mutex<Option<(SocketAddr, Instant)>>,
}

// === impl Origins ===

impl Origins {
    pub(super) fn new(netns: Netns) -> Self {
        Self { netns, idle: Mutex::default(), told: AtomicBool::new(false), meant: Mutex::default() }
    }

    /// The server that a question over TCP was meant for; `None` when nobody redirected it.
    pub(super) fn of_stream(stream: &TcpStream) -> Option<SocketAddr> {
        socket::original_destination(stream).filter(can_be_asked)
    }

    /// The server that a datagram was meant for; `None` when nobody redirected it, or the kernel does not say.
    pub(super) async fn of_datagram(&self, local: SocketAddr, client: SocketAddr) -> Option<SocketAddr> {
        match self.look(local, client).await {
            Ok(found) => found.map(socket::canonical).filter(can_be_asked).inspect(|server| self.note(*server)),
            Err(error) => {
                if !self.told.swap(true, Ordering::Relaxed) {
                    tracing::warn!(
                        netns = %self.netns.path().display(), %error,
                        "cannot tell which name server a pod asks; those of the daemon's own resolv.conf are asked \
                         (the kernel needs CONFIG_NF_CT_NETLINK)"
                    );
                }
                None
            }
        }
    }

    /// The server that the pod asks, as far as it was seen.
    pub(super) fn meant(&self) -> Option<SocketAddr> {
        self.noted().map(|(server, _)| server)
    }

    /// Nothing was noted of late, and the kernel may tell.
    pub(super) fn is_old(&self) -> bool {
        !self.told.load(Ordering::Relaxed) && self.noted().is_none_or(|(_, at)| at.elapsed() >= OLD)
    }

    /// The pod has asked `server`.
    pub(super) fn note(&self, server: SocketAddr) {
        *self.meant.lock().unwrap_or_else(PoisonError::into_inner) = Some((server, Instant::now()));
    }

    fn noted(&self) -> Option<(SocketAddr, Instant)> {
        *self.meant.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn look(&self, local: SocketAddr, client: SocketAddr) -> Result<Option<SocketAddr>, NetlinkError> {
        let held = self.idle().pop();
        let mut socket = match held {
            Some(socket) => socket,
            None => {
                let opened = self.netns.run_async(|| NetlinkSocket::open(Protocol::Netfilter)).await;
                let entering = |error| NetlinkError::Socket { call: "entering", source: std::io::Error::other(error) };
                opened.map_err(entering)??
            }
        };
        // The kernel answers before the call that asks has returned, so nothing waits here.
        let found = conntrack::datagram_destination(&mut socket, local, client)?;
        let mut idle = self.idle();
        if idle.len() < IDLE {
            idle.push(socket);
        }
        Ok(found)
    }

    /// Held for a push or a pop, never across a wait or a look-up.
    fn idle(&self) -> MutexGuard<'_, Vec<NetlinkSocket>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Loopback is this proxy itself: a question to it was not redirected.
fn can_be_asked(server: &SocketAddr) -> bool {
    let ip = server.ip();
    !ip.is_loopback() && !ip.is_unspecified() && !ip.is_multicast() && server.port() != 0
}
