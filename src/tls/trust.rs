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
use super::roots::TrustedRoots;
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
    bundles: HashMap<Arc<str>, Bundle>,
    revocation: Revocation,
}

/// The roots of a federated trust domain.
#[derive(Clone)]
struct Bundle {
    ders: Arc<[Vec<u8>]>,
    /// Those that can be anchors now.
    roots: Arc<RootCertStore>,
    /// When the first of those ends; then the bundle is read again.
    first_end: Option<SystemTime>,
    /// With those that have expired since: a live connection ends with its certificate, or when its root is taken out.
    all: Arc<RootCertStore>,
}

/// What a peer has proven, kept while its connection lives.
#[derive(Debug)]
pub struct Proof {
    pub(super) path: Path,
    /// The end of its certificates' or of ours, whichever is first.
    pub(super) expires: SystemTime,
    /// The peer's trust domain, where that has a bundle of its own.
    pub(super) federated: Option<Arc<str>>,
}

/// A bundle without a certificate that can be a root now. The fault of who wrote it, or the clock.
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
        let none = |domain: &Arc<str>| (Arc::clone(domain), Bundle::of([].into(), clock()));
        let state = State { bundles: domains.federated.iter().map(none).collect(), ..State::default() };
        let (changes, _) = watch::channel(0);
        Self(Arc::new(Inner { changes, clock, domains, state: ArcSwap::from_pointee(state) }))
    }

    /// Takes the roots of a federated trust domain, DER. Certificates that cannot be roots are left out, and so are those
    /// that have expired, now or later. Connections whose root is none of them any more end.
    ///
    /// # Errors
    /// None of them can be one: the roots so far stay.
    pub fn set_bundle(&self, domain: &Arc<str>, roots: &[Vec<u8>]) -> Result<(), NoRoots> {
        let bundle = Bundle::of(roots.into(), self.now());
        if bundle.roots.is_empty() {
            return Err(NoRoots);
        }
        self.change(|state| drop(state.bundles.insert(Arc::clone(domain), bundle.clone())));
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

    /// True when a list that is in force names one of the peer's certificates, or the root of a federated one is no longer in
    /// its domain's bundle.
    pub fn is_revoked(&self, proof: &Proof) -> bool {
        let state = self.0.state.load();
        let bundle = proof.federated.as_ref().and_then(|domain| state.bundles.get(domain));
        self.judge(&proof.path) == Verdict::Revoked
            || bundle.is_some_and(|bundle| !proof.path.is_under(&bundle.all.roots))
    }

    /// Returns when the peer's certificate is revoked, or its root taken out. Nothing that changes between the handshake and this is missed.
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
        let state = self.0.state.load();
        let bundle = state.bundles.get(domain)?;
        let now = self.now();
        if bundle.first_end.is_none_or(|end| now < end) {
            return Some(Arc::clone(&bundle.roots));
        }
        let again = Bundle::of(Arc::clone(&bundle.ders), now);
        self.change(|state| {
            // Not a newer one.
            if let Some(held) = state.bundles.get_mut(domain).filter(|held| Arc::ptr_eq(&held.ders, &again.ders)) {
                *held = again.clone();
            }
        });
        Some(again.roots)
    }

    /// The trust domain of `peer`, where it is not one of ours and has a bundle of its own.
    pub(super) fn federated(&self, own: &str, peer: &Identity) -> Option<Arc<str>> {
        (!self.is_ours(own, &peer.trust_domain) && self.is_foreign(peer)).then(|| Arc::clone(&peer.trust_domain))
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

// === impl Bundle ===

impl Bundle {
    fn of(ders: Arc<[Vec<u8>]>, now: SystemTime) -> Self {
        let mut all = RootCertStore::empty();
        all.add_parsable_certificates(ders.iter().map(|der| CertificateDer::from(der.as_slice())));
        let (roots, first_end) = match TrustedRoots::of(&ders, now) {
            Ok(roots) => (roots.store(), Some(roots.first_end())),
            Err(_) => (Arc::new(RootCertStore::empty()), None),
        };
        Self { ders, roots, first_end, all: Arc::new(all) }
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
