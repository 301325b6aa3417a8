//! What many records say is in memory once.

use std::borrow::Borrow;
use std::collections::HashSet;
use std::hash::Hash;
use std::sync::Arc;

use crate::model::gateway::{GatewayAddress, GatewayDestination};
use crate::model::name::NamespacedName;
use crate::model::service::{Service, VirtualAddress};
use crate::model::spiffe::Identity;
use crate::model::workload::Locality;

use super::held::Shared;

/// The writer's memory of names and of what is made of them. What nobody refers to is forgotten again: see
/// [`Names::aged`].
#[derive(Default)]
pub(super) struct Names {
    texts: Pool<str>,
    localities: Pool<Locality>,
    shared: Pool<Shared>,
    /// Records that went away since the last look through everything.
    gone: usize,
}

/// One of each.
struct Pool<T: ?Sized>(HashSet<Arc<T>>);

/// Fewer records that went away are not worth a look.
const FEW: usize = 1024;

// === impl Names ===

impl Names {
    pub(super) fn text(&mut self, text: Arc<str>) -> Arc<str> {
        if text.is_empty() {
            // The default is one for all and takes no memory.
            return Arc::default();
        }
        // A copy, for the same reason as in `Held::new`.
        self.texts.get(&text).unwrap_or_else(|| self.texts.add(Arc::from(&*text)))
    }

    pub(super) fn key(&mut self, key: NamespacedName) -> NamespacedName {
        NamespacedName { namespace: self.text(key.namespace), name: self.text(key.name) }
    }

    pub(super) fn gateway(&mut self, gateway: GatewayAddress) -> GatewayAddress {
        let destination = match gateway.destination {
            GatewayDestination::Address { network, ip } => {
                GatewayDestination::Address { network: self.text(network), ip }
            }
            GatewayDestination::Hostname(key) => GatewayDestination::Hostname(self.key(key)),
        };
        GatewayAddress { destination, port: gateway.port }
    }

    pub(super) fn locality(&mut self, locality: Locality) -> Arc<Locality> {
        self.localities.get(&locality).unwrap_or_else(|| self.localities.add(Arc::new(locality)))
    }

    pub(super) fn shared(&mut self, shared: Shared) -> Arc<Shared> {
        self.shared.get(&shared).unwrap_or_else(|| self.shared.add(Arc::new(shared)))
    }

    /// The service with the names that others have, and without slack.
    pub(super) fn service(&mut self, service: Service) -> Service {
        let Service {
            name,
            namespace,
            hostname,
            addresses,
            mut ports,
            subject_alt_names,
            waypoint,
            weighted_waypoints,
            mut balancing,
            families,
            canonical,
            visibility,
            ingress_use_waypoint,
        } = service;
        ports.shrink_to_fit();
        balancing.preference.shrink_to_fit();
        let address = |VirtualAddress { network, net }| VirtualAddress { network: self.text(network), net };
        let mut addresses: Vec<_> = addresses.into_iter().map(address).collect();
        addresses.shrink_to_fit();
        let proved = |Identity { trust_domain, namespace, service_account }| Identity {
            trust_domain: self.text(trust_domain),
            namespace: self.text(namespace),
            service_account: self.text(service_account),
        };
        let mut subject_alt_names: Vec<_> = subject_alt_names.into_iter().map(proved).collect();
        subject_alt_names.shrink_to_fit();
        let weighted = |(gateway, weight)| (self.gateway(gateway), weight);
        let mut weighted_waypoints: Vec<_> = weighted_waypoints.into_iter().map(weighted).collect();
        weighted_waypoints.shrink_to_fit();
        Service {
            name: self.text(name),
            namespace: self.text(namespace),
            hostname: self.text(hostname),
            addresses,
            ports,
            subject_alt_names,
            waypoint: waypoint.map(|gateway| self.gateway(gateway)),
            weighted_waypoints,
            balancing,
            families,
            canonical,
            visibility,
            ingress_use_waypoint,
        }
    }

    /// Told that `gone` records went away. Now and then everything is looked through, and what only this pool refers to
    /// is forgotten; so a change costs what it changes, and there are never more forgotten names than a part of the
    /// names there are, plus those of [`FEW`] records.
    pub(super) fn aged(&mut self, gone: usize) {
        self.gone += gone;
        if self.gone < FEW.max(self.texts.0.len() / 2) {
            return;
        }
        self.gone = 0;
        // First what refers to names.
        self.shared.sweep();
        self.localities.sweep();
        self.texts.sweep();
    }

    /// What the pools take beside what is in them.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        // A bucket has a byte of its own, and one of eight is kept free.
        let of = |capacity: usize, size: usize| capacity * 8 / 7 * (size + 1);
        of(self.texts.0.capacity(), 16) + of(self.localities.0.capacity(), 8) + of(self.shared.0.capacity(), 8)
    }

    #[cfg(test)]
    pub(super) fn count(&self) -> (usize, usize) {
        (self.texts.0.len(), self.shared.0.len())
    }
}

// === impl Pool ===

impl<T: ?Sized + Eq + Hash> Pool<T> {
    fn get(&self, value: &T) -> Option<Arc<T>>
    where
        Arc<T>: Borrow<T>,
    {
        self.0.get(value).cloned()
    }

    fn add(&mut self, value: Arc<T>) -> Arc<T> {
        self.0.insert(Arc::clone(&value));
        value
    }

    fn sweep(&mut self) {
        self.0.retain(|value| Arc::strong_count(value) > 1);
        self.0.shrink_to(2 * self.0.len());
    }
}

impl<T: ?Sized> Default for Pool<T> {
    fn default() -> Self {
        Self(HashSet::new())
    }
}

#[cfg(test)]
mod tests;
