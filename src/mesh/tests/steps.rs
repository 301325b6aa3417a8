//! Any way of changing a mesh leads to the mesh that is built at once from what there is in the end.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use proptest::prelude::*;

use crate::mesh::{Changes, Reader, Removed, State, View, Writer, channel};
use crate::model::name::NamespacedName;
use crate::model::policy::{Action, Policy, Scope};
use crate::model::service::{Balancing, Service, VirtualAddress, Visibility};
use crate::model::workload::{ServiceMembership, Tunnel, Workload};

/// Few of each, so that they collide.
const UIDS: [&str; 5] = ["c//Pod/a/x", "c//Pod/a/y", "c//Pod/b/x", "entry/p", "entry/q"];
const NAMESPACES: [&str; 2] = ["a", "b"];
const NETWORKS: [&str; 2] = ["", "far"];
const IPS: [&str; 4] = ["10.0.0.1", "::ffff:10.0.0.1", "10.0.0.2", "fd00::1"];
const HOSTS: [&str; 2] = ["web.test", "db.test"];
const NETS: [&str; 5] = ["10.0.0.1/32", "10.0.0.2/32", "10.0.0.0/24", "10.0.0.0/30", "fd00::/64"];
const POLICIES: [&str; 3] = ["p", "q", "converted_peer_authentication_r"];

#[derive(Clone, Debug)]
enum Part {
    Workload(Workload),
    Service(Service),
    Policy(Policy),
    Removed(Removed),
}

/// What is done with a list of parts.
#[derive(Clone, Copy, Debug)]
enum How {
    Apply,
    Stage,
}

fn one(of: &'static [&'static str]) -> impl Strategy<Value = Arc<str>> {
    prop::sample::select(of).prop_map(Arc::from)
}

fn key() -> impl Strategy<Value = NamespacedName> {
    (one(&NAMESPACES), one(&HOSTS)).prop_map(|(namespace, name)| NamespacedName { namespace, name })
}

fn policy_key() -> impl Strategy<Value = NamespacedName> {
    (one(&NAMESPACES), one(&POLICIES)).prop_map(|(namespace, name)| NamespacedName { namespace, name })
}

fn workload() -> impl Strategy<Value = Workload> {
    let membership =
        (key(), 1..3_u16).prop_map(|(service, port)| ServiceMembership { service, ports: vec![(80, port)] });
    (
        (one(&UIDS), one(&NAMESPACES), one(&NETWORKS), one(&["", "db.test"])),
        prop::collection::vec(one(&IPS), 0..3),
        prop::collection::vec(membership, 0..3),
        prop::collection::vec(policy_key(), 0..3),
        (any::<bool>(), any::<bool>(), prop::bool::weighted(0.2)),
    )
        .prop_map(
            |((uid, namespace, network, hostname), ips, services, policies, (hbone, healthy, host_network))| Workload {
                uid,
                namespace,
                network,
                hostname,
                addresses: ips.iter().map(|ip| ip.parse().unwrap()).collect(),
                services,
                policies,
                tunnel: if hbone { Tunnel::Hbone } else { Tunnel::None },
                healthy,
                host_network,
                ..Workload::default()
            },
        )
}

fn service() -> impl Strategy<Value = Service> {
    let address =
        (one(&NETWORKS), one(&NETS)).prop_map(|(network, net)| VirtualAddress { network, net: net.parse().unwrap() });
    (key(), prop::collection::vec(address, 0..3), any::<bool>(), any::<bool>(), any::<bool>()).prop_map(
        |(key, addresses, canonical, public, accept_unhealthy)| Service {
            name: Arc::clone(&key.name),
            namespace: key.namespace,
            hostname: key.name,
            addresses,
            canonical,
            visibility: if public { Visibility::Public } else { Visibility::Namespace },
            balancing: Balancing { accept_unhealthy, ..Balancing::default() },
            ..Service::default()
        },
    )
}

fn policy() -> impl Strategy<Value = Policy> {
    let scope = prop::sample::select(vec![Scope::Global, Scope::Namespace, Scope::Workload]);
    (policy_key(), scope, any::<bool>()).prop_map(|(key, scope, allow)| {
        Policy::new(key, scope, if allow { Action::Allow } else { Action::Deny }, Vec::new())
    })
}

fn part() -> impl Strategy<Value = Part> {
    prop_oneof![
        4 => workload().prop_map(Part::Workload),
        3 => service().prop_map(Part::Service),
        2 => policy().prop_map(Part::Policy),
        2 => one(&UIDS).prop_map(|uid| Part::Removed(Removed::Workload(uid))),
        2 => key().prop_map(|key| Part::Removed(Removed::Service(key))),
        1 => policy_key().prop_map(|key| Part::Removed(Removed::Policy(key))),
    ]
}

/// What is there, by key.
#[derive(Default)]
struct Plain {
    workloads: BTreeMap<Arc<str>, Workload>,
    services: BTreeMap<NamespacedName, Service>,
    policies: BTreeMap<NamespacedName, Policy>,
}

impl Plain {
    fn change(&mut self, changes: &Changes) {
        for removed in &changes.removed {
            match removed {
                Removed::Workload(uid) => drop(self.workloads.remove(uid)),
                Removed::Service(key) => drop(self.services.remove(key)),
                Removed::Policy(key) => drop(self.policies.remove(key)),
            }
        }
        self.workloads.extend(changes.workloads.iter().map(|w| (Arc::clone(&w.uid), w.clone())));
        self.services.extend(changes.services.iter().map(|s| (s.key(), s.clone())));
        self.policies.extend(changes.policies.iter().map(|p| (p.key.clone(), p.clone())));
    }

    fn state(&self) -> State {
        State {
            workloads: self.workloads.values().cloned().collect(),
            services: self.services.values().cloned().collect(),
            policies: self.policies.values().cloned().collect(),
        }
    }
}

fn changes(parts: &[Part]) -> Changes {
    let mut changes = Changes::default();
    for part in parts.iter().cloned() {
        match part {
            Part::Workload(workload) => changes.workloads.push(workload),
            Part::Service(service) => changes.services.push(service),
            Part::Policy(policy) => changes.policies.push(policy),
            Part::Removed(removed) => changes.removed.push(removed),
        }
    }
    changes
}

/// The answers to every look-up that there is, in words.
fn answers(view: &View) -> Vec<String> {
    let mut told = Vec::new();
    let mut tell = |what: String, found: String| told.push(format!("{what}: {found}"));
    let ips = || IPS.iter().map(|ip| ip.parse::<IpAddr>().unwrap());
    for uid in UIDS {
        let found = view.workload_by_uid(uid);
        tell(uid.to_owned(), format!("{found:?}"));
        let applicable = found.map(|workload| view.policies_for(workload));
        tell(format!("policies of {uid}"), format!("{applicable:?}"));
    }
    for (network, ip) in NETWORKS.iter().flat_map(|network| ips().map(move |ip| (network, ip))) {
        tell(format!("{network}/{ip}"), format!("{:?}", view.workload_at(network, ip)));
        for caller in [None, Some("a"), Some("b"), Some("c")] {
            tell(format!("{network}/{ip} for {caller:?}"), format!("{:?}", view.service_at(network, ip, caller)));
        }
    }
    for (namespace, host) in NAMESPACES.iter().flat_map(|namespace| HOSTS.iter().map(move |host| (*namespace, *host))) {
        let key = NamespacedName::new(namespace, host);
        tell(format!("workload {key}"), format!("{:?}", view.workload_named(namespace, host)));
        tell(format!("service {key}"), format!("{:?}", view.service(&key)));
        tell(format!("service {host} for {namespace}"), format!("{:?}", view.service_named(host, namespace)));
        tell(format!("endpoints of {key}"), format!("{:?}", view.endpoints(&key)));
    }
    let sorted = |mut all: Vec<String>| {
        all.sort();
        format!("{} {all:?}", all.len())
    };
    tell("staged".into(), sorted(view.staged().map(|staged| format!("{staged:?}")).collect()));
    tell("workloads".into(), sorted(view.workloads().map(|w| w.uid.to_string()).collect()));
    tell("services".into(), sorted(view.services().map(|s| s.key().to_string()).collect()));
    tell("policies".into(), sorted(view.policies().map(|p| p.key.to_string()).collect()));
    tell("counts".into(), format!("{} {} {}", view.workloads().len(), view.services().len(), view.policies().len()));
    told
}

fn at_once(state: State) -> (Writer, Reader) {
    let (mut writer, reader) = channel();
    writer.replace(state);
    (writer, reader)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn steps_lead_to_where_one_leap_does(
        steps in prop::collection::vec(
            (prop::collection::vec(part(), 0..6), prop::sample::select(vec![How::Apply, How::Apply, How::Stage])),
            0..12,
        ),
    ) {
        let (mut writer, reader) = channel();
        let mut plain = Plain::default();
        for (parts, how) in &steps {
            let changes = changes(parts);
            plain.change(&changes);
            match how {
                How::Apply => writer.apply(changes),
                How::Stage => {
                    let before = reader.view().version();
                    writer.stage(changes);
                    prop_assert_eq!(reader.view().version(), before, "nobody sees what is staged");
                    continue;
                }
            }
            let (_writer, leapt) = at_once(plain.state());
            prop_assert_eq!(answers(&reader.view()), answers(&leapt.view()));
        }
        // The difference to another mesh, with whatever was staged before forgotten.
        let (mut other, theirs) = at_once(State::default());
        other.apply(changes(&steps.iter().flat_map(|(parts, _)| parts.clone()).collect::<Vec<_>>()));
        other.replace(plain.state());
        writer.replace(plain.state());
        prop_assert_eq!(answers(&theirs.view()), answers(&reader.view()));
    }
}

/// What changed between two views is what whoever compares all of both finds, and no more of the mesh is looked at.
#[test]
fn what_changed_since_a_view_costs_what_changed() {
    let workload = |n: usize, node: &str| Workload {
        uid: format!("c//Pod/a/{n}").into(),
        name: n.to_string().into(),
        node: node.into(),
        ..Workload::default()
    };
    let (mut writer, reader) = channel();
    let empty = reader.view();
    writer.replace(State { workloads: (0..20_000).map(|n| workload(n, "one")).collect(), ..State::default() });
    let first = reader.view();
    let (gone, came) = first.workloads_since(&empty);
    assert_eq!((gone.len(), came.len()), (0, 20_000));
    writer.apply(Changes {
        workloads: vec![workload(7, "two")],
        removed: vec![Removed::Workload("c//Pod/a/8".into())],
        ..Changes::default()
    });
    writer.apply(Changes { workloads: vec![workload(30_000, "one")], ..Changes::default() });
    let second = reader.view();
    let uids = |all: Vec<&Arc<crate::mesh::Held>>| {
        let mut uids: Vec<_> = all.into_iter().map(|held| held.uid.to_string()).collect();
        uids.sort();
        uids
    };
    let (gone, came) = second.workloads_since(&first);
    assert_eq!(uids(gone), ["c//Pod/a/7", "c//Pod/a/8"]);
    assert_eq!(uids(came), ["c//Pod/a/30000", "c//Pod/a/7"]);
    assert_eq!(second.workloads_since(&second), (vec![], vec![]));
    assert!(second.workloads_unshared(&first) <= 3, "shards that are looked through");
}
