//! Looking again for a while before a data thread sleeps.
//!
//! A thread that sleeps must be woken by another processor, which in a virtual machine costs more than everything else
//! that is done for a small message (docs/performance.md has the figures). So while messages follow each other closely the data
//! pool does not sleep between them. How long it looks is learned as a kernel learns how long to poll before it halts: longer
//! while that pays off, shorter and then not at all when it does not. An idle pool sleeps.

use std::cell::OnceCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

/// The narrowest window: below, looking costs more than sleeping.
const NARROWEST: Duration = Duration::from_micros(10);

/// A look that finds nothing takes no longer; a longer one was another task's work.
const IN_VAIN: Duration = Duration::from_micros(20);

thread_local! {
    /// None where nobody looks again.
    static OWN: OnceCell<Pulse> = const { OnceCell::new() };
}

/// A message was carried on this thread.
pub fn beat() {
    OWN.with(|own| own.get().into_iter().for_each(Pulse::beat));
}

/// Beats once for each message that is carried. Clones are one pulse.
#[derive(Clone, Debug, Default)]
struct Pulse(Arc<Heard>);

#[derive(Debug, Default)]
struct Heard {
    beaten: AtomicBool,
    /// Whoever listens sleeps until the next beat.
    asleep: AtomicBool,
    wake: Notify,
}

/// How long a thread looked for messages that had not come. Clones are one clock.
#[derive(Clone, Debug, Default)]
pub(super) struct Looked(Arc<AtomicU64>);

/// How long to look for the next message before sleeping. Pure: durations go in, a duration comes out.
#[derive(Debug)]
struct Window {
    width: Duration,
    widest: Duration,
}

// === impl Pulse ===

impl Pulse {
    /// A message was carried. Cheap enough for every one: it reads two flags that seldom change.
    fn beat(&self) {
        if !self.0.beaten.load(Ordering::Relaxed) {
            self.0.beaten.store(true, Ordering::Relaxed);
        }
        // A beat that is missed here is made up for by the next one.
        if self.0.asleep.load(Ordering::Relaxed) && self.0.asleep.swap(false, Ordering::Relaxed) {
            self.0.wake.notify_one();
        }
    }

    /// Whether it has beaten since this was asked last.
    fn has_beaten(&self) -> bool {
        self.0.beaten.load(Ordering::Relaxed) && self.0.beaten.swap(false, Ordering::Relaxed)
    }

    async fn next(&self) {
        self.0.asleep.store(true, Ordering::Relaxed);
        self.0.wake.notified().await;
        self.0.beaten.store(false, Ordering::Relaxed);
    }
}

// === impl Looked ===

impl Looked {
    fn add(&self, look: Duration) {
        if look <= IN_VAIN {
            self.0.fetch_add(u64::from(look.subsec_nanos()), Ordering::Relaxed);
        }
    }

    pub(super) fn total(&self) -> Duration {
        Duration::from_nanos(self.0.load(Ordering::Relaxed))
    }
}

// === impl Window ===

impl Window {
    fn new(widest: Duration) -> Self {
        Self { width: Duration::ZERO, widest }
    }

    /// A message came while the thread slept, so long after the one before: a wider window would have seen it, or even
    /// the widest would not.
    fn slept(&mut self, gap: Duration) {
        self.width = if gap <= self.widest { (self.width * 2).clamp(NARROWEST, self.widest) } else { self.width / 2 };
        if self.width < NARROWEST {
            self.width = Duration::ZERO;
        }
    }
}

/// Keeps the thread's runtime, which must have no other thread, from sleeping while messages that [`beat`] on it follow each
/// other within `widest`. Never ends. To yield lets the runtime ask the kernel for events without waiting.
pub(super) async fn look_again(widest: Duration, looked: Looked) {
    let pulse = OWN.with(|own| own.get_or_init(Pulse::default).clone());
    let mut window = Window::new(widest.max(NARROWEST));
    let mut last = Instant::now();
    loop {
        pulse.next().await;
        let now = Instant::now();
        window.slept(now - last);
        last = now;
        let mut then = now;
        while !window.width.is_zero() {
            tokio::task::yield_now().await;
            let now = Instant::now();
            if pulse.has_beaten() {
                last = now;
            } else if now - last > window.width {
                break;
            } else {
                looked.add(now - then);
            }
            then = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WIDEST: Duration = Duration::from_micros(50);

    fn micros(n: u64) -> Duration {
        Duration::from_micros(n)
    }

    #[test]
    fn close_messages_open_the_window_and_distant_ones_close_it() {
        let mut window = Window::new(WIDEST);
        for expected in [10, 20, 40, 50, 50] {
            window.slept(micros(45));
            assert_eq!(window.width, micros(expected));
        }
        for expected in [25_000, 12_500, 0, 0] {
            window.slept(micros(51));
            assert_eq!(window.width, Duration::from_nanos(expected));
        }
    }

    #[test]
    fn messages_far_apart_never_open_it() {
        let mut window = Window::new(WIDEST);
        for _ in 0..100 {
            window.slept(micros(51));
            assert!(window.width.is_zero());
        }
    }

    #[tokio::test]
    async fn silence_puts_it_back_to_sleep() {
        let looked = Looked::default();
        #[expect(clippy::disallowed_methods, reason = "a test owns its task")]
        let looking = tokio::spawn(look_again(WIDEST, looked.clone()));
        let asleep = || OWN.with(|own| own.get().is_some_and(|pulse| pulse.0.asleep.load(Ordering::Relaxed)));
        while !asleep() {
            tokio::task::yield_now().await;
        }
        // Beats one after the other open the window; then nothing comes.
        for _ in 0..100 {
            beat();
            tokio::task::yield_now().await;
        }
        let silent = async {
            while !asleep() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), silent).await.expect("it sleeps when nothing comes");
        looking.abort();
    }

    #[test]
    fn looks_in_vain_are_counted_and_work_is_not() {
        let looked = Looked::default();
        looked.add(micros(3));
        looked.add(micros(300));
        looked.add(micros(2));
        assert_eq!(looked.total(), micros(5));
    }

    #[tokio::test]
    async fn a_beat_wakes_who_sleeps_and_is_seen_once() {
        let pulse = Pulse::default();
        let waiting = pulse.next();
        let beat = async { pulse.beat() };
        tokio::join!(waiting, beat);
        assert!(!pulse.has_beaten());
        pulse.beat();
        pulse.beat();
        assert!(pulse.has_beaten());
        assert!(!pulse.has_beaten());
    }
}
