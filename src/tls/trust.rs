//! What all certificates of this process are held against, beside their own roots: other trust domains, revocation.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use rustls::RootCertStore;
use rustls::pki_types::{CertificateDer, UnixTime};
use tokio::sync::watch;

use super::crl::Lists;
use super::path::Path;
use crate::model::spiffe::Identity;

/// Wall clock: certificates carry wall time.
pub type Clock = Arc<dyn Fn() -> SystemTime + Send + Sync>;

/// The trust domains beside a certificate's own.
#[derive(Clone, Debug, Default)]
pub struct Domains {
    /// Other names of the own trust domain: the same roots, the same namespaces, the same accounts.
    pub aliases: Vec<Arc<str>>,
    /// Trust domains of others, each with a bundle of roots of its own (SPIFFE federation). Until its bundle has come,
    /// nobody of it is trusted.
    pub federated: Vec<Arc<str>>,
}

/// What is known of revoked certificates.
#[derive(Clone, Debug, Default)]
pub enum Revocation {
    /// No list: nothing is revoked.
    #[default]
    None,
    /// There is a list, and it cannot be read: who is revoked cannot be known, so nobody is let in.
    Unknown,
    Lists(Arc<Lists>),
}

/// Cheap to clone; all clones are one. What changes here counts for the next handshake of every certificate, and for
/// the connections that live.
#[derive(Clone)]
pub struct Trust(Arc<Inner>);

struct Inner {
    changes: watch::Sender<u64>,
    clock: Clock,
    domains: Domains,
    state: ArcSwap<State>,
}

#[derive(Clone, Default)]
struct State {
    bundles: HashMap<Arc<str>, Arc<RootCertStore>>,
    revocation: Revocation,
}

/// What a peer has proven, kept while its connection lives.
#[derive(Debug)]
pub struct Proof {
    pub(super) path: Path,
    /// The end of its certificates' or of ours, whichever is first.
    pub(super) expires: SystemTime,
}

/// A bundle without a certificate that can be a root. The fault of who wrote it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it holds no root certificate that can be used")]
pub struct NoRoots;

/// Longest sleep, 1 min: a wall clock that was set forward is noticed by then.
const MAX_SLEEP: Duration = Duration::from_secs(60);

// === impl Domains ===

impl Domains {
    /// A name of the trust domain that has the name `own`.
    pub fn is_ours(&self, own: &str, domain: &str) -> bool {
        domain == own || self.aliases.iter().any(|alias| **alias == *domain)
    }

    pub fn is_federated(&self, domain: &str) -> bool {
        self.federated.iter().any(|federated| **federated == *domain)
    }
}

// === impl Trust ===

impl Default for Trust {
    /// One trust domain and no lists, by the system's clock.
    fn default() -> Self {
        Self::new(Domains::default(), Arc::new(SystemTime::now))
    }
}

impl Trust {
    pub fn new(domains: Domains, clock: Clock) -> Self {
        let none = |domain: &Arc<str>| (Arc::clone(domain), Arc::new(RootCertStore::empty()));
        let state = State { bundles: domains.federated.iter().map(none).collect(), ..State::default() };
        let (changes, _) = watch::channel(0);
        Self(Arc::new(Inner { changes, clock, domains, state: ArcSwap::from_pointee(state) }))
    }

    /// Takes the roots of a federated trust domain, DER. Certificates that cannot be roots are left out.
    ///
    /// # Errors
    /// None of them can be one: the roots so far stay.
    pub fn set_bundle(&self, domain: &Arc<str>, roots: &[Vec<u8>]) -> Result<(), NoRoots> {
        let mut store = RootCertStore::empty();
        store.add_parsable_certificates(roots.iter().map(|der| CertificateDer::from(der.as_slice())));
        if store.is_empty() {
            return Err(NoRoots);
        }
        let store = Arc::new(store);
        self.change(|state| drop(state.bundles.insert(Arc::clone(domain), Arc::clone(&store))));
        Ok(())
    }

    pub fn set_revocation(&self, revocation: &Revocation) {
        self.change(|state| state.revocation = revocation.clone());
    }

    pub fn revocation(&self) -> Revocation {
        self.0.state.load().revocation.clone()
    }

    /// Moves at each change.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.0.changes.subscribe()
    }

    /// True for an identity of a federated trust domain: its namespaces and accounts are not those of this mesh, even
    /// where they have the same names.
    pub fn is_foreign(&self, identity: &Identity) -> bool {
        self.0.domains.is_federated(&identity.trust_domain)
    }

    /// The trust domains beside a certificate's own.
    pub fn domains(&self) -> &Domains {
        &self.0.domains
    }

    pub fn now(&self) -> SystemTime {
        (self.0.clock)()
    }

    /// True when a list that is in force names one of the peer's certificates.
    pub fn is_revoked(&self, proof: &Proof) -> bool {
        self.judge(&proof.path) == Verdict::Revoked
    }

    /// Returns when the peer's certificate is revoked. Nothing that changes between the handshake and this is missed.
    pub async fn revoked(&self, proof: &Proof) {
        let mut changes = self.changes();
        while !self.is_revoked(proof) {
            if changes.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Returns when the peer's certificate, or the one that was shown to it, has expired.
    pub async fn expired(&self, proof: &Proof) {
        while let Ok(left) = proof.expires.duration_since(self.now())
            && !left.is_zero()
        {
            tokio::time::sleep(left.min(MAX_SLEEP)).await;
        }
    }

    pub(super) fn judge(&self, path: &Path) -> Verdict {
        match &self.0.state.load().revocation {
            Revocation::None => Verdict::Good,
            Revocation::Unknown => Verdict::Unknown,
            Revocation::Lists(lists) if path.is_revoked(lists) => Verdict::Revoked,
            Revocation::Lists(_) => Verdict::Good,
        }
    }

    /// The roots that `domain` must chain to, for a certificate of `own` with its `roots`. A domain with a bundle chains
    /// to that and to nothing else, and ours never to a bundle. [`None`] for a domain that nothing was said of.
    pub(super) fn roots(&self, own: &str, roots: &Arc<RootCertStore>, domain: &str) -> Option<Arc<RootCertStore>> {
        if self.is_ours(own, domain) {
            return Some(Arc::clone(roots));
        }
        self.0.state.load().bundles.get(domain).cloned()
    }

    /// The same identity, or the same under another name of the own trust domain.
    pub(super) fn is_same(&self, own: &str, one: &Identity, other: &Identity) -> bool {
        let domains = one.trust_domain == other.trust_domain
            || (self.is_ours(own, &one.trust_domain) && self.is_ours(own, &other.trust_domain));
        domains && one.namespace == other.namespace && one.service_account == other.service_account
    }

    pub(super) fn version(&self) -> u64 {
        *self.0.changes.borrow()
    }

    pub(super) fn clock(&self) -> &Clock {
        &self.0.clock
    }

    fn is_ours(&self, own: &str, domain: &str) -> bool {
        self.0.domains.is_ours(own, domain)
    }

    fn change(&self, change: impl Fn(&mut State)) {
        self.0.state.rcu(|state| {
            let mut state = State::clone(state);
            change(&mut state);
            state
        });
        self.0.changes.send_modify(|version| *version += 1);
    }
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trust").field("domains", &self.0.domains).finish_non_exhaustive()
    }
}

impl rustls::time_provider::TimeProvider for Trust {
    fn current_time(&self) -> Option<UnixTime> {
        Some(unix(self.now()))
    }
}

/// What the lists say of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Not named, or of an issuer without a list.
    Good,
    Revoked,
    /// The lists cannot be read.
    Unknown,
}

/// The form that the TLS library takes; a clock before 1970 is 1970, and nothing is valid then.
pub(super) fn unix(now: SystemTime) -> UnixTime {
    UnixTime::since_unix_epoch(now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default())
}

#[cfg(test)]
mod tests;
