//! A stream of bytes inside a connection, as its two halves.
//!
//! FIN of a TCP connection is `finish` here, and the other way round [`End::Finished`]; the opposite direction lives
//! on. A reset of a TCP connection is `reset(ResetKind::Connect)` here (CONNECT_ERROR, RFC 9113 section 8.5), and the
//! other way round. Peers that know no better say NO_ERROR or CANCEL for a plain close ([`ResetKind::Cancel`]): it comes
//! after all data that was received before it.

use std::any::Any;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use h2::Reason;

use super::unsent::Unsent;
use super::window::{Charge, Measured};

/// How the receiving direction ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// END_STREAM: the far side has said all it had to say.
    Finished,
    /// The stream ended in both directions.
    Reset(ResetKind),
}

/// Why a stream was reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResetKind {
    /// NO_ERROR or CANCEL: the far side closed without waiting for our direction.
    Cancel,
    /// CONNECT_ERROR: the TCP connection behind the far side was reset.
    Connect,
    /// The connection under the stream is gone.
    Lost,
    /// Another HTTP/2 error code.
    Other,
    /// REFUSED_STREAM: it was never looked at.
    Refused,
}

/// An open tunnel.
#[derive(Debug)]
pub struct TunnelStream {
    pub recv: RecvHalf,
    pub send: SendHalf,
}

/// What comes from the far side.
pub struct RecvHalf {
    stream: h2::RecvStream,
    measured: Measured,
    hold: Arc<Hold>,
}

/// What goes to the far side. Dropped without `finish` or `reset`, the stream is cancelled once both halves are gone.
pub struct SendHalf {
    stream: h2::SendStream<Bytes>,
    unsent: Arc<Unsent>,
    _hold: Arc<Hold>,
}

/// Lives as long as one of the halves.
pub(super) struct Hold {
    pub(super) charge: Charge,
    /// Given back to the pool by its drop.
    pub(super) _lease: Option<Box<dyn Any + Send + Sync>>,
}

// === impl ResetKind ===

impl ResetKind {
    pub(super) const fn from_reason(reason: Reason) -> Self {
        match reason {
            Reason::NO_ERROR | Reason::CANCEL => Self::Cancel,
            Reason::CONNECT_ERROR => Self::Connect,
            Reason::REFUSED_STREAM => Self::Refused,
            _ => Self::Other,
        }
    }

    fn from_h2(error: &h2::Error) -> Self {
        match error.reason() {
            Some(reason) if error.is_reset() => Self::from_reason(reason),
            _ => Self::Lost,
        }
    }

    const fn reason(self) -> Reason {
        match self {
            Self::Cancel => Reason::CANCEL,
            Self::Connect => Reason::CONNECT_ERROR,
            Self::Lost | Self::Other => Reason::INTERNAL_ERROR,
            Self::Refused => Reason::REFUSED_STREAM,
        }
    }
}

// === impl TunnelStream ===

impl TunnelStream {
    pub(super) fn new(send: h2::SendStream<Bytes>, recv: h2::RecvStream, hold: Hold) -> Self {
        let hold = Arc::new(hold);
        let unsent = Unsent::new(hold.charge.windows().budget().clone());
        let recv = RecvHalf { stream: recv, measured: Measured::default(), hold: Arc::clone(&hold) };
        Self { recv, send: SendHalf { stream: send, unsent, _hold: hold } }
    }

    pub fn split(self) -> (RecvHalf, SendHalf) {
        (self.recv, self.send)
    }
}

// === impl RecvHalf ===

impl RecvHalf {
    /// The next bytes, never empty, not copied. Dropped and called again, nothing is lost.
    ///
    /// # Errors
    /// The end, and again on every later call.
    pub async fn recv(&mut self) -> Result<Bytes, End> {
        poll_fn(|cx| self.poll_recv(cx)).await
    }

    /// Bytes that are here already, to be written together with those before; [`None`] when there are none.
    pub fn try_recv(&mut self) -> Option<Result<Bytes, End>> {
        match self.poll_recv(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(result) => Some(result),
            Poll::Pending => None,
        }
    }

    pub fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Result<Bytes, End>> {
        loop {
            match ready!(self.stream.poll_data(cx)) {
                Some(Ok(bytes)) if bytes.is_empty() => {}
                Some(Ok(bytes)) => return Poll::Ready(Ok(bytes)),
                Some(Err(error)) => return Poll::Ready(Err(End::Reset(ResetKind::from_h2(&error)))),
                None => return Poll::Ready(Err(End::Finished)),
            }
        }
    }

    /// Gives `bytes` of the window back to the far side. To be called once they were written to the app and not
    /// before: this is what holds a fast sender back from a slow reader. More than was received is ignored.
    pub fn release(&mut self, bytes: usize) {
        let flow = self.stream.flow_control();
        let bytes = bytes.min(flow.used_capacity());
        if bytes > 0 && flow.release_capacity(bytes).is_ok() {
            self.hold.charge.windows().gave_back(&mut self.measured, bytes);
        }
    }
}

impl std::fmt::Debug for RecvHalf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RecvHalf").field("stream", &self.stream.stream_id()).finish_non_exhaustive()
    }
}

// === impl SendHalf ===

impl SendHalf {
    /// Waits until some bytes can be taken, and says how many, at most `want`. A relay asks once the app has something
    /// to read and before it reads it, so that what cannot be sent stays in the kernel. What is granted is taken from
    /// the connection's window, which all streams share and some peers keep small: hand it back with
    /// [`Self::give_up_room`] when nothing is sent after all.
    ///
    /// # Errors
    /// The stream was reset.
    pub async fn ready(&mut self, want: usize) -> Result<usize, ResetKind> {
        poll_fn(|cx| self.poll_ready(cx, want)).await
    }

    pub fn poll_ready(&mut self, cx: &mut Context<'_>, want: usize) -> Poll<Result<usize, ResetKind>> {
        let want = match self.unsent.poll_room(cx) {
            Poll::Ready(room) => want.min(room),
            // A reset drops what is held, and that wakes us.
            Poll::Pending => {
                self.give_up_room();
                return Poll::Pending;
            }
        };
        self.stream.reserve_capacity(want.max(1));
        loop {
            let capacity = self.stream.capacity();
            if capacity > 0 {
                return Poll::Ready(Ok(capacity.min(want)));
            }
            match ready!(self.stream.poll_capacity(cx)) {
                // Zero happens: capacity that was given and taken away by a change of settings.
                Some(Ok(_)) => {}
                Some(Err(error)) => return Poll::Ready(Err(ResetKind::from_h2(&error))),
                None => return Poll::Ready(Err(self.why_closed(cx))),
            }
        }
    }

    /// Hands back what [`Self::ready`] granted and no `send` has used.
    pub fn give_up_room(&mut self) {
        self.stream.reserve_capacity(0);
    }

    /// Queues all of `bytes`, waiting for the far side's window. What was queued is taken off the front, so a call that
    /// was dropped goes on with what is left.
    ///
    /// # Errors
    /// The stream was reset.
    pub async fn send(&mut self, bytes: &mut Bytes) -> Result<(), ResetKind> {
        while !bytes.is_empty() {
            let room = self.ready(bytes.len()).await?;
            let chunk = bytes.split_to(room.min(bytes.len()));
            self.send_now(chunk)?;
        }
        Ok(())
    }

    /// Queues `bytes`, for which [`Self::poll_ready`] has just granted room.
    ///
    /// # Errors
    /// The stream was reset.
    pub(super) fn send_now(&mut self, bytes: Bytes) -> Result<(), ResetKind> {
        let bytes = self.unsent.count(bytes);
        self.stream.send_data(bytes, false).map_err(|error| self.after(&error))
    }

    /// END_STREAM after all that was queued. The other direction lives on.
    ///
    /// # Errors
    /// The stream was reset.
    pub fn finish(&mut self) -> Result<(), ResetKind> {
        self.stream.send_data(Bytes::new(), true).map_err(|error| self.after(&error))
    }

    /// RST_STREAM: ends both directions now, and what is queued is dropped.
    pub fn reset(&mut self, kind: ResetKind) {
        self.stream.send_reset(kind.reason());
    }

    /// Returns when the far side has reset the stream or the connection is gone. For a relay that has nothing to send.
    pub async fn was_reset(&mut self) -> ResetKind {
        poll_fn(|cx| {
            let why = match ready!(self.stream.poll_reset(cx)) {
                Ok(reason) => ResetKind::from_reason(reason),
                Err(error) => ResetKind::from_h2(&error),
            };
            Poll::Ready(why)
        })
        .await
    }

    /// An error of the library for "not in a state to send" hides why; the stream knows.
    fn after(&mut self, error: &h2::Error) -> ResetKind {
        if error.is_reset() || error.is_go_away() || error.is_io() {
            ResetKind::from_h2(error)
        } else {
            self.why_closed(&mut Context::from_waker(Waker::noop()))
        }
    }

    fn why_closed(&mut self, cx: &mut Context<'_>) -> ResetKind {
        match self.stream.poll_reset(cx) {
            Poll::Ready(Ok(reason)) => ResetKind::from_reason(reason),
            Poll::Ready(Err(error)) => ResetKind::from_h2(&error),
            Poll::Pending => ResetKind::Cancel,
        }
    }
}

impl std::fmt::Debug for SendHalf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SendHalf").field("stream", &self.stream.stream_id()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
