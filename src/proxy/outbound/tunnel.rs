//! The tunnel: CONNECT to the destination's node proxy on a pooled connection, then relay.

use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::captured::Captured;
use crate::hbone::Budget;
use crate::hbone::client::Request;
use crate::hbone::error::TunnelError;
use crate::hbone::headers::{Forwarded, TraceParent};
use crate::hbone::pool::{Config, Dial, Key, Pool, PoolError};
use crate::hbone::tunnel::TunnelStream;
use crate::identity::access::{AccessError, PodCert};
use crate::proxy::connections::Facts;
use crate::proxy::dialler::{DialError, Dialler};
use crate::proxy::inbound::hbone::baggage;
use crate::proxy::outcome::{Failure, TunnelCause};
use crate::proxy::relay::{Ended, Side, tunnelled::join, unless_ended};
use crate::proxy::shared::Shared;
use crate::route::outbound::Hbone;
use crate::sys::socket::reset_on_close;
use crate::telemetry::access::Road;
use crate::tls::{Connector, TlsError, TlsStream, random_bytes};

/// Bounds of a pod's tunnels.
#[derive(Clone, Debug)]
pub struct TunnelConfig {
    pub pool: Config,
    /// Bytes of receive windows of one pod, see `hbone::window`.
    pub window_budget: usize,
}

/// The tunnels of one pod: those that it opens share connections, and all share one byte budget.
pub struct Tunnels {
    pool: Pool<DialFailure>,
    pub(in crate::proxy) budget: Budget,
    stop: CancellationToken,
}

/// Dials with the pod's certificate.
struct Secure {
    dialler: Arc<Dialler>,
    certificate: PodCert,
    limit: Duration,
}

/// Why a tunnel's connection could not be made.
#[derive(Debug, thiserror::Error)]
pub enum DialFailure {
    #[error(transparent)]
    Identity(AccessError),
    #[error("cannot connect")]
    Tcp(DialError),
    #[error("the TLS handshake failed")]
    Tls(#[source] TlsError),
}

/// A destination can be in the mesh by its manifest a moment before its node has laid its rules and
/// listens. Its refusals are tried again for this long; its name for it would be "not ready yet".
const ENROLLING: Duration = Duration::from_millis(1200);
const TRY_AGAIN: Duration = Duration::from_millis(100);

// === impl Tunnels ===

impl Tunnels {
    pub(in crate::proxy) fn new(shared: &Arc<Shared>, dialler: &Arc<Dialler>, certificate: &PodCert) -> Self {
        let config = &shared.config;
        let dialler =
            Secure { dialler: Arc::clone(dialler), certificate: certificate.clone(), limit: config.connect_timeout };
        let budget = Budget::new(config.tunnels.window_budget);
        let (pool, task) = Pool::build(config.tunnels.pool.clone(), budget.clone(), dialler);
        let stop = shared.force.child_token();
        drop(shared.data.spawn(task.run(stop.clone())));
        Self { pool, budget, stop }
    }

    /// Connections that are open, with and without streams.
    pub fn connections(&self) -> usize {
        self.pool.connections()
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

// === impl Secure ===

impl Dial for Secure {
    type Stream = TlsStream<TcpStream>;
    type Error = DialFailure;

    async fn dial(&self, key: &Key) -> Result<Self::Stream, DialFailure> {
        let certificate = self.certificate.wait(self.limit).await.map_err(DialFailure::Identity)?;
        let stream = self.dialler.dial(key.destination(), None).await.map_err(DialFailure::Tcp)?;
        Connector::new(&certificate, key.expected()).connect(stream).await.map_err(DialFailure::Tls)
    }
}

/// Opens the tunnel and joins it with the captured socket.
pub(super) async fn carry(captured: Captured, to: Hbone) {
    let shared = Arc::clone(&captured.pod.shared);
    let tunnel = match open(&captured, &to).await {
        Ok(tunnel) => tunnel,
        Err(why) => {
            // It was meant to be a tunnel, and nothing was secured.
            let facts = Facts { hop: Some(to.hop), ..captured.facts(Road::Hbone, Some(to.workload)) };
            return captured.refuse_with(facts, &why);
        }
    };
    let facts = Facts {
        hop: Some(to.hop),
        client_identity: Some(captured.pod.identity.clone()),
        // Exactly one identity is expected on this road, and the handshake has proven it.
        server_identity: to.expected.first().cloned(),
        ..captured.facts(Road::Hbone, Some(to.workload))
    };
    let open = shared.report.open_one(captured.accepted, facts, &captured.pod.opened);
    let connection = Arc::clone(open.connection());
    let relay = pin!(join(&captured.stream, Side::Client, tunnel, &connection.meter));
    let result = unless_ended(&[&connection], relay).await;
    if let Err(Ended::Cut(_)) = &result {
        reset_on_close(&captured.stream);
    }
    open.close(result.as_ref().map(drop).map_err(|why| why.as_ref()), false);
}

async fn open(captured: &Captured, to: &Hbone) -> Result<TunnelStream, Failure> {
    let Captured { pod, client, .. } = captured;
    let source_ip: IpAddr = client.ip();
    let key = Arc::new(Key::new(pod.identity.clone(), to.expected.iter().cloned(), to.hop, source_ip));
    let trace = random_bytes::<24>().map(|random| {
        let (trace, parent) = random.split_at(16);
        let mut ids = ([0; 16], [0; 8]);
        ids.0.copy_from_slice(trace);
        ids.1.copy_from_slice(parent);
        TraceParent::new(ids.0, ids.1)
    });
    let request = Request {
        authority: to.authority.into(),
        baggage: captured.source.as_deref().map(baggage),
        forwarded: Forwarded { client: Some(*client), host: None },
        trace,
        network: None,
    };
    let started = Instant::now();
    loop {
        match pod.tunnels.pool.connect(&key, &request).await {
            Ok((tunnel, _answer)) => return Ok(tunnel),
            Err(error) if is_refused(&error) && started.elapsed() < ENROLLING => tokio::time::sleep(TRY_AGAIN).await,
            Err(error) => return Err(failure(to.hop, error)),
        }
    }
}

/// Nobody listens on the port.
fn is_refused(error: &PoolError<DialFailure>) -> bool {
    let PoolError::Dial { source, .. } = error else { return false };
    matches!(&**source, DialFailure::Tcp(DialError::Connect(e)) if e.kind() == std::io::ErrorKind::ConnectionRefused)
}

fn failure(to: SocketAddr, error: PoolError<DialFailure>) -> Failure {
    let tunnel = |cause, source| Failure::Tunnel { to, cause, source };
    match error {
        PoolError::Dial { source, .. } => match &*source {
            // The same failure goes to all who waited, so the error is told anew to each.
            DialFailure::Tcp(DialError::Connect(e)) => {
                let source = e.raw_os_error().map_or_else(|| e.kind().into(), std::io::Error::from_raw_os_error);
                Failure::HopConnect { to, source }
            }
            DialFailure::Tcp(DialError::Timeout(limit)) => Failure::HopTimeout { to, limit: *limit },
            DialFailure::Tcp(DialError::Namespace(_)) => Failure::Socket(Box::new(source)),
            DialFailure::Identity(error) => Failure::Identity(Box::new(error.clone())),
            DialFailure::Tls(_) => tunnel(TunnelCause::Tls, Box::new(source)),
        },
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
