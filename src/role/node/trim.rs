//! After a burst of connections, the memory that it took goes back to the kernel.
//!
//! The allocator keeps what was freed, and does not say how much of it nobody will want. So it is asked to let go again and again:
//! often after connections have ended or memory has grown, and ever more seldom while that brings nothing.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::proxy::shared::Shared;
use crate::sys::{limits, memory};

/// How often connections and memory are looked at.
const LOOK: Duration = Duration::from_secs(1);
/// Looks between two times, at the least: a burst that has just ended may come again, and what it needs is not taken away at
/// once. Three of them are within the minute after which a burst is to be forgotten.
const SHORTEST: u32 = 15;
/// And at the most, four minutes.
const LONGEST: u32 = 240;
/// Fewer connections than this at their most are no burst.
const BURST: usize = 32;
/// Memory has grown when there is so much more of it, 2 MiB: less than a tenth of an idle daemon.
const GROWN: u64 = 2 << 20;

/// Decides when (pure).
#[derive(Debug)]
struct Tide {
    /// Most connections since they were fewer than half.
    highest: usize,
    /// Resident bytes when they were last told to have grown, or after memory went back.
    resident: u64,
    pause: u32,
    left: u32,
}

// === impl Tide ===

impl Tide {
    const fn new() -> Self {
        Self { highest: 0, resident: 0, pause: SHORTEST, left: SHORTEST }
    }

    /// A look; true when it is time.
    fn look(&mut self, live: usize, resident: u64) -> bool {
        let ebbed = self.highest >= BURST && live <= self.highest / 2;
        let grown = resident >= self.resident.saturating_add(GROWN);
        self.highest = if ebbed { live } else { self.highest.max(live) };
        if grown {
            self.resident = resident;
        }
        if ebbed || grown {
            self.pause = SHORTEST;
            self.left = self.left.min(SHORTEST);
        }
        self.left = self.left.saturating_sub(1);
        self.left == 0
    }

    /// What the last time has brought.
    fn went(&mut self, before: u64, after: u64) {
        let was_worth_it = before.saturating_sub(after) >= before / 32;
        self.pause = if was_worth_it { SHORTEST } else { (self.pause * 2).min(LONGEST) };
        (self.left, self.resident) = (self.pause, after);
    }
}

/// Looks until `stop`.
pub(super) async fn run(shared: Arc<Shared>, stop: CancellationToken) {
    let mut tide = Tide::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(LOOK) => {}
        }
        let live = shared.local.all().iter().map(|pod| pod.opened().len() + pod.arrived().len()).sum();
        let before = limits::resident();
        if !tide.look(live, before) {
            continue;
        }
        // Its own thread: it walks all of the memory. One that cannot be had is as good as nothing given.
        let _gave = tokio::task::spawn_blocking(memory::give_back).await.is_ok_and(|gave| gave);
        let after = limits::resident();
        tide.went(before, after);
        if let Some(bytes) = before.checked_sub(after).filter(|bytes| *bytes >= GROWN) {
            tracing::debug!(bytes, "memory that nobody uses went back to the kernel");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDLE: u64 = 20 << 20;

    /// The looks, counted from 1, at which it was time; each brought `gives` bytes.
    fn times(tide: &mut Tide, looks: u32, live: usize, resident: u64, gives: u64) -> Vec<u32> {
        let mut times = Vec::new();
        for look in 1..=looks {
            if tide.look(live, resident) {
                tide.went(resident, resident - gives);
                times.push(look);
            }
        }
        times
    }

    #[test]
    fn idle_is_looked_after_ever_more_seldom() {
        let mut tide = Tide::new();
        assert_eq!(times(&mut tide, 1000, 0, IDLE, 0), [15, 45, 105, 225, 465, 705, 945]);
    }

    #[test]
    fn the_end_of_a_burst_brings_it_back_thrice_within_a_minute() {
        let mut tide = Tide::new();
        times(&mut tide, 1000, 2000, IDLE * 5, 0);
        let after = times(&mut tide, 60, 0, IDLE * 5, IDLE);
        assert!(after.len() >= 3 && after[0] <= SHORTEST, "{after:?}");
    }

    #[test]
    fn memory_that_grows_without_connections_brings_it_back() {
        let mut tide = Tide::new();
        times(&mut tide, 1000, 10, IDLE, 0);
        assert_eq!(times(&mut tide, 20, 10, IDLE + GROWN, 0)[..1], [15]);
    }

    #[test]
    fn some_connections_that_end_are_nothing() {
        let mut tide = Tide::new();
        times(&mut tide, 480, BURST - 1, IDLE, 0);
        assert!(times(&mut tide, 200, 0, IDLE, 0).is_empty());
    }
}
