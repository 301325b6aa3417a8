//! Plain TCP sockets made inside a namespace and driven outside of it, for the laboratory's own
//! programs. They carry no mark and no preserved source: to the rules of a pod they are the pod's.

use std::io;
use std::net::SocketAddr;

use socket2::{Domain, Protocol, SockRef, Socket, Type};

use super::netns::{Netns, NetnsError};

/// A socket that could not be made.
#[derive(Debug, thiserror::Error)]
pub enum PlainTcpError {
    /// The address is in use, or not one of the namespace's. Configuration.
    #[error("cannot listen on {address} in {}", netns.path().display())]
    Listen {
        address: SocketAddr,
        netns: Netns,
        #[source]
        source: io::Error,
    },
    /// The namespace cannot be entered. Configuration or kernel.
    #[error("cannot make a socket for {address}")]
    Netns {
        address: SocketAddr,
        #[source]
        source: NetnsError,
    },
    /// Too many open files, or no TCP. Configuration or kernel.
    #[error("cannot make a socket for {address} in {}", netns.path().display())]
    Socket {
        address: SocketAddr,
        netns: Netns,
        #[source]
        source: io::Error,
    },
}

/// As many as the kernel allows (`net.core.somaxconn`): floods must meet the limits under test.
const BACKLOG: i32 = 65_535;

/// A listener on `address` inside `netns`. Call it within a tokio runtime.
pub async fn listen(netns: &Netns, address: SocketAddr) -> Result<tokio::net::TcpListener, PlainTcpError> {
    let made = netns
        .run_async(move || {
            let socket = stream(address)?;
            socket.set_reuse_address(true)?;
            if address.is_ipv6() {
                socket.set_only_v6(true)?;
            }
            socket.bind(&address.into())?;
            socket.listen(BACKLOG)?;
            Ok(socket)
        })
        .await
        .map_err(|source| PlainTcpError::Netns { address, source })?;
    let listener = made.and_then(|socket: Socket| tokio::net::TcpListener::from_std(socket.into()));
    listener.map_err(|source| PlainTcpError::Listen { address, netns: netns.clone(), source })
}

/// A socket of `netns` that is not connected yet: its `connect` may be awaited anywhere, since a
/// socket stays in the namespace that it was made in.
pub async fn unconnected(netns: &Netns, to: SocketAddr) -> Result<tokio::net::TcpSocket, PlainTcpError> {
    let made = netns
        .run_async(move || stream(to))
        .await
        .map_err(|source| PlainTcpError::Netns { address: to, source })?
        .map_err(|source| PlainTcpError::Socket { address: to, netns: netns.clone(), source })?;
    Ok(tokio::net::TcpSocket::from_std_stream(made.into()))
}

/// Makes the closing of `socket` a reset, as a program that crashed with unread data would.
pub fn reset_on_close(socket: &tokio::net::TcpStream) -> io::Result<()> {
    SockRef::from(socket).set_linger(Some(std::time::Duration::ZERO))
}

fn stream(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}
