//! One enrolled pod, or the daemon itself as one: its identity, its namespace, its listeners, its connections.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::accept::{Handle, Span, accept};
use super::budgets::Handshakes;
use super::connections::Connections;
use super::dialler::{DialError, Dialler};
use super::flows::Client;
use super::listeners::{Listeners, Of};
use super::names::Names;
use super::outcome::Failure;
use super::outlier::Outliers;
use super::shared::Shared;
use super::{asking, inbound, outbound, own};
use crate::authz::{self, Decision, Permit, Request};
use crate::identity::access::PodCert;
use crate::mesh::demand::Share;
use crate::mesh::{Held, View};
use crate::model::name::NamespacedName;
use crate::model::pod::Pod;
use crate::model::spiffe::Identity;
use crate::runtime::tasks::Tasks;
use crate::runtime::threads::Place;
use crate::sys::handover::Door;
use crate::sys::netns::Netns;
use crate::telemetry::metrics::Reporter;

/// An enrolled pod's data path. Dropping the last handle cuts its connections; see [`PodProxy::close`].
pub struct PodProxy {
    pub(super) pod: Arc<Pod>,
    of: Of,
    /// The pod's own addresses: those of its object, or, where an agent announced it, those in its namespace.
    addresses: ArcSwap<Vec<IpAddr>>,
    pub(super) identity: Identity,
    pub(super) netns: Netns,
    pub(super) dialler: Arc<Dialler>,
    pub(super) names: Names,
    pub(super) certificate: PodCert,
    pub(super) tunnels: outbound::Tunnels,
    /// Endpoints that failed this pod of late.
    outliers: Mutex<Outliers>,
    /// Connections that the pod opened.
    pub(super) opened: Arc<Connections>,
    /// Connections that came to the pod.
    pub(super) arrived: Arc<Connections>,
    pub(super) shared: Arc<Shared>,
    /// Relays and tunnels. Cut at the drain's deadline.
    pub(super) tasks: Tasks,
    /// Places for peers that have not proven who they are yet; there are [`handshakes`] of them.
    pub(super) handshaking: Semaphore,
    /// Of handshakes that peers begin.
    handshakes: Handshakes,
    /// What connections of the pod ask of the control plane at a time, and what connections to it do.
    pub(super) opening: Share,
    pub(super) arriving: Share,
    /// The accept loops end with it.
    accepting: CancellationToken,
    /// The pod itself goes: nothing that a peer has sent to it is for another process of the node.
    leaving: AtomicBool,
    /// The accept loops.
    listening: TaskTracker,
    /// What they accept from.
    doors: Vec<Door>,
    place: Place,
}

/// How many of a pod's `connections` may be peers in the middle of a handshake: they hold their places for up to
/// 10 s each without having proven anything, and must not take those of the pod's own connections.
pub(super) fn handshakes(connections: usize) -> usize {
    (connections / 8).clamp(1, Semaphore::MAX_PERMITS)
}

/// How often a pod that closes looks whether its neighbours' connections have ended.
const LOOK: Duration = Duration::from_millis(20);
/// What a connection that was told to end may take for it.
const LAST: Duration = Duration::from_secs(1);

// === impl PodProxy ===

impl PodProxy {
    /// Takes the pod's parts and starts to accept. From now on the pod is found by its neighbours on this node; the daemon,
    /// with [`Listeners::of_daemon`], never is.
    pub fn start(
        shared: &Arc<Shared>,
        pod: Arc<Pod>,
        netns: Netns,
        certificate: PodCert,
        listeners: Listeners,
    ) -> std::io::Result<Arc<Self>> {
        let place = shared.threads.place()?;
        let tasks = shared.tasks(&pod.key.to_string(), &place);
        let of = listeners.of;
        let mark = if of == Of::Pod { shared.config.mark } else { 0 };
        let dialler = Dialler::new(netns.clone(), mark, shared.config.connect_timeout);
        let outbound: Handle = |proxy, stream, client| Box::pin(outbound::handle(proxy, stream, client));
        let plaintext: Handle = |proxy, stream, client| Box::pin(inbound::plaintext::handle(proxy, stream, client));
        let hbone: Handle = |proxy, stream, client| Box::pin(inbound::hbone::handle(proxy, stream, client));
        let runtime = place.runtime().clone();
        let _on_thread = runtime.enter();
        let mut served = Vec::new();
        for (listeners, reporter, handle) in [
            (listeners.outbound, Reporter::Source, outbound),
            (listeners.plaintext, Reporter::Destination, plaintext),
            (listeners.hbone, Reporter::Destination, hbone),
        ] {
            for listener in listeners {
                served.push((Arc::new(tokio::net::TcpListener::from_std(listener)?), reporter, handle));
            }
        }
        let proxy = Arc::new(Self {
            identity: certificate.identity().clone(),
            tunnels: outbound::Tunnels::new(shared, &place, &dialler, &certificate),
            outliers: Mutex::default(),
            names: Names::new(netns.clone(), mark),
            dialler,
            opened: Arc::default(),
            arrived: Arc::default(),
            shared: Arc::clone(shared),
            handshaking: Semaphore::new(handshakes(shared.config.connections_per_pod)),
            handshakes: Handshakes::new(shared.config.handshakes_per_second),
            opening: Share::new(asking::SHARE),
            arriving: Share::new(asking::SHARE),
            accepting: tasks.draining().child_token(),
            leaving: AtomicBool::new(false),
            listening: TaskTracker::new(),
            doors: served.iter().map(|(listener, ..)| Door::Stream(Arc::downgrade(listener))).collect(),
            addresses: ArcSwap::from_pointee(pod.addresses.clone()),
            of,
            pod,
            netns,
            certificate,
            tasks,
            place,
        });
        // Before the first connection: revocation looks for connections in the pods that are listed.
        shared.local.add(&proxy);
        for (listener, reporter, handle) in served {
            let span = Span { begin: listeners.begin.clone(), stop: proxy.accepting.clone() };
            let accept = accept(Arc::downgrade(&proxy), reporter, listener, span, handle);
            drop(proxy.listening.spawn_on(accept, &runtime));
        }
        if let Some(demand) = &shared.demand {
            own::ask(shared, demand, &proxy);
        }
        Ok(proxy)
    }

    /// Starts a connection's task.
    ///
    /// # Errors
    /// The pod has its connections, or the process its descriptors.
    pub(super) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) -> Result<(), Failure> {
        let shared = &self.shared;
        let Some(held) = shared.descriptors.take(self.tasks.len(), shared.local.count()) else {
            return Err(Failure::Descriptors { limit: shared.descriptors.connections() });
        };
        let task = async move {
            let _held = held;
            work.await;
        };
        self.tasks.spawn(task).map_err(|full| Failure::Limit { limit: full.limit })
    }

    /// Waits until a peer's handshake is due.
    ///
    /// # Errors
    /// Too many were begun before it.
    pub(super) async fn may_handshake(&self) -> Result<(), Failure> {
        let per_second = self.shared.config.handshakes_per_second;
        let wait = self.handshakes.take(Instant::now()).ok_or(Failure::HandshakeRate { per_second })?;
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
        Ok(())
    }

    /// Host names of endpoints are looked up by the name server that `asked` tells, as soon as it tells one.
    pub fn look_up_by(&self, asked: impl Fn() -> Option<SocketAddr> + Send + Sync + 'static) {
        self.names.follow(Box::new(asked));
    }

    /// What runs on its thread.
    pub fn runtime(&self) -> &tokio::runtime::Handle {
        self.place.runtime()
    }

    pub fn pod(&self) -> &Arc<Pod> {
        &self.pod
    }

    /// The addresses that are the pod's own, as they are known now.
    pub fn addresses(&self) -> Arc<Vec<IpAddr>> {
        self.addresses.load_full()
    }

    /// The pod's namespace has other addresses than before.
    pub fn readdress(self: &Arc<Self>, addresses: Vec<IpAddr>) {
        self.addresses.store(Arc::new(addresses));
        self.shared.local.readdress(self);
    }

    /// It is the daemon itself, in the daemon's own namespace.
    pub fn is_daemon(&self) -> bool {
        self.of != Of::Pod
    }

    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    pub fn netns(&self) -> &Netns {
        &self.netns
    }

    pub fn opened(&self) -> &Arc<Connections> {
        &self.opened
    }

    pub fn arrived(&self) -> &Arc<Connections> {
        &self.arrived
    }

    /// Tunnels that it has opened, with and without streams.
    pub fn tunnels(&self) -> usize {
        self.tunnels.connections()
    }

    /// How often a stream waited because what peers do not take has filled the pod's byte budget.
    pub fn times_held_back(&self) -> u64 {
        self.tunnels.budget.times_held_back()
    }

    /// True when the pod has no live connection.
    pub fn is_idle(&self) -> bool {
        self.opened.is_empty() && self.arrived.is_empty()
    }

    /// It accepts nothing more, and its neighbours' connections go elsewhere.
    pub fn is_closing(&self) -> bool {
        self.accepting.is_cancelled()
    }

    /// The pod leaves the node or the mesh: what comes in its tunnels is better tried elsewhere.
    pub(super) fn is_leaving(&self) -> bool {
        self.leaving.load(Ordering::Relaxed)
    }

    /// The listeners, for another process of ours.
    pub fn doors(&self) -> &[Door] {
        &self.doors
    }

    /// What a new connection needs is there: a certificate, and the mesh's record of the pod.
    pub fn is_servable(&self) -> bool {
        self.certificate.certificate().is_ok() && self.workload(&self.shared.mesh.view()).is_some()
    }

    /// Another process has the listeners: nothing more is accepted here, what is queued is left to it, and peers are asked
    /// to open nothing more in their tunnels to here. What is live goes on, until [`Self::close`].
    pub async fn retire(&self) {
        self.tasks.draining().cancel();
        self.listening.close();
        self.listening.wait().await;
    }

    /// Stops accepting, asks peers to open nothing more, waits until `deadline`, then cuts. When it returns, the
    /// pod's ports are free and none of its connections lives.
    pub async fn close(&self, deadline: Duration) {
        let until = Instant::now() + deadline;
        // A process that leaves serves what was sent before the peer could know of it; a pod that goes has nobody to serve it.
        self.leaving.store(!self.shared.drain.is_cancelled(), Ordering::Relaxed);
        self.accepting.cancel();
        self.listening.close();
        self.listening.wait().await;
        self.tasks.drain(deadline).await;
        // The same-node lane's connections to this pod are tasks of the pods that opened them.
        self.emptied(until).await;
        for connection in self.arrived.all() {
            connection.end(Failure::Drained);
        }
        self.emptied(Instant::now() + LAST).await;
        // Only now: until here, policy that changes still ends what it no longer permits.
        self.shared.local.remove(self);
        self.tunnels.close();
    }

    /// Waits until no connection to this pod is left, or until `until`, or until everything is cut.
    async fn emptied(&self, until: Instant) {
        while !self.arrived.is_empty() && Instant::now() < until && !self.shared.force.is_cancelled() {
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Held for a look or a change, never across a wait.
    pub(super) fn outliers(&self) -> MutexGuard<'_, Outliers> {
        self.outliers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// This pod's own record in `view`.
    pub(super) fn workload<'a>(&self, view: &'a View) -> Option<&'a Arc<Held>> {
        let of = |ip: &IpAddr| view.workload_at(&self.shared.config.network, *ip);
        // An address that the mesh gives to somebody else is not ours, whatever the manifest said.
        let is_ours = |of: &&Arc<Held>| of.name == self.pod.key.name && of.namespace == self.pod.key.namespace;
        // In the host's network the daemon's record is at no address.
        let daemon = || view.workload_by_uid(&self.pod.uid).filter(|_| self.is_daemon());
        self.addresses.load().iter().filter_map(of).find(is_ours).or_else(daemon)
    }

    /// Judges a connection to this pod and counts it for the report, waiting a bounded time for policies that have not arrived.
    pub(super) async fn admit(&self, request: &Request<'_>) -> Result<Permit, Failure> {
        let mut view = self.shared.mesh.view();
        let mut request = *request;
        let with_identity = request.peer.is_some();
        let known = |view: &View| self.is_known(view, with_identity);
        if !known(&view) {
            view = self.shared.mesh.wait_for(self.shared.config.policy_wait, known).await;
            request.now = SystemTime::now();
        }
        let workload = self.workload(&view);
        let decision = workload.filter(|_| view.has_policies()).map(|workload| {
            let applicable = view.policies_for(workload);
            let decision = authz::evaluate(&request, &applicable);
            let observations = authz::observe(&request, &applicable, &decision);
            self.shared.report.observed(&request, &observations, decision.is_allow());
            decision
        });
        let allowed = matches!(decision, Some(Decision::Allow(_)));
        self.shared.flows.record(Instant::now(), &self.pod.key, &request, self.client(&view, &request), allowed);
        match decision {
            Some(Decision::Allow(permit)) => Ok(permit),
            Some(Decision::Deny(denial)) => Err(Failure::Denied(Box::new(denial))),
            None if workload.is_some() => Err(Failure::NoPolicies { to: request.destination }),
            None => Err(Failure::UnknownWorkload { to: request.destination }),
        }
    }

    /// Dials the application, to which only a permit gives way, and shows it the peer's address; the daemon's own pages
    /// see their own, since nothing leads what they answer to another back here.
    pub(super) async fn dial_app(&self, _: Permit, to: SocketAddr, peer: IpAddr) -> Result<TcpStream, Failure> {
        let source = match self.of {
            Of::Pod => Some(peer),
            // What listens on the daemon's loopback is not for peers, whatever a record says of PROXY headers.
            Of::Daemon { pages } if to.ip().is_loopback() || !pages.contains(&to.port()) => {
                return Err(Failure::NotOurs { to });
            }
            Of::Daemon { .. } => None,
        };
        self.dial(to, source).await.map_err(|error| error.into_app_failure(to))
    }

    /// Who calls: the identity that was proven, else whose address it is.
    fn client(&self, view: &View, request: &Request<'_>) -> Client {
        match (request.peer, view.workload_at(&self.shared.config.network, request.source)) {
            (Some(identity), _) => Client::Identity(identity.clone()),
            (None, Some(workload)) => {
                Client::Pod(NamespacedName::new(Arc::clone(&workload.namespace), Arc::clone(&workload.name)))
            }
            (None, None) => Client::Address(request.source),
        }
    }

    /// The mesh knows the pod, all policies that apply by their scope, and every one that the pod names and that matters
    /// to such a peer.
    fn is_known(&self, view: &View, with_identity: bool) -> bool {
        let named = |workload: &Arc<Held>| view.policies_for(workload).is_complete(with_identity);
        view.has_policies() && self.workload(view).is_some_and(named)
    }

    /// Opens a connection from inside the pod's namespace.
    pub(super) async fn dial(&self, remote: SocketAddr, source: Option<IpAddr>) -> Result<TcpStream, DialError> {
        self.dialler.dial(remote, source).await
    }
}

impl Drop for PodProxy {
    fn drop(&mut self) {
        self.accepting.cancel();
    }
}

#[cfg(test)]
pub(super) mod tests;
