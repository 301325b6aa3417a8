//! When to connect again. Pure.

use std::time::Duration;

/// The first wait, 10 ms: a control plane that restarts has another instance.
const FIRST: Duration = Duration::from_millis(10);
/// The longest, 15 s: four attempts a minute of each node while a control plane is away.
const LONGEST: Duration = Duration::from_secs(15);
/// A stream that lasted this long (30 s) was no accident: its end is followed by a connection at once. Control planes
/// close streams every half an hour to spread their clients.
const LASTING: Duration = Duration::from_secs(30);

/// Failures in a row.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    /// Attempts that delivered nothing.
    failures: u32,
    /// Streams that delivered something and ended soon. They are counted apart, so that the first good stream after a
    /// long outage forgets the outage, while a server that answers and hangs up, again and again, is still left alone.
    short: u32,
}

// === impl Backoff ===

impl Backoff {
    /// An attempt ended. Answers how long to wait before the next: 10 ms, doubled each time, at most 15 s, and of that
    /// a random part of at least a half. `random` is in 0.0..1.0.
    pub(super) fn ended(&mut self, delivered: bool, lasted: Duration, random: f64) -> Duration {
        match (delivered, lasted >= LASTING) {
            (true, true) => *self = Self::default(),
            (true, false) => *self = Self { failures: 0, short: self.short.saturating_add(1) },
            (false, _) => self.failures = self.failures.saturating_add(1),
        }
        let Some(doublings) = self.failures.max(self.short).checked_sub(1) else { return Duration::ZERO };
        let random = if (0.0..1.0).contains(&random) { random } else { 0.5 };
        FIRST.saturating_mul(1 << doublings.min(16)).min(LONGEST).mul_f64(0.5 + random / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: f64 = 0.999_999_999;

    fn millis(backoff: &mut Backoff, delivered: bool, seconds: u64) -> u128 {
        (backoff.ended(delivered, Duration::from_secs(seconds), MOST) + Duration::from_micros(1)).as_millis()
    }

    #[test]
    fn failures_double_up_to_the_longest() {
        let mut backoff = Backoff::default();
        let waits: Vec<_> = (0..13).map(|_| millis(&mut backoff, false, 0)).collect();
        assert_eq!(waits, [10, 20, 40, 80, 160, 320, 640, 1280, 2560, 5120, 10_240, 15_000, 15_000]);
        // A thousand later nothing has overflown.
        for _ in 0..1000 {
            millis(&mut backoff, false, 0);
        }
        assert_eq!(millis(&mut backoff, false, 0), 15_000);
    }

    #[test]
    fn a_stream_that_delivered_forgets_the_outage() {
        let mut backoff = Backoff::default();
        for _ in 0..50 {
            millis(&mut backoff, false, 0);
        }
        assert_eq!(millis(&mut backoff, true, 1800), 0, "closed by its server after half an hour");
        for _ in 0..50 {
            millis(&mut backoff, false, 0);
        }
        assert_eq!(millis(&mut backoff, true, 1), 10);
    }

    #[test]
    fn a_server_that_answers_and_hangs_up_is_left_alone() {
        let mut backoff = Backoff::default();
        let waits: Vec<_> = (0..12).map(|_| millis(&mut backoff, true, 1)).collect();
        assert_eq!(waits[..4], [10, 20, 40, 80]);
        assert_eq!(waits[11], 15_000);
        assert_eq!(millis(&mut backoff, true, 31), 0);
    }

    #[test]
    fn half_of_it_is_chance() {
        let wait = |random| Backoff::default().ended(false, Duration::ZERO, random);
        assert_eq!(wait(0.0), Duration::from_millis(5));
        assert_eq!(wait(0.5), Duration::from_micros(7500));
        assert_eq!(wait(f64::NAN), wait(0.5));
    }
}
