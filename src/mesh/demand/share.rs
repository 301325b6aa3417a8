//! How much one pod may ask for at a time.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::sought::Sought;

/// What one asks for now. Many connections that ask for one thing count once.
#[derive(Debug)]
pub struct Share {
    limit: usize,
    asked: Mutex<HashMap<Sought, usize>>,
}

/// Asking for one thing.
#[derive(Debug)]
pub(super) struct Place<'a> {
    share: &'a Share,
    sought: Sought,
}

// === impl Share ===

impl Share {
    /// Up to `limit` things at a time.
    pub fn new(limit: usize) -> Self {
        Self { limit, asked: Mutex::default() }
    }

    /// `None` when too much is asked for already.
    pub(super) fn enter(&self, sought: &Sought) -> Option<Place<'_>> {
        let mut asked = self.asked();
        if asked.len() >= self.limit && !asked.contains_key(sought) {
            return None;
        }
        *asked.entry(sought.clone()).or_default() += 1;
        Some(Place { share: self, sought: sought.clone() })
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
}
