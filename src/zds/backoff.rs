//! How long to wait before the next connection (pure).

use std::time::Duration;

/// Waits that double from 10 ms to 15 s.
#[derive(Clone, Debug, Default)]
pub struct Backoff {
    failures: u32,
}

/// An agent that restarts is back within some tenths of a second.
const FIRST: Duration = Duration::from_millis(10);
/// An agent that is away for long is asked for four times a minute.
const LONGEST: Duration = Duration::from_secs(15);

// === impl Backoff ===

impl Backoff {
    /// The next wait, of at least half of its step: 10 ms, doubled each time, 15 s at the most. `random` is in
    /// 0.0..1.0; anything else counts as 0.5.
    pub fn next(&mut self, random: f64) -> Duration {
        let random = if (0.0..1.0).contains(&random) { random } else { 0.5 };
        let step = FIRST.saturating_mul(1 << self.failures.min(16)).min(LONGEST);
        self.failures = self.failures.saturating_add(1);
        step.mul_f64(0.5 + random / 2.0)
    }

    /// The peer is well: the next wait is a short one.
    pub fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_a_quarter_of_a_minute() {
        let mut backoff = Backoff::default();
        let waits: Vec<_> = (0..12).map(|_| backoff.next(0.9999).as_millis()).collect();
        assert_eq!(waits, [9, 19, 39, 79, 159, 319, 639, 1279, 2559, 5119, 10239, 14999]);
        assert_eq!(backoff.next(0.0), LONGEST / 2);
        (0..100).for_each(|_| assert!(backoff.next(f64::NAN) <= LONGEST));
        backoff.reset();
        assert_eq!(backoff.next(0.0), FIRST / 2);
    }
}
