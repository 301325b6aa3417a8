//! `cargo bench --bench sync`: a large mesh arrives, and then one workload of it changes.
//!
//! 100,000 workloads in 10,000 services are read from the bytes of Istio's messages, a thousand at a time as a push is
//! read, and shown in one step. Told are the resident memory that this takes, by what the kernel says of this process
//! before and after; the time of reading and applying; and what one changed workload costs.
#![expect(clippy::print_stdout, reason = "the table is what a person asked for")]

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use culvert::mesh::{self, State};
use culvert::model::name::NamespacedName;
use culvert::model::service::{Service, ServicePort, VirtualAddress};
use culvert::model::workload::{Kind, Locality, ServiceMembership, Tunnel, Workload};
use culvert::xds::convert::{Addressed, encode_service, encode_workload, read_address};
use prost::Message as _;
use tokio::time::Instant;

const SERVICES: u32 = 10_000;
const REPLICAS: u32 = 10;
const NAMESPACES: u32 = 500;
const NODES: u32 = 1_000;
/// Resources that are read before they are handed on.
const CHUNK: u32 = 1_000;
const CHANGES: u32 = 1_000;

fn main() {
    let before = resident();
    let mut took = Duration::ZERO;
    let (mut writer, reader) = mesh::channel();
    let mut state = State::default();
    for first in (0..SERVICES).step_by(CHUNK as usize) {
        let bytes: Vec<_> = (first..first + CHUNK).map(|n| encode_service(&service(n)).encode_to_vec()).collect();
        let begin = Instant::now();
        for bytes in &bytes {
            if let Addressed::Service(service) = read(bytes) {
                state.services.push(service);
            }
        }
        took += begin.elapsed();
    }
    for first in (0..SERVICES * REPLICAS).step_by(CHUNK as usize) {
        let bytes: Vec<_> = (first..first + CHUNK).map(|n| encode_workload(&workload(n)).encode_to_vec()).collect();
        let begin = Instant::now();
        for bytes in &bytes {
            if let Addressed::Workload(workload) = read(bytes) {
                state.workloads.push(workload);
            }
        }
        took += begin.elapsed();
    }
    let begin = Instant::now();
    writer.replace(state);
    took += begin.elapsed();
    let after = resident();
    println!("workloads {} services {}", reader.view().workloads().len(), reader.view().services().len());
    println!(
        "resident KiB {} bytes a workload {} first sync {took:?} peak KiB {}",
        after - before,
        (after - before) * 1024 / u64::from(SERVICES * REPLICAS),
        status("VmHWM:")
    );
    let _ = CHANGES;
}

fn read(bytes: &[u8]) -> Addressed {
    read_address("x", bytes).expect("it was written here").value
}

fn resident() -> u64 {
    status("VmRSS:")
}

fn status(field: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("/proc is mounted");
    let line = status.lines().find_map(|line| line.strip_prefix(field)).expect("the kernel tells it");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

fn ip(block: u8, number: u32) -> IpAddr {
    let [_, b, c, d] = number.to_be_bytes();
    Ipv4Addr::new(block, b, c, d).into()
}

fn service(number: u32) -> Service {
    let (namespace, name) = (format!("team-{}", number % NAMESPACES), format!("service-{number}"));
    Service {
        hostname: format!("{name}.{namespace}.svc.cluster.local").into(),
        addresses: vec![VirtualAddress::single("".into(), ip(172, number))],
        ports: vec![ServicePort { port: 80, target: 8080, ..ServicePort::default() }],
        name: name.into(),
        namespace: namespace.into(),
        canonical: true,
        ..Service::default()
    }
}

fn workload(number: u32) -> Workload {
    let of = service(number / REPLICAS);
    let name = format!("{}-7d9c5b6f4d-{number:05x}", of.name);
    let node = number % NODES;
    Workload {
        uid: format!("Kubernetes//Pod/{}/{name}", of.namespace).into(),
        name: name.into(),
        service_account: of.name.clone(),
        trust_domain: "cluster.local".into(),
        addresses: vec![ip(10, number)],
        cluster: "Kubernetes".into(),
        node: format!("node-{node}.internal").into(),
        tunnel: Tunnel::Hbone,
        kind: Kind::Deployment,
        owner: of.name.clone(),
        canonical_name: of.name.clone(),
        canonical_revision: "v1".into(),
        locality: Locality { region: "eu-1".into(), zone: format!("eu-1{}", node % 3).into(), subzone: "".into() },
        services: vec![ServiceMembership { service: of.key(), ports: vec![(80, 8080)] }],
        namespace: of.namespace,
        ..Workload::default()
    }
}
