//! What a name that a client asks for on demand means.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use super::entry::{Entry, Rank};

/// Look-ups by address, by service and by node.
#[derive(Debug)]
pub(super) struct Lookup {
    by_alias: HashMap<Arc<str>, Vec<Arc<Entry>>>,
    /// Services with blocks of addresses: by network, length of the prefix, block.
    blocks: HashMap<Arc<str>, BTreeMap<u8, Blocks>>,
    /// Name of a service → its workloads.
    of_service: HashMap<Arc<str>, Vec<Arc<Entry>>>,
    /// Name of a node → its workloads.
    on_node: HashMap<Arc<str>, Vec<Arc<Entry>>>,
}

/// Services by block, of one network and length.
type Blocks = HashMap<IpNet, Vec<Arc<Entry>>>;

// === impl Lookup ===

impl Lookup {
    pub(super) fn build(entries: &[Arc<Entry>]) -> Self {
        let mut all = Self {
            by_alias: HashMap::new(),
            blocks: HashMap::new(),
            of_service: HashMap::new(),
            on_node: HashMap::new(),
        };
        for entry in entries {
            for alias in &entry.aliases {
                all.by_alias.entry(Arc::clone(alias)).or_default().push(Arc::clone(entry));
                if let Some((network, block)) = block(alias) {
                    let of_length =
                        all.blocks.entry(network.into()).or_default().entry(block.prefix_len()).or_default();
                    of_length.entry(block.trunc()).or_default().push(Arc::clone(entry));
                }
            }
            for service in &entry.services {
                all.of_service.entry(Arc::clone(service)).or_default().push(Arc::clone(entry));
            }
            if !entry.node.is_empty() {
                all.on_node.entry(Arc::clone(&entry.node)).or_default().push(Arc::clone(entry));
            }
        }
        all
    }

    /// The workloads, or else the services, that have this `<network>/<ip>`. Of services with blocks around it those
    /// with the longest prefix.
    pub(super) fn at(&self, alias: &str) -> Vec<Arc<Entry>> {
        let exact = self.by_alias.get(alias).map_or(&[][..], Vec::as_slice);
        let of = |rank| exact.iter().filter(move |entry| entry.rank == rank).cloned();
        let workloads: Vec<_> = of(Rank::Workload).collect();
        if !workloads.is_empty() {
            return workloads;
        }
        let services: Vec<_> = of(Rank::Service).collect();
        if !services.is_empty() {
            return services;
        }
        let Some((network, ip)) = alias.split_once('/') else { return Vec::new() };
        let Ok(ip) = ip.parse::<IpAddr>() else { return Vec::new() };
        // A look for each length that there is, and not for each block: one client may ask for very many addresses.
        let around = |(length, blocks): (&u8, &Blocks)| blocks.get(&IpNet::new(ip, *length).ok()?.trunc()).cloned();
        self.blocks.get(network).and_then(|lengths| lengths.iter().rev().find_map(around)).unwrap_or_default()
    }

    pub(super) fn of_service(&self, name: &str) -> &[Arc<Entry>] {
        self.of_service.get(name).map_or(&[], Vec::as_slice)
    }

    pub(super) fn on_node(&self, node: &str) -> &[Arc<Entry>] {
        self.on_node.get(node).map_or(&[], Vec::as_slice)
    }
}

/// The block in `<network>/<ip>/<length>`.
fn block(alias: &str) -> Option<(&str, IpNet)> {
    let (network, net) = alias.split_once('/')?;
    net.contains('/').then(|| net.parse().ok()).flatten().map(|net| (network, net))
}
