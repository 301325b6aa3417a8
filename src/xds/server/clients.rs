//! Who is connected: bounded in all and for each caller, and told on a page.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::grpc::server::Caller;
use crate::runtime::rate::Rate;

/// Names and resources that are looked up for one caller: a million, which is a first sync with all that there may be, and
/// 50,000 a second after that: some twentieth of a processor.
const LOOKED_UP: Rate = Rate::new(1_000_000, Duration::from_micros(20));
/// Callers whose rate is remembered before those that have been quiet are forgotten.
const REMEMBERED: usize = 32_768;

/// The clients of now. Clones are the same.
#[derive(Clone, Debug)]
pub(super) struct Clients(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    most: usize,
    most_of_one: usize,
    live: Mutex<Live>,
}

#[derive(Debug, Default)]
struct Live {
    next: u64,
    by_number: BTreeMap<u64, Arc<Facts>>,
    /// Also of callers that have gone: who comes back is no other.
    looked_up: HashMap<Arc<str>, Rate>,
}

/// What is known of one client.
#[derive(Debug)]
pub(super) struct Facts {
    caller: Caller,
    since: Instant,
    pub(super) responses: AtomicU64,
    pub(super) refused: AtomicU64,
}

/// A client's place, given back when dropped.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) facts: Arc<Facts>,
    number: u64,
    clients: Clients,
}

/// Why a client is not let in. The peer's fault, or of a setting that is too small.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Full {
    #[error("{0} clients are connected, which is the limit of --clients")]
    All(usize),
    #[error("this caller has {0} streams already: one is enough, and two while it is replaced")]
    One(usize),
}

/// A line of the page.
#[derive(Clone, Debug)]
pub struct ClientReport {
    pub caller: Caller,
    pub seconds: u64,
    pub responses: u64,
    pub refused: u64,
}

// === impl Clients ===

impl Clients {
    pub(super) fn new(most: usize, most_of_one: usize) -> Self {
        Self(Arc::new(Shared { most, most_of_one, live: Mutex::default() }))
    }

    pub(super) fn join(&self, caller: &Caller) -> Result<Place, Full> {
        let mut live = self.lock();
        if live.by_number.len() >= self.0.most {
            return Err(Full::All(self.0.most));
        }
        if live.by_number.values().filter(|facts| facts.caller.name == caller.name).count() >= self.0.most_of_one {
            return Err(Full::One(self.0.most_of_one));
        }
        let facts = Arc::new(Facts {
            caller: caller.clone(),
            since: Instant::now(),
            responses: AtomicU64::new(0),
            refused: AtomicU64::new(0),
        });
        live.next += 1;
        let number = live.next;
        live.by_number.insert(number, Arc::clone(&facts));
        drop(live);
        Ok(Place { facts, number, clients: self.clone() })
    }

    pub(super) fn report(&self) -> Vec<ClientReport> {
        let live = self.lock();
        let one = |facts: &Arc<Facts>| ClientReport {
            caller: facts.caller.clone(),
            seconds: facts.since.elapsed().as_secs(),
            responses: facts.responses.load(Ordering::Relaxed),
            refused: facts.refused.load(Ordering::Relaxed),
        };
        live.by_number.values().map(one).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Live> {
        self.0.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// Notes names and resources that are looked up, and answers how long the caller's streams have to rest.
    pub(super) fn looked_up(&self, count: usize) -> Duration {
        let (now, name) = (Instant::now(), &self.facts.caller.name);
        let mut live = self.clients.lock();
        if live.looked_up.len() >= REMEMBERED && !live.looked_up.contains_key(name) {
            live.looked_up.retain(|_, rate| !rate.is_rested(now));
        }
        let rate = live.looked_up.entry(Arc::clone(name)).or_insert(LOOKED_UP);
        rate.charge(now, u32::try_from(count).unwrap_or(u32::MAX))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.clients.lock().by_number.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn places_are_bounded_and_given_back() {
        let clients = Clients::new(3, 2);
        let (a, b) = (Caller::node("a"), Caller::node("b"));
        let first = clients.join(&a).unwrap();
        let _second = clients.join(&a).unwrap();
        assert_eq!(clients.join(&a).unwrap_err(), Full::One(2));
        let _third = clients.join(&b).unwrap();
        assert_eq!(clients.join(&b).unwrap_err(), Full::All(3));
        drop(first);
        assert_eq!(clients.report().len(), 2);
        clients.join(&b).unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_caller_rests_and_others_do_not() {
        let clients = Clients::new(9, 9);
        let (a, b) = (Caller::node("a"), Caller::node("b"));
        let (first, second, other) = (clients.join(&a).unwrap(), clients.join(&a).unwrap(), clients.join(&b).unwrap());
        assert!(first.looked_up(900_000).is_zero());
        assert_eq!(second.looked_up(200_000).as_millis(), 2000, "all streams of a caller have one rate");
        assert!(other.looked_up(900_000).is_zero());
        drop((first, second));
        let again = clients.join(&a).unwrap();
        assert!(!again.looked_up(1).is_zero(), "a new stream is no new caller");
    }
}
