//! Certificates from the CA in this process, or from one on the network.

use std::path::Path;
use std::time::{Duration, SystemTime};

use tokio::sync::watch;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::remote::endpoint;
use crate::ca::Authority;
use crate::ca::reload::{Look, Reloader};
use crate::config::node::NodeSettings;
use crate::config::source::CertificateSource;
use crate::identity::ca_client::{self, CaClient};
use crate::identity::source::{CertSource, Issued, SourceError};
use crate::model::spiffe::Identity;
use crate::telemetry::cause::chain;
use crate::telemetry::metrics::{Metrics, table};

/// Where certificates come from.
pub(in crate::role::node) enum Certificates {
    /// The CA whose directory this process reads.
    Embedded {
        authority: watch::Receiver<Authority>,
        ttl: Duration,
    },
    Service(CaClient),
}

/// Looks at the directory of the CA in this process.
pub(in crate::role::node) struct Renewal {
    reloader: Reloader,
    metrics: Metrics,
}

/// Between two looks; a change counts when two of them agree, so it is in force within some 4 s.
const LOOK: Duration = Duration::from_secs(2);

// === impl Certificates ===

impl Certificates {
    /// The source, and what looks after it where it is in this process.
    pub(in crate::role::node) fn build(
        settings: &NodeSettings,
        metrics: &Metrics,
    ) -> anyhow::Result<(Self, Option<Renewal>)> {
        match settings.certificate_source() {
            CertificateSource::Embedded(directory) => {
                let (source, renewal) = Self::embedded(directory, settings, metrics)?;
                Ok((source, Some(renewal)))
            }
            CertificateSource::Service(remote) => {
                let asked = ca_client::Settings { ttl: settings.leaf_ttl, ..ca_client::Settings::default() };
                Ok((Self::Service(CaClient::new(endpoint(&remote, "ca-address")?, asked)), None))
            }
        }
    }

    fn embedded(directory: &Path, settings: &NodeSettings, metrics: &Metrics) -> anyhow::Result<(Self, Renewal)> {
        let (reloader, authority) = Reloader::open(directory, &settings.trust_domain)?;
        let renewal = Renewal { reloader, metrics: metrics.clone() };
        Ok((Self::Embedded { authority, ttl: settings.leaf_ttl }, renewal))
    }
}

impl CertSource for Certificates {
    async fn fetch(&self, identity: &Identity) -> Result<Issued, SourceError> {
        let (authority, ttl) = match self {
            Self::Service(client) => return client.fetch(identity).await,
            Self::Embedded { authority, ttl } => (authority.borrow().clone(), *ttl),
        };
        let identity = identity.clone();
        // A signature takes a fraction of a millisecond, and an RSA signer ten.
        let issued = tokio::task::spawn_blocking(move || authority.issue(&identity, ttl, SystemTime::now()));
        match issued.await {
            Ok(issued) => issued.map_err(|error| SourceError::Refused(Box::new(error))),
            Err(error) => Err(SourceError::Unavailable(Box::new(error))),
        }
    }
}

// === impl Renewal ===

impl Renewal {
    /// Looks until `stop`. New certificates are signed by what the directory has by then.
    pub(in crate::role::node) async fn run(mut self, stop: CancellationToken) {
        let mut tick = tokio::time::interval(LOOK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = tick.tick() => {}
            }
            // A disk may make us wait; the other tasks of this worker go on.
            tokio::task::block_in_place(|| self.look());
        }
    }

    fn look(&mut self) {
        let count = |result| self.metrics.counter(table::CA_RELOADS, ["ca", result]).increment();
        match self.reloader.look(SystemTime::now()) {
            Look::Same => {}
            Look::Taken { foreign } => {
                count("taken");
                tracing::info!(foreign, "the CA's directory has changed: its signer and roots are in use");
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
