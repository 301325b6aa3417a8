//! Sockets: listening and dialling inside a pod's namespace, and what a captured socket knows.
//!
//! [`listen`], [`unconnected`] and their counterparts for UDP make their socket in the namespace of the calling thread: call
//! them through [`Netns::run`](super::netns::Netns::run). The socket stays there for its life and
//! is driven from any thread.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::os::fd::AsFd;
use std::time::Duration;

use nix::sys::socket::{setsockopt, sockopt};
use socket2::{Domain, Protocol, SockAddr, SockRef, Socket, TcpKeepalive, Type};
use tokio::net::TcpStream;

/// Length of the accept queue. The kernel caps it at net.core.somaxconn (4096 since Linux 5.4).
const BACKLOG: i32 = 4096;
/// Dead peers are noticed after 180 s + 9 × 20 s of silence: the same idle time as Istio's node
/// proxy, with faster probes afterwards.
const KEEPALIVE: TcpKeepalive =
    TcpKeepalive::new().with_time(Duration::from_secs(180)).with_interval(Duration::from_secs(20)).with_retries(9);

/// A TCP socket of a namespace that is not connected to anybody yet. It stays in the namespace of the thread that made
/// it, and may be connected from any thread.
#[derive(Debug)]
pub struct Unconnected {
    socket: Socket,
}

/// A connection attempt in flight: the socket is made, the handshake is not over.
#[derive(Debug)]
pub struct Dialling {
    socket: std::net::TcpStream,
    remote: SocketAddr,
}

/// Opens a listener in the calling thread's namespace. An IPv6 listener takes no IPv4 (V6ONLY), so
/// the namespace's `bindv6only` setting changes nothing.
///
/// SO_REUSEPORT stays off: any root process in the pod could join the group and take connections.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    listen_marked(address, 0)
}

/// As [`listen`], with a packet mark that accepted sockets inherit; 0 sets none.
pub fn listen_marked(address: SocketAddr, mark: u32) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // A restart must not wait for the last life's connections in TIME_WAIT.
    socket.set_reuse_address(true)?;
    if mark != 0 {
        socket.set_mark(mark)?;
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Opens a UDP socket at `address` in the calling thread's namespace. What it sends leaves from that very address.
/// SO_REUSEPORT stays off, as for [`listen`], and it has no mark: its answers must not pass for questions of the daemon's.
pub fn listen_datagrams(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM.nonblocking(), Some(Protocol::UDP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())?;
    Ok(socket.into())
}

/// Makes a UDP socket in the calling thread's namespace that talks to `remote` alone: the kernel drops what comes from
/// another address, and tells when nobody listens there (ECONNREFUSED). Its port is picked at random by the kernel.
/// `mark` as for [`unconnected`].
pub fn datagrams_to(remote: SocketAddr, mark: u32) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(remote), Type::DGRAM.nonblocking(), Some(Protocol::UDP))?;
    if mark != 0 {
        socket.set_mark(mark)?;
    }
    socket.connect(&remote.into())?;
    Ok(socket.into())
}

/// Sets what fits a leg that never leaves this host, on a socket or on a listener for all that it accepts. Loopback
/// loses nothing, so there is no congestion to control; a paced algorithm (BBR) would cost a timer for every few
/// packets. Reno is in every kernel and needs no privilege.
pub fn stays_on_host(socket: &impl AsFd) {
    // Where it is refused, the host's own algorithm does the same, only slower.
    drop(SockRef::from(socket).set_tcp_congestion(b"reno"));
}

/// Makes a socket for a connection in the calling thread's namespace. `mark` is the packet mark that exempts it from
/// redirection; 0 sets none.
pub fn unconnected(ipv6: bool, mark: u32) -> io::Result<Unconnected> {
    let domain = if ipv6 { Domain::IPV6 } else { Domain::IPV4 };
    let socket = Socket::new(domain, Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_keepalive(&KEEPALIVE)?;
    if mark != 0 {
        socket.set_mark(mark)?;
    }
    Ok(Unconnected { socket })
}

/// The destination that a captured connection had before redirection, with an IPv4-mapped address
/// unwrapped. `None` when conntrack translated nothing: nobody redirected this connection.
pub fn original_destination(stream: &TcpStream) -> Option<SocketAddr> {
    let socket = SockRef::from(stream);
    let local = stream.local_addr().ok()?;
    // SO_ORIGINAL_DST and IP6T_SO_ORIGINAL_DST, by the family of the listener.
    let found = if local.is_ipv4() { socket.original_dst_v4() } else { socket.original_dst_v6() };
    found.ok()?.as_socket().map(canonical)
}

/// An address as look-ups, policies and logs see it: IPv4-mapped IPv6 is IPv4, no scope, no flow.
pub fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// Sets on an accepted socket what every socket of ours has.
pub fn prepare_accepted(stream: &TcpStream) -> io::Result<()> {
    let socket = SockRef::from(stream);
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_keepalive(&KEEPALIVE)
}

/// Makes the next close of `stream` a reset: the other side learns that this was no clean end.
pub fn reset_on_close(stream: &TcpStream) {
    // It fails only on a socket that is already gone, and then there is nobody to tell.
    drop(SockRef::from(stream).set_linger(Some(Duration::ZERO)));
}

// === impl Unconnected ===

impl Unconnected {
    /// Starts a connection and does not wait for it. `source` is the address to show to an application inside the
    /// namespace: one that is foreign to it needs CAP_NET_ADMIN, and the redirection's routes, by which the answers come back.
    pub fn start(self, remote: SocketAddr, source: Option<IpAddr>) -> io::Result<Dialling> {
        let Self { socket } = self;
        // Binding to an address of the other family would fail with a riddle; the caller's own choice
        // of source is then worth less than the connection.
        if let Some(source) = source.filter(|source| source.is_ipv4() == remote.is_ipv4() && *source != remote.ip()) {
            if source.is_ipv4() {
                socket.set_ip_transparent_v4(true)?;
            } else {
                socket.set_ip_transparent_v6(true)?;
            }
            // With a port picked at bind(2) a client would have 28,000 connections to all its peers
            // together; picked at connect(2) it has as many to each (Linux 4.2).
            setsockopt(&socket, sockopt::IpBindAddressNoPort, &true)?;
            stays_on_host(&socket);
            socket.bind(&SockAddr::from(SocketAddr::new(source, 0)))?;
        }
        match socket.connect(&remote.into()) {
            Ok(()) => {}
            Err(e) if e.raw_os_error() == Some(nix::libc::EINPROGRESS) => {}
            Err(e) => return Err(e),
        }
        Ok(Dialling { socket: socket.into(), remote })
    }
}

// === impl Dialling ===

impl Dialling {
    /// Waits until the handshake is over. Must be called on a runtime with I/O enabled.
    pub async fn connected(self) -> io::Result<TcpStream> {
        let stream = TcpStream::from_std(self.socket)?;
        stream.writable().await?;
        if let Some(error) = stream.take_error()? {
            return Err(error);
        }
        // Writable and without an error also after a reset that somebody else has collected.
        stream.peer_addr().map_err(|_| io::Error::from(io::ErrorKind::ConnectionReset))?;
        Ok(stream)
    }

    pub fn remote(&self) -> SocketAddr {
        self.remote
    }
}
