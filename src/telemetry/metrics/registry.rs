//! The handle on every metric.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::time::Instant;

use super::family::{Counter, Family, Gauge, Histogram, Values};
use super::table::{self, Counters, Gauges, Histograms};
use crate::sys::limits;

/// How much is kept.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// Series a metric; more are counted in one series whose labels are all `overflow`.
    pub series_budget: usize,
}

/// Every metric of the process. Clones share the numbers.
#[derive(Clone)]
pub struct Metrics {
    shared: Arc<Shared>,
}

struct Shared {
    /// In the order of [`table::ALL`].
    families: Vec<Family>,
    /// Run before each scrape, for numbers that are kept elsewhere.
    sources: Mutex<Vec<Source>>,
    process: Process,
    /// Held so that the build's series is never forgotten.
    _build: Gauge,
}

type Source = Arc<dyn Fn(&Metrics) + Send + Sync>;

struct Process {
    max_files: Gauge,
    open_files: Gauge,
    resident: Gauge,
}

// === impl Metrics ===

impl Metrics {
    /// `version` is told by `istio_build`.
    pub fn new(config: Config, version: &str) -> Self {
        Self::of_component(config, "culvert", version)
    }

    /// As [`Self::new`], with the component that `istio_build` tells.
    pub fn of_component(config: Config, component: &str, version: &str) -> Self {
        let families: Vec<_> = table::ALL.iter().map(|_| Family::new(config.series_budget)).collect();
        let gauge = |index: usize, labels: &[&str]| Gauge::new(families[index].series(&values(labels)));
        let build = gauge(table::BUILD.0, &[component, version]);
        build.set(1);
        let process = Process {
            max_files: gauge(table::PROCESS_MAX_FDS.0, &[]),
            open_files: gauge(table::PROCESS_OPEN_FDS.0, &[]),
            resident: gauge(table::PROCESS_RESIDENT_MEMORY.0, &[]),
        };
        let shared = Shared { families, sources: Mutex::default(), process, _build: build };
        Self { shared: Arc::new(shared) }
    }

    /// The counter of `labels`, in the order of the declaration. Keep it where it is used often.
    pub fn counter<const N: usize>(&self, metric: Counters<N>, labels: [&str; N]) -> Counter {
        self.counter_of(metric, &values(&labels))
    }

    /// The gauge of `labels`. Keep it as long as its number means something.
    pub fn gauge<const N: usize>(&self, metric: Gauges<N>, labels: [&str; N]) -> Gauge {
        Gauge::new(self.shared.families[metric.0].series(&values(&labels)))
    }

    /// The histogram of `labels`, in the order of the declaration.
    pub fn histogram<const N: usize>(&self, metric: Histograms<N>, labels: [&str; N]) -> Histogram {
        Histogram::new(self.shared.families[metric.0].series(&values(&labels)))
    }

    /// Takes a gauge's series out of the next scrape: its pod, identity or state is gone.
    pub fn forget_gauge<const N: usize>(&self, metric: Gauges<N>, labels: [&str; N]) {
        self.shared.families[metric.0].forget(&values(&labels));
    }

    /// Takes a counter's series out of the next scrape.
    pub fn forget_counter<const N: usize>(&self, metric: Counters<N>, labels: [&str; N]) {
        self.shared.families[metric.0].forget(&values(&labels));
    }

    /// Runs `source` before each scrape. It must be quick and must not wait.
    pub fn on_scrape(&self, source: impl Fn(&Self) + Send + Sync + 'static) {
        self.shared.sources.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::new(source));
    }

    /// Forgets series that nobody holds, that nobody has looked up and that have not changed for an hour. Call it every
    /// minute or so.
    pub fn sweep(&self, now: Instant) {
        self.shared.families.iter().for_each(|family| family.sweep(now));
    }

    pub(super) fn counter_of<const N: usize>(&self, metric: Counters<N>, labels: &Values) -> Counter {
        Counter::new(self.shared.families[metric.0].series(labels))
    }

    /// Brings what is kept elsewhere up to date and answers the families in the table's order.
    pub(super) fn families(&self) -> impl Iterator<Item = (&'static table::Description, &Family)> {
        let sources = self.shared.sources.lock().unwrap_or_else(PoisonError::into_inner).clone();
        sources.iter().for_each(|source| source(self));
        let usage = limits::usage();
        let Process { max_files, open_files, resident } = &self.shared.process;
        for (gauge, value) in
            [(max_files, usage.max_files), (open_files, usage.open_files), (resident, usage.resident_bytes)]
        {
            gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
        }
        table::ALL.iter().zip(&self.shared.families)
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

fn values(labels: &[&str]) -> Values {
    labels.iter().map(|label| Arc::from(*label)).collect()
}

#[cfg(test)]
mod tests;
