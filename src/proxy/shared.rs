//! What all pods of the node share.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Weak};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio_util::sync::CancellationToken;

use super::budgets::Descriptors;
use super::flows::Flows;
use super::pod::PodProxy;
use super::report::Report;
use crate::mesh;
use crate::mesh::demand::{OnDemand, Sought};
use crate::mesh::{Held, View};
use crate::runtime::Panics;
use crate::runtime::tasks::Tasks;
use crate::runtime::threads::{Place, Threads};
use crate::sys::splice::PipePool;
use crate::tls::Trust;

/// Settings of the data path.
#[derive(Clone, Debug)]
pub struct Config {
    /// The flat network that this node is on; look-ups by address are made in it.
    pub network: Arc<str>,
    /// Join pods of this node without a tunnel.
    pub same_node_lane: bool,
    /// How long a new connection waits for a policy that its destination names and the mesh does not have.
    pub policy_wait: Duration,
    /// A whole dial, the name of the namespace included.
    pub connect_timeout: Duration,
    /// How long a connection one of whose directions has ended may be silent in the other; none is for ever.
    pub half_open: Option<Duration>,
    /// Packet mark of the daemon's own sockets.
    pub mark: u32,
    /// Connections and tunnels of one pod together.
    pub connections_per_pod: usize,
    /// TLS handshakes that one pod may take part in each second, as a server and as many as a client.
    pub handshakes_per_second: u32,
    pub tunnels: super::outbound::TunnelConfig,
}

/// The data path's surroundings.
pub struct Shared {
    pub config: Config,
    pub mesh: mesh::Reader,
    /// Where the mesh holds only what was asked for; none when it holds all there is.
    pub demand: Option<Arc<OnDemand>>,
    pub local: LocalPods,
    pub pipes: PipePool,
    pub descriptors: Arc<Descriptors>,
    pub report: Report,
    pub flows: Flows,
    /// Which peers are trusted beside those of the pods' own roots, and which no longer are.
    pub trust: Trust,
    /// What carries connections.
    pub threads: Threads,
    pub panics: Panics,
    /// Cancelled when the process drains, and when it cuts.
    pub drain: CancellationToken,
    pub force: CancellationToken,
}

/// The enrolled pods of this node by address. Readers never wait for a writer.
#[derive(Default)]
pub struct LocalPods {
    known: ArcSwap<Known>,
}

#[derive(Clone, Default)]
struct Known {
    /// Every pod that is not closed yet. One whose address a successor has taken is only here.
    all: Vec<Weak<PodProxy>>,
    by_address: HashMap<IpAddr, Weak<PodProxy>>,
}

// === impl Shared ===

impl Shared {
    pub(super) fn tasks(&self, pod: &str, place: &Place) -> Tasks {
        let limit = self.config.connections_per_pod;
        Tasks::new(pod, limit, place.runtime().clone(), self.panics.clone(), &self.drain, &self.force)
    }

    /// The workload at the other end of an arriving connection. It is good for labels and no connection waits for them,
    /// so one that the mesh lacks is asked for in passing.
    pub(super) fn source(&self, view: &View, ip: IpAddr) -> Option<Arc<Held>> {
        let network = &self.config.network;
        let found = view.workload_at(network, ip).cloned();
        if let (None, Some(demand)) = (&found, &self.demand)
            && let Some(sought) = Sought::address(Arc::clone(network), ip)
        {
            demand.hint(sought);
        }
        found
    }
}

// === impl LocalPods ===

impl LocalPods {
    /// The enrolled pod that has `ip`; not one that is closing.
    pub fn at(&self, ip: IpAddr) -> Option<Arc<PodProxy>> {
        self.known.load().by_address.get(&ip)?.upgrade().filter(|pod| !pod.is_closing())
    }

    /// Every enrolled pod, each once; also those that are closing, while they have connections.
    pub fn all(&self) -> Vec<Arc<PodProxy>> {
        self.known.load().all.iter().filter_map(Weak::upgrade).collect()
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.known.load().all.len()
    }

    pub(super) fn add(&self, pod: &Arc<PodProxy>) {
        self.known.rcu(|known| {
            let mut known = Known::clone(known);
            known.all.push(Arc::downgrade(pod));
            // The daemon is nobody's neighbour: the same-node lane would show its pages a peer's address.
            if !pod.is_daemon() {
                for ip in pod.addresses().iter() {
                    known.by_address.insert(*ip, Arc::downgrade(pod));
                }
            }
            known
        });
    }

    /// Lists `pod` under the addresses that it has now. One that another pod is found by stays with that one.
    pub(super) fn readdress(&self, pod: &Arc<PodProxy>) {
        let is_its = |held: &Weak<PodProxy>| std::ptr::eq(held.as_ptr(), Arc::as_ptr(pod));
        self.known.rcu(|known| {
            let mut known = Known::clone(known);
            // One that has been closed meanwhile is not found again.
            if pod.is_daemon() || !known.all.iter().any(is_its) {
                return known;
            }
            known.by_address.retain(|_, held| !is_its(held) && held.strong_count() > 0);
            for ip in pod.addresses().iter() {
                known.by_address.entry(*ip).or_insert_with(|| Arc::downgrade(pod));
            }
            known
        });
    }

    /// Takes out what still belongs to `pod`; a successor at the same address stays.
    pub(super) fn remove(&self, pod: &PodProxy) {
        let stays = |held: &Weak<PodProxy>| !std::ptr::eq(held.as_ptr(), pod) && held.strong_count() > 0;
        self.known.rcu(|known| {
            let mut known = Known::clone(known);
            known.all.retain(stays);
            known.by_address.retain(|_, held| stays(held));
            known
        });
    }
}
