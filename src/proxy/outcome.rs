//! What became of a connection: the one map from a cause to the wire, the log and the metrics.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use super::relay::{Broken, Early};
use crate::authz::Denial;
use crate::mesh::demand::{Silence, Unanswered};
use crate::model::ports;
use crate::route::outbound::Refusal;
use crate::telemetry::metrics::ResponseFlags;

/// Whose fault a failure is; decides who has to act.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The application on this node.
    App,
    /// What an operator configured, or has not.
    Configuration,
    Kernel,
    /// The other side of the network.
    Peer,
    Policy,
    Us,
}

/// Why a connection was refused or ended before it was done.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The client gave up while its CONNECT was looked at.
    #[error("the client gave up before it was answered")]
    Abandoned,
    /// The application did not take the connection.
    #[error("the application at {to} did not accept the connection")]
    AppConnect {
        to: SocketAddr,
        #[source]
        source: io::Error,
    },
    /// The application did not answer the dial in time.
    #[error("the application at {to} did not accept the connection within {limit:?}")]
    AppTimeout { to: SocketAddr, limit: Duration },
    /// A socket broke while bytes were carried.
    #[error(transparent)]
    Broken(Broken),
    /// A certificate of the peer was revoked while its tunnel was open.
    #[error("the peer's certificate was revoked, so its tunnel was closed")]
    PeerRevoked,
    /// Policy says no.
    #[error("{0}")]
    Denied(Box<Denial>),
    /// The process is short of descriptors, and the pod has its share of them.
    #[error(
        "the process has room for {limit} connections of all pods, and this pod has its share: raise its limit of open files"
    )]
    Descriptors { limit: usize },
    /// The process drains and its deadline has passed, or the pod is being withdrawn.
    #[error("the proxy is leaving")]
    Drained,
    /// One end has said all that it had to say, and the other has said nothing for long.
    #[error("one direction had ended, and the other was silent for {} s (setting half-open-timeout)", limit.as_secs())]
    HalfOpen { limit: Duration },
    /// More handshakes are asked of the pod, or by it, than it may have.
    #[error("more than {per_second} TLS handshakes a second with this pod (setting max-handshakes-per-pod)")]
    HandshakeRate { per_second: u32 },
    /// Peers that have not proven who they are hold their share of the pod's room.
    #[error("{limit} peers are in the middle of a TLS handshake with this pod, which is the limit")]
    Handshakes { limit: usize },
    /// A plain destination, or a node's HBONE port, did not take the connection.
    #[error("cannot connect to {to}")]
    HopConnect {
        to: SocketAddr,
        #[source]
        source: io::Error,
    },
    /// No answer at all. On port 15008 that is a NetworkPolicy more often than a dead node.
    #[error("no answer from {to} within {limit:?}{}", policy_hint(*to))]
    HopTimeout { to: SocketAddr, limit: Duration },
    /// Our own certificate is not to be had.
    #[error("no certificate for this pod")]
    Identity(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The limit of connections of one pod is reached.
    #[error("the pod has {limit} connections, which is its limit (setting max-connections-per-pod)")]
    Limit { limit: usize },
    /// The destination is a listener of this proxy, or there is none: it would call itself for ever.
    #[error("attempted recursive call to ourselves")]
    Loop,
    /// The endpoint was taken out of the mesh, or a waypoint put in its way, while it was called.
    #[error("the way to {to} has changed while the connection was made")]
    Moved { to: SocketAddr },
    /// The chosen endpoint has a host name that leads nowhere.
    #[error("the endpoint's address cannot be found")]
    Name(#[source] Box<super::names::NameError>),
    /// Nothing has told us of the mesh yet, so that nobody can say whether the destination is in it.
    #[error("the mesh is not known yet, and {to} may be in it: is the control plane there?")]
    NoMesh { to: SocketAddr },
    /// Policies have not all been sent yet, so that nobody can say whether one forbids the connection.
    #[error(
        "the mesh's policies are not known yet, and one may forbid this connection to {to}: is the control plane there, and can every policy of it be read?"
    )]
    NoPolicies { to: SocketAddr },
    /// There is no road.
    #[error("no way to {to}: {why}")]
    NoRoute { to: SocketAddr, why: Refusal },
    /// The destination is not an address of the pod.
    #[error("{to} is not an address of this pod")]
    NotOurs { to: SocketAddr },
    /// Policy changed while the connection lived.
    #[error("the connection is no longer permitted: {0}")]
    Revoked(Box<Denial>),
    /// The namespace or a socket could not be had.
    #[error("cannot make a socket in the pod's namespace")]
    Socket(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The peer answered our CONNECT with something else than 200, or the tunnel broke before.
    #[error("the tunnel to {to} was not opened")]
    Tunnel {
        to: SocketAddr,
        cause: TunnelCause,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A captured connection that conntrack knows nothing of.
    #[error("the connection has no original destination: it was not redirected")]
    Uncaptured,
    /// The control plane was asked and has not said what is there. Nothing goes past the mesh for that.
    #[error("{0}")]
    Unsaid(Box<Unanswered>),
    /// A name that is none of this pod's services, or without that port.
    #[error("the name that was asked for is no service of this pod with that port ({to})")]
    UnknownService { to: SocketAddr },
    /// The mesh does not know the pod that it is for.
    #[error("the mesh has no workload at {to}")]
    UnknownWorkload { to: SocketAddr },
}

/// What a tunnel failed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TunnelCause {
    /// HTTP/2 itself.
    Http2,
    /// 401: the destination's policy.
    Refused,
    /// A certificate of the peer is on a revocation list.
    Revoked,
    /// Any other answer than 200.
    Status,
    /// TLS: certificates or identity.
    Tls,
}

fn policy_hint(to: SocketAddr) -> &'static str {
    if to.port() == ports::HBONE { "; maybe a NetworkPolicy blocks port 15008" } else { "" }
}

// === impl Failure ===

impl Failure {
    pub fn fault(&self) -> Fault {
        match self {
            Self::AppConnect { .. } | Self::AppTimeout { .. } => Fault::App,
            Self::Denied(_) | Self::Revoked(_) | Self::Tunnel { cause: TunnelCause::Refused, .. } => Fault::Policy,
            Self::Descriptors { .. } | Self::Identity(_) | Self::Limit { .. } | Self::UnknownWorkload { .. } => {
                Fault::Configuration
            }
            Self::NoRoute { why: Refusal::NoEndpoint | Refusal::WaypointEmpty, .. } => Fault::Peer,
            Self::NoMesh { .. } | Self::NoPolicies { .. } | Self::NoRoute { .. } => Fault::Configuration,
            Self::Socket(_) | Self::Uncaptured => Fault::Kernel,
            Self::Drained => Fault::Us,
            Self::Unsaid(unanswered) => match unanswered.why {
                Silence::Deadline | Silence::Unreadable => Fault::Peer,
                Silence::Ended => Fault::Us,
                Silence::TooMany => Fault::App,
            },
            Self::Abandoned
            | Self::Broken(_)
            | Self::HalfOpen { .. }
            | Self::HandshakeRate { .. }
            | Self::Handshakes { .. }
            | Self::HopConnect { .. }
            | Self::HopTimeout { .. }
            | Self::Loop
            | Self::Moved { .. }
            | Self::Name(_)
            | Self::NotOurs { .. }
            | Self::PeerRevoked
            | Self::UnknownService { .. }
            | Self::Tunnel { .. } => Fault::Peer,
        }
    }

    /// A word of a fixed set, for the log's `reason` and the label of `culvert_refusals_total`.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Abandoned => "abandoned",
            Self::AppConnect { .. } => "app_refused",
            Self::AppTimeout { .. } => "app_timeout",
            Self::Broken(_) => "reset",
            Self::Denied(_) => "policy",
            Self::Descriptors { .. } => "descriptors",
            Self::Drained => "drained",
            Self::HalfOpen { .. } => "half_open",
            Self::HandshakeRate { .. } => "handshake_rate",
            Self::Handshakes { .. } => "handshakes",
            Self::HopConnect { .. } => "connect",
            Self::HopTimeout { .. } => "connect_timeout",
            Self::Identity(_) => "no_certificate",
            Self::Limit { .. } => "limit",
            Self::Loop => "loop",
            Self::Moved { .. } => "moved",
            Self::Name(_) => "no_dns_answer",
            Self::NoMesh { .. } => "no_mesh",
            Self::NoPolicies { .. } => "no_policies",
            Self::NoRoute { why, .. } => match why {
                Refusal::GatewayEmpty => "gateway_empty",
                Refusal::Loop => "loop",
                Refusal::Nameless => "no_identity",
                Refusal::UnknownGateway => "unknown_gateway",
                Refusal::NoAddress => "no_address",
                Refusal::NoEndpoint => "no_healthy_upstream",
                Refusal::NoPort => "no_such_port",
                Refusal::OtherNetwork => "other_network",
                Refusal::UnknownWaypoint => "unknown_waypoint",
                Refusal::WaypointEmpty => "waypoint_empty",
                Refusal::WaypointLoop => "waypoint_loop",
            },
            Self::NotOurs { .. } => "not_this_pod",
            Self::PeerRevoked | Self::Tunnel { cause: TunnelCause::Revoked, .. } => "certificate_revoked",
            Self::Revoked(_) => "policy_changed",
            Self::Socket(_) => "socket",
            Self::Tunnel { cause: TunnelCause::Http2, .. } => "http2",
            Self::Tunnel { cause: TunnelCause::Refused, .. } => "refused_by_peer",
            Self::Tunnel { cause: TunnelCause::Status, .. } => "status",
            Self::Tunnel { cause: TunnelCause::Tls, .. } => "tls",
            Self::Uncaptured => "not_redirected",
            Self::UnknownService { .. } => "unknown_service",
            Self::Unsaid(unanswered) => match unanswered.why {
                Silence::Deadline | Silence::Ended => "no_mesh_answer",
                Silence::TooMany => "demand_limit",
                Silence::Unreadable => "unreadable_answer",
            },
            Self::UnknownWorkload { .. } => "unknown_workload",
        }
    }

    /// Istio's `response_flags` label.
    pub fn flags(&self) -> ResponseFlags {
        match self {
            Self::Denied(_) | Self::Revoked(_) => ResponseFlags::Deny,
            Self::HopTimeout { to, .. } if to.port() == ports::HBONE => ResponseFlags::NetworkPolicy,
            Self::Identity(_) => ResponseFlags::Identity,
            Self::PeerRevoked | Self::Tunnel { cause: TunnelCause::Revoked, .. } => ResponseFlags::CertificateRevoked,
            Self::Tunnel { cause: TunnelCause::Http2, .. } => ResponseFlags::Http2Handshake,
            Self::Tunnel { cause: TunnelCause::Tls, .. } => ResponseFlags::Tls,
            _ => ResponseFlags::Connect,
        }
    }

    /// The answer to a CONNECT that fails for this cause.
    pub fn status(&self) -> u16 {
        match self {
            Self::Denied(_) | Self::PeerRevoked | Self::Revoked(_) => 401,
            Self::NotOurs { .. } => 400,
            _ => 503,
        }
    }

    /// The reason once more, for another end of a connection that was ended from outside.
    pub(super) fn of_ended(&self) -> Self {
        match self {
            Self::Revoked(denial) => Self::Revoked(denial.clone()),
            Self::PeerRevoked => Self::PeerRevoked,
            _ => Self::Drained,
        }
    }

    /// `namespace/name` of the policy that decided, when one did.
    pub fn policy(&self) -> Option<String> {
        match self {
            Self::Denied(denial) | Self::Revoked(denial) => denial.policy().map(|policy| policy.to_string()),
            _ => None,
        }
    }
}

impl From<Early> for Failure {
    fn from(early: Early) -> Self {
        match early {
            Early::Broken(broken) => Self::Broken(broken),
            Early::HalfOpen { limit } => Self::HalfOpen { limit },
        }
    }
}
