//! How often something may be done. Pure.

use std::time::Duration;

use tokio::time::Instant;

/// So many at once, and one more each period.
#[derive(Debug)]
pub(super) struct Budget {
    burst: u32,
    period: Duration,
    left: u32,
    /// From when the next one is counted.
    since: Option<Instant>,
}

// === impl Budget ===

impl Budget {
    pub(super) const fn new(burst: u32, period: Duration) -> Self {
        Self { burst, period, left: burst, since: None }
    }

    /// Takes one if there is one.
    pub(super) fn take(&mut self, now: Instant) -> bool {
        let since = *self.since.get_or_insert(now);
        let periods = now.saturating_duration_since(since).as_nanos() / self.period.as_nanos().max(1);
        let periods = u32::try_from(periods).unwrap_or(u32::MAX);
        if periods > 0 {
            self.left = self.left.saturating_add(periods).min(self.burst);
            self.since = Some(if self.left == self.burst { now } else { since + self.period * periods });
        }
        match self.left.checked_sub(1) {
            Some(left) => {
                self.left = left;
                true
            }
            None => false,
        }
    }

    /// When there is one more at the latest.
    pub(super) fn next(&self, now: Instant) -> Instant {
        if self.left > 0 { now } else { self.since.unwrap_or(now) + self.period }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_and_then_one_each_period() {
        let start = Instant::now();
        let mut budget = Budget::new(3, Duration::from_secs(1));
        let at = |seconds: f64| start + Duration::from_secs_f64(seconds);
        assert_eq!([0.0; 4].map(|seconds| budget.take(at(seconds))), [true, true, true, false]);
        assert_eq!(budget.next(at(0.5)), at(1.0));
        assert_eq!([0.9, 1.0, 1.1, 2.1].map(|seconds| budget.take(at(seconds))), [false, true, false, true]);
        // Long silence fills it, and no more than that.
        assert_eq!([1e6; 4].map(|seconds| budget.take(at(seconds))), [true, true, true, false]);
    }
}
