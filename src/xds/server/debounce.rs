//! When a change is published. Pure: moments go in, a moment comes out.

use std::time::Duration;

use tokio::time::Instant;

/// A change is published after this much quiet, 100 ms as Istio's: objects that belong together are written together.
const QUIET: Duration = Duration::from_millis(100);
/// And after this long at most, 10 s as Istio's, however much changes.
const LONGEST: Duration = Duration::from_secs(10);

/// A change that waits for quiet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Debounce {
    first: Instant,
    last: Instant,
}

// === impl Debounce ===

impl Debounce {
    pub(super) fn new(now: Instant) -> Self {
        Self { first: now, last: now }
    }

    pub(super) fn changed(&mut self, now: Instant) {
        self.last = now;
    }

    pub(super) fn due(&self) -> Instant {
        (self.last + QUIET).min(self.first + LONGEST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn quiet_publishes_and_noise_does_not_hold_it_up_for_ever() {
        let start = Instant::now();
        let mut debounce = Debounce::new(start);
        assert_eq!(debounce.due(), start + QUIET);
        debounce.changed(start + QUIET / 2);
        assert_eq!(debounce.due(), start + QUIET / 2 + QUIET);
        debounce.changed(start + LONGEST - QUIET / 2);
        assert_eq!(debounce.due(), start + LONGEST);
    }
}
