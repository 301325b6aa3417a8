//! The metrics of a pod's questions, with Istio's labels.

use std::time::Duration;

use hickory_proto::rr::RecordType;

use crate::mesh::View;
use crate::model::pod::Pod;
use crate::telemetry::metrics::{Metrics, table};

use super::upstream::Unanswered;

/// By which protocol a client asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transport {
    Tcp,
    Udp,
}

/// One question's labels.
#[derive(Clone, Debug)]
pub(super) struct Counted {
    kind: String,
    transport: Transport,
    service: String,
    revision: String,
}

// === impl Transport ===

impl Transport {
    const fn word(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }
}

// === impl Counted ===

impl Counted {
    /// Of a question of type `kind` by `pod`, counted as asked.
    pub(super) fn request(
        metrics: &Metrics,
        kind: Option<u16>,
        transport: Transport,
        (view, network, pod): (&View, &str, &Pod),
    ) -> Self {
        let workload = pod.addresses.iter().find_map(|ip| view.workload_at(network, *ip));
        let workload = workload.filter(|w| w.namespace == pod.key.namespace && w.name == pod.key.name);
        let or_unknown = |text: &str| if text.is_empty() { "unknown".to_owned() } else { text.to_owned() };
        let counted = Self {
            kind: kind.map_or_else(|| "unknown".to_owned(), kind_word),
            transport,
            service: or_unknown(workload.map_or("", |workload| &workload.canonical_name)),
            revision: or_unknown(workload.map_or("", |workload| &workload.canonical_revision)),
        };
        metrics.counter(table::DNS_REQUESTS, counted.labels()).increment();
        counted
    }

    /// It went to a name server and came back, or did not.
    pub(super) fn asked(&self, metrics: &Metrics, took: Duration, failed: bool) {
        metrics.counter(table::DNS_UPSTREAM_REQUESTS, self.labels()).increment();
        metrics.histogram(table::DNS_UPSTREAM_DURATION, self.labels()).observe(took);
        if failed {
            metrics.counter(table::DNS_UPSTREAM_FAILURES, self.labels()).increment();
        }
    }

    fn labels(&self) -> [&str; 4] {
        [&self.kind, self.transport.word(), &self.service, &self.revision]
    }
}

/// Why a client got an error of ours, or nothing.
pub(super) fn unanswered(metrics: &Metrics, reason: &str) {
    metrics.counter(table::DNS_UNANSWERED, [reason]).increment();
}

/// The reason's word in the metric.
pub(super) const fn reason(why: &Unanswered) -> &'static str {
    match why {
        Unanswered::NoServers => "no_servers",
        Unanswered::Unreachable(_) => "unreachable",
        Unanswered::Timeout => "timeout",
    }
}

/// The type's name; all that have none are one, so that a client cannot make series.
fn kind_word(kind: u16) -> String {
    match RecordType::from(kind) {
        RecordType::Unknown(_) => "unknown".to_owned(),
        known => known.to_string(),
    }
}
