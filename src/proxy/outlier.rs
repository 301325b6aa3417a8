//! Endpoints that fail, set aside for a while: a state machine without a clock or chance of its own.
//!
//! Each pod has its own: what one pod does, or is not allowed to do by its network policy, changes nothing for another.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use tokio::time::Instant;

use crate::route::balance::EndpointId;

/// The endpoints that failed of late, at most [`MOST`].
#[derive(Debug, Default)]
pub struct Outliers {
    known: HashMap<EndpointId, Record>,
}

#[derive(Clone, Copy, Debug)]
struct Record {
    /// Failures in a row, each after the endpoint had come back.
    strikes: u32,
    /// It comes back then.
    until: Instant,
}

/// Endpoints that are remembered, about 100 bytes each.
pub const MOST: usize = 1024;
/// The first time, 1 s: a pod that restarts its program is back by then, and a connection more or less finds that out.
pub const FIRST: Duration = Duration::from_secs(1);
/// The longest time, 60 s.
pub const LONGEST: Duration = Duration::from_secs(60);
/// What has not failed for this long after it came back begins anew, 60 s.
const FORGET: Duration = Duration::from_secs(60);

// === impl Outliers ===

impl Outliers {
    /// The endpoint did not take a connection. Says for how long it is set aside: [`FIRST`], doubled with each failure
    /// after it came back, up to [`LONGEST`]; `jitter`, from 0 to 1, makes 80 to 120 % of it, so that not everybody
    /// comes back at once. `None` when it is set aside already: those who were on their way count as one.
    pub fn failed(&mut self, id: &EndpointId, now: Instant, jitter: f64) -> Option<Duration> {
        let strikes = match self.known.get(id) {
            Some(record) if now < record.until => return None,
            Some(record) if now < record.until + FORGET => record.strikes.saturating_add(1),
            _ => 1,
        };
        let doubled = FIRST.saturating_mul(1u32.checked_shl(strikes - 1).unwrap_or(u32::MAX)).min(LONGEST);
        let aside = doubled.mul_f64(0.8 + 0.4 * jitter.clamp(0.0, 1.0));
        self.make_room(id, now);
        self.known.insert(id.clone(), Record { strikes, until: now + aside });
        Some(aside)
    }

    /// The endpoint took a connection: all is forgotten.
    pub fn succeeded(&mut self, id: &EndpointId) {
        if !self.known.is_empty() {
            self.known.remove(id);
        }
    }

    /// Those that are set aside now.
    pub fn aside(&self, now: Instant) -> HashSet<EndpointId> {
        self.known.iter().filter(|(_, record)| now < record.until).map(|(id, _)| id.clone()).collect()
    }

    /// The oldest go first: what is set aside the longest matters the most.
    fn make_room(&mut self, id: &EndpointId, now: Instant) {
        if self.known.len() < MOST || self.known.contains_key(id) {
            return;
        }
        self.known.retain(|_, record| now < record.until + FORGET);
        while self.known.len() >= MOST {
            let first = self.known.iter().min_by_key(|(_, record)| record.until).map(|(id, _)| id.clone());
            let Some(first) = first else { return };
            self.known.remove(&first);
        }
    }
}

#[cfg(test)]
mod tests;
