//! After a large step of the mesh, a first sync or a kept state, what its reading took goes back to the kernel.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::sys::memory;
use crate::xds::client::Keep;

/// Records that make a step large: their reading took some megabytes.
const MANY: usize = 8_192;
/// After that the last of its bytes has gone to the disk.
const REST: Duration = Keep::INTERVAL.saturating_add(Duration::from_secs(2));

/// Counts what comes in.
#[derive(Debug, Default)]
pub(super) struct Large {
    count: AtomicUsize,
    reached: Notify,
}

// === impl Large ===

impl Large {
    /// So many records came in.
    pub(super) fn grown(&self, by: usize) {
        if self.count.fetch_add(by, Ordering::Relaxed).saturating_add(by) >= MANY {
            self.reached.notify_one();
        }
    }

    /// Gives memory back until `stop`, once for all that came within [`REST`].
    pub(super) async fn run(&self, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.reached.notified() => {}
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(REST) => {}
            }
            self.count.store(0, Ordering::Relaxed);
            if tokio::task::spawn_blocking(memory::give_back).await.is_ok_and(|gave| gave) {
                tracing::debug!("memory that a large step of the mesh took went back to the kernel");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn only_much_is_large_and_it_rests_first() {
        let (large, stop) = (Large::default(), CancellationToken::new());
        large.grown(MANY - 1);
        let stopped = async {
            tokio::time::sleep(REST * 2).await;
            assert_eq!(large.count.load(Ordering::Relaxed), MANY - 1, "not large yet");
            large.grown(1);
            tokio::time::sleep(REST / 2).await;
            assert_eq!(large.count.load(Ordering::Relaxed), MANY, "it rests");
            tokio::time::sleep(REST).await;
            assert_eq!(large.count.load(Ordering::Relaxed), 0);
            stop.cancel();
        };
        tokio::join!(large.run(stop.clone()), stopped);
    }
}
