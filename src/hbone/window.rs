//! Memory for received bytes: how large the windows of a connection's streams are, and who pays.
//!
//! A stream's window is what the peer may send before we give some back, so it is memory that the peer can make us
//! hold. Every stream is charged its window to the budget of its pod when it opens. A window starts at
//! [`STREAM_WINDOW`](super::settings::STREAM_WINDOW) and doubles when a stream has used most of it within one round trip *and its bytes went to the
//! app in that time*: an app that does not read never makes it grow.
//!
//! The HTTP/2 library can change the window of all streams of a connection (SETTINGS_INITIAL_WINDOW_SIZE, RFC 9113
//! section 6.9.2) and not of one alone. So growth is by connection, and the budget must allow it for each of its
//! streams. When the pod is over its budget, connections fall back to the starting window. That one is always granted:
//! a pod may hold at most `max(budget, streams * 256 KiB)` bytes that its apps have not taken. [`Sizes`] may bound more tightly.

use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::settings::Sizes;

/// Bytes that a pod's streams may be sent before its apps take them, and as many that its apps may have sent before
/// peers take them (see [`unsent`](super::unsent)). Cheap to clone; one for each pod.
#[derive(Clone, Debug)]
pub struct Budget(Arc<Account>);

#[derive(Debug)]
struct Account {
    charged: AtomicUsize,
    unsent: AtomicUsize,
    held_back: AtomicU64,
    limit: usize,
    sizes: Sizes,
}

/// The windows of one connection, shared by its driver and its streams.
#[derive(Debug)]
pub(super) struct Windows {
    budget: Budget,
    /// Changed when a stream opens or ends and when the window changes; never on the way of bytes.
    open: Mutex<Open>,
    /// A copy of `open.window` for the way of bytes.
    window: AtomicU32,
    /// Odd while a round trip is measured.
    epoch: AtomicU64,
    /// The most that one stream gave back in the epoch.
    best: AtomicUsize,
    /// Something for the driver to look at: a first or last stream, or bytes that went to an app.
    pub(super) wake: Notify,
    /// Bytes were given back since the last measurement began.
    moved: AtomicUsize,
}

#[derive(Debug)]
struct Open {
    streams: usize,
    /// What each of them is charged.
    window: u32,
}

/// One stream's share. Gives its charge back when it is dropped.
#[derive(Debug)]
pub(super) struct Charge(Arc<Windows>);

/// One stream's part in a measurement.
#[derive(Debug, Default)]
pub(super) struct Measured {
    epoch: u64,
    bytes: usize,
}

// === impl Budget ===

impl Budget {
    /// A budget of `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self::with_sizes(limit, Sizes::default())
    }

    /// A budget of `limit` bytes, for connections that tell their peers `sizes`.
    pub fn with_sizes(limit: usize, sizes: Sizes) -> Self {
        let (charged, unsent, held_back) = Default::default();
        Self(Arc::new(Account { charged, unsent, held_back, limit, sizes: sizes.within_protocol() }))
    }

    pub(super) fn sizes(&self) -> Sizes {
        self.0.sizes
    }

    /// Bytes of window that are out now; may be over the limit, see the module.
    pub fn charged(&self) -> usize {
        self.0.charged.load(Ordering::Relaxed)
    }

    /// Bytes that wait to be written to peers; may be over the limit, see [`unsent`](super::unsent).
    pub fn unsent(&self) -> usize {
        self.0.unsent.load(Ordering::Relaxed)
    }

    /// How often a stream had to wait because of the limit.
    pub fn times_held_back(&self) -> u64 {
        self.0.held_back.load(Ordering::Relaxed)
    }

    pub(super) fn has_room(&self) -> bool {
        self.unsent() < self.0.limit
    }

    pub(super) fn hold(&self, bytes: usize) {
        self.0.unsent.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn let_go(&self, bytes: usize) {
        self.0.unsent.fetch_sub(bytes, Ordering::Relaxed);
    }

    pub(super) fn held_back(&self) {
        self.0.held_back.fetch_add(1, Ordering::Relaxed);
    }

    fn is_over(&self) -> bool {
        self.charged() > self.0.limit
    }

    fn charge(&self, bytes: usize) {
        self.0.charged.fetch_add(bytes, Ordering::Relaxed);
    }

    fn give_back(&self, bytes: usize) {
        self.0.charged.fetch_sub(bytes, Ordering::Relaxed);
    }

    fn try_charge(&self, bytes: usize) -> bool {
        let fits = |charged: usize| charged.checked_add(bytes).filter(|sum| *sum <= self.0.limit);
        self.0.charged.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).is_ok()
    }
}

// === impl Windows ===

impl Windows {
    pub(super) fn new(budget: Budget) -> Arc<Self> {
        let window = budget.sizes().first_window();
        Arc::new(Self {
            budget,
            open: Mutex::new(Open { streams: 0, window }),
            window: AtomicU32::new(window),
            epoch: AtomicU64::new(0),
            best: AtomicUsize::new(0),
            wake: Notify::new(),
            moved: AtomicUsize::new(0),
        })
    }

    pub(super) const fn budget(&self) -> &Budget {
        &self.budget
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        // Held for two additions; nothing in between can panic.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn window(&self) -> u32 {
        self.window.load(Ordering::Relaxed)
    }

    /// What a connection falls back to when the pod is over its budget.
    pub(super) fn first(&self) -> u32 {
        self.budget.sizes().first_window()
    }

    fn most(&self) -> u32 {
        self.budget.sizes().stream_window
    }

    pub(super) fn streams(&self) -> usize {
        self.lock().streams
    }

    /// Charges a new stream.
    pub(super) fn open(self: &Arc<Self>) -> Charge {
        let mut open = self.lock();
        open.streams += 1;
        self.budget.charge(open.window as usize);
        let first = open.streams == 1;
        drop(open);
        if first || self.budget.is_over() {
            self.wake.notify_one();
        }
        Charge(Arc::clone(self))
    }

    /// A round trip is worth measuring: bytes are moving and the window may still grow.
    pub(super) fn wants_measure(&self) -> bool {
        self.window.load(Ordering::Relaxed) < self.most()
            && self.moved.load(Ordering::Relaxed) >= self.window.load(Ordering::Relaxed) as usize / 2
    }

    pub(super) fn begin_measure(&self) {
        self.best.store(0, Ordering::Relaxed);
        self.moved.store(0, Ordering::Relaxed);
        self.epoch.fetch_add(1, Ordering::Relaxed);
    }

    /// Ends a measurement and says which window the connection should have now, when that is another one.
    pub(super) fn end_measure(&self) -> Option<u32> {
        self.epoch.fetch_add(1, Ordering::Relaxed);
        self.moved.store(0, Ordering::Relaxed);
        let window = self.window.load(Ordering::Relaxed);
        let limited = self.best.load(Ordering::Relaxed) >= window as usize / 3 * 2;
        (limited && window < self.most()).then(|| window.saturating_mul(2).min(self.most()))
    }

    /// The pod is over its budget and this connection has grown.
    pub(super) fn wants_shrink(&self) -> bool {
        self.window.load(Ordering::Relaxed) > self.first() && self.budget.is_over()
    }

    /// Charges the streams for `to`; false when the budget does not allow it.
    pub(super) fn resize(&self, to: u32) -> bool {
        let mut open = self.lock();
        let difference = open.window.abs_diff(to) as usize * open.streams;
        if to > open.window && !self.budget.try_charge(difference) {
            return false;
        }
        if to < open.window {
            self.budget.give_back(difference);
        }
        open.window = to;
        self.window.store(to, Ordering::Relaxed);
        true
    }

    /// Notes that a stream gave `bytes` back, and wakes the driver when that makes a measurement worth while.
    pub(super) fn gave_back(&self, measured: &mut Measured, bytes: usize) {
        let epoch = self.epoch.load(Ordering::Relaxed);
        if epoch % 2 == 1 {
            if measured.epoch != epoch {
                *measured = Measured { epoch, bytes: 0 };
            }
            measured.bytes += bytes;
            self.best.fetch_max(measured.bytes, Ordering::Relaxed);
        } else if self.window.load(Ordering::Relaxed) < self.most() {
            let before = self.moved.fetch_add(bytes, Ordering::Relaxed);
            let half = self.window.load(Ordering::Relaxed) as usize / 2;
            if before < half && before + bytes >= half {
                self.wake.notify_one();
            }
        }
    }
}

// === impl Charge ===

impl Charge {
    pub(super) fn windows(&self) -> &Arc<Windows> {
        &self.0
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        let mut open = self.0.lock();
        open.streams -= 1;
        self.0.budget.give_back(open.window as usize);
        let last = open.streams == 0;
        drop(open);
        if last {
            self.0.wake.notify_one();
        }
    }
}

#[cfg(test)]
mod tests;
