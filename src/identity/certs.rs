//! One task that keeps a certificate for each identity in use.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::access::PodCert;
use super::held::Held;
use super::rotate::{Lifetime, rotate};
use super::source::{CertSource, Issued, SourceError};
use crate::model::spiffe::Identity;
use crate::telemetry::cause::chain;
use crate::tls::{Credentials, CredentialsError, Trust};

pub use crate::tls::Clock;
/// Gives numbers in 0.0..1.0.
pub type Jitter = Arc<dyn Fn() -> f64 + Send + Sync>;

/// Settings of the manager.
#[derive(Clone)]
pub struct Config {
    pub clock: Clock,
    pub jitter: Jitter,
    /// Fetches at once, 8: a CA that signs in 10 ms serves 800 a second. Renewals use all but two of them, so a
    /// starting pod does not queue behind them.
    pub concurrency: usize,
    /// An answer that takes longer than this counts as a failure, 15 s.
    pub deadline: Duration,
    /// Hears of every attempt whether it brought a certificate. Must not wait.
    pub on_attempt: Arc<dyn Fn(bool) + Send + Sync>,
    /// Hears of every certificate that is found on a revocation list while it is in use. Must not wait.
    pub on_revoked: Arc<dyn Fn(&Identity) + Send + Sync>,
    /// What peers and our own certificates are held against beside the roots that come with each.
    pub trust: Trust,
}

/// Why an attempt at a certificate failed.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// What came was not usable: another identity, a chain that does not verify. The certificate source.
    #[error("the issued certificate is refused")]
    Credentials(#[source] CredentialsError),
    /// The fetch ended without an answer. Us.
    #[error("the fetch of the certificate was cut off")]
    Cut,
    /// No answer in time. The certificate source.
    #[error("the certificate source did not answer within {} s", deadline.as_secs())]
    Deadline { deadline: Duration },
    /// The source said no or was away.
    #[error("no certificate was issued")]
    Source(#[source] SourceError),
}

/// An identity's state, as its pods see it.
#[derive(Clone, Debug, Default)]
pub(super) struct Snapshot {
    pub(super) certificate: Option<Credentials>,
    /// Of the last attempt, when it failed.
    pub(super) error: Option<Arc<FetchError>>,
}

/// One identity, for metrics and the admin page.
#[derive(Clone, Debug)]
pub struct Report {
    pub identity: Identity,
    /// Pod handles that share it.
    pub references: usize,
    pub not_after: Option<SystemTime>,
    /// The first expiry among the roots that came with the certificate.
    pub roots_not_after: Option<SystemTime>,
    /// Failures since the last success.
    pub failures: u32,
    /// When the last attempt ended; [`None`] before the first.
    pub last_attempt: Option<SystemTime>,
    /// Why it failed; [`None`] when it succeeded.
    pub last_error: Option<Arc<FetchError>>,
}

struct Entry {
    failures: u32,
    fetching: bool,
    last_attempt: Option<SystemTime>,
    next: SystemTime,
    reference: std::sync::Weak<Reference>,
    /// From when the life of the current certificate is counted.
    since: SystemTime,
    values: watch::Sender<Snapshot>,
    waiting: Arc<AtomicUsize>,
}

struct Shared {
    clock: Clock,
    entries: Mutex<HashMap<Identity, Entry>>,
    wake: Notify,
}

/// Hands out certificates. Cheap to clone.
#[derive(Clone)]
pub struct Certs {
    shared: Arc<Shared>,
}

/// The task behind [`Certs`].
#[must_use = "certificates are fetched only while this runs"]
pub struct Manager<S> {
    config: Config,
    shared: Arc<Shared>,
    source: Arc<S>,
}

/// Held by every handle of an identity; the last one to go takes the certificate and its key with it.
pub(super) struct Reference {
    identity: Identity,
    shared: Arc<Shared>,
    waiting: Arc<AtomicUsize>,
}

/// A handle that waits, while this lives.
pub(super) struct Waiting<'a>(&'a AtomicUsize);

/// Longest sleep, 10 min: a wall clock that was set forward is noticed by then.
const MAX_SLEEP: Duration = Duration::from_secs(600);

// === impl Shared ===

impl Shared {
    fn lock(&self) -> MutexGuard<'_, HashMap<Identity, Entry>> {
        // Every change under the lock is a single assignment, so a panic elsewhere leaves nothing half done.
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Reference ===

impl Reference {
    pub(super) const fn identity(&self) -> &Identity {
        &self.identity
    }

    pub(super) fn now(&self) -> SystemTime {
        (self.shared.clock)()
    }

    pub(super) fn waiting(&self) -> Waiting<'_> {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        self.shared.wake.notify_one();
        Waiting(&self.waiting)
    }
}

impl Drop for Reference {
    fn drop(&mut self) {
        let mut entries = self.shared.lock();
        // A handle may have been taken between the count reaching zero and this lock; then the entry is that one's.
        if entries.get(&self.identity).is_some_and(|entry| entry.reference.strong_count() == 0) {
            entries.remove(&self.identity);
        }
    }
}

// === impl Waiting ===

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

// === impl Certs ===

impl Certs {
    /// A handle for a pod of `identity`; the first one starts the fetch.
    pub fn acquire(&self, identity: &Identity) -> PodCert {
        let mut entries = self.shared.lock();
        if let Some(entry) = entries.get_mut(identity) {
            let reference = entry.reference.upgrade().unwrap_or_else(|| {
                let reference = self.reference(identity, &entry.waiting);
                entry.reference = Arc::downgrade(&reference);
                reference
            });
            return PodCert { reference, values: entry.values.subscribe() };
        }
        let waiting = Arc::default();
        let reference = self.reference(identity, &waiting);
        let (values, receiver) = watch::channel(Snapshot::default());
        let entry = Entry {
            failures: 0,
            fetching: false,
            last_attempt: None,
            next: (self.shared.clock)(),
            since: (self.shared.clock)(),
            reference: Arc::downgrade(&reference),
            values,
            waiting,
        };
        entries.insert(identity.clone(), entry);
        drop(entries);
        self.shared.wake.notify_one();
        PodCert { reference, values: receiver }
    }

    /// Every identity that is kept now, in no order.
    pub fn report(&self) -> Vec<Report> {
        let entries = self.shared.lock();
        let report = |(identity, entry): (&Identity, &Entry)| {
            let value = entry.values.borrow();
            Report {
                identity: identity.clone(),
                references: entry.values.receiver_count(),
                not_after: value.certificate.as_ref().map(Credentials::not_after),
                roots_not_after: value.certificate.as_ref().and_then(Credentials::roots_not_after),
                failures: entry.failures,
                last_attempt: entry.last_attempt,
                last_error: value.error.clone(),
            }
        };
        entries.iter().map(report).collect()
    }

    /// The same with the certificates themselves, for a dump; by identity.
    pub fn held(&self) -> Vec<Held> {
        let now = (self.shared.clock)();
        let entries = self.shared.lock();
        let mut values: Vec<_> =
            entries.iter().map(|(identity, entry)| (identity.clone(), entry.values.borrow().clone())).collect();
        drop(entries);
        values.sort_by(|(one, _), (other, _)| one.cmp(other));
        values.into_iter().map(|(identity, value)| Held::of(identity, &value, now)).collect()
    }

    fn reference(&self, identity: &Identity, waiting: &Arc<AtomicUsize>) -> Arc<Reference> {
        let (identity, shared, waiting) = (identity.clone(), Arc::clone(&self.shared), Arc::clone(waiting));
        Arc::new(Reference { identity, shared, waiting })
    }
}

// === impl Config ===

impl Config {
    /// The system's clock and generator, 8 fetches at once, 15 s each.
    pub fn system() -> Self {
        Self {
            clock: Arc::new(SystemTime::now),
            jitter: Arc::new(crate::tls::random_unit),
            concurrency: 8,
            deadline: Duration::from_secs(15),
            on_attempt: Arc::new(|_| {}),
            on_revoked: Arc::new(|_| {}),
            trust: Trust::default(),
        }
    }
}

// === impl Manager ===

impl<S: CertSource> Manager<S> {
    /// Builds the manager and the handle on it; nothing runs yet.
    pub fn build(config: Config, source: S) -> (Certs, Self) {
        let shared = Shared { clock: Arc::clone(&config.clock), entries: Mutex::default(), wake: Notify::new() };
        let shared = Arc::new(shared);
        (Certs { shared: Arc::clone(&shared) }, Self { config, shared, source: Arc::new(source) })
    }

    /// Fetches and renews until `shutdown`. Fetches in flight are given up then; certificates stay with their handles.
    pub async fn run(self, shutdown: CancellationToken) {
        let mut fetches = JoinSet::new();
        let mut trusted = self.config.trust.changes();
        loop {
            let sleep = self.start_due(&mut fetches);
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = self.shared.wake.notified() => {}
                () = tokio::time::sleep(sleep) => {}
                Ok(()) = trusted.changed() => self.replace_revoked(),
                Some(done) = fetches.join_next() => match done {
                    Ok((identity, result)) => self.finish(&identity, result),
                    // A source that panicked: which identity it was for is lost with it, so all that no fetch
                    // is known for any more would be stuck. The fetch itself guards against that, see `fetch`.
                    Err(error) => tracing::error!(%error, "a certificate fetch ended abnormally"),
                },
            }
        }
    }

    /// Starts what is due as far as there is room, and says how long to sleep.
    fn start_due(&self, fetches: &mut JoinSet<(Identity, Result<Credentials, FetchError>)>) -> Duration {
        let now = (self.config.clock)();
        let mut entries = self.shared.lock();
        let mut due: Vec<_> = entries
            .iter()
            .filter(|(_, entry)| !entry.fetching && entry.next <= now)
            .map(|(identity, entry)| {
                let held = entry.values.borrow().certificate.as_ref().is_some_and(|c| c.not_after() > now);
                let waited_for = entry.waiting.load(Ordering::Relaxed) > 0;
                ((held, Reverse(waited_for), entry.next), identity.clone())
            })
            .collect();
        due.sort();
        for ((held, ..), identity) in due {
            let room = if held { self.config.concurrency.saturating_sub(2).max(1) } else { self.config.concurrency };
            if fetches.len() >= room {
                break;
            }
            if let Some(entry) = entries.get_mut(&identity) {
                entry.fetching = true;
                let Config { deadline, clock, trust, .. } = &self.config;
                fetches.spawn(fetch(Arc::clone(&self.source), identity, *deadline, Arc::clone(clock), trust.clone()));
            }
        }
        // What is due and did not fit starts when a fetch ends, not by the clock.
        let next = entries.values().filter(|entry| !entry.fetching && entry.next > now).map(|entry| entry.next).min();
        next.and_then(|at| at.duration_since(now).ok()).map_or(MAX_SLEEP, |wait| wait.min(MAX_SLEEP))
    }

    /// Asks at once for the successors of certificates that have been revoked. Peers refuse them, so they stay only until
    /// then; the successor of one whose CA is revoked is refused like any other that does not verify.
    fn replace_revoked(&self) {
        let now = (self.config.clock)();
        for (identity, entry) in &mut *self.shared.lock() {
            if entry.values.borrow().certificate.as_ref().is_some_and(Credentials::is_revoked) {
                tracing::error!(%identity, "the certificate of this node's own pods is revoked; asking for another");
                (self.config.on_revoked)(identity);
                entry.next = entry.next.min(now);
            }
        }
    }

    /// Takes a new certificate into use, or keeps the old one and plans the next attempt.
    fn finish(&self, identity: &Identity, result: Result<Credentials, FetchError>) {
        let now = (self.config.clock)();
        (self.config.on_attempt)(result.is_ok());
        let mut entries = self.shared.lock();
        // Nobody wants it any more: the result, with its key, is dropped.
        let Some(entry) = entries.get_mut(identity) else { return };
        entry.fetching = false;
        entry.last_attempt = Some(now);
        let mut value = entry.values.borrow().clone();
        match result {
            Ok(credentials) => {
                tracing::debug!(%identity, "certificate issued");
                entry.failures = 0;
                // CAs date leaves back for clocks that are late; half of the life is counted from when it came.
                entry.since = now.max(credentials.not_before());
                value = Snapshot { certificate: Some(credentials), error: None };
            }
            Err(error) => {
                let cause = chain(&error);
                tracing::warn!(%identity, cause, "no new certificate; the current one stays while it is valid");
                entry.failures = entry.failures.saturating_add(1);
                value.error = Some(Arc::new(error));
            }
        }
        let lifetime =
            value.certificate.as_ref().map(|c| Lifetime { not_before: entry.since, not_after: c.not_after() });
        entry.next = rotate(lifetime, now, entry.failures, (self.config.jitter)()).at;
        if entry.failures == 0 {
            // A CA that issues what is half spent already must not be asked in a loop.
            entry.next = entry.next.max(now + Duration::from_secs(1));
        }
        entry.values.send_replace(value);
    }
}

/// One attempt. The issued certificate is checked here, against its own roots and for this identity, before anybody
/// sees it; a source that panics counts as a failed attempt.
async fn fetch<S: CertSource>(
    source: Arc<S>,
    identity: Identity,
    deadline: Duration,
    clock: Clock,
    trust: Trust,
) -> (Identity, Result<Credentials, FetchError>) {
    let wanted = identity.clone();
    let mut attempt = JoinSet::new();
    attempt.spawn(async move { tokio::time::timeout(deadline, source.fetch(&wanted)).await });
    let issued: Result<Issued, FetchError> = match attempt.join_next().await {
        Some(Ok(Ok(answer))) => answer.map_err(FetchError::Source),
        Some(Ok(Err(_))) => Err(FetchError::Deadline { deadline }),
        Some(Err(_)) | None => Err(FetchError::Cut),
    };
    let build =
        |issued| Credentials::build_within(&trust, &issued, &identity, clock()).map_err(FetchError::Credentials);
    let checked = issued.and_then(build);
    (identity, checked)
}

#[cfg(test)]
mod tests;
