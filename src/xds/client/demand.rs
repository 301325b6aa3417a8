//! Who waits for which resource. Pure.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use tokio::time::Instant;

use crate::model::name::NamespacedName;
use crate::xds::convert::name;

/// Names that are asked for at a time. More is what a scan looks like, and is turned away.
pub(super) const MAX_KEYS: usize = 1024;
/// Who wait at a time, over all names.
pub(super) const MAX_WAITERS: usize = 16_384;
/// Bytes of a name: a host name has at most 253, a namespace 63.
const LONGEST: usize = 512;

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key(Arc<str>);

/// What became of a demand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It is in the mesh now.
    Found,
    /// The control plane knows nothing of that name.
    Missing,
    /// The control plane sent it and it could not be taken; the log says why. To be treated as a refusal and not as
    /// missing.
    Refused,
}

/// Tickets of those who wait, by key.
#[derive(Debug)]
pub(super) struct Book<T> {
    pending: HashMap<Arc<str>, Vec<(Instant, T)>>,
    waiters: usize,
    /// No later than the first deadline.
    next: Option<Instant>,
}

// === impl Key ===

impl Key {
    /// The workload or service at an address of a network: `<network>/<ip>`. `None` when a name is longer than any.
    pub fn address(network: &str, ip: IpAddr) -> Option<Self> {
        Self::bounded(&name::of_address(network, ip))
    }

    /// The workload with a uid.
    pub fn uid(uid: &str) -> Option<Self> {
        Self::bounded(uid)
    }

    /// The service with a host name: `<namespace>/<hostname>`.
    pub fn service(key: &NamespacedName) -> Option<Self> {
        Self::bounded(&key.to_string())
    }

    /// The service that a pod of the namespace `caller` means by a host name, for DNS. `<service>.<namespace>.svc.<domain>`
    /// says its namespace. Any other name is looked for in the caller's own: the protocol has no way to ask for a host
    /// of an unknown namespace.
    pub fn host(hostname: &str, domain: &str, caller: &str) -> Option<Self> {
        let hostname = hostname.trim_end_matches('.').to_ascii_lowercase();
        let inner = hostname.strip_suffix(domain).and_then(|rest| rest.strip_suffix(".svc."));
        let namespace = match inner {
            Some(inner) => inner.rsplit_once('.')?.1,
            None => caller,
        };
        let fits = !namespace.is_empty() && !hostname.is_empty() && !hostname.contains('/');
        fits.then(|| format!("{namespace}/{hostname}")).and_then(|key| Self::bounded(&key))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(super) fn shared(&self) -> Arc<str> {
        Arc::clone(&self.0)
    }

    fn bounded(text: &str) -> Option<Self> {
        // `*` is every resource there is.
        (!text.is_empty() && text != "*" && text.len() <= LONGEST).then(|| Self(text.into()))
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

// === impl Book ===

impl<T> Book<T> {
    pub(super) fn new() -> Self {
        Self { pending: HashMap::new(), waiters: 0, next: None }
    }

    /// Notes a ticket. Answers whether it is the first for its key, so that the key must be asked for.
    ///
    /// # Errors
    /// The ticket, when too many wait.
    pub(super) fn add(&mut self, key: &Key, deadline: Instant, ticket: T) -> Result<bool, T> {
        let first = !self.pending.contains_key(&*key.0);
        if self.waiters >= MAX_WAITERS || (first && self.pending.len() >= MAX_KEYS) {
            return Err(ticket);
        }
        self.pending.entry(key.shared()).or_default().push((deadline, ticket));
        self.waiters += 1;
        self.next = Some(self.next.map_or(deadline, |next| next.min(deadline)));
        Ok(first)
    }

    /// The tickets of everyone who waits for a key.
    pub(super) fn answer(&mut self, key: &str) -> impl Iterator<Item = T> + use<T> {
        let tickets = self.pending.remove(key).unwrap_or_default();
        self.waiters -= tickets.len();
        tickets.into_iter().map(|(_, ticket)| ticket)
    }

    /// The tickets whose deadline has come, and the keys for which nobody waits any more.
    pub(super) fn expire(&mut self, now: Instant) -> (Vec<T>, Vec<Arc<str>>) {
        let (mut tickets, mut keys) = (Vec::new(), Vec::new());
        if self.next.is_none_or(|next| next > now) {
            return (tickets, keys);
        }
        self.pending.retain(|key, waiters| {
            tickets.extend(waiters.extract_if(.., |(deadline, _)| *deadline <= now).map(|(_, ticket)| ticket));
            if waiters.is_empty() {
                keys.push(Arc::clone(key));
            }
            !waiters.is_empty()
        });
        self.waiters -= tickets.len();
        self.next = self.pending.values().flatten().map(|(deadline, _)| *deadline).min();
        (tickets, keys)
    }

    pub(super) const fn next_deadline(&self) -> Option<Instant> {
        self.next
    }

    pub(super) fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    /// The keys that somebody waits for, in no order.
    pub(super) fn keys(&self) -> impl Iterator<Item = &Arc<str>> {
        self.pending.keys()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn key(text: &str) -> Key {
        Key::uid(text).unwrap()
    }

    #[test]
    fn keys_are_written_as_the_control_plane_reads_them() {
        let address = Key::address("net", "::ffff:10.0.0.1".parse().unwrap()).unwrap();
        assert_eq!(address.as_str(), "net/10.0.0.1");
        assert_eq!(Key::address("", "10.0.0.1".parse().unwrap()).unwrap().as_str(), "/10.0.0.1");
        assert_eq!(Key::service(&NamespacedName::new("a", "b.c")).unwrap().as_str(), "a/b.c");
        for (host, expected) in [
            ("web.shop.svc.cluster.local.", Some("shop/web.shop.svc.cluster.local")),
            ("db-0.Db.shop.svc.cluster.local", Some("shop/db-0.db.shop.svc.cluster.local")),
            ("api.example.com", Some("mine/api.example.com")),
            ("shop.svc.cluster.local", None),
            ("svc.cluster.local", Some("mine/svc.cluster.local")),
            ("a/b", None),
            ("", None),
        ] {
            let key = Key::host(host, "cluster.local", "mine");
            assert_eq!(key.as_ref().map(Key::as_str), expected, "{host}");
        }
        assert_eq!(Key::uid("*"), None);
        assert_eq!(Key::uid(&"u".repeat(LONGEST + 1)), None);
    }

    #[test]
    fn all_who_wait_for_a_key_are_answered() {
        let now = Instant::now();
        let mut book = Book::new();
        assert_eq!(book.add(&key("a"), now, 1), Ok(true));
        assert_eq!(book.add(&key("a"), now, 2), Ok(false));
        assert_eq!(book.add(&key("b"), now, 3), Ok(true));
        assert_eq!(book.answer("a").collect::<Vec<_>>(), [1, 2]);
        assert_eq!(book.answer("a").count(), 0);
        assert_eq!(book.keys().map(|key| &**key).collect::<Vec<_>>(), ["b"]);
    }

    #[test]
    fn each_has_its_own_deadline() {
        let now = Instant::now();
        let at = |seconds| now + Duration::from_secs(seconds);
        let mut book = Book::new();
        for (name, seconds, ticket) in [("a", 1, 1), ("a", 3, 2), ("b", 2, 3)] {
            book.add(&key(name), at(seconds), ticket).unwrap();
        }
        assert_eq!(book.expire(at(0)), (vec![], vec![]));
        assert_eq!(book.expire(at(1)), (vec![1], vec![]));
        assert_eq!(book.next_deadline(), Some(at(2)));
        assert_eq!(book.expire(at(2)), (vec![3], vec!["b".into()]));
        assert_eq!(book.expire(at(9)), (vec![2], vec!["a".into()]));
        assert_eq!((book.next_deadline(), book.is_empty(), book.waiters), (None, true, 0));
    }

    #[test]
    fn it_is_bounded() {
        let now = Instant::now();
        let mut book = Book::new();
        for n in 0..MAX_KEYS {
            book.add(&key(&n.to_string()), now, n).unwrap();
        }
        assert_eq!(book.add(&key("one more"), now, 7), Err(7));
        for n in MAX_KEYS..MAX_WAITERS {
            assert_eq!(book.add(&key("0"), now, n), Ok(false));
        }
        assert_eq!(book.add(&key("0"), now, 8), Err(8));
    }
}
