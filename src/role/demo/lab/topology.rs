//! Which nodes and pods a lab has, and the names and addresses that follow from it. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use ipnet::{Ipv4Net, Ipv6Net};

/// What to build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topology {
    /// Bytes, on every link.
    pub mtu: u32,
    pub namespaces: Vec<KubeNamespace>,
    /// Node names.
    pub nodes: Vec<String>,
    pub pods: Vec<PodSpec>,
}

/// A Kubernetes Namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KubeNamespace {
    pub name: String,
    pub labels: BTreeMap<String, String>,
}

/// A pod to build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodSpec {
    /// Unique in the lab, whatever the Kubernetes namespace: it names the network namespace.
    pub name: String,
    pub namespace: String,
    pub node: String,
    pub service_account: String,
    pub labels: BTreeMap<String, String>,
}

/// A topology with every name and address decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    pub fabric_netns: String,
    pub nodes: Vec<NodePlan>,
    pub pods: Vec<PodPlan>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodePlan {
    pub name: String,
    pub netns: String,
    /// Its link in the fabric's namespace, a port of the bridge.
    pub port: String,
    pub v4: Ipv4Addr,
    pub v6: Ipv6Addr,
    pub pods_v4: Ipv4Net,
    pub pods_v6: Ipv6Net,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodPlan {
    pub spec: PodSpec,
    pub netns: String,
    /// The node's end of its link, in the node's namespace. The pod's own is `eth0`.
    pub link: String,
    pub v4: Ipv4Addr,
    pub v6: Ipv6Addr,
}

/// A topology that cannot be built. Always the caller's fault.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum TopologyError {
    #[error("two network namespaces of the lab would be called '{name}': rename a node or a pod")]
    Duplicate { name: String },
    #[error("an MTU of {mtu} bytes carries no IPv6: use 1280 to 65535")]
    Mtu { mtu: u32 },
    #[error(
        "'{name}' cannot name a node, a pod or a lab: use 1 to 63 lower-case letters, digits or '-', as in a DNS label"
    )]
    Name { name: String },
    #[error("{count} {kind} are too many for the lab's addresses: at most {most}")]
    TooMany { kind: &'static str, count: usize, most: usize },
    #[error("the pod {pod} is on node '{node}', which the lab does not have")]
    UnknownNode { pod: String, node: String },
    #[error("the pod {pod} is of namespace '{namespace}', which the lab does not have")]
    UnknownNamespace { pod: String, namespace: String },
}

/// Ethernet's own.
pub const DEFAULT_MTU: u32 = 1500;
/// The mesh's opt-in label, and the value that opts in.
pub const DATAPLANE_MODE: (&str, &str) = ("istio.io/dataplane-mode", "ambient");
/// The pod, the service account and the Gateway of [`Topology::with_waypoint`].
pub const WAYPOINT: &str = "waypoint";
/// The third byte of an address numbers the node; 0 is the fabric.
const MOST_NODES: usize = 200;
/// The last byte numbers the pod, from 10 on.
const MOST_PODS: usize = 200;
const FIRST_POD: u8 = 10;

// === impl KubeNamespace ===

impl KubeNamespace {
    /// A namespace that opted in.
    pub fn ambient(name: &str) -> Self {
        let (label, value) = DATAPLANE_MODE;
        Self { name: name.into(), labels: BTreeMap::from([(label.into(), value.into())]) }
    }

    /// A namespace without labels: it never opted in.
    pub fn plain(name: &str) -> Self {
        Self { name: name.into(), labels: BTreeMap::new() }
    }
}

// === impl PodSpec ===

impl PodSpec {
    /// A pod with a service account and an `app` label of its own name.
    pub fn new(namespace: &str, name: &str, node: &str) -> Self {
        Self {
            name: name.into(),
            namespace: namespace.into(),
            node: node.into(),
            service_account: name.into(),
            labels: BTreeMap::from([("app".into(), name.into())]),
        }
    }
}

// === impl PodPlan ===

impl PodPlan {
    pub fn at_v4(&self, port: u16) -> SocketAddr {
        SocketAddr::new(self.v4.into(), port)
    }

    pub fn at_v6(&self, port: u16) -> SocketAddr {
        SocketAddr::new(self.v6.into(), port)
    }
}

// === impl Plan ===

impl Plan {
    /// How a person enters what stands: one line a namespace, for a lab that is kept.
    pub fn directions(&self) -> String {
        let nodes = self.nodes.iter().map(|node| (&node.netns, node.v4, node.v6, "a node"));
        let pods = self.pods.iter().map(|pod| (&pod.netns, pod.v4, pod.v6, pod.spec.node.as_str()));
        let width = self.nodes.iter().map(|node| &node.netns).chain(self.pods.iter().map(|pod| &pod.netns));
        let width = width.map(String::len).max().unwrap_or(0);
        let mut text = String::from("enter a namespace with: nsenter --net=/run/netns/NAME\n");
        for (netns, v4, v6, place) in nodes.chain(pods) {
            text += &format!("  {netns:<width$}  {:<12}  {:<16}  {place}\n", v4.to_string(), v6.to_string());
        }
        text
    }
}

// === impl Topology ===

impl Topology {
    /// The demonstration's: two nodes, four pods that opted in and one that did not.
    pub fn demo() -> Self {
        Self {
            mtu: DEFAULT_MTU,
            namespaces: vec![KubeNamespace::ambient("demo"), KubeNamespace::plain("outside")],
            nodes: vec!["node-a".into(), "node-b".into()],
            pods: vec![
                PodSpec::new("demo", "client", "node-a"),
                PodSpec::new("demo", "near", "node-a"),
                PodSpec::new("demo", "server", "node-b"),
                PodSpec::new("demo", "intruder", "node-b"),
                PodSpec::new("outside", "outsider", "node-b"),
            ],
        }
    }

    /// The demonstration's with the pod `waypoint` on node-b, which nobody enrols: a waypoint speaks HBONE itself.
    pub fn with_waypoint() -> Self {
        let mut topology = Self::demo();
        let mut pod = PodSpec::new("demo", WAYPOINT, "node-b");
        pod.labels.insert(DATAPLANE_MODE.0.into(), "none".into());
        pod.labels.insert("gateway.networking.k8s.io/gateway-name".into(), WAYPOINT.into());
        topology.pods.push(pod);
        topology
    }

    /// Decides every name and address for a lab called `prefix`.
    pub fn plan(&self, prefix: &str) -> Result<Plan, TopologyError> {
        if !(1280..=65_535).contains(&self.mtu) {
            return Err(TopologyError::Mtu { mtu: self.mtu });
        }
        let within =
            |kind, count, most| if count > most { Err(TopologyError::TooMany { kind, count, most }) } else { Ok(()) };
        within("nodes", self.nodes.len(), MOST_NODES)?;
        label(prefix)?;
        let mut taken = BTreeSet::new();
        let mut named = |name: &str| {
            let netns = format!("{prefix}-{}", label(name)?);
            if taken.insert(netns.clone()) { Ok(netns) } else { Err(TopologyError::Duplicate { name: netns }) }
        };
        let fabric_netns = named("fabric")?;
        let nodes = (1u8..).zip(&self.nodes).map(|(number, name)| Ok(node(number, name, named(name)?)));
        let nodes = nodes.collect::<Result<Vec<_>, TopologyError>>()?;
        let mut pods = Vec::with_capacity(self.pods.len());
        let mut counts = vec![0u8; nodes.len()];
        for spec in &self.pods {
            let (pod, namespace) = (spec.name.clone(), spec.namespace.clone());
            if !self.namespaces.iter().any(|known| known.name == namespace) {
                return Err(TopologyError::UnknownNamespace { pod, namespace });
            }
            let at = nodes.iter().position(|node| node.name == spec.node);
            let at = at.ok_or_else(|| TopologyError::UnknownNode { pod, node: spec.node.clone() })?;
            within("pods on a node", usize::from(counts[at]) + 1, MOST_PODS)?;
            pods.push(place(spec, &nodes[at], counts[at], named(&spec.name)?));
            counts[at] += 1;
        }
        Ok(Plan { fabric_netns, nodes, pods })
    }
}

fn node(number: u8, name: &str, netns: String) -> NodePlan {
    let pods_v6 = Ipv6Addr::new(0xfd88, 0, 0, u16::from(number), 0, 0, 0, 0);
    NodePlan {
        name: name.into(),
        netns,
        port: link_name('n', number, name),
        v4: Ipv4Addr::new(10, 88, 0, number),
        v6: Ipv6Addr::new(0xfd88, 0, 0, 0, 0, 0, 0, u16::from(number)),
        pods_v4: Ipv4Net::new_assert(Ipv4Addr::new(10, 88, number, 0), 24),
        pods_v6: Ipv6Net::new_assert(pods_v6, 64),
    }
}

fn place(spec: &PodSpec, node: &NodePlan, count: u8, netns: String) -> PodPlan {
    let last = FIRST_POD + count;
    let [a, b, c, _] = node.pods_v4.addr().octets();
    // Written in hexadecimal the last group reads as the last byte of the IPv4 address.
    let group = u16::from(last / 100) << 8 | u16::from(last / 10 % 10) << 4 | u16::from(last % 10);
    let mut v6 = node.pods_v6.addr().segments();
    v6[7] = group;
    PodPlan {
        spec: spec.clone(),
        netns,
        link: link_name('p', count, &spec.name),
        v4: Ipv4Addr::new(a, b, c, last),
        v6: v6.into(),
    }
}

/// A link's name of at most 15 bytes, unique by its number and readable by the rest.
fn link_name(kind: char, number: u8, name: &str) -> String {
    let mut link = format!("{kind}{number}-{name}");
    link.truncate(15);
    link
}

fn label(name: &str) -> Result<&str, TopologyError> {
    let spelled = name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    let ends = !name.starts_with('-') && !name.ends_with('-');
    let good = spelled && ends && (1..=63).contains(&name.len());
    if good { Ok(name) } else { Err(TopologyError::Name { name: name.into() }) }
}

#[cfg(test)]
mod tests;
