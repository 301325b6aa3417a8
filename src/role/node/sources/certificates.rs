//! Certificates from the CA in this process, or from one on the network.

use std::path::Path;
use std::time::{Duration, SystemTime};

use tokio::sync::watch;

use super::remote::endpoint;
use crate::ca::Authority;
use crate::ca::reload::Reloader;
use crate::config::node::NodeSettings;
use crate::config::source::CertificateSource;
use crate::identity::ca_client::{self, CaClient};
use crate::identity::source::{CertSource, Issued, SourceError};
use crate::model::spiffe::Identity;
use crate::role::signer::Signer;
use crate::telemetry::metrics::Metrics;

/// Where certificates come from.
pub(in crate::role::node) enum Certificates {
    /// The CA whose directory this process reads.
    Embedded {
        authority: watch::Receiver<Authority>,
        ttl: Duration,
    },
    Service(CaClient),
}

// === impl Certificates ===

impl Certificates {
    /// The source, and what looks after it where it is in this process.
    pub(in crate::role::node) fn build(
        settings: &NodeSettings,
        metrics: &Metrics,
    ) -> anyhow::Result<(Self, Option<Signer>)> {
        match settings.certificate_source() {
            CertificateSource::Embedded(directory) => {
                let (source, signer) = Self::embedded(directory, settings, metrics)?;
                Ok((source, Some(signer)))
            }
            CertificateSource::Service(remote) => {
                let asked = ca_client::Settings { ttl: settings.leaf_ttl, ..ca_client::Settings::default() };
                Ok((Self::Service(CaClient::new(endpoint(&remote, "ca", &settings.named)?, asked)), None))
            }
        }
    }

    fn embedded(directory: &Path, settings: &NodeSettings, metrics: &Metrics) -> anyhow::Result<(Self, Signer)> {
        let (reloader, authority) = Reloader::open(directory, &settings.trust_domain)?;
        let signer = Signer { reloader, metrics: metrics.clone() };
        Ok((Self::Embedded { authority, ttl: settings.leaf_ttl }, signer))
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
