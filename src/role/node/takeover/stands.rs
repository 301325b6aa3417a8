//! What this process serves and could give to the next one.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio_util::sync::CancellationToken;

use crate::dns::PodDns;
use crate::proxy::pod::PodProxy;
use crate::sys::netns::NetnsId;

/// One enrolled pod, where its sockets are found.
#[derive(Debug)]
pub struct Stand {
    uid: Arc<str>,
    netns: NetnsId,
    proxy: Weak<PodProxy>,
    dns: Weak<PodDns>,
    /// The next process has its sockets too and looks after its rules.
    lent: AtomicBool,
}

/// The enrolled pods. Empty for good once the next process has taken over.
#[derive(Debug, Default)]
pub struct Stands {
    held: Mutex<HashMap<Arc<str>, Weak<Stand>>>,
    retired: CancellationToken,
}

/// In the place of a pod's uid: the listener for tunnels to the daemon itself.
pub const OWN: &str = "culvert";

// === impl Stand ===

impl Stand {
    pub fn new(proxy: &Arc<PodProxy>, dns: Option<&Arc<PodDns>>) -> Self {
        Self {
            uid: Arc::clone(&proxy.pod().uid),
            netns: proxy.netns().id(),
            proxy: Arc::downgrade(proxy),
            dns: dns.map_or_else(Weak::new, Arc::downgrade),
            lent: AtomicBool::new(false),
        }
    }

    /// Of the daemon's own listener, which the next process asks for as [`OWN`]: it is another pod by name.
    pub fn of_daemon(proxy: &Arc<PodProxy>) -> Self {
        Self { uid: OWN.into(), ..Self::new(proxy, None) }
    }

    /// Another process looks after it.
    pub fn is_lent(&self) -> bool {
        self.lent.load(Ordering::Relaxed)
    }

    /// Duplicates of its sockets.
    fn sockets(&self) -> Vec<OwnedFd> {
        let Some(proxy) = self.proxy.upgrade().filter(|proxy| !proxy.is_closing()) else { return Vec::new() };
        let dns = self.dns.upgrade();
        let doors = proxy.doors().iter().chain(dns.iter().flat_map(|dns| dns.doors()));
        doors.filter_map(|door| door.duplicate()).collect()
    }

    /// Stops to accept and leaves what is live.
    pub async fn retire(&self) {
        let (proxy, dns) = (self.proxy.upgrade(), self.dns.upgrade());
        if let Some(dns) = dns {
            dns.retire().await;
        }
        if let Some(proxy) = proxy {
            proxy.retire().await;
        }
    }
}

// === impl Stands ===

impl Stands {
    /// Notes an enrolled pod; false when this process no longer enrols any.
    #[must_use]
    pub fn add(&self, stand: &Arc<Stand>) -> bool {
        let mut held = self.lock();
        held.retain(|_, held| held.strong_count() > 0);
        if self.retired.is_cancelled() {
            return false;
        }
        held.insert(Arc::clone(&stand.uid), Arc::downgrade(stand));
        true
    }

    /// Duplicates of the sockets of the pod, when it is served here in that very namespace. It is lent from now on.
    pub fn lend(&self, uid: &str, netns: NetnsId) -> Vec<OwnedFd> {
        let stand = self.lock().get(uid).and_then(Weak::upgrade).filter(|stand| stand.netns == netns);
        let Some(stand) = stand else { return Vec::new() };
        let sockets = stand.sockets();
        stand.lent.store(!sockets.is_empty(), Ordering::Relaxed);
        sockets
    }

    /// The borrower is gone: this process looks after all of them again.
    pub fn back(&self) {
        self.all().iter().for_each(|stand| stand.lent.store(false, Ordering::Relaxed));
    }

    /// Enrols nothing more; those that the next process serves, and how many it does not have. These are served on: nobody
    /// else would.
    pub fn retire(&self) -> (Vec<Arc<Stand>>, usize) {
        self.retired.cancel();
        let mut all = self.all();
        let served = all.len();
        all.retain(|stand| stand.is_lent());
        let kept = served - all.len();
        (all, kept)
    }

    /// Cancelled when the next process has taken over.
    pub fn retired(&self) -> &CancellationToken {
        &self.retired
    }

    fn all(&self) -> Vec<Arc<Stand>> {
        self.lock().values().filter_map(Weak::upgrade).collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Arc<str>, Weak<Stand>>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_lent_is_retired() {
        let stand = |uid: &str, lent| {
            let netns = NetnsId { device: 1, inode: 2 };
            let (proxy, dns) = (Weak::new(), Weak::new());
            Arc::new(Stand { uid: uid.into(), netns, proxy, dns, lent: AtomicBool::new(lent) })
        };
        let (stands, lent, kept) = (Stands::default(), stand("lent", true), stand("kept", false));
        assert!(stands.add(&lent) && stands.add(&kept));
        let (retired, left) = stands.retire();
        assert_eq!((retired.len(), left), (1, 1));
        assert!(Arc::ptr_eq(&retired[0], &lent));
        assert!(!stands.add(&stand("late", false)), "nothing more is enrolled");
    }
}
