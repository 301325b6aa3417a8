//! The pod's data plane as enrolment drives it: redirection, listeners, proxy, in their order.

mod error;

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub use self::error::PlaneError;
use super::enrolled::Enrolled;
use super::namespace;
use super::older::{Older, is_carried};
use super::pairs::{Judged, Pairs, Place};
use super::redirection::Redirection;
use super::takeover::{Progress, Stand, Stands, Taker};
use crate::config::node::Ipv6;
use crate::dns::{self, PodDns};
use crate::enroll::manager::{self, Verified};
use crate::enroll::pairing::Pairing;
use crate::identity::access::PodCert;
use crate::identity::certs::Certs;
use crate::mesh::{Held, View};
use crate::model::pod::Pod;
use crate::model::spiffe::Identity;
use crate::proxy::listeners::Listeners;
use crate::proxy::pod::PodProxy;
use crate::proxy::shared::Shared;
use crate::redirect::{
    CgroupMatch, Claim, Claims, Families, Plan, PlanInput, Refusal, Swept, Target, families, plan, sweep,
};
use crate::sys::handover::Handed;
use crate::sys::netns::Netns;
use crate::telemetry::metrics::{Metrics, table};

/// What enrolment is set to.
#[derive(Clone, Debug)]
pub struct Config {
    /// Of pods of which the mesh knows no other.
    pub trust_domain: Arc<str>,
    /// This node and its cluster, for the mesh's records of announced pods.
    pub node: Arc<str>,
    pub cluster: Arc<str>,
    /// Whether IPv6 is redirected: where a namespace has it, nowhere, or everywhere, so that a pod without it is an error.
    pub ipv6: Ipv6,
    /// Whether pods that say nothing have a DNS proxy.
    pub dns_capture: bool,
    /// Where it listens; the port is that of rules of ours.
    pub dns_addresses: Arc<[SocketAddr]>,
    /// The daemon's cgroup, where the kernel can match it.
    pub cgroup: Option<CgroupMatch>,
    /// Reset the connections that are older than the enrolment.
    pub reset_older: bool,
    /// How long captured connections may outlive their pod's membership.
    pub withdraw_deadline: Duration,
    /// Where an agent lays the rules and another proxy has a pod's ports: listen beside it (SO_REUSEPORT) once the pod can
    /// be served.
    pub beside: bool,
}

pub struct Plane {
    config: Config,
    redirection: Redirection,
    claims: Claims,
    certs: Certs,
    shared: Arc<Shared>,
    dns: Arc<dns::Shared>,
    metrics: Metrics,
    pairs: Arc<Pairs>,
    /// What the next process may have.
    stands: Arc<Stands>,
    /// The process before this one, and the pods that came from it.
    taker: Option<Taker>,
    taken: Mutex<Vec<Weak<PodProxy>>>,
}

/// What a withdrawn pod's tunnels have for their last words: GOAWAY, a PING and its answer. Without it peers would learn
/// from a reset that the tunnel is gone. One whose peer answers ends at once.
const FAREWELL: Duration = Duration::from_millis(500);
/// How often a withdrawal looks whether the pod's connections have ended.
const DRAIN_POLL: Duration = Duration::from_millis(200);
/// Peers learn of a withdrawal from their own manifests, up to a second later. Until then they use
/// their tunnels, so these stay for this long even when nothing is in flight.
const LINGER: Duration = Duration::from_secs(2);
/// What a pod that another proxy serves waits for its certificate, and then for its record, before it is tried again.
const SERVABLE: Duration = Duration::from_secs(2);

// === impl Plane ===

impl Plane {
    pub fn new(
        config: Config,
        redirection: Redirection,
        certs: Certs,
        shared: Arc<Shared>,
        dns: Arc<dns::Shared>,
    ) -> Self {
        let metrics = shared.report.metrics.clone();
        let place = Place { node: Arc::clone(&config.node), cluster: Arc::clone(&config.cluster) };
        let pairs = Arc::new(Pairs::new(shared.mesh.clone(), place));
        let (claims, stands, taken) = (Claims::new(), Arc::default(), Mutex::default());
        Self { config, redirection, claims, certs, shared, dns, metrics, pairs, stands, taker: None, taken }
    }

    /// Pods' sockets come from the process before this one, as far as it has them.
    pub fn after(self, taker: Option<Taker>) -> Self {
        Self { taker, ..self }
    }

    pub const fn stands(&self) -> &Arc<Stands> {
        &self.stands
    }

    /// How far the pods are that came from the process before this one. [`Progress::Able`] when there are none.
    pub fn progress(&self) -> Progress {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.retain(|proxy| proxy.strong_count() > 0);
        let all: Vec<_> = taken.iter().filter_map(Weak::upgrade).collect();
        drop(taken);
        match all.iter().filter(|proxy| proxy.is_servable()).count() {
            servable if servable == all.len() => Progress::Able,
            0 => Progress::Unable,
            _ => Progress::Partly,
        }
    }

    /// Looks after announced pods whose records change, until `stop`.
    pub(super) fn watch(&self, stop: CancellationToken) -> impl Future<Output = ()> + Send + use<> {
        let (pairs, shared) = (Arc::clone(&self.pairs), Arc::clone(&self.shared));
        async move { pairs.watch(&shared.local, stop).await }
    }

    async fn blocking<T: Send + 'static>(
        work: impl FnOnce() -> Result<T, PlaneError> + Send + 'static,
    ) -> Result<T, PlaneError> {
        tokio::task::spawn_blocking(work).await.map_err(PlaneError::Cut)?
    }

    async fn plan(&self, netns: &Netns, dns: bool) -> Result<Plan, PlaneError> {
        let families = match self.config.ipv6 {
            Ipv6::Auto => {
                let netns = netns.clone();
                Self::blocking(move || Ok(families(&netns)?)).await?
            }
            Ipv6::Off => Families::V4Only,
            Ipv6::On => Families::Both,
        };
        let cgroup = self.config.cgroup.clone();
        let dns = self.config.dns_addresses.first().filter(|_| dns).map(SocketAddr::port);
        Ok(plan(&PlanInput { capture_inbound: true, cgroup, dns, families, virtual_interfaces: Vec::new() }))
    }

    /// Refuses a namespace that is not the pod's, as far as anybody knows. Nothing is written into it before. An announced
    /// pod comes back with the addresses of its namespace.
    async fn admit(&self, pod: &Arc<Pod>, netns: &Netns, claim: Claim) -> Result<Admitted, PlaneError> {
        let (redirection, pairs) = (self.redirection.clone(), Arc::clone(&self.pairs));
        let (pod, netns) = (Arc::clone(pod), netns.clone());
        Self::blocking(move || {
            let warden = redirection.warden();
            if !pod.is_announced() {
                warden.admit(Target { claim: &claim, netns: &netns, pod: &pod.addresses })?;
                return Ok(Admitted { pod, claim, trust_domain: None, proven_by: Vec::new() });
            }
            warden.forbid(&netns)?;
            let Judged { addresses, pairing, record } = pairs.judge(&pod, &warden.inside(&netns)?, &[]);
            if pairing == Pairing::Foreign {
                return Err(Refusal::NoAddress { pod: record.addresses }.into());
            }
            let proven_by = if pairing == Pairing::Proven { record.addresses } else { Vec::new() };
            let trust_domain = Some(record.trust_domain).filter(|domain| !domain.is_empty());
            let pod = Arc::new(Pod { addresses, ..Pod::clone(&pod) });
            Ok(Admitted { pod, claim, trust_domain, proven_by })
        })
        .await
    }

    /// Waits a moment until a connection of the pod could be served.
    async fn can_serve(&self, pod: &Pod, certificate: &PodCert) -> Result<(), PlaneError> {
        certificate.wait(SERVABLE).await.map_err(|_| PlaneError::Unready)?;
        let network = &self.shared.config.network;
        let is_its = |held: &Held| held.name == pod.key.name && held.namespace == pod.key.namespace;
        let known = |view: &View| {
            let mut at = pod.addresses.iter().filter_map(|ip| view.workload_at(network, *ip));
            at.any(|held| is_its(held))
        };
        let view = self.shared.mesh.wait_for(SERVABLE, known).await;
        if known(&view) { Ok(()) } else { Err(PlaneError::Unready) }
    }

    async fn serve(&self, pod: Arc<Pod>) -> Result<Enrolled, PlaneError> {
        let named = pod.netns.clone().ok_or(PlaneError::NoNetns)?;
        let netns = Self::blocking(move || Ok(namespace::open(&named)?)).await?;
        let claim = self.claims.claim(netns.id(), &pod.uid)?;
        let Admitted { pod, claim, trust_domain, proven_by } = self.admit(&pod, &netns, claim).await?;
        let captures_dns = pod.dns_capture.unwrap_or(self.config.dns_capture);
        let plan = self.plan(&netns, captures_dns).await?;
        let ipv6 = plan.families() == Families::Both;
        let mark = self.redirection.listener_mark(self.shared.config.mark);
        let trust_domain = trust_domain.unwrap_or_else(|| Arc::clone(&self.config.trust_domain));
        let account = Arc::clone(&pod.service_account);
        let identity = Identity::new(trust_domain, Arc::clone(&pod.key.namespace), account);
        let certificate = self.certs.acquire(&identity);
        let dns = captures_dns.then(|| Arc::clone(&self.config.dns_addresses));
        let doors = Doors { dns, ipv6, mark };
        let handed = match &self.taker {
            Some(taker) => taker.sockets(&pod.uid, netns.id()).await,
            None => Handed::default(),
        };
        let begin = self.taker.as_ref().filter(|_| !handed.is_empty()).map(|taker| taker.begin().clone());
        let is_taken = begin.is_some();
        // Where another proxy is about to leave, of ours or an agent's, its connections are among the pod's.
        let lists = self.redirection.is_own() && !is_taken;
        let (inside, of) = (netns.clone(), self.shared.config.mark);
        let carried = lists && Self::blocking(move || is_carried(&inside, of)).await?;
        let first = doors.clone();
        let opened = netns.run_async(move || first.open(handed, begin, false)).await?;
        let (listeners, asked) = match opened {
            Err(error) if error.is_taken() && self.config.beside && !self.redirection.is_own() => {
                self.can_serve(&pod, &certificate).await?;
                netns.run_async(move || doors.open(Handed::default(), None, true)).await??
            }
            opened => opened?,
        };
        let proxy = PodProxy::start(&self.shared, Arc::clone(&pod), netns.clone(), certificate, listeners)
            .map_err(PlaneError::Serve)?;
        let started =
            asked.map(|asked| PodDns::start(&self.dns, Arc::clone(&pod), netns.clone(), asked, ipv6, proxy.runtime()));
        let dns = match started.transpose() {
            Ok(dns) => dns.map(Arc::new),
            Err(error) => {
                proxy.close(Duration::ZERO).await;
                return Err(PlaneError::Serve(error));
            }
        };
        if is_taken {
            self.taken.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::downgrade(&proxy));
        }

        let (redirection, reset) = (self.redirection.clone(), self.config.reset_older);
        let work = move || {
            let older = if lists { Older::list(&netns, carried)? } else { Older::default() };
            let laying = redirection.lay(Target { claim: &claim, netns: &netns, pod: &pod.addresses }, plan)?;
            let older = older.settle(&netns, &pod.key, laying.is_first(), reset)?;
            Ok((claim, laying, older))
        };
        let stand = Arc::new(Stand::new(&proxy, dns.as_ref()));
        let laid = Self::blocking(work).await;
        match laid.and_then(|laid| if self.stands.add(&stand) { Ok(laid) } else { Err(PlaneError::Retired) }) {
            Ok((claim, laying, older)) => Ok(Enrolled::new(proxy, dns, stand, claim, laying, proven_by, older)),
            Err(error) => {
                // The listeners must not stay behind without their rules, or the next try finds the ports taken.
                proxy.close(Duration::ZERO).await;
                if let Some(dns) = dns {
                    dns.close().await;
                }
                Err(error)
            }
        }
    }
}

/// Which listeners a pod has.
#[derive(Clone)]
struct Doors {
    /// Where its name server listens, when it has one.
    dns: Option<Arc<[SocketAddr]>>,
    ipv6: bool,
    mark: u32,
}

impl Doors {
    /// In the pod's namespace. What was handed over is accepted from after `begin`.
    fn open(
        self,
        mut handed: Handed,
        begin: Option<CancellationToken>,
        beside: bool,
    ) -> Result<(Listeners, Option<dns::Listeners>), PlaneError> {
        let Self { dns, ipv6, mark } = self;
        let asked = dns.map(|addresses| dns::Listeners::open(&addresses, ipv6, &mut handed, beside)).transpose()?;
        let listeners = Listeners::open(ipv6, mark, &mut handed, beside)?;
        let Some(begin) = begin else { return Ok((listeners, asked)) };
        let held = asked.map(|asked| asked.held_until(begin.clone()));
        Ok((listeners.held_until(begin), held))
    }
}

/// A pod whose namespace may be used.
struct Admitted {
    pod: Arc<Pod>,
    claim: Claim,
    trust_domain: Option<Arc<str>>,
    proven_by: Vec<IpAddr>,
}

impl manager::Plane for Plane {
    type Enrolled = Enrolled;
    type Error = PlaneError;

    async fn enrol(&self, pod: Arc<Pod>) -> Result<Enrolled, PlaneError> {
        let key = pod.key.clone();
        let result = Box::pin(self.serve(pod)).await;
        match &result {
            Ok(_) => self.metrics.counter(table::WORKLOAD_PROXIES_STARTED, []).increment(),
            Err(error) => {
                if let Some(refusal) = error.refusal() {
                    tracing::error!(pod = %key, %refusal, "the network namespace is refused: nothing was written into it");
                    self.metrics.counter(table::POD_REFUSALS, [refusal.reason()]).increment();
                }
            }
        }
        result
    }

    async fn verify(&self, pod: Arc<Enrolled>) -> Result<Verified, PlaneError> {
        // The next process lays its own rules, which may be of another version: no quarrel.
        if pod.is_lent() {
            return Ok(Verified::Same);
        }
        let (redirection, metrics) = (self.redirection.clone(), self.metrics.clone());
        let pairs = Arc::clone(&self.pairs);
        Self::blocking(move || {
            let netns = pod.proxy.netns();
            let now = pod.proxy.pod().netns.as_ref().map_or_else(|| Ok(netns.clone()), namespace::open);
            if now.as_ref().is_ok_and(|now| now.id() != netns.id()) {
                return Ok(Verified::Replaced);
            }
            if pod.proxy.pod().is_announced()
                && let Some(other) = pod.look_again(&pairs, redirection.warden().inside(netns)?)
            {
                return Ok(other);
            }
            let healed = pod.mend(&redirection)?;
            // What cannot be counted holds up no healing, and hides none: the next verification tells of it.
            let counted = pod.count(&metrics, &redirection);
            if healed {
                return Ok(Verified::Healed);
            }
            counted?;
            // The namespace that is held was looked after all the same: its pod may live on without a name.
            now.map(|_| Verified::Same).map_err(PlaneError::from)
        })
        .await
    }

    async fn release(&self, pod: Arc<Enrolled>) -> Result<(), PlaneError> {
        let redirection = self.redirection.clone();
        Self::blocking(move || pod.release(&redirection)).await
    }

    async fn drained(&self, pod: Arc<Enrolled>) {
        let started = Instant::now();
        loop {
            tokio::time::sleep(DRAIN_POLL).await;
            let waited = started.elapsed();
            if waited >= self.config.withdraw_deadline || (waited >= LINGER && pod.proxy.is_idle()) {
                return;
            }
        }
    }

    async fn remove(&self, pod: Arc<Enrolled>) -> Result<(), PlaneError> {
        let last_words = if pod.is_mispaired() { Duration::ZERO } else { FAREWELL };
        pod.proxy.close(last_words).await;
        if let Some(dns) = pod.dns() {
            dns.close().await;
        }
        self.metrics.counter(table::WORKLOAD_PROXIES_STOPPED, []).increment();
        if pod.proxy.pod().is_announced() {
            self.pairs.departed(pod.proxy.pod(), &pod.proxy.addresses());
        }
        let redirection = self.redirection.clone();
        Self::blocking(move || redirection.remove(pod.proxy.netns())).await
    }

    async fn sweep(&self, pod: Arc<Pod>) -> Result<bool, PlaneError> {
        let (Some(named), true) = (pod.netns.clone(), self.redirection.is_own()) else { return Ok(false) };
        let claims = self.claims.clone();
        Self::blocking(move || {
            let netns = namespace::open(&named)?;
            // A namespace that an enrolled pod has under another name is not ours to sweep.
            let _claim = claims.claim(netns.id(), &pod.uid)?;
            Ok(!Swept::is_empty(&sweep(&netns)?))
        })
        .await
    }

    async fn attention(&self) -> Vec<Arc<str>> {
        self.pairs.attention().await
    }
}
