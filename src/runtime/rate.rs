//! How often something may be done. Pure.

use std::time::Duration;

use tokio::time::Instant;

/// So many at once, and one more each period. 24 bytes, whatever the burst: it holds the time at which the next one
/// would be due, were there no rest (the generic cell rate algorithm of ATM Forum's Traffic Management 4.0, appendix B).
#[derive(Clone, Copy, Debug)]
pub struct Rate {
    each: Duration,
    /// What a rest saves up beside the one that is due: `burst - 1` periods.
    saved: Duration,
    due: Option<Instant>,
}

// === impl Rate ===

impl Rate {
    /// A burst of 0 counts as 1.
    pub const fn new(burst: u32, each: Duration) -> Self {
        Self { each, saved: each.saturating_mul(burst.saturating_sub(1)), due: None }
    }

    /// Takes one if there is one.
    pub fn take(&mut self, now: Instant) -> bool {
        self.book(now, Duration::ZERO).is_some()
    }

    /// Takes one that is there after a wait of at most `longest`, and answers the wait. [`None`] takes nothing.
    pub fn book(&mut self, now: Instant, longest: Duration) -> Option<Duration> {
        let due = self.next(now);
        let wait = due.saturating_duration_since(now);
        (wait <= longest).then(|| {
            self.due = Some(due + self.each);
            wait
        })
    }

    /// Takes `count` at once, also such as are not there yet: they have been used. Answers the rest until the next one.
    pub fn charge(&mut self, now: Instant, count: u32) -> Duration {
        let due = self.next(now) + self.each.saturating_mul(count);
        self.due = Some(due);
        due.saturating_duration_since(now)
    }

    /// When the next one is there: in the past by what a rest has saved up.
    pub fn next(&self, now: Instant) -> Instant {
        let rested = now.checked_sub(self.saved).unwrap_or(now);
        self.due.map_or(rested, |due| due.max(rested))
    }

    /// True when a whole burst is there, as in a new one.
    pub fn is_rested(&self, now: Instant) -> bool {
        self.due.is_none_or(|due| due + self.saved <= now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_burst_and_then_one_each_period() {
        let start = Instant::now() + SECOND * 3600;
        let mut rate = Rate::new(3, SECOND);
        let at = |seconds: f64| start + Duration::from_secs_f64(seconds);
        assert!(rate.is_rested(start));
        assert_eq!([0.0; 4].map(|seconds| rate.take(at(seconds))), [true, true, true, false]);
        assert_eq!(rate.next(at(0.5)), at(1.0));
        assert_eq!([0.9, 1.0, 1.1, 2.1].map(|seconds| rate.take(at(seconds))), [false, true, false, true]);
        assert!(!rate.is_rested(at(4.9)) && rate.is_rested(at(5.0)));
        // Long silence fills it, and no more than that.
        assert_eq!([1e6; 4].map(|seconds| rate.take(at(seconds))), [true, true, true, false]);
    }

    #[test]
    fn what_was_used_is_rested_for() {
        let start = Instant::now() + SECOND * 3600;
        let mut rate = Rate::new(3, SECOND);
        assert_eq!([2, 1, 4].map(|count| rate.charge(start, count)), [Duration::ZERO, SECOND, SECOND * 5]);
        assert_eq!(rate.charge(start + SECOND * 3600, 3), SECOND, "long silence fills it, and no more than that");
    }

    #[test]
    fn what_is_booked_waits_and_what_is_refused_is_not_booked() {
        let start = Instant::now() + SECOND * 3600;
        let mut rate = Rate::new(1, SECOND);
        let waits = [0; 4].map(|_| rate.book(start, SECOND * 2));
        assert_eq!(waits, [Some(Duration::ZERO), Some(SECOND), Some(SECOND * 2), None]);
        assert_eq!(rate.book(start + SECOND, SECOND * 2), Some(SECOND * 2));
    }
}
