//! The listeners of a pod's proxy, bound or handed over, before they are served.

use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};

use tokio_util::sync::CancellationToken;

use crate::sys::handover::Handed;
use crate::sys::socket;

/// The listeners of a pod, not yet served.
#[must_use = "a listener that nobody serves lets its clients hang"]
#[derive(Debug)]
pub struct Listeners {
    pub(super) datagrams: Vec<UdpSocket>,
    pub(super) streams: Vec<TcpListener>,
    /// Nothing is taken from them before it is cancelled: another process still serves the same queues.
    pub(super) begin: CancellationToken,
}

/// Why the listeners of a pod could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen for DNS on {address} inside the pod: another process of the pod may hold the port")]
pub struct ListenError {
    address: SocketAddr,
    #[source]
    source: io::Error,
}

// === impl Listeners ===

impl Listeners {
    /// Takes from `handed` what another process of ours has handed over, and opens the rest in the calling thread's
    /// namespace: call it through `Netns::run`. Of several addresses those of IPv6 are left out where the namespace has none,
    /// or has it not on loopback; a single one is what somebody asked for.
    /// With `beside` they share their port with another proxy's (SO_REUSEPORT).
    ///
    /// # Errors
    /// Another socket has the port, or the process may not.
    pub fn open(addresses: &[SocketAddr], ipv6: bool, handed: &mut Handed, beside: bool) -> Result<Self, ListenError> {
        let begin = CancellationToken::new();
        begin.cancel();
        let mut listeners = Self { datagrams: Vec::new(), streams: Vec::new(), begin };
        for address in addresses.iter().copied() {
            let failed = |source| ListenError { address, source };
            let may_lack = address.is_ipv6() && addresses.len() > 1;
            if may_lack && !ipv6 {
                continue;
            }
            let opened = match handed.datagrams(address) {
                Some(datagrams) => Ok(datagrams),
                None if beside => socket::listen_datagrams_beside(address),
                None => socket::listen_datagrams(address),
            };
            let datagrams = match opened {
                Err(error) if may_lack && error.kind() == io::ErrorKind::AddrNotAvailable => continue,
                bound => bound.map_err(failed)?,
            };
            // Their answers must not pass for the daemon's own, so they have no mark.
            let stream = match handed.stream(address, 0) {
                Some(stream) => Ok(stream),
                None if beside => socket::listen_beside(address, 0),
                None => socket::listen(address),
            };
            let stream = stream.map_err(failed)?;
            socket::stays_on_host(&stream);
            listeners.datagrams.push(datagrams);
            listeners.streams.push(stream);
        }
        Ok(listeners)
    }

    /// Takes nothing before `begin` is cancelled.
    pub fn held_until(self, begin: CancellationToken) -> Self {
        Self { begin, ..self }
    }
}

// === impl ListenError ===

impl ListenError {
    /// Another socket has the port.
    pub fn is_taken(&self) -> bool {
        self.source.kind() == io::ErrorKind::AddrInUse
    }
}
