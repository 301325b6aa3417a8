//! Which Gateways are waypoints, and where each of them is (pure).
//!
//! Istio's controller deploys a waypoint and writes where it is into `status.addresses`. With manifests nobody does,
//! so what a person would have deployed is looked for: `spec.addresses`, a Service of the Gateway's name, its pods.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use crate::control::index::{Index, IndexedPod};
use crate::kube::types::gateway::{Address, GATEWAY_NAME, Gateway, Listener};
use crate::model::gateway::{GatewayAddress, GatewayDestination};
use crate::model::name::NamespacedName;
use crate::model::ports;
use crate::model::spiffe::Identity;
use crate::model::workload::ApplicationTunnel;

use super::super::status::{Level, Reason, Status};
use super::super::{Settings, service, workload};
use super::admission::Admission;
use super::apply::{Object, misplaced};
use super::labels;

/// A Gateway as those see it who name it.
#[derive(Clone, Debug)]
pub(super) struct Waypoint {
    pub key: NamespacedName,
    /// Where it is, or why nobody can use it.
    pub address: Result<GatewayAddress, String>,
    pub traffic: Traffic,
    pub admission: Admission,
    /// Identities of its pods, each once, in order.
    pub identities: Vec<Identity>,
    /// HBONE is ended before it, and this is where it listens.
    pub inbound: Option<ApplicationTunnel>,
    /// It listens for HBONE itself.
    pub native: bool,
    /// Its class or a listener says that it is meant as a waypoint.
    pub declared: bool,
}

/// What a waypoint is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Traffic {
    All,
    None,
    Service,
    Workload,
}

/// What names a waypoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    Service,
    Workload,
}

/// All Gateways.
pub(super) struct Waypoints<'a> {
    by_key: BTreeMap<NamespacedName, Waypoint>,
    pub(super) index: &'a Index,
    pub(super) settings: &'a Settings,
}

const KIND: &str = "Gateway";

// === impl Waypoints ===

impl<'a> Waypoints<'a> {
    pub(super) fn build(index: &'a Index, settings: &'a Settings, statuses: &mut Vec<Status>) -> Self {
        let mut instances: BTreeMap<NamespacedName, Vec<&IndexedPod>> = BTreeMap::new();
        for pod in index.pods.values().filter(|pod| !pod.pod.finished) {
            if let Some(gateway) = gateway_of(pod) {
                instances.entry(gateway).or_default().push(pod);
            }
        }
        let read = |(key, object): (&NamespacedName, &Gateway)| {
            let reader = Reader {
                key,
                object,
                index,
                settings,
                pods: instances.get(key).map_or(&[], Vec::as_slice),
                doubts: Vec::new(),
            };
            (key.clone(), reader.read(statuses))
        };
        Self { by_key: index.gateways.iter().map(read).collect(), index, settings }
    }

    pub(super) fn get(&self, key: &NamespacedName) -> Option<&Waypoint> {
        self.by_key.get(key)
    }

    /// The waypoint that a pod is an instance of. Any Gateway with an address is one, as in Istio.
    pub(super) fn of_instance(&self, pod: &IndexedPod) -> Option<&Waypoint> {
        self.get(&gateway_of(pod)?).filter(|waypoint| waypoint.declared || waypoint.address.is_ok())
    }
}

fn gateway_of(pod: &IndexedPod) -> Option<NamespacedName> {
    let name = pod.object.metadata.labels.get(GATEWAY_NAME)?;
    Some(NamespacedName::new(Arc::clone(&pod.pod.key.namespace), name.as_str()))
}

/// Reads one Gateway.
struct Reader<'a> {
    key: &'a NamespacedName,
    object: &'a Gateway,
    index: &'a Index,
    settings: &'a Settings,
    pods: &'a [&'a IndexedPod],
    doubts: Vec<String>,
}

// === impl Reader ===

impl Reader<'_> {
    fn read(mut self, statuses: &mut Vec<Status>) -> Waypoint {
        let listeners = &self.object.spec.listeners;
        let hbone = listeners.iter().find(|l| l.port == ports::HBONE && l.protocol == "HBONE");
        let inbound = self.inbound();
        let traffic = self.traffic();
        let bound = inbound.and_then(|tunnel| {
            listeners.iter().find(|l| (tunnel.port != 0 && l.port == tunnel.port) || l.protocol == "istio.io/PROXY")
        });
        let admission = Admission::of(bound.or(hbone)).unwrap_or_else(|why| {
            self.doubts.push(format!("{why}; nobody may use it until then"));
            Admission::Nobody
        });
        let listens = hbone.is_some() || inbound.is_some();
        let address = self.address(hbone.is_some(), inbound.is_some());
        let native = hbone.is_some() && inbound.is_none();
        // Where a waypoint is expected to run here, it is worth a word that it does not.
        if listens && address.is_ok() && self.object.status.addresses.is_empty() {
            self.doubt_pods(native);
        }
        let declared = self.object.spec.gateway_class_name == labels::CLASS || listens;
        if declared {
            self.report(&address, traffic, statuses);
        }
        let own = self.pods.iter().map(|pod| identity(pod, self.settings));
        let mut identities: Vec<_> = own.flat_map(|own| self.settings.every_name_of(own)).collect();
        identities.sort();
        identities.dedup();
        Waypoint { key: self.key.clone(), address, traffic, admission, identities, inbound, native, declared }
    }

    /// A label or an annotation of the Gateway, else of its class.
    fn of_class(&self, read: fn(&crate::kube::types::ObjectMeta) -> Option<&String>) -> Option<String> {
        let class = || self.index.gateway_classes.get(self.object.spec.gateway_class_name.as_str());
        read(&self.object.metadata).or_else(|| class().and_then(|class| read(&class.metadata))).cloned()
    }

    fn traffic(&mut self) -> Traffic {
        match self.of_class(|meta| meta.labels.get(labels::FOR)).as_deref() {
            None | Some("service") => Traffic::Service,
            Some("workload") => Traffic::Workload,
            Some("all") => Traffic::All,
            Some("none") => Traffic::None,
            Some(word) => {
                let doubt = format!(
                    "{} is `{word}`, and not service, workload, all or none; it counts as none until then",
                    labels::FOR
                );
                self.doubts.push(doubt);
                Traffic::None
            }
        }
    }

    fn inbound(&mut self) -> Option<ApplicationTunnel> {
        let text = self.of_class(|meta| meta.annotations.get(labels::INBOUND_BINDING))?;
        let (protocol, port) = text.split_once('/').unwrap_or((&text, "0"));
        match (protocol, port.parse()) {
            ("NONE", Ok(0)) => None,
            ("NONE", Ok(port)) => Some(ApplicationTunnel { proxy: false, port }),
            ("PROXY", Ok(port)) => Some(ApplicationTunnel { proxy: true, port }),
            _ => {
                let name = labels::INBOUND_BINDING;
                self.doubts.push(format!("{name} is `{text}`, which is ignored; write NONE or PROXY/<port>"));
                None
            }
        }
    }

    fn address(&self, hbone: bool, ended_before: bool) -> Result<GatewayAddress, String> {
        let Gateway { spec, status, .. } = self.object;
        if spec.gateway_class_name == labels::CLASS && !hbone {
            let has: Vec<_> = spec.listeners.iter().take(3).map(shown).collect();
            let has = if has.is_empty() { "none".to_owned() } else { has.join(", ") };
            let port = ports::HBONE;
            return Err(format!(
                "class {} needs a listener of protocol HBONE on port {port}, and it has {has}",
                labels::CLASS
            ));
        }
        if !status.addresses.is_empty() {
            return self.first(&status.addresses, "status.addresses");
        }
        if !hbone && !ended_before {
            let port = ports::HBONE;
            return Err(format!("it has no status.addresses, and no listener of protocol HBONE on port {port}"));
        }
        if !spec.addresses.is_empty() {
            return self.first(&spec.addresses, "spec.addresses");
        }
        if let Some(object) =
            self.index.services.get(self.key).filter(|o| o.spec.kind.as_deref() != Some("ExternalName"))
        {
            let mut tcp = object.spec.ports.iter().filter(|port| service::is_tcp(port.protocol.as_deref()));
            let listed = tcp.any(|port| port.port == ports::HBONE);
            // A proxy in front of it is called at its own port, which no Service needs to name.
            return if listed || ended_before {
                Ok(self.at(GatewayDestination::Hostname(service_key(self.key, self.settings))))
            } else {
                Err(format!("its Service {} has no TCP port {}", self.key, ports::HBONE))
            };
        }
        let reachable = self.pods.iter().filter(|pod| !pod.pod.host_network && !pod.pod.addresses.is_empty());
        let best = reachable.min_by_key(|pod| (!is_healthy(pod), &pod.pod.key));
        match best.and_then(|pod| pod.pod.addresses.first()) {
            Some(ip) => Ok(self.at(self.ip(*ip))),
            None => Err(format!(
                "it has no address: give it spec.addresses, a Service {} or a pod with the label {GATEWAY_NAME}: {}",
                self.key, self.key.name
            )),
        }
    }

    /// The first host name, else the first address that can be read.
    fn first(&self, addresses: &[Address], field: &str) -> Result<GatewayAddress, String> {
        let is_name = |a: &&Address| a.kind.as_deref() == Some("Hostname") && !a.value.is_empty();
        if let Some(name) = addresses.iter().find(is_name) {
            let key = NamespacedName::new(Arc::clone(&self.key.namespace), name.value.as_str());
            return Ok(self.at(GatewayDestination::Hostname(key)));
        }
        let is_ip = |a: &&Address| matches!(a.kind.as_deref(), None | Some("IPAddress"));
        let usable = |ip: &IpAddr| !(ip.is_unspecified() || ip.is_loopback() || ip.is_multicast());
        let parsed = |a: &Address| a.value.parse().ok().map(|ip: IpAddr| ip.to_canonical()).filter(usable);
        match addresses.iter().filter(is_ip).find_map(parsed) {
            Some(ip) => Ok(self.at(self.ip(ip))),
            None => Err(format!("{field} holds neither a host name nor an address that can be called")),
        }
    }

    fn ip(&self, ip: IpAddr) -> GatewayDestination {
        let network = match self.object.metadata.labels.get(labels::NETWORK) {
            Some(network) => network.as_str().into(),
            None => Arc::clone(&self.settings.network),
        };
        GatewayDestination::Address { network, ip }
    }

    /// Istio: the port of a binding is 15008 whatever a listener says.
    fn at(&self, destination: GatewayDestination) -> GatewayAddress {
        GatewayAddress { destination, port: ports::HBONE }
    }

    fn doubt_pods(&mut self, native: bool) {
        let name = &self.key.name;
        if !self.pods.iter().any(|pod| is_healthy(pod)) {
            self.doubts.push(format!(
                "no healthy pod has the label {GATEWAY_NAME}: {name}, so connections through it fail until one has"
            ));
        }
        let speaks = |pod: &IndexedPod| pod.object.metadata.labels.contains_key(labels::TUNNEL);
        let outside = |pod: &&&IndexedPod| !native && !speaks(pod) && !self.index.membership(&pod.pod).is_in();
        if let Some(pod) = self.pods.iter().find(outside) {
            self.doubts.push(format!(
                "its pod {} is not enrolled, so nobody ends HBONE before it as {} wants; label it \
                 istio.io/dataplane-mode: ambient",
                pod.pod.key,
                labels::INBOUND_BINDING
            ));
        }
        if let Some(pod) = self.pods.iter().find(|pod| native && self.index.membership(&pod.pod).is_in()) {
            self.doubts.push(format!(
                "its pod {} is enrolled, so HBONE does not reach it; label it istio.io/dataplane-mode: none, or \
                 annotate the Gateway {}: PROXY/<port>",
                pod.pod.key,
                labels::INBOUND_BINDING
            ));
        }
    }

    fn report(&mut self, address: &Result<GatewayAddress, String>, traffic: Traffic, statuses: &mut Vec<Status>) {
        let mut add = |level, reason, message| {
            statuses.push(Status { kind: KIND, key: self.key.clone(), level, reason, message });
        };
        match address {
            Ok(address) => {
                let message = format!("a waypoint for {} at {address}", traffic.as_str());
                add(Level::Info, Reason::Accepted, message);
            }
            Err(why) => {
                let message = format!("{why}; who names it as a waypoint is refused until then");
                add(Level::Warning, Reason::WaypointIsNotReady, message);
            }
        }
        if self.object.metadata.labels.get(labels::USE).is_some_and(|name| name != labels::NONE) {
            let message = format!("{} has no meaning on a Gateway: a waypoint has none of its own", labels::USE);
            add(Level::Warning, Reason::WaypointIgnored, message);
        }
        for doubt in std::mem::take(&mut self.doubts) {
            add(Level::Warning, Reason::Invalid, doubt);
        }
        let object = Object { kind: KIND, key: self.key, meta: &self.object.metadata };
        statuses.extend(misplaced(object, &[labels::FOR]));
    }
}

// === impl Traffic ===

impl Traffic {
    pub(super) const fn covers(self, target: Target) -> bool {
        matches!((self, target), (Self::All, _) | (Self::Service, Target::Service) | (Self::Workload, Target::Workload))
    }

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::All => "services and workloads",
            Self::None => "nothing",
            Self::Service => "services",
            Self::Workload => "workloads",
        }
    }
}

/// `<namespace>/<hostname>` of a Kubernetes Service.
pub(super) fn service_key(key: &NamespacedName, settings: &Settings) -> NamespacedName {
    let host = format!("{}.{}.svc.{}", key.name, key.namespace, settings.cluster_domain);
    NamespacedName::new(Arc::clone(&key.namespace), host)
}

fn shown(listener: &Listener) -> String {
    format!("{} {} on port {}", listener.protocol, listener.name, listener.port)
}

fn identity(pod: &IndexedPod, settings: &Settings) -> Identity {
    Identity {
        trust_domain: Arc::clone(&settings.trust_domain),
        namespace: Arc::clone(&pod.pod.key.namespace),
        service_account: Arc::clone(&pod.pod.service_account),
    }
}

fn is_healthy(pod: &IndexedPod) -> bool {
    workload::is_healthy(&pod.object, pod.pod.netns.is_some())
}
