//! Names that were answered with "there is none", and stay asked for. Pure.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

/// At most [`Absent::MOST`] names; the oldest are given up.
#[derive(Debug, Default)]
pub(super) struct Absent {
    /// With the number of the entry in the order.
    names: HashMap<Arc<str>, u64>,
    /// Oldest first. Some are out of date: the map counts.
    order: VecDeque<(u64, Arc<str>)>,
    next: u64,
}

// === impl Absent ===

impl Absent {
    /// 1024 names of some 20 bytes, here and at the server: what a node's pods call outside of the mesh within minutes.
    pub(super) const MOST: usize = 1024;

    /// Notes a name. Answers the one that is to be given up for it.
    pub(super) fn put(&mut self, name: Arc<str>) -> Option<Arc<str>> {
        let number = self.next;
        self.next += 1;
        self.order.push_back((number, Arc::clone(&name)));
        self.names.insert(name, number);
        let mut given_up = None;
        while self.names.len() > Self::MOST || self.order.len() > 2 * Self::MOST {
            let (number, oldest) = self.order.pop_front()?;
            if self.names.get(&oldest) == Some(&number) {
                self.names.remove(&oldest);
                given_up = Some(oldest);
            }
        }
        given_up
    }

    /// It is there now, or is asked for anew. Whether it was noted.
    pub(super) fn remove(&mut self, name: &str) -> bool {
        self.names.remove(name).is_some()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// All, in no order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<str>> {
        self.names.keys()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_oldest_is_given_up() {
        let mut absent = Absent::default();
        let name = |n: usize| Arc::<str>::from(n.to_string());
        for n in 0..Absent::MOST {
            assert_eq!(absent.put(name(n)), None);
        }
        // Again: it is the newest now.
        assert_eq!(absent.put(name(0)), None);
        assert_eq!(absent.put(name(Absent::MOST)).as_deref(), Some("1"));
        assert!(absent.remove("0") && !absent.remove("0") && !absent.remove("1"));
        assert_eq!(absent.put(name(1)), None, "there is room for one");
    }

    proptest! {
        #[test]
        fn it_never_grows(puts in proptest::collection::vec((0_usize..2000, any::<bool>()), 0..9000)) {
            let mut absent = Absent::default();
            for (n, put) in puts {
                let name = n.to_string();
                let _changed = if put { absent.put(name.as_str().into()).is_some() } else { absent.remove(&name) };
                prop_assert!(absent.names.len() <= Absent::MOST && absent.order.len() <= 2 * Absent::MOST);
                prop_assert_eq!(absent.names.contains_key(name.as_str()), put);
            }
        }
    }
}
