//! When to ask for the next certificate. Pure.

use std::time::{Duration, SystemTime};

/// First wait after a failure, 1 s: a CA that restarts is back by then.
pub const FIRST_BACKOFF: Duration = Duration::from_secs(1);
/// Longest wait after failures, 150 s: 576 questions a day for each identity while a CA is away.
pub const MAX_BACKOFF: Duration = Duration::from_secs(150);

/// A certificate's span.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetime {
    pub not_before: SystemTime,
    pub not_after: SystemTime,
}

/// The next attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Next {
    /// Never before the `now` that was given.
    pub at: SystemTime,
}

/// When to fetch next.
///
/// * Without a certificate and without a failure: now.
/// * After a success: at half of the certificate's life, give or take 5 % of that life, so that a node's pods that
///   started together do not renew together.
/// * After `failures` in a row: after 1 s doubled for each, at most 150 s, give or take 20 %; and while the certificate
///   is still valid not after its end, so that there is an attempt at the moment when it would begin to matter.
///
/// `jitter` is in 0.0..1.0, 0.5 meaning none; anything else counts as 0.5.
pub fn rotate(lifetime: Option<Lifetime>, now: SystemTime, failures: u32, jitter: f64) -> Next {
    let jitter = if (0.0..1.0).contains(&jitter) { jitter } else { 0.5 };
    let at = match (lifetime, failures) {
        (None, 0) => now,
        (Some(Lifetime { not_before, not_after }), 0) => {
            let life = not_after.duration_since(not_before).unwrap_or_default();
            not_before + life.mul_f64(0.45 + 0.1 * jitter)
        }
        (lifetime, failures) => {
            let doubled = FIRST_BACKOFF.saturating_mul(1 << (failures - 1).min(16));
            let at = now + doubled.min(MAX_BACKOFF).mul_f64(0.8 + 0.4 * jitter);
            match lifetime {
                Some(Lifetime { not_after, .. }) if not_after > now => at.min(not_after),
                _ => at,
            }
        }
    };
    Next { at: at.max(now) }
}

#[cfg(test)]
mod tests;
