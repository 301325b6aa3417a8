//! PeerAuthentications: modes that are not what they are called, ports that nobody has, and objects
//! that never count.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::control::policy::peer::{self, Mode, Peer};
use crate::model::name::NamespacedName;

use super::world::World;
use super::{Code, Finding, Object};

const KIND: &str = "PeerAuthentication";

/// What an object says by itself.
pub(super) fn check(world: &World<'_>, findings: &mut Vec<Finding>) {
    let all: Vec<Peer> =
        world.index.peer_authentications.values().filter_map(|object| peer::parse(object).ok()).collect();
    for peer in &all {
        let object = || Object::new(KIND, &peer.key);
        if peer.mode == Mode::Disable {
            let what = "mode DISABLE is PERMISSIVE: HBONE is always accepted";
            findings.push(
                Finding::new(Code::DisableIsPermissive, object(), "spec.mtls.mode", what)
                    .why("plaintext is taken, and so is mTLS"),
            );
        }
        for (port, mode) in &peer.ports {
            let open = matches!(mode, Mode::Disable | Mode::Permissive);
            if open && is_strict(peer, &all, world) {
                let what = format!("port {port} takes plaintext, and everything around it is STRICT");
                let path = format!("spec.portLevelMtls[{port}].mode");
                findings.push(
                    Finding::new(Code::PlaintextPort, object(), path, what)
                        .why("whoever reaches the pod may connect to it without an identity"),
                );
            }
        }
    }
}

/// The mode of the ports that an object does not name: its own, its namespace's, the mesh's.
fn is_strict(peer: &Peer, all: &[Peer], world: &World<'_>) -> bool {
    let level = |namespace: &str| {
        let level = all.iter().filter(|p| p.selector.is_none() && *p.key.namespace == *namespace);
        level.min_by_key(|p| (&p.created, &p.key)).map_or(Mode::Unset, |p| p.mode)
    };
    let modes = [peer.mode, level(&peer.key.namespace), level(&world.settings.root_namespace)];
    modes.into_iter().find(|mode| *mode != Mode::Unset) == Some(Mode::Strict)
}

/// What an object says about pods.
pub(super) fn check_workloads(world: &World<'_>, findings: &mut Vec<Finding>) {
    let root = &world.settings.root_namespace;
    let mut selecting: BTreeMap<Arc<str>, Vec<Peer>> = BTreeMap::new();
    for object in world.index.peer_authentications.values() {
        let Ok(peer) = peer::parse(object) else { continue };
        if peer.selector.is_some() && peer.key.namespace != *root {
            selecting.entry(Arc::clone(&peer.key.namespace)).or_default().push(peer);
        }
    }
    for (namespace, mut peers) in selecting {
        peers.sort_by(|a, b| (&a.created, &a.key).cmp(&(&b.created, &b.key)));
        // Pod → the oldest object that selects it.
        let mut taken: BTreeMap<&NamespacedName, &NamespacedName> = BTreeMap::new();
        for peer in &peers {
            let covered = world.covered(&namespace, peer.selector.as_ref());
            let pods = || covered.iter().map(|covered| &covered.pod.pod.key);
            if let Some(first) = pods().next().filter(|_| pods().all(|pod| taken.contains_key(pod))) {
                let winner = taken[first];
                let what = format!("{winner} is older, selects the same pods and wins");
                findings
                    .push(Finding::new(Code::Shadowed, Object::new(KIND, &peer.key), "", what).why("it never counts"));
            }
            for pod in pods() {
                taken.entry(pod).or_insert(&peer.key);
            }
            let containers = |covered: &super::world::Covered<'_>| {
                let spec = &covered.pod.object.spec;
                let all = spec.containers.iter().chain(&spec.init_containers).flat_map(|c| &c.ports);
                all.map(|port| port.container_port).collect::<BTreeSet<_>>()
            };
            let declared: Vec<_> = covered.iter().map(containers).collect();
            if declared.is_empty() || declared.iter().any(BTreeSet::is_empty) {
                continue;
            }
            for port in peer.ports.keys().filter(|port| !declared.iter().any(|ports| ports.contains(port))) {
                let what = format!("no pod that it covers declares the port {port}");
                let path = format!("spec.portLevelMtls[{port}]");
                findings.push(
                    Finding::new(Code::UnknownPort, Object::new(KIND, &peer.key), path, what)
                        .why("ports are the pod's, and not the Service's"),
                );
            }
        }
    }
}
