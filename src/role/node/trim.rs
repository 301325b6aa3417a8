//! After a burst of connections, the memory that it took goes back to the kernel.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::proxy::shared::Shared;
use crate::sys::memory;

/// How often the connections are counted.
const LOOK: Duration = Duration::from_secs(1);
/// Fewer than this at their most are no burst: some 5 MiB.
const BURST: usize = 500;
/// A burst that has just ended may come again: what it needs is not taken away at once.
const REST: u32 = 15;

/// Decides when (pure): after a burst of which less than half is left, once it has rested.
#[derive(Debug, Default)]
struct Tide {
    highest: usize,
    low_for: u32,
}

// === impl Tide ===

impl Tide {
    /// A look; true when it is time.
    fn look(&mut self, live: usize) -> bool {
        if live >= self.highest {
            *self = Self { highest: live, low_for: 0 };
            return false;
        }
        if self.highest < BURST || live > self.highest / 2 {
            self.low_for = 0;
            return false;
        }
        self.low_for += 1;
        if self.low_for < REST {
            return false;
        }
        *self = Self { highest: live, low_for: 0 };
        true
    }
}

/// Looks until `stop`.
pub(super) async fn run(shared: Arc<Shared>, stop: CancellationToken) {
    let mut tide = Tide::default();
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(LOOK) => {}
        }
        let live = shared.local.all().iter().map(|pod| pod.opened().len() + pod.arrived().len()).sum();
        if tide.look(live) && tokio::task::spawn_blocking(memory::give_back).await.is_ok_and(|gave| gave) {
            tracing::debug!("memory of a burst of connections went back to the kernel");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_burst_that_has_rested_gives_back() {
        let mut tide = Tide::default();
        let mut looks = |lives: &[usize]| lives.iter().filter(|live| tide.look(**live)).count();
        assert_eq!(looks(&[0, 100, 400, 0, 0]), 0);
        assert_eq!(looks(&[0; 30]), 0, "never a burst");
        assert_eq!(looks(&[5000, 4000, 3000]), 0);
        assert_eq!(looks(&[100; 14]), 0, "not yet");
        assert_eq!(looks(&[4000]), 0, "here again");
        assert_eq!(looks(&[100; 14]), 0);
        assert_eq!(looks(&[100; 40]), 1, "once");
        assert_eq!(looks(&[50; 40]), 0);
    }
}
