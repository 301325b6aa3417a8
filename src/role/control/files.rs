//! The CA's directory and the file of tokens, looked at while the process runs.

use std::time::{Duration, SystemTime};

use tokio_util::sync::CancellationToken;

use crate::ca::authenticate::{self, TokenFile};
use crate::ca::reload::{self, Reloader};
use crate::telemetry::cause::chain;
use crate::telemetry::metrics::{Metrics, table};

/// Between two looks; a change counts when two of them agree, so it is in force within some 4 s.
const LOOK: Duration = Duration::from_secs(2);

/// Both, with who counts their changes.
pub(super) struct Files {
    pub(super) reloader: Reloader,
    pub(super) tokens: TokenFile,
    pub(super) metrics: Metrics,
}

// === impl Files ===

impl Files {
    /// Looks until `stop`.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        let mut tick = tokio::time::interval(LOOK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = tick.tick() => {}
            }
            // A disk may make us wait; the other tasks of this worker go on.
            tokio::task::block_in_place(|| self.look(SystemTime::now()));
        }
    }

    fn look(&mut self, now: SystemTime) {
        let count = |what, result| self.metrics.counter(table::CA_RELOADS, [what, result]).increment();
        match self.reloader.look(now) {
            reload::Look::Same => {}
            reload::Look::Taken { foreign } => {
                count("ca", "taken");
                tracing::info!("the CA's directory has changed: its signer and roots are in use");
                if foreign {
                    tracing::warn!(
                        "the new signer leads to a root that was not in use before: peers refuse its certificates \
                         until they have renewed their own. Next time add the root first, and the signer a leaf's life later"
                    );
                }
            }
            reload::Look::Refused(error) => {
                count("ca", "refused");
                tracing::error!(
                    error = chain(&error),
                    "the CA's directory has changed and is not taken; the old signer stays"
                );
            }
        }
        match self.tokens.look() {
            authenticate::Look::Same => {}
            authenticate::Look::Taken { callers } => {
                count("tokens", "taken");
                tracing::info!(callers, "the tokens have changed");
            }
            authenticate::Look::Refused(error) => {
                count("tokens", "refused");
                tracing::error!(
                    error = chain(&error),
                    "the file of tokens has changed and is not taken; the old tokens stay"
                );
            }
        }
    }
}
