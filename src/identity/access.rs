//! What a pod's proxy holds: a way to its own certificate and to no other.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::watch;

use super::certs::{FetchError, Reference, Snapshot};
use crate::model::spiffe::Identity;
use crate::tls::Credentials;

/// A pod's handle on its certificate. The certificate is kept and renewed while one of these for its identity lives.
pub struct PodCert {
    pub(super) reference: Arc<Reference>,
    pub(super) values: watch::Receiver<Snapshot>,
}

/// Why a pod has no certificate now.
#[derive(Clone, Debug, thiserror::Error)]
pub enum AccessError {
    /// The last certificate has expired and no new one has come. The certificate source; see the source error.
    #[error("the certificate of {identity} has expired and could not be renewed: look at the certificate source")]
    Expired {
        identity: Identity,
        #[source]
        source: Option<Arc<FetchError>>,
    },
    /// No certificate has come yet. The certificate source; see the source error.
    #[error("there is no certificate for {identity} yet: look at the certificate source")]
    Missing {
        identity: Identity,
        #[source]
        source: Option<Arc<FetchError>>,
    },
}

// === impl PodCert ===

impl PodCert {
    pub fn identity(&self) -> &Identity {
        self.reference.identity()
    }

    /// The current certificate; never one that has expired.
    ///
    /// # Errors
    /// None yet, or expired, with the reason of the last failed attempt.
    pub fn certificate(&self) -> Result<Credentials, AccessError> {
        let now = self.reference.now();
        Self::of(&self.values.borrow(), self.identity(), now)
    }

    /// Waits for a valid certificate, at most for `limit`. A pod that waits goes before renewals.
    ///
    /// # Errors
    /// As [`Self::certificate`], when the limit has passed or the manager has ended.
    pub async fn wait(&self, limit: Duration) -> Result<Credentials, AccessError> {
        if let Ok(credentials) = self.certificate() {
            return Ok(credentials);
        }
        let _waiting = self.reference.waiting();
        let mut values = self.values.clone();
        let changed = values.wait_for(|value| Self::of(value, self.identity(), self.reference.now()).is_ok());
        // The outcome is read again below, so neither the limit nor a manager that ended needs a case of its own.
        drop(tokio::time::timeout(limit, changed).await);
        self.certificate()
    }

    /// Returns when another certificate than the one last seen through this handle is current, to swap an acceptor.
    /// Never returns after the manager has ended.
    pub async fn changed(&mut self) -> Credentials {
        loop {
            if self.values.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
            if let Some(credentials) = self.values.borrow_and_update().certificate.clone() {
                return credentials;
            }
        }
    }

    fn of(value: &Snapshot, identity: &Identity, now: SystemTime) -> Result<Credentials, AccessError> {
        match &value.certificate {
            Some(credentials) if credentials.not_after() > now => Ok(credentials.clone()),
            Some(_) => Err(AccessError::Expired { identity: identity.clone(), source: value.error.clone() }),
            None => Err(AccessError::Missing { identity: identity.clone(), source: value.error.clone() }),
        }
    }
}

impl Clone for PodCert {
    fn clone(&self) -> Self {
        Self { reference: Arc::clone(&self.reference), values: self.values.clone() }
    }
}
