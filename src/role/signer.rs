//! The CA's directory, looked at while a process runs that signs with it.

use std::time::{Duration, SystemTime};

use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::ca::reload::{Look, Reloader};
use crate::telemetry::cause::chain;
use crate::telemetry::metrics::{Metrics, table};

/// Between two looks at files; a change counts when two of them agree, so it is in force within some 4 s.
const LOOK: Duration = Duration::from_secs(2);

/// The directory, with who counts its changes.
pub(super) struct Signer {
    pub(super) reloader: Reloader,
    pub(super) metrics: Metrics,
}

/// Looks at files until `stop`.
pub(super) async fn looking(stop: CancellationToken, mut look: impl FnMut()) {
    let mut looks = interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = looks.tick() => {}
        }
        // A disk may make us wait; the other tasks of this worker go on.
        tokio::task::block_in_place(&mut look);
    }
}

// === impl Signer ===

impl Signer {
    /// Looks until `stop`. New certificates are signed by what the directory has by then.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        looking(stop, || self.look()).await;
    }

    /// One look. Blocks for as long as the disk does.
    pub(super) fn look(&mut self) {
        let count = |result| self.metrics.counter(table::CA_RELOADS, ["ca", result]).increment();
        match self.reloader.look(SystemTime::now()) {
            Look::Same => {}
            Look::Taken { foreign } => {
                count("taken");
                tracing::info!("the CA's directory has changed: its signer and roots are in use");
                if foreign {
                    tracing::warn!(
                        "the new signer leads to a root that was not in use before: peers refuse its certificates \
                         until they have renewed their own. Next time add the root first, and the signer a leaf's life later"
                    );
                }
            }
            Look::Refused(error) => {
                count("refused");
                tracing::error!(
                    error = chain(&error),
                    "the CA's directory has changed and is not taken; the old signer stays"
                );
            }
        }
    }
}
