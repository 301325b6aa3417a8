//! What both ends of a connection do beside moving frames: liveness and the size of windows.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout_at};

use super::settings::{DEAD, KEEPALIVE};
use super::window::Windows;

/// Between two measurements of a round trip: a PING for every window's worth of bytes would be one a millisecond.
const MEASURE_EVERY: Duration = Duration::from_millis(10);
/// After the budget or the peer did not allow another window.
const RESIZE_LATER: Duration = Duration::from_secs(1);

/// Tells a driver when to act. Sleeps without a timer while no stream is open.
pub(super) struct Pacer {
    ping: Option<h2::PingPong>,
    windows: Arc<Windows>,
    /// When the unanswered PING was sent.
    asked: Option<Instant>,
    /// That PING also measures a round trip.
    measuring: bool,
    last_pong: Instant,
    not_before: Instant,
}

/// What to do.
pub(super) enum Event {
    /// The peer does not answer.
    Dead,
    /// Give the connection's streams another window; see [`Pacer::resize`].
    Resize(u32),
}

// === impl Pacer ===

impl Pacer {
    pub(super) fn new(ping: Option<h2::PingPong>, windows: Arc<Windows>) -> Self {
        let now = Instant::now();
        Self { ping, windows, asked: None, measuring: false, last_pong: now, not_before: now }
    }

    /// The next event. May be dropped and called again; nothing is lost.
    pub(super) async fn next(&mut self) -> Event {
        loop {
            let Some(ping) = &mut self.ping else { std::future::pending().await };
            if let Some(asked) = self.asked {
                match timeout_at(asked + DEAD, poll_fn(|cx| ping.poll_pong(cx))).await {
                    Ok(Ok(_)) => {}
                    // The connection is over; its driver is about to see that.
                    Ok(Err(_)) => self.ping = None,
                    Err(_) => return Event::Dead,
                }
                self.asked = None;
                self.last_pong = Instant::now();
                if std::mem::take(&mut self.measuring) {
                    self.not_before = self.last_pong + MEASURE_EVERY;
                    if let Some(window) = self.windows.end_measure() {
                        return Event::Resize(window);
                    }
                }
                continue;
            }
            let now = Instant::now();
            if now >= self.not_before && self.windows.wants_shrink() {
                return Event::Resize(self.windows.first());
            }
            let measure = self.windows.wants_measure();
            let keepalive = self.last_pong + KEEPALIVE;
            let streams = self.windows.streams();
            if (measure && now >= self.not_before) || (streams > 0 && now >= keepalive) {
                if ping.send_ping(h2::Ping::opaque()).is_err() {
                    self.ping = None;
                    continue;
                }
                self.asked = Some(now);
                self.measuring = measure;
                if measure {
                    self.windows.begin_measure();
                }
                continue;
            }
            let until = match (streams, measure || self.windows.wants_shrink()) {
                (0, _) => None,
                (_, true) => Some(keepalive.min(self.not_before)),
                (_, false) => Some(keepalive),
            };
            let wake = self.windows.wake.notified();
            match until {
                None => {
                    wake.await;
                    // Silence before the first stream says nothing about the peer.
                    self.last_pong = Instant::now();
                }
                Some(until) => tokio::select! {
                    () = wake => {}
                    () = sleep_until(until) => {}
                },
            }
        }
    }

    /// Charges the budget for another window and, when it allows that, sets it with `set`.
    pub(super) fn resize(&mut self, to: u32, set: impl FnOnce(u32) -> Result<(), h2::Error>) {
        let from = self.windows.window();
        if !self.windows.resize(to) {
            self.not_before = Instant::now() + RESIZE_LATER;
        } else if set(to).is_err() {
            // The last change is not acknowledged yet. Growing back what was just given up may not be granted; the
            // account then says less than the peer may send, for one second.
            let _kept = self.windows.resize(from);
            self.not_before = Instant::now() + RESIZE_LATER;
        }
    }
}
