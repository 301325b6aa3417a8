//! The CA's directory and the file of tokens, looked at while the process runs.

use tokio_util::sync::CancellationToken;

use crate::ca::authenticate::{Look, TokenFile};
use crate::role::signer::{Signer, looking};
use crate::telemetry::cause::chain;
use crate::telemetry::metrics::table;

/// Both.
pub(super) struct Files {
    pub(super) signer: Signer,
    pub(super) tokens: TokenFile,
}

// === impl Files ===

impl Files {
    /// Looks until `stop`.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        looking(stop, || {
            self.signer.look();
            self.look();
        })
        .await;
    }

    fn look(&mut self) {
        let count = |result| self.signer.metrics.counter(table::CA_RELOADS, ["tokens", result]).increment();
        match self.tokens.look() {
            Look::Same => {}
            Look::Taken { callers: 0 } => {
                count("taken");
                tracing::warn!("the file of tokens has none any more: every caller is refused, and all streams end");
            }
            Look::Taken { callers } => {
                count("taken");
                tracing::info!(callers, "the tokens have changed");
            }
            Look::Refused(error) => {
                count("refused");
                tracing::error!(
                    error = chain(&error),
                    "the file of tokens has changed and is not taken; the old tokens stay"
                );
            }
        }
    }
}
