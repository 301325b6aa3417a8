//! How many of one caller's requests are on their way. Pure but for its lock.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Requests of one caller at a time: as many as it may ask for at once.
pub(super) const MOST: usize = 512;

/// Requests on their way, by caller. Clones are the same.
#[derive(Clone, Debug, Default)]
pub(super) struct Calls(Arc<Mutex<HashMap<Arc<str>, usize>>>);

/// One of them; dropping it ends it.
#[derive(Debug)]
pub(super) struct Call {
    calls: Calls,
    caller: Arc<str>,
}

impl Calls {
    /// [`None`] when the caller has as many as it may have.
    pub(super) fn begin(&self, caller: &Arc<str>) -> Option<Call> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = all.entry(Arc::clone(caller)).or_default();
        if *count >= MOST {
            return None;
        }
        *count += 1;
        drop(all);
        Some(Call { calls: self.clone(), caller: Arc::clone(caller) })
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let mut all = self.calls.0.lock().unwrap_or_else(PoisonError::into_inner);
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
        let (calls, a, b) = (Calls::default(), Arc::from("a"), Arc::from("b"));
        let mut open: Vec<_> = (0..MOST).map(|_| calls.begin(&a).unwrap()).collect();
        assert!(calls.begin(&a).is_none());
        drop(calls.begin(&b).unwrap());
        open.pop();
        open.push(calls.begin(&a).unwrap());
        drop(open);
        assert!(calls.0.lock().unwrap().is_empty(), "nothing is remembered of who has gone");
    }
}
