//! A tunnel as a stream that can be read and written, for what runs inside of it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::tunnel::{End, RecvHalf, ResetKind, SendHalf, TunnelStream};

/// A tunnel that is read and written as a socket is. Its window is given back as bytes are read.
///
/// Every write copies, once: what is inside is sealed by TLS, so there is nothing to hand on as it is.
#[derive(Debug)]
pub struct TunnelIo {
    recv: RecvHalf,
    send: SendHalf,
    /// What has come and was not read.
    rest: Bytes,
    finished: bool,
}

/// The largest piece that is queued at once, 16 KiB and the frame of a TLS record: more would only wait in our memory.
const MAX_WRITE: usize = 16 * 1024 + 256;

// === impl TunnelIo ===

impl TunnelIo {
    pub fn new(tunnel: TunnelStream) -> Self {
        let (recv, send) = tunnel.split();
        Self { recv, send, rest: Bytes::new(), finished: false }
    }
}

impl AsyncRead for TunnelIo {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.rest.is_empty() {
            match ready!(this.recv.poll_recv(cx)) {
                Ok(bytes) => this.rest = bytes,
                // TLS has an end of its own, and takes one without it for what it is.
                Err(End::Finished) => return Poll::Ready(Ok(())),
                Err(End::Reset(kind)) => return Poll::Ready(Err(error(kind))),
            }
        }
        let count = this.rest.len().min(buf.remaining());
        buf.put_slice(&this.rest[..count]);
        this.rest.advance(count);
        this.recv.release(count);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for TunnelIo {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let send = &mut self.get_mut().send;
        let room = ready!(send.poll_ready(cx, bytes.len().min(MAX_WRITE))).map_err(error)?;
        let count = room.min(bytes.len());
        send.send_now(Bytes::copy_from_slice(&bytes[..count])).map_err(error)?;
        Poll::Ready(Ok(count))
    }

    /// What was queued is sent by the connection's driver; there is nothing to wait for.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if std::mem::replace(&mut this.finished, true) {
            return Poll::Ready(Ok(()));
        }
        Poll::Ready(this.send.finish().map_err(error))
    }
}

fn error(kind: ResetKind) -> io::Error {
    let (of, text) = match kind {
        ResetKind::Cancel => (io::ErrorKind::BrokenPipe, "the tunnel was closed by its far side"),
        ResetKind::Connect => (io::ErrorKind::ConnectionReset, "the connection behind the tunnel was reset"),
        ResetKind::Lost => (io::ErrorKind::ConnectionAborted, "the connection under the tunnel is gone"),
        ResetKind::Refused => (io::ErrorKind::ConnectionRefused, "the tunnel was not taken"),
        ResetKind::Other => (io::ErrorKind::ConnectionReset, "the tunnel was reset"),
    };
    io::Error::new(of, text)
}

#[cfg(test)]
mod tests;
