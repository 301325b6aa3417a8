//! Building a lab from its plan, and holding it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::time::Duration;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::claim::{self, Claim, ClaimError};
use super::manifests::{ManifestError, Manifests};
use super::topology::{NodePlan, Plan, PodPlan, Topology, TopologyError};
use crate::sys::netlink::{LinkError, LinkRoute, Links, VethEnd};
use crate::sys::netns::Netns;
use crate::sys::sysctl::{self, SysctlError};

/// A lab that stands. Dropping it takes everything away; the programs inside must have been ended
/// before, or they go on in namespaces without a name.
#[must_use = "a lab is taken away when it is dropped"]
pub struct Lab {
    prefix: String,
    topology: Topology,
    plan: Plan,
    fabric: Netns,
    nodes: Vec<LabNode>,
    pods: Vec<LabPod>,
    claim: Claim,
}

/// A node: the namespace that stands for the host's.
#[derive(Clone, Debug)]
pub struct LabNode {
    pub plan: NodePlan,
    pub netns: Netns,
}

/// A pod's namespace.
#[derive(Clone, Debug)]
pub struct LabPod {
    pub plan: PodPlan,
    pub netns: Netns,
}

/// Why a lab could not be built. Nothing of it is left then.
#[derive(Debug, thiserror::Error)]
pub enum LabError {
    /// Its name is taken, or namespaces cannot be made. Configuration or kernel.
    #[error(transparent)]
    Claim(#[from] ClaimError),
    /// The kernel refused a link, an address or a route. Configuration or kernel.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// No node or pod of that name. Us.
    #[error("the lab has no {kind} called '{name}'")]
    Missing { kind: &'static str, name: String },
    /// A link stayed down for two seconds. Kernel.
    #[error("the link {link} in {netns} does not come up")]
    NotRunning { link: String, netns: String },
    /// The kernel refused a setting. Configuration or kernel.
    #[error(transparent)]
    Sysctl(#[from] SysctlError),
    /// It cannot be built as asked. The caller.
    #[error(transparent)]
    Topology(#[from] TopologyError),
}

const BRIDGE: &str = "br0";
const ETH0: &str = "eth0";
/// The next hop of every pod, on its own link only (as Calico has it).
const GATEWAY_V4: Ipv4Addr = Ipv4Addr::new(169, 254, 1, 1);
const GATEWAY_V6: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
/// What every namespace gets, whatever the machine's defaults are: addresses that work at once, no
/// advertised routes, no filter by reverse path.
const SETTINGS: [(&str, &str); 9] = [
    ("ipv4/conf/all/rp_filter", "0"),
    ("ipv4/conf/default/rp_filter", "0"),
    ("ipv6/conf/all/accept_dad", "0"),
    ("ipv6/conf/all/accept_ra", "0"),
    ("ipv6/conf/all/disable_ipv6", "0"),
    ("ipv6/conf/default/accept_dad", "0"),
    ("ipv6/conf/default/accept_ra", "0"),
    ("ipv6/conf/default/disable_ipv6", "0"),
    ("ipv6/conf/default/router_solicitations", "0"),
];
const FORWARDING: [(&str, &str); 2] = [("ipv4/ip_forward", "1"), ("ipv6/conf/all/forwarding", "1")];
/// A link comes up in the kernel's own time, a few milliseconds (`linkwatch`).
const LOOK: Duration = Duration::from_millis(2);
const LOOKS: u32 = 1000;

// === impl Lab ===

impl Lab {
    /// Builds `topology` under the name `prefix`, which must be unused on this machine. Blocks for
    /// some tens of milliseconds a namespace. What a killed run of that name left is removed first.
    pub fn build(prefix: &str, topology: &Topology) -> Result<Self, LabError> {
        let plan = topology.plan(prefix)?;
        let mut claim = Claim::take(prefix)?;
        let (fabric, nodes, pods) = namespaces(&mut claim, &plan)?;
        let lab = Self { prefix: prefix.into(), topology: topology.clone(), plan, fabric, nodes, pods, claim };
        lab.connect()?;
        Ok(lab)
    }

    /// Takes away what runs that were killed left, of labs whose name starts with `prefix`.
    pub fn sweep(prefix: &str, kept: claim::Kept) -> Result<Vec<String>, ClaimError> {
        claim::sweep(prefix, kept)
    }

    /// Takes everything away, and says when something could not be.
    pub fn teardown(self) -> Result<(), LabError> {
        Ok(self.claim.release()?)
    }

    /// Leaves everything where it is; [`Lab::sweep`] takes it away when it is asked for kept labs.
    pub fn keep(self) -> Result<(), LabError> {
        Ok(self.claim.keep()?)
    }

    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    pub fn topology(&self) -> &Topology {
        &self.topology
    }

    /// Every name and address.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The namespace of the bridge, where all that crosses nodes can be seen.
    pub fn fabric(&self) -> &Netns {
        &self.fabric
    }

    pub fn nodes(&self) -> &[LabNode] {
        &self.nodes
    }

    pub fn pods(&self) -> &[LabPod] {
        &self.pods
    }

    pub fn node(&self, name: &str) -> Result<&LabNode, LabError> {
        let found = self.nodes.iter().find(|node| node.plan.name == name);
        found.ok_or_else(|| LabError::Missing { kind: "node", name: name.into() })
    }

    pub fn pod(&self, name: &str) -> Result<&LabPod, LabError> {
        let found = self.pods.iter().find(|pod| pod.plan.spec.name == name);
        found.ok_or_else(|| LabError::Missing { kind: "pod", name: name.into() })
    }

    /// Writes the Kubernetes objects of the lab to `directory`, one file an object.
    pub fn manifests(&self, directory: &Path) -> Result<Manifests, ManifestError> {
        let manifests = Manifests::open(directory)?;
        for namespace in &self.topology.namespaces {
            manifests.namespace(namespace)?;
        }
        for pod in &self.pods {
            manifests.pod(&pod.plan, pod.netns.path())?;
        }
        Ok(manifests)
    }

    fn connect(&self) -> Result<(), LabError> {
        let every = [&self.fabric].into_iter().chain(self.nodes.iter().map(|node| &node.netns));
        for netns in every.chain(self.pods.iter().map(|pod| &pod.netns)) {
            set_all(netns, &SETTINGS)?;
        }
        let mut fabric = Links::open(&self.fabric)?;
        fabric.add_bridge(BRIDGE, self.topology.mtu)?;
        fabric.set_up(BRIDGE)?;
        let mut doors = Vec::with_capacity(self.nodes.len());
        for node in &self.nodes {
            set_all(&node.netns, &FORWARDING)?;
            doors.push(self.attach_node(&mut fabric, node)?);
        }
        for pod in &self.pods {
            let at = self.nodes.iter().position(|node| node.plan.name == pod.plan.spec.node);
            let at = at.ok_or_else(|| LabError::Missing { kind: "node", name: pod.plan.spec.node.clone() })?;
            self.attach_pod(&self.nodes[at], &mut doors[at], pod)?;
        }
        for (node, door) in self.nodes.iter().zip(&mut doors) {
            running(&mut fabric, &node.plan.port, &self.fabric)?;
            running(door, ETH0, &node.netns)?;
        }
        Ok(())
    }

    /// Puts a node on the fabric and teaches it the way to the pods of the others.
    fn attach_node(&self, fabric: &mut Links, node: &LabNode) -> Result<Links, LabError> {
        let port = &node.plan.port;
        fabric.add_veth(port, VethEnd { name: ETH0, netns: &node.netns }, self.topology.mtu)?;
        fabric.enslave(port, BRIDGE)?;
        fabric.set_up(port)?;
        let mut links = Links::open(&node.netns)?;
        links.set_up(ETH0)?;
        links.add_address(ETH0, IpNet::V4(Ipv4Net::new_assert(node.plan.v4, 24)))?;
        links.add_address(ETH0, IpNet::V6(Ipv6Net::new_assert(node.plan.v6, 64)))?;
        for other in self.nodes.iter().filter(|other| other.plan.name != node.plan.name) {
            let ways: [(IpNet, IpAddr, IpAddr); 2] = [
                (other.plan.pods_v4.into(), other.plan.v4.into(), node.plan.v4.into()),
                (other.plan.pods_v6.into(), other.plan.v6.into(), node.plan.v6.into()),
            ];
            for (to, via, source) in ways {
                links.add_route(&LinkRoute { to, via: Some(via), link: ETH0, source: Some(source) })?;
            }
        }
        Ok(links)
    }

    /// Connects a pod with its node, each the other's only neighbour.
    fn attach_pod(&self, node: &LabNode, door: &mut Links, pod: &LabPod) -> Result<(), LabError> {
        let link = &pod.plan.link;
        door.add_veth(link, VethEnd { name: ETH0, netns: &pod.netns }, self.topology.mtu)?;
        door.set_up(link)?;
        door.add_address(link, IpNet::from(IpAddr::V4(GATEWAY_V4)))?;
        door.add_address(link, IpNet::V6(Ipv6Net::new_assert(GATEWAY_V6, 64)))?;
        let mut links = Links::open(&pod.netns)?;
        links.set_up(ETH0)?;
        let families: [(IpAddr, IpAddr, IpAddr); 2] = [
            (pod.plan.v4.into(), GATEWAY_V4.into(), node.plan.v4.into()),
            (pod.plan.v6.into(), GATEWAY_V6.into(), node.plan.v6.into()),
        ];
        for (address, gateway, node_address) in families {
            links.add_address(ETH0, IpNet::from(address))?;
            let everywhere = if address.is_ipv4() { Ipv4Net::default().into() } else { Ipv6Net::default().into() };
            links.add_route(&LinkRoute { to: everywhere, via: Some(gateway), link: ETH0, source: None })?;
            // The node's own connections to the pod, such as probes, come from its real address.
            door.add_route(&LinkRoute { to: IpNet::from(address), via: None, link, source: Some(node_address) })?;
        }
        running(door, link, &node.netns)?;
        running(&mut links, ETH0, &pod.netns)
    }
}

fn namespaces(claim: &mut Claim, plan: &Plan) -> Result<(Netns, Vec<LabNode>, Vec<LabPod>), ClaimError> {
    let fabric = claim.namespace(&plan.fabric_netns)?;
    let mut nodes = Vec::with_capacity(plan.nodes.len());
    for node in &plan.nodes {
        nodes.push(LabNode { plan: node.clone(), netns: claim.namespace(&node.netns)? });
    }
    let mut pods = Vec::with_capacity(plan.pods.len());
    for pod in &plan.pods {
        pods.push(LabPod { plan: pod.clone(), netns: claim.namespace(&pod.netns)? });
    }
    Ok((fabric, nodes, pods))
}

fn set_all(netns: &Netns, settings: &[(&str, &str)]) -> Result<(), SysctlError> {
    settings.iter().try_for_each(|(key, value)| sysctl::set(netns, key, value))
}

/// Waits until `link` passes frames: until then its queue drops them, and the first connection
/// would wait a second for its SYN to be sent again.
fn running(links: &mut Links, link: &str, netns: &Netns) -> Result<(), LabError> {
    for _ in 0..LOOKS {
        if links.is_running(link)? {
            return Ok(());
        }
        std::thread::sleep(LOOK);
    }
    Err(LabError::NotRunning { link: link.into(), netns: netns.path().display().to_string() })
}
