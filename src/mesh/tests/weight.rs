//! What a record weighs: every allocation of a mesh, counted once and as long as malloc makes it.

use std::collections::HashSet;
use std::sync::Arc;

use crate::mesh::{Addresses, Changes, Held, Shared, channel};
use crate::model::service::{Service, ServicePort, VirtualAddress};
use crate::model::workload::{Kind, Locality, ServiceMembership, Tunnel, Workload};

const SERVICES: u32 = 2_000;
const REPLICAS: u32 = 10;

/// The two counts before the value of an `Arc`.
const COUNTS: usize = 16;

/// An allocation of `bytes`: malloc of glibc adds a word, and rounds up to 16 and at least 32.
fn chunk(bytes: usize) -> usize {
    (bytes + 8).next_multiple_of(16).max(32)
}

/// Strings that were counted.
#[derive(Default)]
struct Seen(HashSet<*const u8>);

impl Seen {
    fn text(&mut self, text: &Arc<str>) -> usize {
        if text.is_empty() || !self.0.insert(text.as_ptr()) { 0 } else { chunk(COUNTS + text.len()) }
    }

    fn texts<const N: usize>(&mut self, texts: [&Arc<str>; N]) -> usize {
        texts.into_iter().map(|text| self.text(text)).sum()
    }

    fn shared(&mut self, held: &Held) -> usize {
        let shared: &Shared = held;
        if !self.0.insert(std::ptr::from_ref(shared).cast()) {
            return 0;
        }
        let lists = chunk(size_of_val(&*shared.services)) + chunk(size_of_val(&*shared.policies));
        let ports = |of: &ServiceMembership| chunk(of.ports.capacity() * size_of::<(u16, u16)>());
        chunk(COUNTS + size_of::<Shared>())
            + lists
            + shared.services.iter().map(ports).sum::<usize>()
            + self.texts([&shared.namespace, &shared.service_account, &shared.trust_domain, &shared.cluster])
            + self.texts([&shared.owner, &shared.canonical_name, &shared.canonical_revision])
    }

    fn held(&mut self, held: &Held) -> usize {
        assert!(matches!(held.addresses, Addresses::One(_)));
        let place =
            if self.0.insert(Arc::as_ptr(&held.locality).cast()) { chunk(COUNTS + size_of::<Locality>()) } else { 0 };
        chunk(COUNTS + size_of::<Held>())
            + place
            + self.shared(held)
            + self.texts([&held.uid, &held.name, &held.node, &held.locality.region, &held.locality.zone])
    }

    fn service(&mut self, service: &Service) -> usize {
        let lists = chunk(service.addresses.capacity() * size_of::<VirtualAddress>())
            + chunk(service.ports.capacity() * size_of::<ServicePort>());
        chunk(COUNTS + size_of::<Service>())
            + lists
            + self.texts([&service.name, &service.namespace, &service.hostname])
    }
}

fn service(number: u32) -> Service {
    let (namespace, name) = (format!("team-{}", number % 100), format!("service-{number}"));
    Service {
        hostname: format!("{name}.{namespace}.svc.cluster.local").into(),
        addresses: vec![VirtualAddress::single("".into(), std::net::Ipv4Addr::from(number).into())],
        ports: vec![ServicePort { port: 80, target: 8080, ..ServicePort::default() }],
        name: name.into(),
        namespace: namespace.into(),
        ..Service::default()
    }
}

fn workload(number: u32) -> Workload {
    let of = service(number / REPLICAS);
    let name = format!("{}-7d9c5b6f4d-{number:05x}", of.name);
    Workload {
        uid: format!("Kubernetes//Pod/{}/{name}", of.namespace).into(),
        name: name.into(),
        service_account: of.name.clone(),
        trust_domain: "cluster.local".into(),
        addresses: vec![std::net::Ipv4Addr::from(number).into()],
        cluster: "Kubernetes".into(),
        node: format!("node-{}", number % 200).into(),
        tunnel: Tunnel::Hbone,
        kind: Kind::Deployment,
        owner: of.name.clone(),
        canonical_name: of.name.clone(),
        canonical_revision: "v1".into(),
        locality: Locality { region: "eu-1".into(), zone: format!("eu-1{}", number % 3).into(), subzone: "".into() },
        services: vec![ServiceMembership { service: of.key(), ports: vec![(80, 8080)] }],
        namespace: of.namespace,
        ..Workload::default()
    }
}

#[test]
fn a_workload_weighs_at_most_450_bytes_and_a_service_a_kibibyte() {
    let (mut writer, reader) = channel();
    writer.stage(Changes { services: (0..SERVICES).map(service).collect(), ..Changes::default() });
    writer.apply(Changes { workloads: (0..SERVICES * REPLICAS).map(workload).collect(), ..Changes::default() });
    let view = reader.view();
    let (of_workloads, of_services) = view.index_bytes();
    let mut seen = Seen::default();
    // Services first: the names that both have are theirs.
    let services: usize = view.services().map(|service| seen.service(service)).sum();
    let workloads: usize = view.workloads().map(|held| seen.held(held)).sum();
    let a_workload = (workloads + of_workloads) / (SERVICES * REPLICAS) as usize;
    let a_service = (services + of_services + writer.names_bytes()) / SERVICES as usize;
    assert!(a_workload <= 450, "{a_workload}: {} + {}", workloads, of_workloads);
    assert!(a_service <= 1024, "{a_service}: {} + {} + {}", services, of_services, writer.names_bytes());
    // Records do not grow unseen. What is often there has a chunk of malloc without slack.
    assert_eq!((size_of::<Held>(), chunk(COUNTS + size_of::<Held>())), (96, 128));
}
