//! How much one pod may ask for at a time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::sought::Sought;

/// What one asks for now. Many connections that ask for one thing count once.
#[derive(Debug)]
pub struct Share {
    limit: usize,
    asked: Mutex<HashMap<Sought, usize>>,
    /// What this one is a part of.
    of: Option<Arc<Self>>,
}

/// Asking for one thing.
#[derive(Debug)]
pub(super) struct Place<'a> {
    share: &'a Share,
    sought: Sought,
    _of: Option<Box<Self>>,
}

// === impl Share ===

impl Share {
    /// Up to `limit` things at a time.
    pub fn new(limit: usize) -> Self {
        Self { limit, asked: Mutex::default(), of: None }
    }

    /// As [`Share::new`], and what it asks for is asked by `of` as well.
    pub fn within(of: &Arc<Self>, limit: usize) -> Self {
        Self { limit, asked: Mutex::default(), of: Some(Arc::clone(of)) }
    }

    /// `None` when too much is asked for already.
    pub(super) fn enter(&self, sought: &Sought) -> Option<Place<'_>> {
        let mut asked = self.asked();
        if asked.len() >= self.limit && !asked.contains_key(sought) {
            return None;
        }
        // The part's lock is held, the whole's is never held before it.
        let of = match &self.of {
            Some(of) => Some(Box::new(of.enter(sought)?)),
            None => None,
        };
        *asked.entry(sought.clone()).or_default() += 1;
        Some(Place { share: self, sought: sought.clone(), _of: of })
    }

    fn asked(&self) -> MutexGuard<'_, HashMap<Sought, usize>> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut asked = self.share.asked();
        if let Some(count) = asked.get_mut(&self.sought) {
            *count -= 1;
            if *count == 0 {
                asked.remove(&self.sought);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn different_things_are_counted() {
        let sought = |n: u8| Sought::address("", [10, 0, 0, n].into()).unwrap();
        let share = Share::new(2);
        let (one, again, two) = (share.enter(&sought(1)), share.enter(&sought(1)), share.enter(&sought(2)));
        assert!(one.is_some() && again.is_some() && two.is_some());
        assert!(share.enter(&sought(3)).is_none());
        drop(one);
        assert!(share.enter(&sought(3)).is_none(), "another still asks");
        drop(again);
        assert!(share.enter(&sought(3)).is_some());
        drop(two);
        assert!(share.asked().is_empty());
    }

    #[test]
    fn a_part_leaves_room_to_others_and_all_parts_to_the_whole() {
        let sought = |n: u8| Sought::address("", [10, 0, 0, n].into()).unwrap();
        let whole = Arc::new(Share::new(3));
        let (one, two) = (Share::within(&whole, 2), Share::within(&whole, 2));
        let held = (one.enter(&sought(1)).unwrap(), one.enter(&sought(2)).unwrap());
        assert!(one.enter(&sought(3)).is_none());
        let third = two.enter(&sought(3)).unwrap();
        assert!(two.enter(&sought(4)).is_none(), "the whole is full");
        assert!(two.enter(&sought(1)).is_some(), "asked for already");
        drop(held);
        assert!(two.enter(&sought(4)).is_some());
        drop(third);
        assert!(whole.asked().is_empty() && one.asked().is_empty() && two.asked().is_empty());
    }
}
