//! How long a connection may go on without a byte once it cannot go on as it was.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep};

use super::Meter;

/// A limit that every byte renews. Made when it begins to count, so that a connection both of whose directions live
/// has no timer; what moves costs a look at the clock and never a change of the timer.
pub(super) struct Silence {
    limit: Duration,
    timer: Pin<Box<Sleep>>,
    moved: u64,
    since: Instant,
}

impl Silence {
    /// In a box: few connections come to need one, and all of them would have room for it.
    pub(super) fn new(limit: Duration, meter: &Meter) -> Box<Self> {
        Box::new(Self { limit, timer: Box::pin(sleep(limit)), moved: meter.moved(), since: Instant::now() })
    }

    /// Ready once nothing has moved for the limit. To be polled whenever something may have moved.
    pub(super) fn poll(&mut self, meter: &Meter, cx: &mut Context<'_>) -> Poll<()> {
        let moved = meter.moved();
        if self.moved != moved {
            (self.moved, self.since) = (moved, Instant::now());
        }
        loop {
            ready!(self.timer.as_mut().poll(cx));
            if self.since.elapsed() >= self.limit {
                return Poll::Ready(());
            }
            self.timer.as_mut().reset(self.since + self.limit);
        }
    }
}
