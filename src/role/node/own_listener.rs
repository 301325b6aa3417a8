//! The listener for tunnels to this process itself, in its own network namespace: peers of the mesh read its pages by
//! mutual TLS and under policy, as they call any pod. As in Istio's ztunnel, it is there when the environment says which
//! pod this process is.

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::plane::Plane;
use super::takeover::{OWN, Predecessor, Stand, Stands, Taker};
use crate::config::node::{Ipv6, NodeSettings};
use crate::config::source::OwnWorkload;
use crate::enroll::pairing;
use crate::identity::access::{AccessError, PodCert};
use crate::identity::certs::Certs;
use crate::mesh::View;
use crate::model::pod::Pod;
use crate::proxy::listeners::{ListenError, Listeners};
use crate::proxy::pod::PodProxy;
use crate::proxy::shared::Shared;
use crate::redirect::{Families, RedirectError, Warden, families};
use crate::runtime::retry;
use crate::sys::handover::Handed;
use crate::sys::netns::{Netns, NetnsError};
use crate::telemetry::cause::chain;
use crate::tls::random_unit;

/// What is needed to listen.
pub(super) struct OwnListener {
    workload: OwnWorkload,
    node: Arc<str>,
    ipv6: Ipv6,
    /// The ports of metrics and readiness.
    pages: [u16; 2],
    certs: Certs,
    shared: Arc<Shared>,
    warden: Warden,
    taker: Option<Taker>,
    stands: Arc<Stands>,
}

/// Why nobody listens yet. It is tried again.
#[derive(Debug, thiserror::Error)]
enum Unable {
    #[error("INSTANCE_IP {0} is no address of this process's network namespace: set it to status.podIP")]
    Address(IpAddr),
    #[error("this process's network namespace has no address but its loopback's yet")]
    Alone,
    #[error(transparent)]
    Certificate(#[from] AccessError),
    #[error(transparent)]
    Kernel(#[from] RedirectError),
    #[error(transparent)]
    Listen(#[from] ListenError),
    #[error(transparent)]
    Namespace(#[from] NetnsError),
    #[error("cannot serve the listener")]
    Serve(#[source] std::io::Error),
    #[error("a step of it panicked: please report it")]
    Step(#[source] tokio::task::JoinError),
}

/// What the certificate is waited for before it is said that there is none.
const CERTIFICATE: Duration = Duration::from_secs(15);
/// What clients of a listener that was handed over may wait for this process to be able to serve it.
const UNSERVED: Duration = Duration::from_secs(15);
/// Between two looks at the mesh while it is not whole; a change ends a look earlier.
const MESH: Duration = Duration::from_secs(60);
/// Between two looks at this namespace's addresses. They change with the pod's network alone.
const LOOK: Duration = Duration::from_secs(5);

// === impl OwnListener ===

impl OwnListener {
    /// [`None`] where the settings do not say who this process is.
    pub(super) fn build(
        settings: &NodeSettings,
        certs: &Certs,
        shared: &Arc<Shared>,
        warden: Warden,
        predecessor: Option<&Predecessor>,
        plane: &Plane,
    ) -> Option<Self> {
        Some(Self {
            workload: settings.own_workload()?,
            node: settings.node.as_str().into(),
            ipv6: settings.ipv6,
            pages: [settings.metrics_address.port(), settings.ready_address.port()],
            certs: certs.clone(),
            shared: Arc::clone(shared),
            warden,
            taker: predecessor.map(Predecessor::taker),
            stands: Arc::clone(plane.stands()),
        })
    }

    /// Listens once the mesh is there and a certificate for its own identity. What came by then is drained with the pods',
    /// so it is held until `stop`; after `drain`, and once another process has taken over, nothing is begun.
    pub(super) async fn run(self, drain: CancellationToken, stop: CancellationToken) {
        let begun = tokio::select! {
            () = drain.cancelled() => return,
            () = self.stands.retired().cancelled() => return,
            begun = self.begin() => begun,
        };
        let Some((netns, proxy)) = begun else { return };
        let stand = Arc::new(Stand::of_daemon(&proxy));
        if !self.stands.add(&stand) {
            return proxy.close(Duration::ZERO).await;
        }
        let addresses = proxy.addresses();
        tracing::info!(identity = %proxy.identity(), ?addresses, "peers of the mesh reach this node's own pages by tunnels");
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(LOOK) => {}
            }
            match self.addresses(&netns).await {
                // A namespace whose network is being taken down keeps what it had.
                Ok((addresses, _)) if *proxy.addresses() != addresses => {
                    tracing::info!(?addresses, "this process has other addresses");
                    proxy.readdress(addresses);
                }
                Ok(_) => {}
                Err(error) => tracing::debug!(error = %chain(&error), "this process's addresses stay as they were"),
            }
        }
    }

    /// Tries until it listens; [`None`] when this process does not know its own namespace.
    async fn begin(&self) -> Option<(Netns, Arc<PodProxy>)> {
        let netns = Netns::own();
        let netns = netns.inspect_err(|error| tracing::error!(error = %chain(error), "{UNREACHED}")).ok()?;
        // Asked for at once: the process before this one gives nothing more after it was told to leave.
        let Some(taker) = &self.taker else { return Some(self.listening(netns, &Mutex::default()).await) };
        let handed = Mutex::new(taker.sockets(&OWN.into(), netns.id()).await);
        tokio::select! {
            listening = self.listening(netns, &handed) => Some(listening),
            never = let_go(&handed, taker.begin()) => match never {},
        }
    }

    /// Tries until it listens, from the first time that it can on what was `handed` over and is still there.
    async fn listening(&self, netns: Netns, handed: &Mutex<Handed>) -> (Netns, Arc<PodProxy>) {
        let certificate = self.certs.acquire(&self.workload.identity);
        while !self.shared.mesh.wait_for(MESH, View::is_whole).await.is_whole() {
            // A mesh that nobody writes any more answers at once.
            tokio::time::sleep(LOOK).await;
        }
        let (mut failures, mut told) = (0, None);
        loop {
            match self.listen(&netns, &certificate, handed).await {
                Ok(proxy) => return (netns, proxy),
                Err(error) => {
                    failures += 1;
                    let error = chain(&error);
                    if told.as_ref() != Some(&error) {
                        tracing::warn!(%error, "{UNREACHED}");
                        told = Some(error);
                    }
                }
            }
            tokio::time::sleep(retry::wait(failures, random_unit())).await;
        }
    }

    async fn listen(
        &self,
        netns: &Netns,
        certificate: &PodCert,
        handed: &Mutex<Handed>,
    ) -> Result<Arc<PodProxy>, Unable> {
        certificate.wait(CERTIFICATE).await?;
        let (addresses, ipv6) = self.addresses(netns).await?;
        let mut handed = take(handed);
        let begin = self.taker.as_ref().filter(|_| !handed.is_empty()).map(|taker| taker.begin().clone());
        // The runtime's threads are in the process's own namespace and never in another.
        let listeners = Listeners::of_daemon(ipv6, &mut handed, self.pages)?;
        let listeners = match begin {
            Some(begin) => listeners.held_until(begin),
            None => listeners,
        };
        let pod = Arc::new(self.pod(addresses));
        PodProxy::start(&self.shared, pod, netns.clone(), certificate.clone(), listeners).map_err(Unable::Serve)
    }

    /// The addresses that are this process's own, and whether it listens on IPv6 too.
    async fn addresses(&self, netns: &Netns) -> Result<(Vec<IpAddr>, bool), Unable> {
        let (asked, warden, setting) = (netns.clone(), self.warden, self.ipv6);
        let found = tokio::task::spawn_blocking(move || {
            let ipv6 = match setting {
                Ipv6::Auto => families(&asked)? == Families::Both,
                Ipv6::Off => false,
                Ipv6::On => true,
            };
            warden.inside(&asked).map(|inside| (inside, ipv6))
        });
        let (inside, ipv6) = found.await.map_err(Unable::Step)??;
        let addresses = own_addresses(&inside, &self.workload, &self.shared.config.network, &self.shared.mesh.view());
        match (addresses.is_empty(), self.workload.addresses.first()) {
            (false, _) => Ok((addresses, ipv6)),
            (true, Some(told)) => Err(Unable::Address(*told)),
            (true, None) => Err(Unable::Alone),
        }
    }

    /// This process as a pod whose namespace is never redirected.
    fn pod(&self, addresses: Vec<IpAddr>) -> Pod {
        let OwnWorkload { key, identity, uid, .. } = &self.workload;
        Pod {
            key: key.clone(),
            uid: Arc::clone(uid),
            service_account: Arc::clone(&identity.service_account),
            node: Arc::clone(&self.node),
            addresses,
            host_network: false,
            finished: false,
            dataplane_mode: None,
            has_sidecar: false,
            dns_capture: Some(false),
            netns: None,
        }
    }
}

fn take(handed: &Mutex<Handed>) -> Handed {
    std::mem::take(&mut *handed.lock().unwrap_or_else(PoisonError::into_inner))
}

/// Closes what was handed over and not taken up in good time after `begin`, when nobody else serves it any more: its clients
/// are refused then, and do not hang. Never ends.
async fn let_go(handed: &Mutex<Handed>, begin: &CancellationToken) -> Infallible {
    begin.cancelled().await;
    tokio::time::sleep(UNSERVED).await;
    if !take(handed).is_empty() {
        tracing::warn!("what the process before this one handed over lay for {UNSERVED:?} and is closed: {UNREACHED}");
    }
    std::future::pending().await
}

/// What is not so while nobody listens.
const UNREACHED: &str =
    "peers of the mesh cannot reach this node's own pages by tunnels on port 15008; tried again until they can";

/// Those of the namespace's addresses that are told by `INSTANCE_IP` or by the mesh's record of this process; all of them
/// where the environment tells none. What is not in the namespace is somebody else's, whoever says so.
fn own_addresses(inside: &[IpAddr], own: &OwnWorkload, network: &str, view: &View) -> Vec<IpAddr> {
    let recorded = |ip: &IpAddr| {
        let at =
            view.workload_at(network, *ip).filter(|at| at.name == own.key.name && at.namespace == own.key.namespace);
        let by_uid = || view.workload_by_uid(&own.uid).filter(|held| held.addresses.contains(ip));
        at.or_else(by_uid).is_some()
    };
    let told: Vec<_> = own.addresses.iter().map(IpAddr::to_canonical).collect();
    let mut all = pairing::own(inside);
    all.retain(|ip| told.is_empty() || told.contains(ip) || recorded(ip));
    all
}

#[cfg(test)]
mod tests;
