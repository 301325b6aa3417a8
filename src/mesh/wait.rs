//! Waiting for the mesh to hold something, for a bounded time.

use std::sync::Arc;
use std::time::Duration;

use super::{Reader, View};

// === impl Reader ===

impl Reader {
    /// Waits, for at most `limit`, until `holds` says yes of the mesh, and answers the newest view either way: the
    /// caller looks at it and decides. Workloads and policies come on different streams, so that a name can be there a
    /// moment before what it names.
    pub async fn wait_for(&self, limit: Duration, holds: impl Fn(&View) -> bool) -> Arc<View> {
        // Before the first look, so that no change falls between the two.
        let mut changes = self.changes();
        let held = async {
            loop {
                let view = self.view();
                // Nobody writes any more: what is there is all that will ever be.
                if holds(&view) || changes.changed().await.is_err() {
                    return;
                }
            }
        };
        // Late or not, the answer is the newest view.
        drop(tokio::time::timeout(limit, held).await);
        self.view()
    }
}
