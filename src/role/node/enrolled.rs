//! One enrolled pod as the plane holds it: what was laid, what it is verified by.

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::older;
use super::pairs::{Judged, Pairs, is_other};
use super::plane::PlaneError;
use super::redirection::{Laying, Redirection};
use super::takeover::Stand;
use crate::dns::PodDns;
use crate::enroll::manager::Verified;
use crate::enroll::pairing::Pairing;
use crate::proxy::pod::PodProxy;
use crate::redirect::{Claim, Target, Uncarried};
use crate::telemetry::metrics::{Metrics, table};

/// A pod with its rules laid and verified and its proxy accepting.
pub struct Enrolled {
    pub proxy: Arc<PodProxy>,
    dns: Option<Arc<PodDns>>,
    stand: Arc<Stand>,
    laying: Laying,
    claim: Claim,
    /// Its redirects are out: verification must not lay them again.
    released: AtomicBool,
    /// It is not the pod that it was enrolled as: nothing has time for last words.
    mispaired: AtomicBool,
    /// The mesh's record by which the namespace was proven to be the pod's; empty when it was not yet.
    proven_by: Mutex<Vec<IpAddr>>,
    /// Cookies of the connections that were there before, as far as they still are.
    older: Mutex<HashSet<u64>>,
    older_count: AtomicUsize,
}

// === impl Enrolled ===

impl Enrolled {
    pub(super) fn new(
        proxy: Arc<PodProxy>,
        dns: Option<Arc<PodDns>>,
        stand: Arc<Stand>,
        claim: Claim,
        laying: Laying,
        proven_by: Vec<IpAddr>,
        older: HashSet<u64>,
    ) -> Self {
        if let Some(dns) = &dns {
            let dns = Arc::downgrade(dns);
            proxy.look_up_by(move || dns.upgrade()?.server());
        }
        Self {
            proxy,
            dns,
            stand,
            laying,
            claim,
            released: AtomicBool::new(false),
            mispaired: AtomicBool::new(false),
            proven_by: Mutex::new(proven_by),
            older_count: AtomicUsize::new(older.len()),
            older: Mutex::new(older),
        }
    }

    pub(super) const fn dns(&self) -> Option<&Arc<PodDns>> {
        self.dns.as_ref()
    }

    /// The next process looks after it.
    pub(super) fn is_lent(&self) -> bool {
        self.stand.is_lent()
    }

    /// Lays anew what differs from what was laid; true when something did.
    pub(super) fn mend(&self, redirection: &Redirection) -> Result<bool, PlaneError> {
        let resumed = self.released.swap(false, Ordering::Relaxed);
        let (netns, addresses) = (self.proxy.netns(), self.proxy.addresses());
        redirection.mend(Target { claim: &self.claim, netns, pod: &addresses }, &self.laying, |difference| {
            if !resumed {
                tracing::warn!(pod = %self.proxy.pod().key, %difference, "the pod's rules were changed; laying them again");
            }
        })
    }

    /// Lets new connections go their own way.
    pub(super) fn release(&self, redirection: &Redirection) -> Result<(), PlaneError> {
        self.released.store(true, Ordering::Relaxed);
        redirection.release(self.proxy.netns())
    }

    /// It was found to be another pod than it was enrolled as.
    pub(super) fn is_mispaired(&self) -> bool {
        self.mispaired.load(Ordering::Relaxed)
    }

    /// Looks at an announced pod with the addresses that are inside now. What has to be done when it is not the pod that
    /// was enrolled.
    pub(super) fn look_again(&self, pairs: &Pairs, inside: Vec<IpAddr>) -> Option<Verified> {
        let pod = self.proxy.pod();
        let mut proven_by = self.proven_by.lock().unwrap_or_else(PoisonError::into_inner);
        let Judged { addresses, pairing, record } = pairs.judge(pod, &inside, &proven_by);
        if pairing == Pairing::Foreign {
            tracing::error!(
                pod = %pod.key, namespace = %self.proxy.netns().path().display(), ?addresses, expected = ?record.addresses,
                "the node agent paired the pod with a network namespace that holds none of its addresses: it is another pod's, and is withdrawn"
            );
            self.mispaired.store(true, Ordering::Relaxed);
            return Some(Verified::Mispaired);
        }
        let of = &self.proxy.identity().trust_domain;
        if is_other(&record, of) {
            tracing::warn!(
                pod = %pod.key, enrolled = %of, mesh = %record.trust_domain,
                "the mesh gives the pod another trust domain: set the daemon's to the mesh's, so that no pod is enrolled twice"
            );
            return Some(Verified::Replaced);
        }
        if pairing == Pairing::Proven {
            *proven_by = record.addresses;
        }
        // A namespace whose network is being taken down keeps what it had: nothing comes to it any more.
        if !addresses.is_empty() && *self.proxy.addresses() != addresses {
            tracing::info!(pod = %pod.key, ?addresses, "the pod's namespace has other addresses");
            self.proxy.readdress(addresses);
        }
        None
    }

    /// Counts what goes past the mesh in this pod.
    pub(super) fn count(&self, metrics: &Metrics, redirection: &Redirection) -> Result<(), PlaneError> {
        self.recount_older()?;
        self.publish(metrics, redirection.uncarried(self.proxy.netns())?);
        Ok(())
    }

    fn publish(&self, metrics: &Metrics, uncarried: Option<Uncarried>) {
        let key = &self.proxy.pod().key;
        let (namespace, pod) = (&*key.namespace, &*key.name);
        metrics.counter(table::POD_HELD_BACK, [namespace, pod]).raise_to(self.proxy.times_held_back());
        let Some(uncarried) = uncarried else { return };
        for (protocol, direction, count) in [
            ("other", "in", uncarried.other_in),
            ("other", "out", uncarried.other_out),
            ("sctp", "in", uncarried.sctp_in),
            ("sctp", "out", uncarried.sctp_out),
            ("udp", "in", uncarried.udp_in),
            ("udp", "out", uncarried.udp_out),
        ] {
            let labels = [namespace, pod, protocol, direction];
            metrics.counter(table::POD_UNCARRIED_PACKETS, labels).raise_to(count.packets);
        }
        let older = i64::try_from(self.older_connections()).unwrap_or(i64::MAX);
        metrics.gauge(table::POD_OLDER_CONNECTIONS, [namespace, pod]).set(older);
    }

    /// Connections that are older than the enrolment and still live: they are not carried.
    pub fn older_connections(&self) -> usize {
        self.older_count.load(Ordering::Relaxed)
    }

    fn recount_older(&self) -> Result<(), PlaneError> {
        let mut older = self.older.lock().unwrap_or_else(PoisonError::into_inner);
        if !older.is_empty() {
            let live: HashSet<_> = older::connections(self.proxy.netns())?.iter().map(|c| c.cookie).collect();
            older.retain(|cookie| live.contains(cookie));
            self.older_count.store(older.len(), Ordering::Relaxed);
        }
        Ok(())
    }
}
