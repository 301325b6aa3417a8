//! How many connections one caller has. Pure but for its lock.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Connections of one caller: one of discovery and one for certificates, as many again while its process is replaced,
/// those of an old life until their PING is missed, and the same for some replicas that have one identity.
pub(super) const MOST: usize = 32;

/// Connections, by whose first good token they bore. Clones are the same.
#[derive(Clone, Debug, Default)]
pub(super) struct Crowd(Arc<Mutex<HashMap<Arc<str>, usize>>>);

/// One of them; dropping it gives its place back.
#[derive(Debug)]
pub(super) struct Held {
    crowd: Crowd,
    caller: Arc<str>,
}

impl Crowd {
    /// [`None`] when the caller has as many as it may have.
    pub(super) fn join(&self, caller: &Arc<str>) -> Option<Held> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = all.entry(Arc::clone(caller)).or_default();
        if *count >= MOST {
            return None;
        }
        *count += 1;
        drop(all);
        Some(Held { crowd: self.clone(), caller: Arc::clone(caller) })
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut all = self.crowd.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = all.get_mut(&self.caller) {
            *count -= 1;
            if *count == 0 {
                all.remove(&self.caller);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_caller_does_not_take_all_places() {
        let (crowd, a, b) = (Crowd::default(), Arc::from("a"), Arc::from("b"));
        let mut held: Vec<_> = (0..MOST).map(|_| crowd.join(&a).unwrap()).collect();
        assert!(crowd.join(&a).is_none());
        drop(crowd.join(&b).unwrap());
        held.pop();
        held.push(crowd.join(&a).unwrap());
        drop(held);
        assert!(crowd.0.lock().unwrap().is_empty(), "nothing is remembered of who has gone");
    }
}
