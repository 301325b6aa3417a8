//! What Istio's dashboards read: one set of labels a connection, and its counters.

use std::sync::Arc;

use super::family::{Counter, Hold, Values};
use super::registry::Metrics;
use super::table;

/// Which side of the connection counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reporter {
    Destination,
    Source,
}

/// How the connection was secured: what really happened, never what was meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecurityPolicy {
    /// Mutual TLS between the two identities.
    MutualTls,
    /// Both pods are on this node: both identities are known, and nothing left the kernel.
    NodeLocal,
    /// Plaintext.
    Unknown,
}

/// Why a connection ended, in Istio's words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ResponseFlags {
    CertificateRevoked,
    Connect,
    Deny,
    Http2Handshake,
    Identity,
    NetworkPolicy,
    #[default]
    None,
    Tls,
}

/// One end's labels; what is not known is written `unknown`.
#[derive(Clone, Debug, Default)]
pub struct Peer {
    pub workload: Option<Arc<str>>,
    pub canonical_service: Option<Arc<str>>,
    pub canonical_revision: Option<Arc<str>>,
    pub namespace: Option<Arc<str>>,
    /// The identity, only when it was proven.
    pub principal: Option<Arc<str>>,
    pub app: Option<Arc<str>>,
    pub version: Option<Arc<str>>,
    pub cluster: Option<Arc<str>>,
    pub region: Option<Arc<str>>,
    pub zone: Option<Arc<str>>,
}

/// The labels of a connection, the response flags apart.
#[derive(Clone, Debug)]
pub struct TrafficLabels {
    pub reporter: Reporter,
    pub source: Peer,
    pub destination: Peer,
    /// The called service's host name.
    pub destination_service: Option<Arc<str>>,
    pub destination_service_namespace: Option<Arc<str>>,
    pub destination_service_name: Option<Arc<str>>,
    pub security: SecurityPolicy,
}

/// A connection's counters, looked up once. Dropping it closes the connection without a flag.
#[must_use = "dropping the handle counts the connection as closed"]
#[derive(Debug)]
pub struct Traffic {
    metrics: Metrics,
    /// Shared with the series of the opened connection.
    labels: Values,
    /// Held, so that the sums of a pair with a live connection never begin again.
    _opened: Counter,
    closed: Counter,
    received: Counter,
    sent: Counter,
    flags: ResponseFlags,
    _sockets: Hold,
    _connections: Hold,
}

// === impl Reporter ===

impl Reporter {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Destination => "destination",
            Self::Source => "source",
        }
    }
}

// === impl SecurityPolicy ===

impl SecurityPolicy {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::MutualTls => "mutual_tls",
            Self::NodeLocal => "node_local",
            Self::Unknown => "unknown",
        }
    }
}

// === impl ResponseFlags ===

impl ResponseFlags {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CertificateRevoked => "CERT_REVOKED",
            Self::Connect => "CONNECT",
            Self::Deny => "DENY",
            Self::Http2Handshake => "H2_HANDSHAKE_FAILURE",
            Self::Identity => "IDENTITY_ERROR",
            Self::NetworkPolicy => "NETWORK_POLICY",
            Self::None => "-",
            Self::Tls => "TLS_FAILURE",
        }
    }
}

// === impl TrafficLabels ===

impl TrafficLabels {
    /// The values in the order of [`table::TRAFFIC`].
    fn values(&self) -> Values {
        let unknown: Arc<str> = Arc::from("unknown");
        let or = |value: &Option<Arc<str>>| value.clone().unwrap_or_else(|| Arc::clone(&unknown));
        let (source, destination) = (&self.source, &self.destination);
        let values: [Arc<str>; table::TRAFFIC.len()] = [
            self.reporter.as_str().into(),
            or(&source.workload),
            or(&source.canonical_service),
            or(&source.canonical_revision),
            or(&source.namespace),
            or(&source.principal),
            or(&source.app),
            or(&source.version),
            or(&source.cluster),
            or(&self.destination_service),
            or(&self.destination_service_namespace),
            or(&self.destination_service_name),
            or(&destination.workload),
            or(&destination.canonical_service),
            or(&destination.canonical_revision),
            or(&destination.namespace),
            or(&destination.principal),
            or(&destination.app),
            or(&destination.version),
            or(&destination.cluster),
            "tcp".into(),
            ResponseFlags::None.as_str().into(),
            self.security.as_str().into(),
            or(&source.region),
            or(&source.zone),
            or(&destination.region),
            or(&destination.zone),
        ];
        Values::from(values)
    }
}

/// The place of `response_flags` in [`table::TRAFFIC`].
const FLAGS: usize = 21;

// === impl Metrics ===

impl Metrics {
    /// Counts a connection as opened and answers its counters. Refused and failed connections are opened too, and
    /// then closed with their flag, so that opened and closed match over time.
    pub fn open(&self, labels: &TrafficLabels) -> Traffic {
        let (reporter, security) = (labels.reporter.as_str(), labels.security.as_str());
        let opened = self.traffic_series(labels.values());
        opened.1.increment();
        let (labels, opened) = opened;
        Traffic {
            _opened: opened,
            closed: self.counter_of(table::TCP_CLOSED, &labels),
            metrics: self.clone(),
            received: self.counter_of(table::TCP_RECEIVED, &labels),
            sent: self.counter_of(table::TCP_SENT, &labels),
            labels,
            flags: ResponseFlags::None,
            _sockets: self.gauge(table::TCP_SOCKETS_OPEN, [reporter]).hold(),
            _connections: self.gauge(table::CONNECTIONS, [security, reporter]).hold(),
        }
    }

    /// The series of opened connections, and the labels that are already in the map rather than a second copy.
    fn traffic_series(&self, labels: Values) -> (Values, Counter) {
        let counter = self.counter_of(table::TCP_OPENED, &labels);
        (counter.labels_like(&labels).unwrap_or(labels), counter)
    }
}

// === impl Traffic ===

impl Traffic {
    /// Bytes that went from client to server.
    pub fn add_received(&self, bytes: u64) {
        self.received.add(bytes);
    }

    /// Bytes that went from server to client.
    pub fn add_sent(&self, bytes: u64) {
        self.sent.add(bytes);
    }

    /// The two counters, for code that counts where the bytes pass.
    pub fn counters(&self) -> (Counter, Counter) {
        (self.received.clone(), self.sent.clone())
    }

    /// Counts the connection as closed, and as failed when `flags` name a reason.
    pub fn close(mut self, flags: ResponseFlags) {
        self.flags = flags;
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        if self.flags == ResponseFlags::None {
            self.closed.increment();
            return;
        }
        let flagged = |(place, value): (usize, &Arc<str>)| match place {
            FLAGS => Arc::from(self.flags.as_str()),
            _ => Arc::clone(value),
        };
        let labels: Values = self.labels.iter().enumerate().map(flagged).collect();
        self.metrics.counter_of(table::TCP_CLOSED, &labels).increment();
        self.metrics.counter_of(table::TCP_FAILED, &labels).increment();
    }
}

#[cfg(test)]
mod tests;
