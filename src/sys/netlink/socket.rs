//! A blocking netlink socket with acknowledgements (RFC 3549, `man 7 netlink`).

use std::io;
use std::time::Duration;

use netlink_sys::{Socket, SocketAddr};
use socket2::SockRef;

use crate::sys::netns::Netns;

/// The netlink families in use, by their protocol numbers (linux/netlink.h).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    Netfilter,
    Route,
    SockDiag,
}

/// A failed exchange with the kernel.
#[derive(Debug, thiserror::Error)]
pub enum NetlinkError {
    /// The kernel refused message number `index` of the request. Its errno is the source.
    #[error("the kernel refused {call} (message {index} of the request)")]
    Refused {
        call: &'static str,
        index: u32,
        #[source]
        source: io::Error,
    },
    /// The socket failed: no permission, no such family in this kernel, or no answer in time.
    #[error("{call} failed on the netlink socket")]
    Socket {
        call: &'static str,
        #[source]
        source: io::Error,
    },
    /// Bytes that are no netlink message. Kernel, or us.
    #[error("the kernel's answer to {call} is no netlink message")]
    Garbled { call: &'static str },
}

/// One received message, header taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// `nlmsg_type`.
    pub kind: u16,
    /// `nlmsg_flags`.
    pub flags: u16,
    pub sequence: u32,
    /// What follows the 16 bytes of header.
    pub payload: Vec<u8>,
}

/// A netlink socket of the namespace in which it was opened.
pub struct NetlinkSocket {
    socket: Socket,
    sequence: u32,
}

const HEADER: usize = 16;
const NLMSG_NOOP: u16 = 1;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_DUMP_INTR: u16 = 0x10;
/// Kernel work on rules and routes takes microseconds; a second means that something is stuck.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// A pod with CAP_NET_ADMIN can fill its own tables, and its sockets are listed too: this many
/// messages take some 50 MiB for a moment.
const MOST_ANSWERS: usize = 1 << 18;
/// Dumps come in pages of up to 32 KiB (`NLMSG_GOODSIZE` and the reader's buffer, Linux 3.x on).
const PAGE: usize = 64 * 1024;

// === impl NetlinkError ===

impl NetlinkError {
    /// The errno that the kernel answered, if it did.
    pub fn errno(&self) -> Option<i32> {
        match self {
            Self::Refused { source, .. } | Self::Socket { source, .. } => source.raw_os_error(),
            Self::Garbled { .. } => None,
        }
    }
}

// === impl NetlinkSocket ===

impl NetlinkSocket {
    /// Opens a socket in the calling thread's network namespace.
    pub fn open(protocol: Protocol) -> Result<Self, NetlinkError> {
        let number = match protocol {
            Protocol::Netfilter => netlink_sys::protocols::NETLINK_NETFILTER,
            Protocol::Route => netlink_sys::protocols::NETLINK_ROUTE,
            Protocol::SockDiag => netlink_sys::protocols::NETLINK_SOCK_DIAG,
        };
        let failed = |source| NetlinkError::Socket { call: "opening", source };
        let mut socket = Socket::new(number).map_err(failed)?;
        socket.bind_auto().map_err(failed)?;
        socket.connect(&SocketAddr::new(0, 0)).map_err(failed)?;
        // Without these flags a dump ignores its filters (4.20), and an error echoes the request.
        drop(socket.set_netlink_get_strict_chk(true));
        drop(socket.set_cap_ack(true));
        let options = SockRef::from(&socket);
        options.set_read_timeout(Some(ANSWER_TIMEOUT)).map_err(failed)?;
        // A transaction of many rules is acknowledged rule by rule before anybody reads.
        drop(options.set_recv_buffer_size(1 << 20));
        Ok(Self { socket, sequence: 0 })
    }

    /// Opens a socket in `netns`; it stays that namespace's wherever it is used.
    pub fn open_in(netns: &Netns, protocol: Protocol) -> Result<Self, NetlinkError> {
        netns
            .run(move || Self::open(protocol))
            .unwrap_or_else(|error| Err(NetlinkError::Socket { call: "entering", source: io::Error::other(error) }))
    }

    /// A fresh sequence number for the next message.
    pub fn sequence(&mut self) -> u32 {
        self.sequence = self.sequence.wrapping_add(1).max(1);
        self.sequence
    }

    /// Sends `request` (one or more whole messages) and gathers what comes back until the message
    /// numbered `last` is acknowledged or its dump is done. `first` numbers the first message, so
    /// that a refusal can say which one it was.
    ///
    /// The message `last` must ask for an acknowledgement (`NLM_F_ACK`) or be a dump.
    pub fn exchange(
        &mut self,
        call: &'static str,
        request: &[u8],
        first: u32,
        last: u32,
    ) -> Result<Vec<Message>, NetlinkError> {
        let failed = |source| NetlinkError::Socket { call, source };
        self.socket.send(request, 0).map_err(failed)?;
        let mut answers = Vec::new();
        let mut page = Vec::with_capacity(PAGE);
        loop {
            page.clear();
            // A receive with a deadline is not restarted after a signal (signal(7)); a profile sends a hundred a second.
            while let Err(error) = self.socket.recv(&mut page, 0) {
                if error.kind() != io::ErrorKind::Interrupted {
                    return Err(failed(error));
                }
            }
            let mut rest = page.as_slice();
            while !rest.is_empty() {
                let (message, tail) = split(rest).ok_or(NetlinkError::Garbled { call })?;
                rest = tail;
                let ours = message.sequence.wrapping_sub(first) <= last.wrapping_sub(first);
                if !ours || message.kind == NLMSG_NOOP {
                    continue; // left over from an exchange that timed out
                }
                if message.flags & NLM_F_DUMP_INTR != 0 {
                    // The dump missed something while it ran; the caller asks again.
                    return Err(failed(io::Error::from_raw_os_error(nix::libc::EINTR)));
                }
                let is_last = message.sequence == last;
                match message.kind {
                    NLMSG_ERROR | NLMSG_DONE => {
                        let errno = message.payload.first_chunk().map_or(0, |b| i32::from_ne_bytes(*b));
                        if errno != 0 {
                            let index = message.sequence.wrapping_sub(first) + 1;
                            let source = io::Error::from_raw_os_error(-errno);
                            return Err(NetlinkError::Refused { call, index, source });
                        }
                        if is_last {
                            return Ok(answers);
                        }
                    }
                    _ if answers.len() >= MOST_ANSWERS => {
                        return Err(failed(io::Error::other("the kernel holds more of these than a pod may have")));
                    }
                    _ => answers.push(message),
                }
            }
        }
    }
}

/// Takes one message off the front of a datagram. `None` for a length that is too short or too long.
fn split(bytes: &[u8]) -> Option<(Message, &[u8])> {
    let length = u32::from_ne_bytes(*bytes.first_chunk()?) as usize;
    let header = bytes.get(..HEADER)?;
    let payload = bytes.get(HEADER..length)?.to_vec();
    let half = |at: usize| u16::from_ne_bytes([header[at], header[at + 1]]);
    let sequence = u32::from_ne_bytes([header[8], header[9], header[10], header[11]]);
    let message = Message { kind: half(4), flags: half(6), sequence, payload };
    // Messages are aligned to four bytes; the last one may lack its padding.
    let next = length.next_multiple_of(4).min(bytes.len());
    Some((message, bytes.get(next..)?))
}

#[cfg(test)]
mod tests;
