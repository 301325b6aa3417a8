//! How long a turn on its processor a thread asks for.

use std::time::Duration;

use tokio::time::Instant;

use crate::sys::sched::{BRIEF, LONG, Used};

/// One thread's turns. Pure: times go in, a length comes out.
#[derive(Debug)]
pub(super) struct Turns {
    length: Duration,
    last: Option<(Instant, Used, Duration)>,
}

// === impl Turns ===

impl Turns {
    pub(super) fn new() -> Self {
        Self { length: BRIEF, last: None }
    }

    pub(super) fn are_brief(&self) -> bool {
        self.length == BRIEF
    }

    /// The thread has `used` so much at `now`, and `looked` for messages that had not come. A new length when it should ask
    /// for another.
    pub(super) fn judge(&mut self, now: Instant, used: Used, looked: Duration) -> Option<Duration> {
        let (then, before, looked_before) = self.last.replace((now, used, looked))?;
        let span = now.saturating_duration_since(then);
        let wanted = (used.ran + used.waited).saturating_sub(before.ran + before.waited);
        let worked = wanted.saturating_sub(looked.saturating_sub(looked_before));
        // Between the two it keeps what it has: turns that change all the time help nobody.
        let length = match self.length {
            BRIEF if worked * 2 > span => LONG,
            LONG if worked * 4 < span => BRIEF,
            kept => kept,
        };
        (std::mem::replace(&mut self.length, length) != length).then_some(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TICK: Duration = Duration::from_millis(100);

    struct Thread {
        turns: Turns,
        now: Instant,
        used: Used,
        looked: Duration,
    }

    impl Thread {
        fn new() -> Self {
            let mut thread =
                Self { turns: Turns::new(), now: Instant::now(), used: Used::default(), looked: Duration::ZERO };
            assert_eq!(thread.tick(0, 0, 0), None);
            thread
        }

        /// Milliseconds of a tick of a hundred.
        fn tick(&mut self, ran: u64, waited: u64, looked: u64) -> Option<Duration> {
            self.now += TICK;
            self.used.ran += Duration::from_millis(ran);
            self.used.waited += Duration::from_millis(waited);
            self.looked += Duration::from_millis(looked);
            self.turns.judge(self.now, self.used, self.looked)
        }
    }

    #[test]
    fn a_thread_that_always_works_asks_for_long_turns_until_it_rests() {
        let mut thread = Thread::new();
        assert_eq!(thread.tick(40, 0, 0), None);
        assert_eq!(thread.tick(90, 0, 0), Some(LONG));
        assert_eq!(thread.tick(90, 0, 0), None);
        assert_eq!(thread.tick(30, 0, 0), None, "half a rest");
        assert_eq!(thread.tick(20, 0, 0), Some(BRIEF));
    }

    #[test]
    fn one_that_is_kept_from_working_wants_to_work() {
        // Eight that flood on two processors: each runs a quarter of the time.
        assert_eq!(Thread::new().tick(25, 75, 0), Some(LONG));
    }

    #[test]
    fn one_that_looks_for_messages_does_not_work() {
        assert_eq!(Thread::new().tick(100, 0, 70), None);
        let mut thread = Thread::new();
        assert_eq!(thread.tick(100, 0, 10), Some(LONG));
        assert_eq!(thread.tick(100, 0, 90), Some(BRIEF));
    }
}
