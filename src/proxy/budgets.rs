//! What one pod may take of the process: handshakes a second, and descriptors when they run short (pure but for its
//! counters). Connections are bounded by their tasks, buffered bytes by `hbone::Budget`.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::runtime::rate::Rate;

/// Evens out handshakes: so many a second, and after a rest a second's worth at once.
#[derive(Debug)]
pub struct Handshakes(Mutex<Rate>);

/// The whole process's descriptors, shared out to pods when they run short.
#[derive(Debug)]
pub struct Descriptors {
    limit: usize,
    used: AtomicUsize,
}

/// Descriptors of one connection; counted until it is dropped.
#[derive(Debug)]
pub struct Held(Arc<Descriptors>);

/// Handshakes that were asked for too fast wait for at most this long; peers give up after 10 s.
pub const LONGEST_WAIT: Duration = Duration::from_secs(2);
/// Descriptors that one connection may need: two sockets and a pipe.
pub const EACH: usize = 4;

// === impl Handshakes ===

impl Handshakes {
    /// `per_second` of 0 counts as 1.
    pub fn new(per_second: u32) -> Self {
        let per_second = per_second.max(1);
        Self(Mutex::new(Rate::new(per_second, Duration::from_secs(1) / per_second)))
    }

    /// How long the next handshake has to wait; `None` when it would be longer than [`LONGEST_WAIT`], and then nothing
    /// is booked.
    pub fn take(&self, now: Instant) -> Option<Duration> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).book(now, LONGEST_WAIT)
    }
}

// === impl Descriptors ===

impl Descriptors {
    /// Nine tenths of the process's `limit` are for connections; the rest is for the daemon itself.
    pub fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { limit: limit / 10 * 9, used: AtomicUsize::new(0) })
    }

    /// Takes a connection's share for a pod that has `own` connections, one of `pods`. While three quarters are not
    /// used everybody may; then only who has less than an even share; and none beyond the limit.
    pub fn take(self: &Arc<Self>, own: usize, pods: usize) -> Option<Held> {
        let used = self.used.fetch_add(EACH, Ordering::Relaxed) + EACH;
        let held = Held(Arc::clone(self));
        may_take(used, own.saturating_mul(EACH), pods, self.limit).then_some(held)
    }

    /// Most connections that the process can have.
    pub fn connections(&self) -> usize {
        self.limit / EACH
    }
}

fn may_take(used: usize, own: usize, pods: usize, limit: usize) -> bool {
    used <= limit && (used <= limit / 4 * 3 || own <= limit / pods.max(1))
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.used.fetch_sub(EACH, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
