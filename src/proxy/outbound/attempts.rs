//! From a captured connection to an open far side: decide, try, and try another while nothing was sent.
//!
//! Each attempt is decided anew on the mesh as it is then, so no connection goes to an endpoint that was removed. The
//! application's bytes are read once the far side is there and not before, so what failed can always be tried elsewhere.

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

use super::captured::{Attempted, Captured};
use super::express::{self, Near};
use super::tunnel::Proven;
use super::{beyond, plain, tunnel};
use crate::hbone::tunnel::TunnelStream;
use crate::mesh::demand::Sought;
use crate::mesh::{Held, View};
use crate::model::spiffe::Identity;
use crate::proxy::asking::Asking;
use crate::proxy::outcome::Failure;
use crate::route::balance::{Avoid, EndpointId};
use crate::route::missing::missing;
use crate::route::outbound::{Facts, Refusal, Route, Target, outbound};
use crate::telemetry::metrics::table;
use crate::tls::{random_bytes, random_unit};

/// The far side of a connection.
pub(super) enum Far {
    Near(Near),
    Plain(TcpStream),
    /// With what its far end has proven.
    Tunnel(TunnelStream, Proven),
}

pub(super) struct Opened {
    pub(super) far: Far,
    pub(super) attempted: Attempted,
}

/// The connection was given up; the last attempt, and why it failed.
pub(super) struct Given {
    pub(super) why: Failure,
    pub(super) attempted: Attempted,
}

/// An attempt that failed.
pub(super) struct Failed {
    pub(super) why: Failure,
    pub(super) blame: Blame,
}

/// Who could do better.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Blame {
    /// Another endpoint may, and this one is remembered.
    Endpoint,
    /// Nobody listens there. As [`Blame::Endpoint`], and it may do so in a moment.
    Absent,
    /// A new look at the mesh may.
    Stale,
    /// Nobody: policy has decided, or the fault is ours.
    Final,
}

/// Endpoints that one connection tries.
const TRIES: usize = 3;
/// A destination can be in the mesh by its manifest a moment before its node has laid its rules and
/// listens. Its refusals are tried again for this long; its name for it would be "not ready yet".
const ENROLLING: Duration = Duration::from_millis(1200);
const TRY_AGAIN: Duration = Duration::from_millis(100);

/// Opens the far side, trying up to [`TRIES`] endpoints within the limit of a dial.
pub(super) async fn open(captured: &Captured) -> Result<Opened, Given> {
    let pod = &captured.pod;
    let mut attempts = Attempts { captured, tried: Vec::new(), resolved: Vec::new(), last: None };
    // What is not known may take half of the time: the rest is for the dial.
    let mut asking = Asking::new(&pod.shared, &pod.opening, pod.shared.config.connect_timeout / 2);
    let mut random = chance();
    // Every round ends the loop, asks (which is counted), looks up another name, waits within ENROLLING, or counts as a look.
    let mut looks = 0;
    loop {
        let view = pod.shared.mesh.view();
        let aside = pod.outliers().aside(Instant::now());
        let (attempted, missing) = attempts.decide(&view, &aside, random);
        let version = view.version();
        drop(view);
        match asking.about(missing, version).await {
            Ok(true) => continue,
            Ok(false) => {}
            Err(why) => return Err(Given { why, attempted }),
        }
        let tried = match &attempted.decision.route {
            Route::Resolve(_, name) => match attempts.resolve(name, attempted.source.as_deref(), random).await {
                // The same chance leads to the same endpoint, which has an address now.
                Ok(()) => continue,
                Err(failed) => Err(failed),
            },
            _ => attempts.attempt(&attempted).await,
        };
        let failed = match tried {
            Ok(far) => {
                // It took its time, and the mesh has changed.
                let now = pod.shared.mesh.view();
                let (network, namespace) = (&pod.shared.config.network, &pod.pod.key.namespace);
                let to = captured.destination.ip();
                if now.version() == version || attempted.decision.holds(network, namespace, to, &now) {
                    if let (Some(target), true) = (attempted.decision.route.target(), attempted.is_choice()) {
                        pod.outliers().succeeded(&target.id);
                    }
                    return Ok(Opened { far, attempted });
                }
                let why = Failure::Moved { to: captured.destination };
                Failed { why, blame: Blame::Stale }
            }
            Err(failed) => failed,
        };
        let Failed { why, blame } = failed;
        let target = attempted.decision.route.target();
        let (others, further) = target.map_or((false, false), |target| (target.others, target.further));
        if blame == Blame::Absent && !others && captured.accepted.elapsed() < ENROLLING {
            sleep(TRY_AGAIN).await;
            continue;
        }
        looks += 1;
        let again = match blame {
            Blame::Final => false,
            Blame::Stale => true,
            Blame::Endpoint | Blame::Absent => {
                attempts.strike(&attempted, &why);
                others || further
            }
        };
        let reason = why.reason();
        let given = attempts.keep(Given { why, attempted });
        if !again || looks >= TRIES || captured.accepted.elapsed() >= pod.shared.config.connect_timeout {
            return Err(given);
        }
        attempts.last = Some(given);
        random = chance();
        pod.shared.report.metrics.counter(table::RETRIES, [reason]).increment();
    }
}

fn chance() -> u64 {
    random_bytes().map_or(0, u64::from_le_bytes)
}

struct Attempts<'a> {
    captured: &'a Captured,
    tried: Vec<EndpointId>,
    resolved: Vec<(Arc<str>, IpAddr)>,
    /// What was tried before this attempt.
    last: Option<Given>,
}

// === impl Attempts ===

impl Attempts<'_> {
    /// The road, and what that decision was made without.
    fn decide(&self, view: &View, aside: &HashSet<EndpointId>, random: u64) -> (Attempted, Vec<Sought>) {
        let Captured { pod, client, destination, listener, .. } = self.captured;
        let config = &pod.shared.config;
        let source = pod.workload(view).cloned();
        let is_here = |ip: IpAddr, identity: &Identity| {
            config.same_node_lane && pod.shared.local.at(ip).is_some_and(|pod| *pod.identity() == *identity)
        };
        let own = pod.addresses();
        let facts = Facts {
            network: &config.network,
            namespace: &pod.pod.key.namespace,
            identity: &pod.identity,
            source: source.as_deref(),
            client: client.ip(),
            destination: *destination,
            listener: *listener,
            is_here: &is_here,
            own: &own,
            resolved: &self.resolved,
        };
        let decision = outbound(&facts, view, &Avoid { tried: &self.tried, aside }, random);
        // A vector that is empty is no allocation.
        let missing = if pod.shared.demand.is_some() { missing(&facts, &decision, view) } else { Vec::new() };
        (Attempted { decision, source }, missing)
    }

    /// Looks up the name of a chosen endpoint, for this connection.
    async fn resolve(&mut self, name: &Arc<str>, source: Option<&Held>, random: u64) -> Result<(), Failed> {
        let Captured { pod, destination, .. } = self.captured;
        pod.shared.report.looks_up(source, name);
        let found = pod.names.lookup(name, destination.is_ipv4(), random).await;
        let failed = |source| Failed { why: Failure::Name(Box::new(source)), blame: Blame::Endpoint };
        self.resolved.push((Arc::clone(name), found.map_err(failed)?));
        Ok(())
    }

    async fn attempt(&mut self, attempted: &Attempted) -> Result<Far, Failed> {
        let captured = self.captured;
        let certificate = &captured.pod.certificate;
        // Waited for here and not within an endpoint's share of the time: none of them is to blame for it.
        if matches!(attempted.decision.route, Route::Hbone(_) | Route::Beyond(_)) && certificate.certificate().is_err()
        {
            let limit = captured.pod.shared.config.connect_timeout;
            let failed = |error| Failed { why: Failure::Identity(Box::new(error)), blame: Blame::Final };
            certificate.wait(limit).await.map_err(failed)?;
        }
        let limit = self.limit(attempted.decision.route.target());
        let decision = &attempted.decision;
        let attempt = async {
            match &decision.route {
                Route::Passthrough => {
                    self.known_outside().await?;
                    plain::dial(captured, captured.destination).await.map(Far::Plain)
                }
                Route::Direct(target) => plain::dial(captured, target.at).await.map(Far::Plain),
                Route::Express(target) => express::open(captured, attempted, target).await.map(Far::Near),
                Route::Hbone(hbone) => tunnel::open(captured, attempted, hbone).await,
                Route::Beyond(to) => beyond::open(captured, attempted, to).await,
                // A name is looked up before, so this is not reached.
                Route::Resolve(..) | Route::Refuse(Refusal::Loop) => {
                    Err(Failed { why: Failure::Loop, blame: Blame::Final })
                }
                Route::Refuse(why) => {
                    let why = Failure::NoRoute { to: captured.destination, why: *why };
                    Err(Failed { why, blame: Blame::Final })
                }
            }
        };
        match limit {
            None => attempt.await,
            Some(limit) => timeout(limit, attempt).await.unwrap_or_else(|_| {
                let to = match &decision.route {
                    Route::Hbone(hbone) => hbone.hop,
                    route => route.target().map_or(captured.destination, |target| target.at),
                };
                Err(Failed { why: Failure::HopTimeout { to, limit }, blame: Blame::Endpoint })
            }),
        }
    }

    /// What the mesh lacks is outside of it only once all of it was heard of: until then what belongs into a tunnel would
    /// go in clear. Waits for that as for a policy.
    async fn known_outside(&self) -> Result<(), Failed> {
        let Captured { pod, destination: to, .. } = self.captured;
        let mesh = &pod.shared.mesh;
        if mesh.view().is_whole() {
            return Ok(());
        }
        let view = mesh.wait_for(pod.shared.config.policy_wait, View::is_whole).await;
        let (why, blame) = if view.is_whole() {
            (Failure::Moved { to: *to }, Blame::Stale)
        } else {
            (Failure::NoMesh { to: *to }, Blame::Final)
        };
        Err(Failed { why, blame })
    }

    /// An even share of the time that is left, so that one endpoint which does not answer leaves time for another. The
    /// only one has what its parts allow it, unless it has an address of the other family.
    fn limit(&self, target: Option<&Target>) -> Option<Duration> {
        let left = self.captured.pod.shared.config.connect_timeout.saturating_sub(self.captured.accepted.elapsed());
        let target = target?;
        let left_to_try = TRIES.saturating_sub(self.tried.len()).max(1);
        let more = if target.others { left_to_try } else { left_to_try.min(1 + usize::from(target.further)) };
        let alone = more == 1 && self.tried.is_empty();
        (!alone).then(|| left / u32::try_from(more).unwrap_or(1))
    }

    /// Remembers an endpoint that failed: for this connection, and for those that come after it.
    fn strike(&mut self, attempted: &Attempted, why: &Failure) {
        let Some(target) = attempted.decision.route.target() else { return };
        self.tried.push(target.id.clone());
        // Who dialled the pod itself has no choice, and sets nobody aside.
        if !attempted.is_choice() {
            return;
        }
        let pod = &self.captured.pod;
        let aside = pod.outliers().failed(&target.id, Instant::now(), random_unit());
        if let Some(aside) = aside {
            pod.shared.report.metrics.counter(table::SET_ASIDE, [why.reason()]).increment();
            tracing::warn!(
                pod = %pod.pod.key, endpoint = %target.id.uid, port = target.id.port, reason = why.reason(),
                seconds = aside.as_secs_f32(), "an endpoint did not take a connection and is set aside",
            );
        }
    }

    /// What to tell of the connection: an attempt that found no further endpoint says less than the one before it.
    fn keep(&mut self, given: Given) -> Given {
        match (&given.why, self.last.take()) {
            (Failure::NoRoute { .. }, Some(last)) => last,
            _ => given,
        }
    }
}

// === impl Attempted ===

impl Attempted {
    /// The endpoint was chosen of several that there may be.
    fn is_choice(&self) -> bool {
        let through = matches!(&self.decision.route, Route::Hbone(hbone) if hbone.is_waypoint);
        self.decision.service.is_some() || through
    }
}
