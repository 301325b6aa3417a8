//! Memory for bytes that were given to the HTTP/2 library and are not written yet.
//!
//! A peer that opens a large window and then reads nothing makes us hold what the app has said. A stream alone is
//! bounded by [`SEND_BUFFER`](super::settings::SEND_BUFFER); a pod's streams together are by its [`Budget`]: once they
//! hold more than that, each of them takes more only while it holds less than [`FLOOR`]. So a pod holds at most
//! `max(budget, streams * 64 KiB)` and two pieces, and none of its streams stands still for the others' sake.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;

use super::window::Budget;

/// What every stream may hold, 64 KiB: four TLS records, so that a slow pod is never slower than a window of TCP's own.
pub(super) const FLOOR: usize = 64 << 10;

/// What one stream holds.
#[derive(Debug)]
pub(super) struct Unsent {
    bytes: AtomicUsize,
    budget: Budget,
    /// Who waits for it to become less.
    waiting: Mutex<Option<Waker>>,
}

/// Bytes on their way. Dropped by the library once they were written, or never will be.
struct Piece {
    bytes: Bytes,
    of: Arc<Unsent>,
}

// === impl Unsent ===

impl Unsent {
    pub(super) fn new(budget: Budget) -> Arc<Self> {
        Arc::new(Self { bytes: AtomicUsize::new(0), budget, waiting: Mutex::default() })
    }

    /// Bytes that may be added now; waits while there are none.
    pub(super) fn poll_room(&self, cx: &mut Context<'_>) -> Poll<usize> {
        if let Some(room) = self.room() {
            return Poll::Ready(room);
        }
        *self.waiting.lock().unwrap_or_else(PoisonError::into_inner) = Some(cx.waker().clone());
        // A piece that was dropped in between has woken nobody.
        match self.room() {
            Some(room) => Poll::Ready(room),
            None => {
                self.budget.held_back();
                Poll::Pending
            }
        }
    }

    fn room(&self) -> Option<usize> {
        if self.budget.has_room() {
            return Some(usize::MAX);
        }
        FLOOR.checked_sub(self.bytes.load(Ordering::Acquire)).filter(|room| *room > 0)
    }

    /// The same bytes, counted until they are dropped.
    pub(super) fn count(self: &Arc<Self>, bytes: Bytes) -> Bytes {
        if bytes.is_empty() {
            return bytes;
        }
        self.bytes.fetch_add(bytes.len(), Ordering::AcqRel);
        self.budget.hold(bytes.len());
        Bytes::from_owner(Piece { bytes, of: Arc::clone(self) })
    }
}

// === impl Piece ===

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        let Self { bytes, of } = self;
        of.bytes.fetch_sub(bytes.len(), Ordering::AcqRel);
        of.budget.let_go(bytes.len());
        let waiting = of.waiting.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(waker) = waiting {
            waker.wake();
        }
    }
}

#[cfg(test)]
mod tests;
