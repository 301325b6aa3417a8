//! The series of one metric: bounded in number, forgotten when nobody uses them.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::table::BUCKETS;

/// A series that nobody holds or looks up and that has not changed for this long is forgotten. An hour is far beyond any
/// scrape interval, so no increment is lost to a scraper that lives.
pub(super) const EXPIRY: Duration = Duration::from_secs(3600);
/// The value of every label of the series that takes what the budget leaves out.
const OVERFLOW: &str = "overflow";

/// The values of a series' labels, in the order of its declaration. Families with the same labels share them.
pub(super) type Values = Arc<[Arc<str>]>;

/// A number that only grows.
#[derive(Clone, Debug)]
pub struct Counter(Arc<Series>);

/// A number that goes up and down. Its owner keeps the handle: without one it is forgotten in time.
#[derive(Clone, Debug)]
pub struct Gauge(Arc<Series>);

/// One unit of a gauge, given back when dropped.
#[must_use = "the unit is given back at once when the hold is dropped"]
#[derive(Debug)]
pub struct Hold(Gauge);

/// Durations, counted by how long they were.
#[derive(Clone, Debug)]
pub struct Histogram(Arc<Series>);

/// Labels and their number; a gauge is the same bits read as signed, a histogram's is how many it has seen.
#[derive(Debug)]
pub(super) struct Series {
    pub(super) labels: Values,
    pub(super) value: AtomicU64,
    /// A histogram's alone, made with its first handle.
    pub(super) spread: OnceLock<Box<Spread>>,
}

/// What a histogram has seen: each in its bucket, and all together.
#[derive(Debug, Default)]
pub(super) struct Spread {
    /// The last has what is longer than every bound.
    pub(super) buckets: [AtomicU64; BUCKETS.len() + 1],
    pub(super) microseconds: AtomicU64,
}

#[derive(Debug)]
pub(super) struct Family {
    budget: usize,
    overflow: OnceLock<Arc<Series>>,
    series: Mutex<HashMap<Values, Entry>>,
}

#[derive(Debug)]
struct Entry {
    series: Arc<Series>,
    /// What the last sweep saw, and since when it has been so.
    seen: Option<(u64, Instant)>,
    /// Somebody has looked it up since the last sweep: a number that is set to the same value again and again is alive.
    used: bool,
}

// === impl Counter ===

impl Counter {
    pub(super) fn new(series: Arc<Series>) -> Self {
        Self(series)
    }

    pub fn add(&self, amount: u64) {
        self.0.value.fetch_add(amount, Ordering::Relaxed);
    }

    pub fn increment(&self) {
        self.add(1);
    }

    /// Follows a counter that is kept elsewhere (the kernel, another part); a smaller total changes nothing.
    pub fn raise_to(&self, total: u64) {
        self.0.value.fetch_max(total, Ordering::Relaxed);
    }

    pub fn value(&self) -> u64 {
        self.0.value.load(Ordering::Relaxed)
    }

    /// The series' own copy of `labels`, unless it is the overflow series.
    pub(super) fn labels_like(&self, labels: &Values) -> Option<Values> {
        (self.0.labels == *labels).then(|| Arc::clone(&self.0.labels))
    }
}

// === impl Gauge ===

impl Gauge {
    pub(super) fn new(series: Arc<Series>) -> Self {
        Self(series)
    }

    pub fn set(&self, value: i64) {
        self.0.value.store(value.cast_unsigned(), Ordering::Relaxed);
    }

    pub fn add(&self, amount: i64) {
        // Wrapping addition of the bits is signed addition.
        self.0.value.fetch_add(amount.cast_unsigned(), Ordering::Relaxed);
    }

    pub fn value(&self) -> i64 {
        self.0.value.load(Ordering::Relaxed).cast_signed()
    }

    /// Adds one until the answer is dropped.
    pub fn hold(&self) -> Hold {
        self.add(1);
        Hold(self.clone())
    }
}

// === impl Histogram ===

impl Histogram {
    pub(super) fn new(series: Arc<Series>) -> Self {
        series.spread.get_or_init(Box::default);
        Self(series)
    }

    pub fn observe(&self, duration: Duration) {
        let seconds = duration.as_secs_f64();
        let place = BUCKETS.iter().position(|bound| seconds <= *bound).unwrap_or(BUCKETS.len());
        let spread = self.0.spread.get_or_init(Box::default);
        if let Some(bucket) = spread.buckets.get(place) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
        let microseconds = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        spread.microseconds.fetch_add(microseconds, Ordering::Relaxed);
        self.0.value.fetch_add(1, Ordering::Relaxed);
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.0.add(-1);
    }
}

// === impl Series ===

impl Series {
    fn new(labels: Values) -> Arc<Self> {
        Arc::new(Self { labels, value: AtomicU64::new(0), spread: OnceLock::new() })
    }
}

// === impl Family ===

impl Family {
    pub(super) fn new(budget: usize) -> Self {
        Self { budget, overflow: OnceLock::new(), series: Mutex::default() }
    }

    /// The series of `labels`, made when it is new and the budget has room; else the overflow series.
    pub(super) fn series(&self, labels: &Values) -> Arc<Series> {
        let mut all = self.lock();
        if let Some(entry) = all.get_mut(labels) {
            entry.used = true;
            return Arc::clone(&entry.series);
        }
        if all.len() >= self.budget && !labels.is_empty() {
            drop(all);
            let values = || vec![Arc::from(OVERFLOW); labels.len()].into();
            return Arc::clone(self.overflow.get_or_init(|| Series::new(values())));
        }
        let series = Series::new(Arc::clone(labels));
        all.insert(Arc::clone(labels), Entry { series: Arc::clone(&series), seen: None, used: true });
        series
    }

    /// Forgets the series of `labels`. Handles that are held go on counting for nobody.
    pub(super) fn forget(&self, labels: &Values) {
        self.lock().remove(labels);
    }

    /// Forgets what is not held or looked up and has not changed for [`EXPIRY`]. The overflow series stays, and so does
    /// that without labels: there is one of each.
    pub(super) fn sweep(&self, now: Instant) {
        self.lock().retain(|labels, entry| {
            let value = entry.series.value.load(Ordering::Relaxed);
            // The map's own handle is one; others are made under this lock, so the count cannot rise meanwhile.
            let held = Arc::strong_count(&entry.series) > 1;
            let used = std::mem::take(&mut entry.used) || held || labels.is_empty();
            match entry.seen {
                Some((seen, since)) if seen == value && !used => now.saturating_duration_since(since) < EXPIRY,
                _ => {
                    entry.seen = Some((value, now));
                    true
                }
            }
        });
    }

    /// Every series, sorted by its labels. Handles are copied first: formatting must not hold up a connection
    /// that looks for its series.
    pub(super) fn snapshot(&self) -> Vec<Arc<Series>> {
        let mut all: Vec<_> = self.lock().values().map(|entry| Arc::clone(&entry.series)).collect();
        all.extend(self.overflow.get().cloned());
        all.sort_unstable_by(|a, b| a.labels.cmp(&b.labels));
        all
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Values, Entry>> {
        // No statement under the lock leaves the map half changed.
        self.series.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
