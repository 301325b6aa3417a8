//! The listeners of a pod, bound or handed over, before they are served.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};

use tokio_util::sync::CancellationToken;

use crate::model::ports;
use crate::sys::handover::Handed;
use crate::sys::socket;

/// The listeners of a pod, not yet served.
#[must_use = "a listener that nobody serves lets its clients hang"]
pub struct Listeners {
    pub(super) outbound: Vec<TcpListener>,
    pub(super) plaintext: Vec<TcpListener>,
    pub(super) hbone: Vec<TcpListener>,
    /// Nothing is accepted before it is cancelled: another process still serves the same queue.
    pub(super) begin: CancellationToken,
}

/// Why the listeners of a pod could not be opened.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot listen on {address} inside the pod: another process of the pod, or another node proxy, may hold the port"
)]
pub struct ListenError {
    address: SocketAddr,
    #[source]
    source: io::Error,
}

// === impl Listeners ===

impl Listeners {
    /// Takes from `handed` what another process of ours has handed over, and opens the rest in the calling thread's
    /// namespace: call it through `Netns::run`. IPv6 is left out where the namespace has none.
    /// `mark` is the packet mark of the listeners and of all that they accept; 0 sets none. With `beside` they share their
    /// ports with another proxy's (SO_REUSEPORT), and have connections from this call on.
    pub fn open(ipv6: bool, mark: u32, handed: &mut Handed, beside: bool) -> Result<Self, ListenError> {
        let mut on = |port: u16| -> Result<Vec<TcpListener>, ListenError> {
            let mut listeners = Vec::with_capacity(2);
            for ip in [IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)] {
                if ip.is_ipv6() && !ipv6 {
                    continue;
                }
                let address = SocketAddr::new(ip, port);
                let opened = match handed.stream(address, mark) {
                    Some(listener) => Ok(listener),
                    None if beside => socket::listen_beside(address, mark),
                    None => socket::listen_marked(address, mark),
                };
                listeners.push(opened.map_err(|source| ListenError { address, source })?);
            }
            Ok(listeners)
        };
        let outbound = on(ports::OUTBOUND)?;
        outbound.iter().for_each(socket::stays_on_host);
        let plaintext = on(ports::INBOUND_PLAINTEXT)?;
        let begin = CancellationToken::new();
        begin.cancel();
        Ok(Self { outbound, plaintext, hbone: on(ports::HBONE)?, begin })
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
        self.source.kind() == io::ErrorKind::AddrInUse
    }
}
