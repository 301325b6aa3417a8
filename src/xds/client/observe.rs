//! What is counted.

use std::time::SystemTime;

use tokio::sync::watch;

use crate::telemetry::metrics::{Metrics, table};

use super::kind::Kind;
use super::status::Status;

/// Told of what happens, from the task; quick and never waiting.
pub trait Observer: Send {
    /// An attempt at a stream ended.
    fn terminated(&self, why: Termination);
    /// A response arrived; `type_url` is a known one or `unknown`.
    fn message(&self, type_url: &'static str, bytes: usize);
    /// Resources of a response were refused.
    fn refused(&self, kind: Kind, count: usize);
}

/// How a stream ended, in Istio's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Termination {
    /// It never opened.
    ConnectionError,
    /// It was ended by an error that another connection may not mend.
    Error,
    /// It was cut, as when a server goes away.
    Reconnect,
    /// Its server closed it.
    Complete,
}

/// Counts nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unobserved;

/// Lets each scrape see how old the state is; -1 while there is none.
pub fn expose_age(metrics: &Metrics, status: watch::Receiver<Status>) {
    let gauge = metrics.gauge(table::XDS_STATE_AGE, []);
    metrics.on_scrape(move |_| {
        let age = status.borrow().age(SystemTime::now());
        gauge.set(age.map_or(-1, |age| i64::try_from(age.as_secs()).unwrap_or(i64::MAX)));
    });
}

// === impl Termination ===

impl Termination {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ConnectionError => "ConnectionError",
            Self::Error => "Error",
            Self::Reconnect => "Reconnect",
            Self::Complete => "Complete",
        }
    }
}

// === impl Observer ===

impl Observer for Metrics {
    fn terminated(&self, why: Termination) {
        self.counter(table::XDS_TERMINATIONS, [why.as_str()]).increment();
    }

    fn message(&self, type_url: &'static str, bytes: usize) {
        self.counter(table::XDS_MESSAGES, [type_url]).increment();
        self.counter(table::XDS_MESSAGE_BYTES, [type_url]).add(bytes as u64);
    }

    fn refused(&self, kind: Kind, count: usize) {
        // Shown from the first response on, so that a rate can be seen.
        self.counter(table::XDS_REFUSED, [kind.url()]).add(count as u64);
    }
}

impl Observer for Unobserved {
    fn terminated(&self, _: Termination) {}
    fn message(&self, _: &'static str, _: usize) {}
    fn refused(&self, _: Kind, _: usize) {}
}
