//! What a name that a client asks for on demand means.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use super::entry::{Entry, Rank};

/// Look-ups by address, by service and by node.
#[derive(Debug)]
pub(super) struct Lookup {
    by_alias: HashMap<Arc<str>, Vec<Arc<Entry>>>,
    /// Services with blocks of addresses: network, block, service.
    blocks: Vec<(Arc<str>, IpNet, Arc<Entry>)>,
    /// Name of a service → its workloads.
    of_service: HashMap<Arc<str>, Vec<Arc<Entry>>>,
    /// Name of a node → its workloads.
    on_node: HashMap<Arc<str>, Vec<Arc<Entry>>>,
}

// === impl Lookup ===

impl Lookup {
    pub(super) fn build(entries: &[Arc<Entry>]) -> Self {
        let mut all =
            Self { by_alias: HashMap::new(), blocks: Vec::new(), of_service: HashMap::new(), on_node: HashMap::new() };
        for entry in entries {
            for alias in &entry.aliases {
                all.by_alias.entry(Arc::clone(alias)).or_default().push(Arc::clone(entry));
                if let Some((network, block)) = block(alias) {
                    all.blocks.push((network.into(), block, Arc::clone(entry)));
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
        let around = || self.blocks.iter().filter(|(of, block, _)| **of == *network && block.contains(&ip));
        let longest = around().map(|(_, block, _)| block.prefix_len()).max();
        around()
            .filter(|(_, block, _)| Some(block.prefix_len()) == longest)
            .map(|(.., entry)| Arc::clone(entry))
            .collect()
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
