//! One line for a connection and reporter: who, to whom, by which road, how much, how long, and why not.
//!
//! Names and order are those that tools for ambient meshes already read; `road`,
//! `connection_security_policy`, `reason`, `policy` and `detail` are ours.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tracing::Level;

/// Whose side of the connection this pod is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    Inbound,
    Outbound,
}

/// How the bytes went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Road {
    /// A tunnel of mutual TLS and HTTP/2.
    Hbone,
    /// TCP as the pod sent it.
    Plain,
    /// Nowhere.
    Refused,
    /// Joined in this node's kernel.
    SameNode,
}

/// One end. What is not known is left out of the line.
#[derive(Clone, Debug, Default)]
pub struct Party {
    /// For the destination: the hop that was really connected to.
    pub address: Option<SocketAddr>,
    /// The pod's name, else that of its service.
    pub workload: Option<Arc<str>>,
    pub namespace: Option<Arc<str>>,
    /// A SPIFFE identity, only when it was proven: by TLS, or by both pods being on this node.
    pub identity: Option<Arc<str>>,
    /// Of the pod, from where its name is.
    pub cluster: Option<Arc<str>>,
}

/// What a tunnel asks its far end for.
#[derive(Clone, Debug)]
pub enum Asked {
    Address(SocketAddr),
    /// A host name and its port: behind a gateway of another network addresses mean nothing.
    Name(Arc<str>, u16),
}

/// Why a connection was refused or broke.
#[derive(Clone, Debug)]
pub struct Failure {
    /// A word of a fixed set, the same as the metric's label.
    pub reason: Arc<str>,
    /// `namespace/name` of the policy that decided.
    pub policy: Option<Arc<str>>,
    /// What a person needs beyond the reason: the attribute that did not match, the error's chain.
    pub detail: Option<String>,
}

/// Everything that a line tells.
#[derive(Clone, Debug)]
pub struct AccessRecord {
    pub direction: Direction,
    pub source: Party,
    pub destination: Party,
    /// The tunnel's far end, when there was a tunnel.
    pub hbone_address: Option<Asked>,
    /// The called service's host name.
    pub service: Option<Arc<str>>,
    pub road: Road,
    /// `mutual_tls`, `node_local` or `unknown`.
    pub connection_security_policy: &'static str,
    /// Bytes that this pod sent: the client's outbound, the app's inbound.
    pub bytes_sent: u64,
    /// Bytes that this pod received.
    pub bytes_received: u64,
    pub duration: Duration,
    pub failure: Option<Failure>,
}

/// A duration in whole milliseconds, as tools that read these lines expect.
struct Millis(Duration);

// === impl Asked ===

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Name(host, port) => write!(f, "{host}:{port}"),
        }
    }
}

// === impl Direction ===

impl Direction {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Inbound => "inbound",
            Self::Outbound => "outbound",
        }
    }
}

// === impl Road ===

impl Road {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hbone => "hbone",
            Self::Plain => "plain",
            Self::Refused => "refused",
            Self::SameNode => "same_node",
        }
    }
}

// === impl Millis ===

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}ms", self.0.as_millis())
    }
}

// === impl AccessRecord ===

/// The fields once for all levels: a level is part of an event's static description. What only an end has is left out
/// of the line of a beginning.
macro_rules! line {
    ($level:expr, $record:expr, $ended:literal, $message:literal) => {{
        let record: &AccessRecord = $record;
        let failure = record.failure.as_ref();
        tracing::event!(target: "access", $level, {
            src.addr = record.source.address.map(tracing::field::display),
            src.workload = record.source.workload.as_deref(),
            src.namespace = record.source.namespace.as_deref(),
            src.identity = record.source.identity.as_deref(),
            src.cluster = record.source.cluster.as_deref(),
            dst.addr = record.destination.address.map(tracing::field::display),
            dst.hbone_addr = record.hbone_address.as_ref().map(tracing::field::display),
            dst.service = record.service.as_deref(),
            dst.workload = record.destination.workload.as_deref(),
            dst.namespace = record.destination.namespace.as_deref(),
            dst.identity = record.destination.identity.as_deref(),
            dst.cluster = record.destination.cluster.as_deref(),
            direction = record.direction.as_str(),
            bytes_sent = $ended.then_some(record.bytes_sent),
            bytes_recv = $ended.then_some(record.bytes_received),
            duration = $ended.then(|| Millis(record.duration).to_string()),
            road = record.road.as_str(),
            connection_security_policy = record.connection_security_policy,
            reason = failure.map(|failure| &*failure.reason),
            policy = failure.and_then(|failure| failure.policy.as_deref()),
            detail = failure.and_then(|failure| failure.detail.as_deref()),
        }, $message)
    }};
}

impl AccessRecord {
    /// Writes the line. Nothing is formatted when the access log is off.
    pub fn emit(&self) {
        match (&self.failure, self.road) {
            (None, _) => line!(Level::INFO, self, true, "connection complete"),
            (Some(_), Road::Refused) => line!(Level::WARN, self, true, "connection refused"),
            (Some(_), _) => line!(Level::WARN, self, true, "connection failed"),
        }
    }

    /// Whether the levels want lines of connections that begin: ask before a record is made for [`Self::emit_opened`].
    pub fn tells_opened() -> bool {
        tracing::enabled!(target: "access", Level::DEBUG)
    }

    /// Writes the line of a connection that begins.
    pub fn emit_opened(&self) {
        line!(Level::DEBUG, self, false, "connection opened");
    }
}
