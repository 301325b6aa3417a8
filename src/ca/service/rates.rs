//! How often one caller may ask. Pure.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::runtime::rate::Rate;

/// Certificates at once: twice the pods of a large node, which all start together after a power cut.
const BURST: u32 = 512;
/// One more each 50 ms after that. A node with 250 pods renews 500 a day.
const EACH: Duration = Duration::from_millis(50);
/// Callers that are remembered before those that have been quiet are forgotten.
const REMEMBERED: usize = 32_768;

/// What is left for each caller.
#[derive(Debug, Default)]
pub(super) struct Rates(HashMap<Arc<str>, Rate>);

// === impl Rates ===

impl Rates {
    /// Takes one. Answers whether there was one.
    pub(super) fn take(&mut self, caller: &Arc<str>, now: Instant) -> bool {
        if self.0.len() >= REMEMBERED && !self.0.contains_key(caller) {
            self.0.retain(|_, rate| !rate.is_rested(now));
        }
        self.0.entry(Arc::clone(caller)).or_insert(Rate::new(BURST, EACH)).take(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_burst_and_then_a_rate_for_each_caller() {
        let (mut rates, now) = (Rates::default(), Instant::now());
        let (a, b): (Arc<str>, Arc<str>) = ("a".into(), "b".into());
        let taken = |rates: &mut Rates, who: &Arc<str>, now| (0..2000).filter(|_| rates.take(who, now)).count();
        assert_eq!(taken(&mut rates, &a, now), 512);
        assert_eq!(taken(&mut rates, &b, now), 512);
        assert_eq!(taken(&mut rates, &a, now + Duration::from_secs(3)), 60);
        assert_eq!(taken(&mut rates, &a, now + Duration::from_secs(3600)), 512);
    }
}
