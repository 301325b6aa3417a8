//! Packets with descriptors over a local socket: `SOCK_SEQPACKET` with `SCM_RIGHTS` (`man 7 unix`).
#![expect(unsafe_code, reason = "a received descriptor is a number until it is owned, also where the rest is refused")]

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::path::Path;

use nix::libc;
use nix::sys::socket::{ControlMessage, MsgFlags, UnixAddr, sendmsg};
use socket2::{Domain, SockAddr, Socket, Type};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// One end of a conversation in packets.
#[derive(Debug)]
pub struct SeqPacket {
    socket: AsyncFd<OwnedFd>,
}

/// One packet.
#[derive(Debug)]
pub struct Packet {
    /// At most [`LONGEST`].
    pub bytes: Vec<u8>,
    /// Descriptors that came with it, close-on-exec; no more than the receiver takes.
    pub descriptors: Vec<OwnedFd>,
}

/// Why a packet could not be had. The descriptors of a refused one are closed.
#[derive(Debug, thiserror::Error)]
pub enum PacketError {
    /// The peer: what was cut off is lost.
    #[error("a packet is longer than {LONGEST} bytes")]
    Long,
    /// The peer, or this process has no descriptors left.
    #[error(
        "a packet brings more descriptors than this process may take: raise its limit of open files (RLIMIT_NOFILE)"
    )]
    CutDescriptors,
    /// The peer.
    #[error("a packet brings {found} descriptors, {most} at most are taken")]
    ManyDescriptors { found: usize, most: usize },
    #[error(transparent)]
    System(#[from] io::Error),
}

/// Bytes of a packet. Messages of this conversation have some hundred; names in them are bounded by Kubernetes.
pub const LONGEST: usize = 16 * 1024;
/// Descriptors of a packet. One is what is asked for; a few are taken so that their number can be told.
pub const MOST_DESCRIPTORS: usize = 4;
/// `SCM_MAX_FD` of linux/net/scm.h: what one packet can bring. With room for all of them, the kernel cuts none off
/// for want of room, and those that it installed are all in the buffer.
const SCM_MAX_FD: usize = 253;
/// `CMSG_SPACE` of that many, in words, which aligns the buffer as a header wants it.
const CONTROL: usize = (SCM_MAX_FD * size_of::<libc::c_int>() + 2 * size_of::<libc::cmsghdr>()) / size_of::<u64>() + 1;

// === impl SeqPacket ===

impl SeqPacket {
    /// Connects to the socket file at `path`. A full queue of the listener is an error (`WouldBlock`), as is a missing
    /// file: the caller tries again. Must be called on a runtime with I/O enabled.
    pub fn connect(path: &Path) -> io::Result<Self> {
        let socket = Socket::new(Domain::UNIX, Type::SEQPACKET.nonblocking().cloexec(), None)?;
        // A local connect never waits: the listener's queue takes it or does not.
        socket.connect(&SockAddr::unix(path)?)?;
        Self::new(socket.into())
    }

    /// Takes a connected socket, which must be non-blocking.
    pub fn new(socket: OwnedFd) -> io::Result<Self> {
        Ok(Self { socket: registered(socket)? })
    }

    /// Sends one packet, waiting for room without a limit of time: give it one.
    pub async fn send(&self, bytes: &[u8]) -> io::Result<()> {
        let sent = self.socket.async_io(Interest::WRITABLE, |socket| send(socket, bytes)).await?;
        // A packet goes whole or not at all.
        if sent == bytes.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
    }

    /// As [`Self::send`], with duplicates of `descriptors`, at most 253 (`SCM_MAX_FD`).
    pub async fn send_with(&self, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        let numbers: Vec<_> = descriptors.iter().map(AsRawFd::as_raw_fd).collect();
        let rights = [ControlMessage::ScmRights(&numbers)];
        let control = if numbers.is_empty() { &[][..] } else { &rights[..] };
        let parts = [io::IoSlice::new(bytes)];
        let send = |socket: &OwnedFd| {
            Ok(sendmsg::<UnixAddr>(socket.as_raw_fd(), &parts, control, MsgFlags::MSG_NOSIGNAL, None)?)
        };
        let sent = self.socket.async_io(Interest::WRITABLE, send).await?;
        if sent == bytes.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
    }

    /// Waits for the next packet with at most [`MOST_DESCRIPTORS`]; `None` is the end. An empty packet cannot be told
    /// from the end and counts as it. Nothing is lost when the wait is given up.
    pub async fn receive(&self) -> Result<Option<Packet>, PacketError> {
        self.receive_with(MOST_DESCRIPTORS).await
    }

    /// As [`Self::receive`], with at most `most` descriptors.
    pub async fn receive_with(&self, most: usize) -> Result<Option<Packet>, PacketError> {
        let again =
            |error: &PacketError| matches!(error, PacketError::System(e) if e.kind() == io::ErrorKind::WouldBlock);
        let received = self.socket.async_io(Interest::READABLE, |socket| match receive(socket, most) {
            Err(error) if again(&error) => Err(io::ErrorKind::WouldBlock.into()),
            other => Ok(other),
        });
        received.await?
    }

    /// The user that runs the other end, as it was when the two were joined (`SO_PEERCRED`).
    pub fn peer_user(&self) -> io::Result<u32> {
        Ok(nix::sys::socket::getsockopt(self.socket.get_ref(), nix::sys::socket::sockopt::PeerCredentials)?.uid())
    }
}

fn registered(socket: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an `OwnedFd` is the same open file as long as it lives, and the registration owns it.
    Ok(unsafe { AsyncFd::register(socket) }?)
}

fn send(socket: &OwnedFd, bytes: &[u8]) -> io::Result<usize> {
    // A peer that is gone is an error here, and no signal.
    Ok(nix::sys::socket::send(socket.as_raw_fd(), bytes, MsgFlags::MSG_NOSIGNAL)?)
}

fn receive(socket: &OwnedFd, most: usize) -> Result<Option<Packet>, PacketError> {
    let mut bytes = vec![0u8; LONGEST];
    let mut control = [0u64; CONTROL];
    let mut parts = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
    // SAFETY: `msghdr` is plain data; all zeroes is a valid value of it.
    let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
    header.msg_iov = &raw mut parts;
    header.msg_iovlen = 1;
    header.msg_control = control.as_mut_ptr().cast();
    header.msg_controllen = size_of_val(&control);
    // Not nix's recvmsg: where control data was cut off it shows none, and the descriptors that did arrive stay open.
    // SAFETY: the header points at `bytes` and `control` with their true lengths, and both outlive the call.
    let length = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut header, libc::MSG_CMSG_CLOEXEC) };
    let Ok(length) = usize::try_from(length) else { return Err(io::Error::last_os_error().into()) };
    let descriptors = descriptors(&header);
    if header.msg_flags & libc::MSG_CTRUNC != 0 {
        return Err(PacketError::CutDescriptors);
    }
    if header.msg_flags & libc::MSG_TRUNC != 0 {
        return Err(PacketError::Long);
    }
    if descriptors.len() > most {
        return Err(PacketError::ManyDescriptors { found: descriptors.len(), most });
    }
    if length == 0 && descriptors.is_empty() {
        return Ok(None);
    }
    bytes.truncate(length);
    bytes.shrink_to_fit();
    Ok(Some(Packet { bytes, descriptors }))
}

/// Owns every descriptor that the kernel wrote into the control buffer of `header`.
fn descriptors(header: &libc::msghdr) -> Vec<OwnedFd> {
    let mut owned = Vec::new();
    // SAFETY: recvmsg has filled the header's control buffer, which is alive and aligned for a cmsghdr.
    let mut next = unsafe { libc::CMSG_FIRSTHDR(header) };
    while !next.is_null() {
        // SAFETY: CMSG_FIRSTHDR and CMSG_NXTHDR answer null or a whole header inside of the buffer.
        let one = unsafe { *next };
        if one.cmsg_level == libc::SOL_SOCKET && one.cmsg_type == libc::SCM_RIGHTS {
            // SAFETY: CMSG_LEN and CMSG_DATA only calculate, from a header that is in the buffer.
            let (start, data) = unsafe { (libc::CMSG_LEN(0) as usize, libc::CMSG_DATA(next)) };
            let count = one.cmsg_len.saturating_sub(start) / size_of::<libc::c_int>();
            for at in 0..count {
                // SAFETY: `cmsg_len` counts the bytes that the kernel wrote behind the header; the numbers may be
                // unaligned. Each is a descriptor that was opened for this process by this call, that nobody else
                // knows of, and that is read once.
                owned.push(unsafe { OwnedFd::from_raw_fd(data.cast::<libc::c_int>().add(at).read_unaligned()) });
            }
        }
        // SAFETY: as for the first one.
        next = unsafe { libc::CMSG_NXTHDR(header, next) };
    }
    owned
}

/// The listening end.
#[derive(Debug)]
pub struct Listener {
    socket: AsyncFd<OwnedFd>,
}

/// Connections that wait for their turn.
const BACKLOG: i32 = 4;

// === impl Listener ===

impl Listener {
    /// Makes the socket file at `path`, which must not be there. Must be called on a runtime with I/O enabled.
    pub fn bind(path: &Path) -> io::Result<Self> {
        let socket = Socket::new(Domain::UNIX, Type::SEQPACKET.nonblocking().cloexec(), None)?;
        socket.bind(&SockAddr::unix(path)?)?;
        socket.listen(BACKLOG)?;
        Ok(Self { socket: registered(socket.into())? })
    }

    /// As [`Self::bind`], for the owner of the file alone: nobody else can connect at any moment. It takes the place of
    /// a socket file that is there, also of one that somebody still listens on; those who come find this one.
    pub fn bind_private(path: &Path) -> io::Result<Self> {
        use std::os::unix::fs::{FileTypeExt, PermissionsExt};
        match std::fs::symlink_metadata(path) {
            Ok(meta) if !meta.file_type().is_socket() => return Err(io::ErrorKind::AlreadyExists.into()),
            _ => {}
        }
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".{}", std::process::id()));
        let fresh = Path::new(&name);
        drop(std::fs::remove_file(fresh));
        let socket = Socket::new(Domain::UNIX, Type::SEQPACKET.nonblocking().cloexec(), None)?;
        socket.bind(&SockAddr::unix(fresh)?)?;
        // Before listen(2) every connect is refused, whatever the mode is.
        let placed = std::fs::set_permissions(fresh, std::fs::Permissions::from_mode(0o600))
            .and_then(|()| socket.listen(BACKLOG))
            .and_then(|()| std::fs::rename(fresh, path));
        placed.inspect_err(|_| drop(std::fs::remove_file(fresh)))?;
        Ok(Self { socket: registered(socket.into())? })
    }

    /// Waits for the next connection. Nothing is lost when the wait is given up.
    pub async fn accept(&self) -> io::Result<SeqPacket> {
        let accept = |socket: &OwnedFd| socket2::SockRef::from(&socket.as_fd()).accept();
        let (socket, _) = self.socket.async_io(Interest::READABLE, accept).await?;
        socket.set_nonblocking(true)?;
        SeqPacket::new(socket.into())
    }
}

#[cfg(test)]
impl SeqPacket {
    /// Sends a packet with descriptors.
    pub(crate) fn tell(&self, packet: &[u8], descriptors: &[std::os::fd::RawFd]) {
        let rights = [ControlMessage::ScmRights(descriptors)];
        let with = if descriptors.is_empty() { &[][..] } else { &rights[..] };
        let (to, packet) = (self.socket.as_raw_fd(), [io::IoSlice::new(packet)]);
        sendmsg::<UnixAddr>(to, &packet, with, MsgFlags::MSG_NOSIGNAL, None).unwrap();
    }
}

#[cfg(test)]
mod tests;
