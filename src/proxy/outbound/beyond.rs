//! The road to another network: a tunnel to its gateway, TLS with the destination in it, and in that a tunnel again.

use std::sync::Arc;
use std::time::Duration;

use super::attempts::{Blame, Failed, Far};
use super::captured::{Attempted, Captured};
use super::tunnel::{self, DialFailure, Pace, Proven};
use crate::hbone::authority::Authority;
use crate::hbone::client::Request;
use crate::hbone::headers::Forwarded;
use crate::hbone::io::TunnelIo;
use crate::hbone::pool::{Config, Dial, Key, Pool, PoolError, Through, Watch};
use crate::identity::access::{AccessError, PodCert};
use crate::model::spiffe::Identity;
use crate::proxy::baggage;
use crate::proxy::outcome::{Failure, TunnelCause};
use crate::proxy::report::Report;
use crate::route::gateway::Beyond;
use crate::tls::{Connector, TlsError, TlsStream, Trust};

/// Dials inside of tunnels to gateways.
pub(super) struct Inside {
    pub(super) outer: Pool<DialFailure>,
    pub(super) certificate: PodCert,
    pub(super) limit: Duration,
    pub(super) pace: Arc<Pace>,
    pub(super) report: Report,
    pub(super) trust: Trust,
}

/// Why there is no connection through a gateway.
#[derive(Debug, thiserror::Error)]
pub(super) enum InsideFailure {
    #[error(transparent)]
    Identity(AccessError),
    /// Us: a key without its outer half.
    #[error("nothing says which gateway leads there")]
    NoGateway,
    /// The pod begins too many. The local app.
    #[error("more than {per_second} TLS handshakes a second by this pod (setting max-handshakes-per-pod)")]
    Rate { per_second: u32 },
    #[error("no tunnel to the network gateway")]
    Outer(#[source] PoolError<DialFailure>),
    #[error("the TLS handshake with the destination behind the network gateway failed")]
    Tls(#[source] TlsError),
}

/// Which of the two tunnels failed: both lead to the gateway's address.
#[derive(Debug, thiserror::Error)]
#[error("{place} the network gateway")]
struct Leg {
    place: &'static str,
    #[source]
    source: Box<dyn std::error::Error + Send + Sync>,
}

/// How long one connection through a gateway takes new tunnels, 10 s. The gateway chooses an endpoint once for each
/// connection: many tunnels share the two handshakes, and still a caller's load comes to all endpoints.
const FRESH: Duration = Duration::from_secs(10);
/// Tunnels at once on one connection through a gateway, 16: for the same reason fewer than on a direct one.
const STREAMS: usize = 16;

/// The pool of inner connections, as that of the others is set.
pub(super) fn config(outer: &Config) -> Config {
    Config {
        idle: outer.idle.min(FRESH),
        max_streams: outer.max_streams.min(STREAMS),
        fresh: Some(FRESH),
        ..outer.clone()
    }
}

// === impl Inside ===

impl Dial for Inside {
    type Stream = TlsStream<TunnelIo>;
    type Error = InsideFailure;

    async fn dial(&self, key: &Key) -> Result<Self::Stream, InsideFailure> {
        let Through { outer, authority } = key.outer().ok_or(InsideFailure::NoGateway)?;
        // One that fails leaves the outer tunnel open, so it would cost nothing to begin the next.
        self.pace.wait().await.map_err(|per_second| InsideFailure::Rate { per_second })?;
        let certificate = self.certificate.wait(self.limit).await.map_err(InsideFailure::Identity)?;
        // It carries many clients, so it speaks for none of them.
        let request = Request {
            authority: authority.clone(),
            baggage: None,
            forwarded: Forwarded::default(),
            trace: None,
            network: None,
        };
        let (tunnel, _) = self.outer.connect(outer, &request).await.map_err(InsideFailure::Outer)?;
        let connector = Connector::new(&certificate, key.expected()).at(key.destination().ip());
        let connected = connector.connect(TunnelIo::new(tunnel)).await;
        tunnel::count(&self.report, &connected);
        connected.map_err(InsideFailure::Tls)
    }

    fn watch(&self, stream: &Self::Stream) -> Watch {
        tunnel::watch(&self.trust, stream.proof())
    }

    fn peer(stream: &Self::Stream) -> Option<Identity> {
        Some(stream.peer().clone())
    }
}

/// Opens the inner tunnel, and the outer one where none is open.
pub(super) async fn open(captured: &Captured, attempted: &Attempted, to: &Beyond) -> Result<Far, Failed> {
    let Captured { pod, client, .. } = captured;
    let authority = Authority::Host { host: Arc::clone(&to.host), port: to.port };
    let key = |expected: &[Identity], holder: &Arc<str>| {
        Key::new(pod.identity.clone(), expected.iter().cloned(), to.hop, client.ip(), Arc::clone(holder))
    };
    let outer = Arc::new(key(&to.expected, &to.gateway.uid));
    let inner = key(&to.inner, &to.target.workload.uid).through(Through { outer, authority: authority.clone() });
    let request = Request {
        authority,
        network: Some(Arc::clone(&pod.shared.config.network)),
        ..tunnel::request(captured, attempted, to.hop)
    };
    match pod.tunnels.inner.connect(&Arc::new(inner), &request).await {
        Ok((stream, answer)) => {
            // For labels: the record here is that of everything behind the gateway.
            let target = answer.baggage.as_ref().map(|said| baggage::read(said, answer.peer.as_ref()));
            Ok(Far::Tunnel(stream, Proven { peer: answer.peer, target, revoked: answer.cut }))
        }
        Err(error) => {
            let blame = tunnel::blame(&error, |source| match source {
                InsideFailure::Identity(_) | InsideFailure::NoGateway | InsideFailure::Rate { .. } => Blame::Final,
                InsideFailure::Outer(error) => tunnel::blame(error, DialFailure::blame),
                InsideFailure::Tls(TlsError::RevocationUnknown) => Blame::Final,
                InsideFailure::Tls(_) => Blame::Endpoint,
            });
            let is_inner = matches!(error, PoolError::Tunnel { .. } | PoolError::Open { .. });
            let why = tunnel::failure(to.hop, error, |source| match &*source {
                InsideFailure::Identity(error) => Failure::Identity(Box::new(error.clone())),
                InsideFailure::NoGateway => Failure::Loop,
                InsideFailure::Rate { per_second } => Failure::HandshakeRate { per_second: *per_second },
                InsideFailure::Outer(error) => {
                    on_leg("at", tunnel::failure(to.hop, error.clone(), |e| DialFailure::failure(to.hop, e)))
                }
                InsideFailure::Tls(TlsError::Revoked) => {
                    Failure::Tunnel { to: to.hop, cause: TunnelCause::Revoked, source: Box::new(source) }
                }
                InsideFailure::Tls(_) => {
                    Failure::Tunnel { to: to.hop, cause: TunnelCause::Tls, source: Box::new(source) }
                }
            });
            let why = if is_inner { on_leg("behind", why) } else { why };
            Err(Failed { why, blame })
        }
    }
}

/// Says in `why` where it was.
fn on_leg(place: &'static str, why: Failure) -> Failure {
    match why {
        Failure::Tunnel { to, cause, source } => Failure::Tunnel { to, cause, source: Box::new(Leg { place, source }) },
        why => why,
    }
}
