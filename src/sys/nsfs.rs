//! What kind a namespace file is (`NS_GET_NSTYPE`, Linux 4.11).
#![expect(unsafe_code, reason = "an ioctl that nix does not wrap")]

use std::os::fd::{AsRawFd, BorrowedFd};

/// `NS_GET_NSTYPE` of linux/nsfs.h: `_IO(0xb7, 0x3)`.
const NS_GET_NSTYPE: nix::libc::Ioctl = 0xb703;

/// True when `fd`, a file of nsfs, is a network namespace.
pub(super) fn is_network(fd: BorrowedFd<'_>) -> bool {
    // SAFETY: NS_GET_NSTYPE takes no argument and writes nothing to memory; `fd` is open for the
    // length of the call, and a file of another kind answers ENOTTY.
    let kind = unsafe { nix::libc::ioctl(fd.as_raw_fd(), NS_GET_NSTYPE) };
    kind == nix::libc::CLONE_NEWNET
}
