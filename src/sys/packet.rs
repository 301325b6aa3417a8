//! What crosses a link: a capture on a packet socket (`man 7 packet`), for proofs about the wire.
#![expect(unsafe_code, reason = "sockaddr_ll and PACKET_STATISTICS, which no crate in use wraps")]

mod captured;
mod frame;

pub use captured::{Captured, Finding, Lost};

use std::io;
use std::mem::{MaybeUninit, size_of};
use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::{MsgFlags, recv, setsockopt, sockopt};
use socket2::{Domain, Protocol, SockAddr, SockAddrStorage, Socket, Type};

use super::netlink::{LinkError, Links};
use super::netns::{Netns, NetnsError};

/// Why a capture could not be made or read.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    /// There is no such link. The caller.
    #[error("cannot capture on {link}")]
    Link {
        link: String,
        #[source]
        source: LinkError,
    },
    /// The namespace cannot be entered. Configuration or kernel.
    #[error("cannot capture on {link}")]
    Netns {
        link: String,
        #[source]
        source: NetnsError,
    },
    /// A call on the packet socket failed: no CAP_NET_RAW, or a kernel without AF_PACKET.
    #[error("cannot {call} for the capture on {link}: run as root on a kernel with packet sockets")]
    Socket {
        call: &'static str,
        link: String,
        #[source]
        source: io::Error,
    },
    /// The capture's thread ended by itself. Us.
    #[error("the thread that captured on {link} ended early")]
    Thread { link: String },
}

/// A running capture. Dropping it ends it.
#[must_use = "a capture ends when it is dropped; `stop` gives what was seen"]
pub struct Capture {
    link: String,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<Captured, io::Error>>>,
}

/// Bytes of frames kept; what comes after is counted as lost. A proof looks at a few requests.
const KEPT_BYTES: usize = 64 << 20;
/// The longest frame kept whole: segmentation is left to the other end of a pair, so one frame may
/// hold 64 KiB of payload, and 512 KiB with BIG TCP (Linux 5.19).
const FRAME_BYTES: usize = 576 << 10;
/// How long the kernel may queue for a thread that is not scheduled: some 30 ms at 10 Gbit/s.
const RECEIVE_BUFFER: usize = 32 << 20;
/// How often the thread looks whether it should stop; bounds the wait of `stop`.
const LOOK: Duration = Duration::from_millis(20);

// === impl Capture ===

impl Capture {
    /// Captures every frame in and out of `link`, from the return of this call on.
    pub fn start(netns: &Netns, link: &str) -> Result<Self, CaptureError> {
        let by_link = |source| CaptureError::Link { link: link.into(), source };
        let index = Links::open(netns).and_then(|mut links| links.index(link)).map_err(by_link)?;
        let failed = |call| move |source| CaptureError::Socket { call, link: link.into(), source };
        // Protocol 0 hears nothing until the socket is bound to its link: no stranger's frames.
        let socket = netns
            .run(|| Socket::new(Domain::PACKET, Type::RAW, Some(Protocol::from(0))))
            .map_err(|source| CaptureError::Netns { link: link.into(), source })?
            .map_err(failed("open a packet socket"))?;
        // Past net.core.rmem_max as root; whatever the kernel gives otherwise.
        if setsockopt(&socket, sockopt::RcvBufForce, &RECEIVE_BUFFER).is_err() {
            drop(socket.set_recv_buffer_size(RECEIVE_BUFFER));
        }
        socket.set_read_timeout(Some(LOOK)).map_err(failed("set a timeout"))?;
        socket.bind(&all_frames_of(index)).map_err(failed("bind a packet socket"))?;
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let thread = std::thread::Builder::new()
            .name("culvert-capture".into())
            .spawn(move || gather(&socket, &told))
            .map_err(failed("start a thread"))?;
        Ok(Self { link: link.into(), stop, thread: Some(thread) })
    }

    /// Ends the capture with everything that crossed the link before this call.
    pub fn stop(mut self) -> Result<Captured, CaptureError> {
        self.stop.store(true, Ordering::Release);
        let ended = || CaptureError::Thread { link: self.link.clone() };
        let thread = self.thread.take().ok_or_else(ended)?;
        let gathered = thread.join().map_err(|_panic| ended())?;
        gathered.map_err(|source| CaptureError::Socket { call: "read frames", link: self.link.clone(), source })
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
    }
}

/// Reads until told to stop and nothing is queued any more.
fn gather(socket: &Socket, stop: &AtomicBool) -> Result<Captured, io::Error> {
    let mut captured = Captured::default();
    let mut buffer = vec![0; FRAME_BYTES];
    loop {
        // Read before the queue: a frame that came before the order to stop is in the queue by then.
        let stopping = stop.load(Ordering::Acquire);
        let flags = if stopping { MsgFlags::MSG_TRUNC | MsgFlags::MSG_DONTWAIT } else { MsgFlags::MSG_TRUNC };
        // MSG_TRUNC answers the frame's own length, which shows whether it was cut.
        match recv(socket.as_raw_fd(), &mut buffer, flags) {
            Ok(length) => captured.push(&buffer[..length.min(FRAME_BYTES)], length, KEPT_BYTES),
            Err(Errno::EINTR) => {}
            Err(Errno::EAGAIN) if stopping => break,
            Err(Errno::EAGAIN) => {}
            // The link went down: what was seen stays true, and it may come up again.
            Err(Errno::ENETDOWN) if stopping => break,
            Err(Errno::ENETDOWN) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    captured.lost.kernel = u64::from(drops(socket.as_raw_fd())?);
    Ok(captured)
}

fn all_frames_of(index: u32) -> SockAddr {
    let mut storage = SockAddrStorage::zeroed();
    // SAFETY: sockaddr_ll is plain data, valid when zeroed, and fits sockaddr_storage, which is
    // made to hold the address of any family.
    let address: &mut libc::sockaddr_ll = unsafe { storage.view_as() };
    address.sll_family = libc::AF_PACKET as libc::sa_family_t;
    address.sll_protocol = (libc::ETH_P_ALL as u16).to_be();
    address.sll_ifindex = i32::try_from(index).unwrap_or(i32::MAX);
    // SAFETY: the storage holds a sockaddr_ll with its family set, and the length is that type's.
    unsafe { SockAddr::new(storage, size_of::<libc::sockaddr_ll>() as libc::socklen_t) }
}

/// Frames that the kernel dropped because the queue was full (`PACKET_STATISTICS`; reading resets).
fn drops(socket: RawFd) -> io::Result<u32> {
    let mut statistics = MaybeUninit::<libc::tpacket_stats>::zeroed();
    let mut length = size_of::<libc::tpacket_stats>() as libc::socklen_t;
    // SAFETY: the pointer and the length describe one tpacket_stats on this stack, alive for the
    // call; the kernel writes at most `length` bytes.
    let result = unsafe {
        libc::getsockopt(
            socket,
            libc::SOL_PACKET,
            libc::PACKET_STATISTICS,
            statistics.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    Errno::result(result)?;
    // SAFETY: two integers, zeroed above, so any content the kernel left is a value.
    Ok(unsafe { statistics.assume_init() }.tp_drops)
}

#[cfg(test)]
mod tests;
