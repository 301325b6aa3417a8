//! What kind a namespace file is (`NS_GET_NSTYPE`, Linux 4.11), which one a socket is of, and the first act in a new one.
#![expect(unsafe_code, reason = "ioctls that nix does not wrap")]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use nix::libc;

/// `NS_GET_NSTYPE` of linux/nsfs.h: `_IO(0xb7, 0x3)`.
const NS_GET_NSTYPE: libc::Ioctl = 0xb703;

/// True when `fd`, a file of nsfs, is a network namespace.
pub(super) fn is_network(fd: BorrowedFd<'_>) -> bool {
    // SAFETY: NS_GET_NSTYPE takes no argument and writes nothing to memory; `fd` is open for the
    // length of the call, and a file of another kind answers ENOTTY.
    let kind = unsafe { libc::ioctl(fd.as_raw_fd(), NS_GET_NSTYPE) };
    kind == libc::CLONE_NEWNET
}

/// `SIOCGSKNS` of linux/sockios.h (Linux 4.10).
const SIOCGSKNS: libc::Ioctl = 0x894c;

/// The network namespace that a socket is of. Needs CAP_NET_ADMIN in it.
pub(super) fn of_socket(socket: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    // SAFETY: SIOCGSKNS takes no argument and writes nothing to memory; `socket` is open for the length of the call.
    let answer = unsafe { libc::ioctl(socket.as_raw_fd(), SIOCGSKNS) };
    if answer < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has opened this descriptor for this call, and nobody else knows of it.
    Ok(unsafe { OwnedFd::from_raw_fd(answer) })
}

/// Brings the loopback interface of the calling thread's namespace up (`man 7 netdevice`).
pub(super) fn loopback_up() -> io::Result<()> {
    let socket = std::net::UdpSocket::bind("0.0.0.0:0")?;
    // SAFETY: `ifreq` is plain data; all zeroes is a valid value of it.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    request.ifr_name[0] = b'l' as libc::c_char;
    request.ifr_name[1] = b'o' as libc::c_char;
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    // SAFETY: SIOCSIFFLAGS reads one `ifreq`, which lives for the length of the call, and the
    // socket is open for as long.
    let answer = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) };
    if answer == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
