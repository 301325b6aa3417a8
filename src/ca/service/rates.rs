//! How often one caller may ask. Pure.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::time::Instant;

/// Certificates at once: twice the pods of a large node, which all start together after a power cut.
const BURST: f64 = 512.0;
/// Certificates a second after that. A node with 250 pods renews 500 a day.
const RATE: f64 = 20.0;
/// Callers that are remembered before those that have been quiet are forgotten.
const REMEMBERED: usize = 32_768;

/// A bucket for each caller.
#[derive(Debug, Default)]
pub(super) struct Rates(HashMap<Arc<str>, Bucket>);

#[derive(Clone, Copy, Debug)]
struct Bucket {
    left: f64,
    at: Instant,
}

// === impl Rates ===

impl Rates {
    /// Takes one. Answers whether there was one.
    pub(super) fn take(&mut self, caller: &Arc<str>, now: Instant) -> bool {
        if self.0.len() >= REMEMBERED && !self.0.contains_key(caller) {
            self.0.retain(|_, bucket| bucket.at(now).left < BURST);
        }
        let bucket = self.0.entry(Arc::clone(caller)).or_insert(Bucket { left: BURST, at: now });
        *bucket = bucket.at(now);
        if bucket.left < 1.0 {
            return false;
        }
        bucket.left -= 1.0;
        true
    }
}

// === impl Bucket ===

impl Bucket {
    fn at(self, now: Instant) -> Self {
        let more = now.saturating_duration_since(self.at).as_secs_f64() * RATE;
        Self { left: (self.left + more).min(BURST), at: now.max(self.at) }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

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
