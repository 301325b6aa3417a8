//! The pod's data plane as enrolment drives it: redirection, listeners, proxy, in their order.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::config::node::Ipv6;
use crate::enroll::manager::{self, Verified};
use crate::identity::certs::Certs;
use crate::model::pod::Pod;
use crate::model::spiffe::Identity;
use crate::proxy::pod::{ListenError, Listeners, PodProxy};
use crate::proxy::shared::Shared;
use crate::redirect::{
    CgroupMatch, Claim, Claims, Families, Laid, Plan, PlanInput, RedirectError, Redirector, Refusal, Swept, Target,
    Uncarried, Verdict, families, plan, sweep,
};
use crate::sys::netlink::{NetlinkError, NetlinkSocket, Protocol};
use crate::sys::netns::{Netns, NetnsError};
use crate::sys::sock_diag;
use crate::telemetry::metrics::{Metrics, table};

/// What enrolment is set to.
#[derive(Clone, Debug)]
pub struct Config {
    pub trust_domain: Arc<str>,
    /// Whether IPv6 is redirected: where a namespace has it, nowhere, or everywhere, so that a pod without it is an error.
    pub ipv6: Ipv6,
    /// The daemon's cgroup, where the kernel can match it.
    pub cgroup: Option<CgroupMatch>,
    /// Reset the connections that are older than the enrolment.
    pub reset_older: bool,
    /// How long captured connections may outlive their pod's membership.
    pub withdraw_deadline: Duration,
}

pub struct Plane {
    config: Config,
    redirector: Redirector,
    claims: Claims,
    certs: Certs,
    shared: Arc<Shared>,
    metrics: Metrics,
}

/// A pod with its rules laid and verified and its proxy accepting.
pub struct Enrolled {
    pub proxy: Arc<PodProxy>,
    plan: Plan,
    claim: Claim,
    laid: Mutex<Laid>,
    /// Its redirects are out: verification must not lay them again.
    released: AtomicBool,
    /// Cookies of the connections that were there before, as far as they still are.
    older: Mutex<HashSet<u64>>,
    older_count: AtomicUsize,
}

/// Why a pod could not be enrolled, verified or withdrawn.
#[derive(Debug, thiserror::Error)]
pub enum PlaneError {
    #[error(transparent)]
    Listen(#[from] ListenError),
    #[error(transparent)]
    Namespace(#[from] NetnsError),
    #[error("cannot list or reset the pod's connections")]
    Netlink(#[from] NetlinkError),
    /// Configuration.
    #[error("the pod has no network namespace: give its manifest the annotation culvert.dev/netns")]
    NoNetns,
    /// Us: a blocking step panicked or the runtime is ending.
    #[error("a step was cut off")]
    Cut(#[source] tokio::task::JoinError),
    #[error(transparent)]
    Redirect(#[from] RedirectError),
    #[error("the network namespace is refused")]
    Refused(#[from] Refusal),
    #[error("cannot serve the pod's listeners")]
    Serve(#[source] std::io::Error),
}

/// What a withdrawn pod's tunnels have for their last words: GOAWAY, a PING and its answer. Without it peers would learn
/// from a reset that the tunnel is gone. One whose peer answers ends at once.
const FAREWELL: Duration = Duration::from_millis(500);
/// How often a withdrawal looks whether the pod's connections have ended.
const DRAIN_POLL: Duration = Duration::from_millis(200);
/// Peers learn of a withdrawal from their own manifests, up to a second later. Until then they use
/// their tunnels, so these stay for this long even when nothing is in flight.
const LINGER: Duration = Duration::from_secs(2);

// === impl Plane ===

impl Plane {
    pub fn new(config: Config, redirector: Redirector, certs: Certs, shared: Arc<Shared>) -> Self {
        let metrics = shared.report.metrics.clone();
        Self { config, redirector, claims: Claims::new(), certs, shared, metrics }
    }

    async fn blocking<T: Send + 'static>(
        work: impl FnOnce() -> Result<T, PlaneError> + Send + 'static,
    ) -> Result<T, PlaneError> {
        tokio::task::spawn_blocking(work).await.map_err(PlaneError::Cut)?
    }

    fn plan(&self, netns: &Netns) -> Result<Plan, PlaneError> {
        let families = match self.config.ipv6 {
            Ipv6::Auto => families(netns)?,
            Ipv6::Off => Families::V4Only,
            Ipv6::On => Families::Both,
        };
        let cgroup = self.config.cgroup.clone();
        Ok(plan(&PlanInput { capture_inbound: true, cgroup, families, virtual_interfaces: Vec::new() }))
    }
}

impl manager::Plane for Plane {
    type Enrolled = Enrolled;
    type Error = PlaneError;

    async fn enrol(&self, pod: Arc<Pod>) -> Result<Enrolled, PlaneError> {
        let path = pod.netns.clone().ok_or(PlaneError::NoNetns)?;
        let netns = Self::blocking(move || Ok(Netns::open(path)?)).await?;
        let claim = self.claims.claim(netns.id(), &pod.uid)?;
        let plan = self.plan(&netns)?;
        // Everything that refuses the namespace comes before anything that writes into it.
        let (redirector, refused, of) = (self.redirector.clone(), netns.clone(), Arc::clone(&pod));
        let claim = Self::blocking(move || {
            redirector.admit(Target { claim: &claim, netns: &refused, pod: &of.addresses })?;
            Ok(claim)
        })
        .await?;
        let ipv6 = plan.families() == Families::Both;
        let listeners = netns.run_async(move || Listeners::open(ipv6)).await??;
        let account = Arc::clone(&pod.service_account);
        let identity = Identity::new(Arc::clone(&self.config.trust_domain), Arc::clone(&pod.key.namespace), account);
        let certificate = self.certs.acquire(&identity);
        let proxy = PodProxy::start(&self.shared, Arc::clone(&pod), netns.clone(), certificate, listeners)
            .map_err(PlaneError::Serve)?;

        let (redirector, reset) = (self.redirector.clone(), self.config.reset_older);
        let work = move || {
            let older = older_connections(&netns)?;
            let laid = redirector.lay(Target { claim: &claim, netns: &netns, pod: &pod.addresses }, &plan)?;
            if reset {
                reset_connections(&netns, &older)?;
            }
            let cookies: HashSet<_> = if reset { HashSet::new() } else { older.iter().map(|c| c.cookie).collect() };
            if !cookies.is_empty() {
                tracing::warn!(
                    pod = %pod.key, connections = cookies.len(),
                    "connections are older than the enrolment and go on outside of the mesh (setting reset-older-connections ends them)"
                );
            }
            Ok((plan, claim, laid, cookies))
        };
        match Self::blocking(work).await {
            Ok((plan, claim, laid, older)) => Ok(Enrolled {
                proxy,
                plan,
                claim,
                laid: Mutex::new(laid),
                released: AtomicBool::new(false),
                older_count: AtomicUsize::new(older.len()),
                older: Mutex::new(older),
            }),
            Err(error) => {
                // The listeners must not stay behind without their rules, or the next try finds the ports taken.
                proxy.close(Duration::ZERO).await;
                Err(error)
            }
        }
    }

    async fn verify(&self, pod: Arc<Enrolled>) -> Result<Verified, PlaneError> {
        let (redirector, metrics) = (self.redirector.clone(), self.metrics.clone());
        Self::blocking(move || {
            let netns = pod.proxy.netns();
            let now = Netns::open(netns.path());
            if now.as_ref().is_ok_and(|now| now.id() != netns.id()) {
                return Ok(Verified::Replaced);
            }
            pod.recount_older()?;
            pod.publish(&metrics, redirector.uncarried(netns)?);
            let resumed = pod.released.swap(false, Ordering::Relaxed);
            if let Verdict::Differs(differences) = redirector.verify(netns, &pod.plan)? {
                for difference in differences.iter().take(8) {
                    if !resumed {
                        tracing::warn!(pod = %pod.proxy.pod().key, %difference, "the pod's rules were changed; laying them again");
                    }
                }
                let target = Target { claim: &pod.claim, netns, pod: &pod.proxy.pod().addresses };
                let laid = redirector.lay(target, &pod.plan)?;
                *pod.laid.lock().unwrap_or_else(PoisonError::into_inner) = laid;
                return Ok(Verified::Healed);
            }
            // The namespace that is held was looked after all the same: its pod may live on without a name.
            now.map(|_| Verified::Same).map_err(PlaneError::from)
        })
        .await
    }

    async fn release(&self, pod: Arc<Enrolled>) -> Result<(), PlaneError> {
        let redirector = self.redirector.clone();
        Self::blocking(move || {
            pod.released.store(true, Ordering::Relaxed);
            Ok(redirector.withdraw_redirects(pod.proxy.netns())?)
        })
        .await
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
        pod.proxy.close(FAREWELL).await;
        let redirector = self.redirector.clone();
        Self::blocking(move || Ok(redirector.remove(pod.proxy.netns()).map(drop)?)).await
    }

    async fn sweep(&self, pod: Arc<Pod>) -> Result<bool, PlaneError> {
        let Some(path) = pod.netns.clone() else { return Ok(false) };
        let claims = self.claims.clone();
        Self::blocking(move || {
            let netns = Netns::open(path)?;
            // A namespace that an enrolled pod has under another name is not ours to sweep.
            let _claim = claims.claim(netns.id(), &pod.uid)?;
            Ok(!Swept::is_empty(&sweep(&netns)?))
        })
        .await
    }
}

// === impl Enrolled ===

impl Enrolled {
    /// What goes past the mesh in this pod.
    fn publish(&self, metrics: &Metrics, uncarried: Uncarried) {
        let key = &self.proxy.pod().key;
        let (namespace, pod) = (&*key.namespace, &*key.name);
        for (protocol, direction, count) in [
            ("other", "in", uncarried.other_in),
            ("other", "out", uncarried.other_out),
            ("sctp", "in", uncarried.sctp_in),
            ("sctp", "out", uncarried.sctp_out),
            ("udp", "in", uncarried.udp_in),
            ("udp", "out", uncarried.udp_out),
        ] {
            let labels = [namespace, pod, protocol, direction];
            metrics.counter(table::POD_UNCARRIED_PACKETS, labels).raise_to(count.packets);
        }
        let held_back = self.proxy.times_held_back();
        metrics.counter(table::POD_HELD_BACK, [namespace, pod]).raise_to(held_back);
        let older = i64::try_from(self.older_connections()).unwrap_or(i64::MAX);
        metrics.gauge(table::POD_OLDER_CONNECTIONS, [namespace, pod]).set(older);
    }

    /// Connections that are older than the enrolment and still live: they are not carried.
    pub fn older_connections(&self) -> usize {
        self.older_count.load(Ordering::Relaxed)
    }

    fn recount_older(&self) -> Result<(), PlaneError> {
        let mut older = self.older.lock().unwrap_or_else(PoisonError::into_inner);
        if !older.is_empty() {
            let live: HashSet<_> = older_connections(self.proxy.netns())?.iter().map(|c| c.cookie).collect();
            older.retain(|cookie| live.contains(cookie));
            self.older_count.store(older.len(), Ordering::Relaxed);
        }
        Ok(())
    }
}

fn older_connections(netns: &Netns) -> Result<Vec<sock_diag::Connection>, PlaneError> {
    let mut socket = NetlinkSocket::open_in(netns, Protocol::SockDiag)?;
    Ok(sock_diag::connections(&mut socket)?)
}

fn reset_connections(netns: &Netns, connections: &[sock_diag::Connection]) -> Result<(), PlaneError> {
    let mut socket = NetlinkSocket::open_in(netns, Protocol::SockDiag)?;
    for connection in connections {
        sock_diag::destroy(&mut socket, connection)?;
    }
    Ok(())
}
