//! Listening sockets that go from one process to the next. Both then hold the same socket with the same queue: what is in it
//! is lost by neither's end, only when the last one closes it.

use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Weak;

use socket2::{Protocol, SockRef, Type};

use super::netns::{Netns, NetnsError, NetnsId};
use super::seqpacket::{Listener, SeqPacket};

/// Sockets that a pod can have: three ports and DNS over TCP and UDP, each in two families. A few more, so that a later
/// version may have another.
pub const MOST_SOCKETS: usize = 16;

/// A socket that this process serves and may hand on, for as long as it is served.
#[derive(Clone, Debug)]
pub enum Door {
    Datagrams(Weak<tokio::net::UdpSocket>),
    Stream(Weak<tokio::net::TcpListener>),
}

/// Sockets that another process handed over, each found by its address.
#[derive(Debug, Default)]
pub struct Handed {
    datagrams: Vec<(SocketAddr, UdpSocket)>,
    streams: Vec<(SocketAddr, TcpListener)>,
}

/// Why a socket that was handed over is not taken. The peer.
#[derive(Debug, thiserror::Error)]
pub enum Unfit {
    #[error("a socket that was handed over neither listens nor takes datagrams of UDP")]
    Kind,
    #[error("a socket that was handed over is of another network namespace")]
    Elsewhere,
    #[error("cannot tell the network namespace of a socket that was handed over")]
    Namespace(#[from] NetnsError),
    #[error("cannot look at a socket that was handed over")]
    System(#[from] io::Error),
}

/// Why nobody can be met at a path.
#[derive(Debug, thiserror::Error)]
pub enum MeetError {
    /// Configuration: a directory that is missing or may not be written, or a file of another kind.
    #[error("cannot listen at {}: name a directory that can be written, or set it empty", path.display())]
    Bind {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// The other process, or its end.
    #[error("nobody answers at {}", path.display())]
    Connect {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// Whoever listens there, or comes there, is somebody else's process. Configuration.
    #[error("the process at {} runs as user {user}, which is neither root nor this process's own", path.display())]
    Stranger { path: PathBuf, user: u32 },
}

/// Where the next process comes for the sockets.
#[derive(Debug)]
pub struct Meeting {
    listener: Listener,
    path: PathBuf,
}

// === impl Door ===

impl Door {
    /// Another descriptor of the socket; `None` when it is no longer served.
    pub fn duplicate(&self) -> Option<OwnedFd> {
        let duplicate = |socket: &dyn AsFd| socket.as_fd().try_clone_to_owned().ok();
        match self {
            Self::Datagrams(socket) => duplicate(&*socket.upgrade()?),
            Self::Stream(socket) => duplicate(&*socket.upgrade()?),
        }
    }
}

// === impl Handed ===

impl Handed {
    /// Looks at what was handed over for the namespace `of`; the kernel says what each is. The rest is closed.
    ///
    /// # Errors
    /// One of them is not what it should be: then none is taken.
    pub fn new(descriptors: Vec<OwnedFd>, of: NetnsId) -> Result<Self, Unfit> {
        let mut handed = Self::default();
        for descriptor in descriptors {
            if Netns::of_socket(descriptor.as_fd())?.id() != of {
                return Err(Unfit::Elsewhere);
            }
            let socket = SockRef::from(&descriptor);
            let (kind, protocol) = (socket.r#type()?, socket.protocol()?);
            let Some(address) = socket.local_addr()?.as_socket() else { return Err(Unfit::Kind) };
            socket.set_nonblocking(true)?;
            if kind == Type::STREAM && protocol == Some(Protocol::TCP) && socket.is_listener()? {
                handed.streams.push((address, descriptor.into()));
            } else if kind == Type::DGRAM && protocol == Some(Protocol::UDP) {
                handed.datagrams.push((address, descriptor.into()));
            } else {
                return Err(Unfit::Kind);
            }
        }
        Ok(handed)
    }

    pub fn is_empty(&self) -> bool {
        self.streams.is_empty() && self.datagrams.is_empty()
    }

    /// Takes the listener at exactly `address`, if there is one. What it accepts from now on has the packet mark `mark`.
    pub fn stream(&mut self, address: SocketAddr, mark: u32) -> Option<TcpListener> {
        let at = self.streams.iter().position(|(held, _)| *held == address)?;
        let (_, listener) = self.streams.swap_remove(at);
        // One that cannot be marked would have its answers redirected: it is closed, and bound anew once it is free.
        SockRef::from(&listener).set_mark(mark).is_ok().then_some(listener)
    }

    /// Takes the UDP socket at exactly `address`, if there is one.
    pub fn datagrams(&mut self, address: SocketAddr) -> Option<UdpSocket> {
        let at = self.datagrams.iter().position(|(held, _)| *held == address)?;
        Some(self.datagrams.swap_remove(at).1)
    }
}

// === impl Meeting ===

impl Meeting {
    /// Waits at the socket file `path`, whose directory is made when it is missing, for its owner alone. What was there
    /// is replaced. Must be called on a runtime with I/O enabled.
    pub fn hold(path: &Path) -> Result<Self, MeetError> {
        let failed = |source| MeetError::Bind { path: path.to_owned(), source };
        if let Some(directory) = path.parent().filter(|directory| !directory.as_os_str().is_empty()) {
            use std::os::unix::fs::DirBuilderExt;
            match std::fs::DirBuilder::new().mode(0o700).create(directory) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(failed(error)),
                _ => {}
            }
        }
        Ok(Self { listener: Listener::bind_private(path).map_err(failed)?, path: path.to_owned() })
    }

    /// Waits for somebody who may have the sockets. One who may not is an error, and hung up on.
    pub async fn next(&self) -> Result<SeqPacket, MeetError> {
        let line = self.listener.accept().await;
        trusted(line.map_err(|source| MeetError::Bind { path: self.path.clone(), source })?, &self.path)
    }

    /// Goes to whoever waits at `path`; at once, or not at all.
    pub fn join(path: &Path) -> Result<SeqPacket, MeetError> {
        let line = SeqPacket::connect(path);
        trusted(line.map_err(|source| MeetError::Connect { path: path.to_owned(), source })?, path)
    }
}

/// Root, or this process's own user.
fn trusted(line: SeqPacket, path: &Path) -> Result<SeqPacket, MeetError> {
    let user = line.peer_user().map_err(|source| MeetError::Connect { path: path.to_owned(), source })?;
    if user == 0 || user == nix::unistd::geteuid().as_raw() {
        Ok(line)
    } else {
        Err(MeetError::Stranger { path: path.to_owned(), user })
    }
}

#[cfg(test)]
mod tests;
