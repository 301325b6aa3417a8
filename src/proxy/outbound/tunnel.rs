//! The tunnel: CONNECT to the destination's node proxy on a pooled connection, then relay.

use std::error::Error;
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::attempts::{Blame, Failed, Far};
use super::beyond::{self, Inside, InsideFailure};
use super::captured::{Attempted, Captured};
use super::plain::of_ours;
use crate::hbone::Budget;
use crate::hbone::client::Request;
use crate::hbone::error::TunnelError;
use crate::hbone::headers::{Forwarded, TraceParent};
use crate::hbone::pool::{Config, Dial, Key, Pool, PoolError, Watch};
use crate::hbone::settings::Sizes;
use crate::hbone::tunnel::TunnelStream;
use crate::identity::access::{AccessError, PodCert};
use crate::mesh::Held;
use crate::model::spiffe::Identity;
use crate::proxy::baggage;
use crate::proxy::budgets::Handshakes;
use crate::proxy::connections::Facts;
use crate::proxy::dialler::{DialError, Dialler};
use crate::proxy::outcome::{Failure, TunnelCause};
use crate::proxy::relay::tunnelled::{Resets, join};
use crate::proxy::relay::{Ended, Side, unless_ended};
use crate::proxy::report::Report;
use crate::proxy::shared::Shared;
use crate::route::outbound::{Hbone, Route};
use crate::runtime::threads::Place;
use crate::sys::socket::reset_on_close;
use crate::telemetry::metrics::Reporter;
use crate::tls::{Connector, Proof, TlsError, TlsStream, Trust, random_bytes};

/// Bounds of a pod's tunnels.
#[derive(Clone, Debug)]
pub struct TunnelConfig {
    pub pool: Config,
    /// Bytes of receive windows of one pod, see `hbone::window`.
    pub window_budget: usize,
    /// What peers are told of windows and frames.
    pub sizes: Sizes,
}

/// The tunnels of one pod: those that it opens share connections, and all share one byte budget.
pub struct Tunnels {
    pool: Pool<DialFailure>,
    /// Those inside of tunnels to network gateways.
    pub(super) inner: Pool<InsideFailure>,
    pub(in crate::proxy) budget: Budget,
    stop: CancellationToken,
}

/// Whom a tunnel leads to.
pub(super) struct Proven {
    pub(super) peer: Option<Identity>,
    /// What it says of itself, where the mesh's record does not tell.
    pub(super) target: Option<Arc<Held>>,
    /// Cancelled when that peer's certificate is revoked.
    pub(super) revoked: CancellationToken,
}

/// Dials with the pod's certificate.
struct Secure {
    dialler: Arc<Dialler>,
    certificate: PodCert,
    limit: Duration,
    pace: Arc<Pace>,
    report: Report,
    trust: Trust,
}

/// The handshakes that one pod begins: to a node, to a gateway, and inside of a tunnel to one.
pub(super) struct Pace {
    handshakes: Handshakes,
    per_second: u32,
}

/// Why a tunnel's connection could not be made.
#[derive(Debug, thiserror::Error)]
pub enum DialFailure {
    #[error(transparent)]
    Identity(AccessError),
    /// The pod begins too many. The local app.
    #[error("more than {per_second} TLS handshakes a second by this pod (setting max-handshakes-per-pod)")]
    Rate { per_second: u32 },
    #[error("cannot connect")]
    Tcp(DialError),
    #[error("the TLS handshake failed")]
    Tls(#[source] TlsError),
}

// === impl Tunnels ===

impl Tunnels {
    pub(in crate::proxy) fn new(
        shared: &Arc<Shared>,
        place: &Place,
        dialler: &Arc<Dialler>,
        certificate: &PodCert,
    ) -> Self {
        let config = &shared.config;
        let per_second = config.handshakes_per_second;
        let pace = Arc::new(Pace { handshakes: Handshakes::new(per_second), per_second });
        let dialler = Secure {
            dialler: Arc::clone(dialler),
            certificate: certificate.clone(),
            limit: config.connect_timeout,
            pace: Arc::clone(&pace),
            report: shared.report.clone(),
            trust: shared.trust.clone(),
        };
        let budget = Budget::with_sizes(config.tunnels.window_budget, config.tunnels.sizes);
        let (pool, task) = Pool::build(config.tunnels.pool.clone(), budget.clone(), dialler);
        let stop = shared.force.child_token();
        drop(place.runtime().spawn(task.run(stop.clone())));
        let inside = Inside {
            outer: pool.clone(),
            certificate: certificate.clone(),
            limit: config.connect_timeout,
            pace,
            report: shared.report.clone(),
            trust: shared.trust.clone(),
        };
        let (inner, task) = Pool::build(beyond::config(&config.tunnels.pool), budget.clone(), inside);
        drop(place.runtime().spawn(task.run(stop.clone())));
        Self { pool, inner, budget, stop }
    }

    /// Connections that are open, with and without streams.
    pub fn connections(&self) -> usize {
        self.pool.connections() + self.inner.connections()
    }

    pub(in crate::proxy) fn close(&self) {
        self.stop.cancel();
    }
}

impl Drop for Tunnels {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

// === impl Pace ===

impl Pace {
    /// Waits for the next handshake's turn. The limit a second is the error, where that would take too long.
    pub(super) async fn wait(&self) -> Result<(), u32> {
        let wait = self.handshakes.take(Instant::now()).ok_or(self.per_second)?;
        tokio::time::sleep(wait).await;
        Ok(())
    }
}

// === impl Secure ===

impl Dial for Secure {
    type Stream = TlsStream<TcpStream>;
    type Error = DialFailure;

    async fn dial(&self, key: &Key) -> Result<Self::Stream, DialFailure> {
        self.pace.wait().await.map_err(|per_second| DialFailure::Rate { per_second })?;
        let certificate = self.certificate.wait(self.limit).await.map_err(DialFailure::Identity)?;
        let stream = self.dialler.dial(key.destination(), None).await.map_err(DialFailure::Tcp)?;
        let connector = Connector::new(&certificate, key.expected()).at(key.destination().ip());
        let connected = connector.connect(stream).await;
        count(&self.report, &connected);
        connected.map_err(DialFailure::Tls)
    }

    fn watch(&self, stream: &Self::Stream) -> Watch {
        watch(&self.trust, stream.proof())
    }

    fn peer(stream: &Self::Stream) -> Option<Identity> {
        Some(stream.peer().clone())
    }
}

/// Counts a handshake that we began.
pub(super) fn count<S>(report: &Report, connected: &Result<TlsStream<S>, TlsError>) {
    match connected {
        Ok(stream) => report.handshake(Reporter::Source, stream.is_resumed()),
        Err(TlsError::Revoked) => report.revoked(Reporter::Source),
        Err(_) => {}
    }
}

/// A connection lives no longer than what proved it.
pub(super) fn watch(trust: &Trust, proof: &Arc<Proof>) -> Watch {
    let (revoked, expired) = ((trust.clone(), Arc::clone(proof)), (trust.clone(), Arc::clone(proof)));
    Watch {
        cut: Box::pin(async move { revoked.0.revoked(&revoked.1).await }),
        retire: Box::pin(async move { expired.0.expired(&expired.1).await }),
    }
}

// === impl DialFailure ===

impl DialFailure {
    pub(super) fn blame(&self) -> Blame {
        match self {
            Self::Identity(_) | Self::Rate { .. } | Self::Tcp(DialError::Namespace(_)) => Blame::Final,
            // Our own list cannot be read: no endpoint is to blame.
            Self::Tls(TlsError::RevocationUnknown) => Blame::Final,
            Self::Tcp(DialError::Connect(e)) if of_ours(e) => Blame::Final,
            Self::Tcp(DialError::Connect(e)) if e.kind() == ErrorKind::ConnectionRefused => Blame::Absent,
            Self::Tcp(_) | Self::Tls(_) => Blame::Endpoint,
        }
    }

    pub(super) fn failure(to: SocketAddr, error: Arc<Self>) -> Failure {
        match &*error {
            // The same failure goes to all who waited, so the error is told anew to each.
            Self::Tcp(DialError::Connect(e)) => {
                let source = e.raw_os_error().map_or_else(|| e.kind().into(), std::io::Error::from_raw_os_error);
                Failure::HopConnect { to, source }
            }
            Self::Tcp(DialError::Timeout(limit)) => Failure::HopTimeout { to, limit: *limit },
            Self::Tcp(DialError::Namespace(_)) => Failure::Socket(Box::new(error)),
            Self::Identity(error) => Failure::Identity(Box::new(error.clone())),
            Self::Rate { per_second } => Failure::HandshakeRate { per_second: *per_second },
            Self::Tls(TlsError::Revoked) => {
                Failure::Tunnel { to, cause: TunnelCause::Revoked, source: Box::new(error) }
            }
            Self::Tls(_) => Failure::Tunnel { to, cause: TunnelCause::Tls, source: Box::new(error) },
        }
    }
}

/// Opens the tunnel.
pub(super) async fn open(captured: &Captured, attempted: &Attempted, to: &Hbone) -> Result<Far, Failed> {
    let Captured { pod, client, .. } = captured;
    let source_ip: IpAddr = client.ip();
    let holder = Arc::clone(&to.target.workload.uid);
    let key = Arc::new(Key::new(pod.identity.clone(), to.expected.iter().cloned(), to.hop, source_ip, holder));
    let request = request(captured, attempted, to.authority);
    match pod.tunnels.pool.connect(&key, &request).await {
        Ok((tunnel, answer)) => {
            Ok(Far::Tunnel(tunnel, Proven { peer: answer.peer, target: None, revoked: answer.cut }))
        }
        Err(error) => {
            let blame = blame(&error, DialFailure::blame);
            Err(Failed { why: failure(to.hop, error, |source| DialFailure::failure(to.hop, source)), blame })
        }
    }
}

/// What the CONNECT of a captured connection says.
pub(super) fn request(captured: &Captured, attempted: &Attempted, authority: SocketAddr) -> Request {
    let trace = random_bytes::<24>().map(|random| {
        let (trace, parent) = random.split_at(16);
        let mut ids = ([0; 16], [0; 8]);
        ids.0.copy_from_slice(trace);
        ids.1.copy_from_slice(parent);
        TraceParent::new(ids.0, ids.1)
    });
    let host = attempted.decision.service.as_ref().map(|service| Arc::clone(&service.hostname));
    Request {
        authority: authority.into(),
        baggage: attempted.source.as_deref().map(baggage::of),
        forwarded: Forwarded { client: Some(captured.client), host },
        trace,
        network: None,
    }
}

/// Joins the tunnel with the captured socket.
pub(super) async fn carry(captured: Captured, tunnel: TunnelStream, proven: Proven, attempted: &Attempted) {
    let shared = Arc::clone(&captured.pod.shared);
    let known = captured.facts(attempted);
    let facts = Facts {
        client_identity: Some(captured.pod.identity.clone()),
        server_identity: proven.peer,
        target: proven.target.or_else(|| known.target.clone()),
        revoked: Some(proven.revoked),
        ..known
    };
    let is_waypoint = match &attempted.decision.route {
        Route::Hbone(hbone) => hbone.is_waypoint,
        Route::Beyond(to) => to.is_waypoint,
        _ => false,
    };
    let resets = if is_waypoint { Resets::Close } else { Resets::Tell };
    let open = shared.report.open_one(captured.accepted, facts, &captured.pod.opened);
    let connection = Arc::clone(open.connection());
    let relay = pin!(join(&captured.stream, Side::Client, tunnel, resets, &connection.meter, shared.config.half_open));
    let result = unless_ended(&connection, relay).await;
    if let Err(Ended::Cut(_)) = &result {
        reset_on_close(&captured.stream);
    }
    open.close(result.as_ref().map(drop).map_err(|why| why.as_ref()), false);
}

/// Whether another endpoint may do better. Whatever the far side did, it has seen no byte of the application's.
pub(super) fn blame<E: Error>(error: &PoolError<E>, of_dial: impl FnOnce(&E) -> Blame) -> Blame {
    match error {
        PoolError::Closed | PoolError::Full { .. } => Blame::Final,
        PoolError::DialTimeout { .. } | PoolError::Open { .. } => Blame::Endpoint,
        PoolError::Dial { source, .. } => of_dial(source),
        PoolError::Tunnel { source, .. } => match source {
            // A decision is the same everywhere, and asking around for a softer one is not ours to do.
            TunnelError::Refused | TunnelError::Unsendable => Blame::Final,
            TunnelError::Other { status } if *status < 500 => Blame::Final,
            // 400: the address has gone to a pod that is not the one that was meant.
            TunnelError::BadRequest
            | TunnelError::ConnectionLost(_)
            | TunnelError::NotTaken
            | TunnelError::Other { .. }
            | TunnelError::Reset { .. }
            | TunnelError::Timeout { .. }
            | TunnelError::Unavailable => Blame::Endpoint,
        },
    }
}

pub(super) fn failure<E: Error>(
    to: SocketAddr,
    error: PoolError<E>,
    of_dial: impl FnOnce(Arc<E>) -> Failure,
) -> Failure {
    let tunnel = |cause, source| Failure::Tunnel { to, cause, source };
    match error {
        PoolError::Dial { source, .. } => of_dial(source),
        PoolError::DialTimeout { limit, .. } => Failure::HopTimeout { to, limit },
        PoolError::Closed => Failure::Drained,
        PoolError::Full { limit } => Failure::Limit { limit },
        PoolError::Tunnel { source: TunnelError::Refused, .. } => {
            tunnel(TunnelCause::Refused, Box::new(TunnelError::Refused))
        }
        PoolError::Tunnel { source, .. } => tunnel(TunnelCause::Status, Box::new(source)),
        PoolError::Open { source, .. } => tunnel(TunnelCause::Http2, Box::new(source)),
    }
}
