//! One copy of each text: 100,000 workloads have a few hundred namespaces, nodes and services between them, and the
//! messages name them again for every one. Saves half of what a workload costs.

use std::collections::HashSet;
use std::sync::Arc;

use crate::model::gateway::{GatewayAddress, GatewayDestination};
use crate::model::name::NamespacedName;
use crate::model::service::Service;
use crate::model::workload::Workload;

/// Texts before those that nobody uses any more are looked for.
const FEW: usize = 4096;

/// The texts that are in use. Each is also the mesh's, so this holds 16 bytes of its own for one.
#[derive(Debug, Default)]
pub(super) struct Sharing {
    texts: HashSet<Arc<str>>,
    /// What was in use when it was looked last.
    used: usize,
}

// === impl Sharing ===

impl Sharing {
    /// The uid and the name are its own. Lists are cut to their length as well.
    pub(super) fn workload(&mut self, workload: &mut Workload) {
        self.sweep();
        for text in [
            &mut workload.namespace,
            &mut workload.service_account,
            &mut workload.trust_domain,
            &mut workload.hostname,
            &mut workload.network,
            &mut workload.cluster,
            &mut workload.node,
            &mut workload.owner,
            &mut workload.canonical_name,
            &mut workload.canonical_revision,
            &mut workload.locality.region,
            &mut workload.locality.zone,
            &mut workload.locality.subzone,
        ] {
            self.text(text);
        }
        [&mut workload.waypoint, &mut workload.network_gateway].into_iter().flatten().for_each(|to| self.gateway(to));
        workload.policies.iter_mut().for_each(|key| self.key(key));
        for membership in &mut workload.services {
            self.key(&mut membership.service);
            membership.ports.shrink_to_fit();
        }
        workload.addresses.shrink_to_fit();
        workload.policies.shrink_to_fit();
        workload.services.shrink_to_fit();
    }

    pub(super) fn service(&mut self, service: &mut Service) {
        self.sweep();
        [&mut service.name, &mut service.namespace, &mut service.hostname].into_iter().for_each(|text| self.text(text));
        service.addresses.iter_mut().for_each(|address| self.text(&mut address.network));
        service.waypoint.iter_mut().for_each(|to| self.gateway(to));
        service.weighted_waypoints.iter_mut().for_each(|(to, _)| self.gateway(to));
        service.addresses.shrink_to_fit();
        service.ports.shrink_to_fit();
    }

    pub(super) fn key(&mut self, key: &mut NamespacedName) {
        self.text(&mut key.namespace);
        self.text(&mut key.name);
    }

    fn gateway(&mut self, gateway: &mut GatewayAddress) {
        match &mut gateway.destination {
            GatewayDestination::Address { network, .. } => self.text(network),
            GatewayDestination::Hostname(key) => self.key(key),
        }
    }

    fn text(&mut self, text: &mut Arc<str>) {
        match self.texts.get(&**text) {
            Some(one) => *text = Arc::clone(one),
            None => drop(self.texts.insert(Arc::clone(text))),
        }
    }

    /// Forgets what nobody uses, when there may be as much of that as of what is used.
    fn sweep(&mut self) {
        if self.texts.len() > FEW.max(2 * self.used) {
            self.texts.retain(|text| Arc::strong_count(text) > 1);
            self.texts.shrink_to_fit();
            self.used = self.texts.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_texts_become_one() {
        let mut sharing = Sharing::default();
        let mut make = |uid: &str| {
            let mut workload =
                Workload { uid: uid.into(), namespace: "shop".into(), node: "n1".into(), ..Workload::default() };
            workload.policies = vec![NamespacedName::new("shop", "p")];
            sharing.workload(&mut workload);
            workload
        };
        let (a, b) = (make("a"), make("b"));
        assert!(Arc::ptr_eq(&a.namespace, &b.namespace) && Arc::ptr_eq(&a.node, &b.node));
        assert!(Arc::ptr_eq(&a.namespace, &b.policies[0].namespace));
    }

    #[test]
    fn what_nobody_uses_is_forgotten() {
        let mut sharing = Sharing::default();
        let mut kept = Vec::new();
        for n in 0..100_000 {
            let mut workload = Workload { namespace: n.to_string().into(), ..Workload::default() };
            sharing.workload(&mut workload);
            if n % 1000 == 0 {
                kept.push(workload);
            }
        }
        assert!(sharing.texts.len() <= FEW + 2, "{}", sharing.texts.len());
        assert!(kept.iter().all(|workload| sharing.texts.contains(&workload.namespace)));
    }
}
