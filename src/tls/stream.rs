//! A connection after its handshake: bytes in clear on this side, and who is on the other.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::trust::Proof;
use crate::model::spiffe::Identity;

/// A verified connection. Only a handshake of this folder makes one.
#[derive(Debug)]
pub struct TlsStream<S> {
    pub(super) inner: tokio_rustls::TlsStream<S>,
    pub(super) peer: Identity,
    pub(super) group: &'static str,
    pub(super) proof: Arc<Proof>,
    pub(super) resumed: bool,
}

// === impl TlsStream ===

impl<S> TlsStream<S> {
    /// The peer's identity, as verified in the handshake.
    pub const fn peer(&self) -> &Identity {
        &self.peer
    }

    /// The key exchange group that was agreed on, as in `X25519MLKEM768`.
    pub const fn group(&self) -> &'static str {
        self.group
    }

    /// What the peer has proven, to look at again while the connection lives.
    pub const fn proof(&self) -> &Arc<Proof> {
        &self.proof
    }

    /// True when the handshake resumed a session; the peer was verified all the same.
    pub const fn is_resumed(&self) -> bool {
        self.resumed
    }

    /// The stream underneath, to read its socket options and addresses.
    pub fn transport(&self) -> &S {
        self.inner.get_ref().0
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for TlsStream<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for TlsStream<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
