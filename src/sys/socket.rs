//! Sockets: listening and dialling inside a pod's namespace, and what a captured socket knows.
//!
//! [`listen`], [`unconnected`] and their counterparts for UDP make their socket in the namespace of the calling thread: call
//! them through [`Netns::run`](super::netns::Netns::run). The socket stays there for its life and
//! is driven from any thread.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::os::fd::AsFd;
use std::sync::OnceLock;
use std::time::Duration;

use nix::sys::socket::{setsockopt, sockopt};
use socket2::{Domain, Protocol, SockAddr, SockRef, Socket, TcpKeepalive, Type};
use tokio::net::TcpStream;

/// Length of the accept queue. The kernel caps it at net.core.somaxconn (4096 since Linux 5.4).
pub const BACKLOG: i32 = 4096;
/// Dead peers are noticed after 180 s + 9 × 20 s of silence: the same idle time as Istio's node
/// proxy, with faster probes afterwards.
const PROBES: Probes =
    Probes { idle: Duration::from_secs(180), interval: Duration::from_secs(20), count: 9, user_timeout: false };
/// What the process was told, once.
static TOLD: OnceLock<Option<Probes>> = OnceLock::new();

/// Probes of silent connections (tcp(7)): TCP_KEEPIDLE, TCP_KEEPINTVL, TCP_KEEPCNT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probes {
    /// Silence before the first; whole seconds, at least 1.
    pub idle: Duration,
    /// Between them; whole seconds, at least 1.
    pub interval: Duration,
    /// As many without an answer end a connection, 1 to 127.
    pub count: u32,
    /// Data that nobody acknowledges ends it after idle + count × interval (TCP_USER_TIMEOUT).
    pub user_timeout: bool,
}

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
/// SO_REUSEPORT stays off: any root process in the pod could join the group and take connections. See [`listen_beside`].
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    listen_marked(address, 0)
}

/// As [`listen`], with a packet mark that accepted sockets inherit; 0 sets none.
pub fn listen_marked(address: SocketAddr, mark: u32) -> io::Result<TcpListener> {
    listen_as(address, mark, false, Families::One)
}

/// Opens a listener in the calling thread's namespace that takes IPv4 too at the wildcard address of IPv6, whatever the
/// namespace's `bindv6only` says. It is not marked, and SO_REUSEPORT stays off.
pub fn listen_both(address: SocketAddr) -> io::Result<TcpListener> {
    listen_as(address, 0, false, Families::Both)
}

/// As [`listen_marked`], beside a listener of another process of the same user that has SO_REUSEPORT as well (Linux
/// 3.9): the kernel shares what comes among them by its hash, from this call on. What is in the queue when this one is
/// closed is reset, so accept until nothing is left before.
pub fn listen_beside(address: SocketAddr, mark: u32) -> io::Result<TcpListener> {
    listen_as(address, mark, true, Families::One)
}

/// What a listener at an address of IPv6 takes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Families {
    Both,
    One,
}

fn listen_as(address: SocketAddr, mark: u32, beside: bool, families: Families) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(families == Families::One)?;
    }
    // A restart must not wait for the last life's connections in TIME_WAIT.
    socket.set_reuse_address(true)?;
    if beside {
        socket.set_reuse_port(true)?;
    }
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
    datagrams_as(address, false)
}

/// As [`listen_datagrams`], with SO_REUSEPORT as for [`listen_beside`].
pub fn listen_datagrams_beside(address: SocketAddr) -> io::Result<UdpSocket> {
    datagrams_as(address, true)
}

fn datagrams_as(address: SocketAddr, beside: bool) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM.nonblocking(), Some(Protocol::UDP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    if beside {
        socket.set_reuse_port(true)?;
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

/// True when the listener is one of [`listen_beside`].
pub fn is_beside(listener: &impl AsFd) -> bool {
    SockRef::from(listener).reuse_port().unwrap_or(false)
}

/// The next connection in the queue of a listener, without waiting; `None` when there is none. Must be called on a
/// runtime with I/O enabled.
pub fn accept_queued(listener: &tokio::net::TcpListener) -> io::Result<Option<(TcpStream, SocketAddr)>> {
    // Not tokio's: it asks the kernel only after the kernel has called.
    let (socket, client) = match SockRef::from(listener).accept() {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
        accepted => accepted?,
    };
    socket.set_nonblocking(true)?;
    let client = client.as_socket().ok_or(io::ErrorKind::InvalidData)?;
    Ok(Some((TcpStream::from_std(socket.into())?, client)))
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
    probe(&SockRef::from(&socket), *TOLD.get_or_init(|| Some(PROBES)))?;
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
    probe(&socket, *TOLD.get_or_init(|| Some(PROBES)))
}

/// Sets how every socket of the process that is made or accepted from now on is probed; [`None`]: not at all. Call it
/// once, at the start: after the first socket nothing changes. Answers whether it counts.
pub fn set_probes(probes: Option<Probes>) -> bool {
    TOLD.set(probes).is_ok()
}

fn probe(socket: &SockRef<'_>, probes: Option<Probes>) -> io::Result<()> {
    let Some(Probes { idle, interval, count, user_timeout }) = probes else { return Ok(()) };
    let keepalive = TcpKeepalive::new().with_time(idle).with_interval(interval).with_retries(count);
    socket.set_tcp_keepalive(&keepalive)?;
    if user_timeout {
        socket.set_tcp_user_timeout(Some(idle.saturating_add(interval.saturating_mul(count))))?;
    }
    Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probes_are_set_as_they_are_told() {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        let socket = SockRef::from(&socket);
        probe(&socket, None).unwrap();
        assert!(!socket.keepalive().unwrap());
        let seconds = Duration::from_secs;
        probe(&socket, Some(Probes { idle: seconds(7), interval: seconds(3), count: 5, user_timeout: true })).unwrap();
        assert!(socket.keepalive().unwrap());
        assert_eq!(
            (socket.tcp_keepalive_time().unwrap(), socket.tcp_keepalive_interval().unwrap()),
            (seconds(7), seconds(3))
        );
        assert_eq!(
            (socket.tcp_keepalive_retries().unwrap(), socket.tcp_user_timeout().unwrap()),
            (5, Some(seconds(22)))
        );
    }

    /// The namespace's `bindv6only` decides nothing: both families have a listener of their own at one port, and neither
    /// takes the other's connections.
    #[tokio::test]
    async fn a_listener_is_of_one_family() {
        use std::net::{Ipv4Addr, Ipv6Addr};
        let six = listen(SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), 0)).unwrap();
        let port = six.local_addr().unwrap().port();
        assert!(SockRef::from(&six).only_v6().unwrap());
        let refused = std::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
        let four = listen(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port)).unwrap();
        drop(std::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap());
        drop(four);
    }
}
