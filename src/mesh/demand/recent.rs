//! When something was, of the newest some. Pure.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

use super::sought::Sought;

/// At most `limit` things; the oldest are forgotten.
#[derive(Debug)]
pub(super) struct Recent {
    limit: usize,
    /// With the number of the entry in the order.
    at: HashMap<Sought, (Instant, u64)>,
    /// Oldest first. Some are out of date: the map counts.
    order: VecDeque<(u64, Sought)>,
    next: u64,
}

// === impl Recent ===

impl Recent {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, at: HashMap::new(), order: VecDeque::new(), next: 0 }
    }

    /// How long it is ago.
    pub(super) fn age(&self, sought: &Sought, now: Instant) -> Option<Duration> {
        self.at.get(sought).map(|(at, _)| now.duration_since(*at))
    }

    pub(super) fn put(&mut self, sought: Sought, now: Instant) {
        let number = self.next;
        self.next += 1;
        self.order.push_back((number, sought.clone()));
        self.at.insert(sought, (now, number));
        while self.at.len() > self.limit || self.order.len() > 2 * self.limit {
            let Some((number, oldest)) = self.order.pop_front() else { return };
            if self.at.get(&oldest).is_some_and(|(_, newest)| *newest == number) {
                self.at.remove(&oldest);
            }
        }
    }

    pub(super) fn remove(&mut self, sought: &Sought) {
        self.at.remove(sought);
    }

    pub(super) fn retain(&mut self, stays: impl Fn(&Sought) -> bool) {
        self.at.retain(|sought, _| stays(sought));
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.at.len()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sought(n: u8) -> Sought {
        Sought::address("", [10, 0, 0, n].into()).unwrap()
    }

    #[test]
    fn the_oldest_are_forgotten() {
        let now = Instant::now();
        let at = |seconds| now + Duration::from_secs(seconds);
        let mut recent = Recent::new(2);
        recent.put(sought(1), at(0));
        recent.put(sought(2), at(1));
        // Again: it is the newest now.
        recent.put(sought(1), at(2));
        recent.put(sought(3), at(3));
        assert_eq!(recent.age(&sought(2), at(3)), None);
        assert_eq!(recent.age(&sought(1), at(3)), Some(Duration::from_secs(1)));
        recent.remove(&sought(1));
        assert_eq!(recent.age(&sought(1), at(3)), None);
        assert_eq!(recent.len(), 1);
    }

    proptest! {
        #[test]
        fn it_never_grows(puts in proptest::collection::vec((any::<u8>(), any::<bool>()), 0..200)) {
            let now = Instant::now();
            let mut recent = Recent::new(8);
            for (n, put) in puts {
                if put { recent.put(sought(n), now) } else { recent.remove(&sought(n)) }
                prop_assert!(recent.at.len() <= 8 && recent.order.len() <= 16);
                prop_assert_eq!(recent.age(&sought(n), now).is_some(), put);
            }
        }
    }
}
