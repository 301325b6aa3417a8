//! The listeners of a pod, or of the daemon itself, bound or handed over, before they are served.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};

use tokio_util::sync::CancellationToken;

use crate::model::ports;
use crate::sys::handover::Handed;
use crate::sys::socket;

/// Whose listeners they are, and so whose data path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Of {
    Pod,
    /// The daemon's own, in its own namespace, where no rule redirects: nothing is marked, no peer's address is shown to
    /// what it dials, and the same-node lane does not lead to it.
    Daemon {
        /// The ports that it dials. In the host's network every other one is somebody else's.
        pages: [u16; 2],
    },
}

/// The listeners of a pod, not yet served.
#[must_use = "a listener that nobody serves lets its clients hang"]
pub struct Listeners {
    pub(super) outbound: Vec<TcpListener>,
    pub(super) plaintext: Vec<TcpListener>,
    pub(super) hbone: Vec<TcpListener>,
    pub(super) of: Of,
    /// Nothing is accepted before it is cancelled: another process still serves the same queue.
    pub(super) begin: CancellationToken,
}

/// Why the listeners of a pod, or the daemon's own, could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    #[error(
        "cannot listen on {address} inside the pod: another process of the pod, or another node proxy, may hold the port"
    )]
    InPod {
        address: SocketAddr,
        #[source]
        source: io::Error,
    },
    /// Configuration, or the process before this one, which has not left yet.
    #[error("cannot listen on {address} for tunnels to this node itself: end what holds the port")]
    OfDaemon {
        address: SocketAddr,
        #[source]
        source: io::Error,
    },
}

// === impl Listeners ===

impl Listeners {
    /// Takes from `handed` what another process of ours has handed over, and opens the rest in the calling thread's
    /// namespace: call it through `Netns::run`. IPv6 is left out where the namespace has none.
    /// `mark` is the packet mark of the listeners and of all that they accept; 0 sets none. With `beside` they share their
    /// ports with another proxy's (SO_REUSEPORT), and have connections from this call on.
    pub fn open(ipv6: bool, mark: u32, handed: &mut Handed, beside: bool) -> Result<Self, ListenError> {
        let mut on = |port: u16| {
            every(ipv6, port, |address| {
                let opened = match handed.stream(address, mark) {
                    Some(listener) => Ok(listener),
                    None if beside => socket::listen_beside(address, mark),
                    None => socket::listen_marked(address, mark),
                };
                opened.map_err(|source| ListenError::InPod { address, source })
            })
        };
        let outbound = on(ports::OUTBOUND)?;
        outbound.iter().for_each(socket::stays_on_host);
        let plaintext = on(ports::INBOUND_PLAINTEXT)?;
        Ok(Self { outbound, plaintext, hbone: on(ports::HBONE)?, of: Of::Pod, begin: begun() })
    }

    /// The daemon's own: 15008 alone, without a packet mark, in the calling thread's namespace, which is the daemon's.
    /// Another process that holds the port keeps it (no SO_REUSEPORT): what both may hold is handed over. Peers reach the
    /// ports `pages` and no other.
    ///
    /// # Errors
    /// The port is taken. What `handed` had is closed then.
    pub fn of_daemon(ipv6: bool, handed: &mut Handed, pages: [u16; 2]) -> Result<Self, ListenError> {
        let hbone = every(ipv6, ports::HBONE, |address| {
            let opened = handed.stream(address, 0).map_or_else(|| socket::listen(address), Ok);
            opened.map_err(|source| ListenError::OfDaemon { address, source })
        })?;
        Ok(Self { outbound: Vec::new(), plaintext: Vec::new(), hbone, of: Of::Daemon { pages }, begin: begun() })
    }

    /// Accepts nothing before `begin` is cancelled.
    pub fn held_until(self, begin: CancellationToken) -> Self {
        Self { begin, ..self }
    }
}

// === impl ListenError ===

impl ListenError {
    /// Another socket has the port.
    pub fn is_taken(&self) -> bool {
        let (Self::InPod { source, .. } | Self::OfDaemon { source, .. }) = self;
        source.kind() == io::ErrorKind::AddrInUse
    }
}

/// `open` at the port's wildcard address in each family.
fn every(
    ipv6: bool,
    port: u16,
    mut open: impl FnMut(SocketAddr) -> Result<TcpListener, ListenError>,
) -> Result<Vec<TcpListener>, ListenError> {
    let families = [IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)];
    let wanted = families.into_iter().filter(|ip| ip.is_ipv4() || ipv6);
    wanted.map(|ip| open(SocketAddr::new(ip, port))).collect()
}

fn begun() -> CancellationToken {
    let begin = CancellationToken::new();
    begin.cancel();
    begin
}
