//! `cargo bench --bench sync`: a large mesh arrives, and then one workload of it changes.
//!
//! 100,000 workloads in 10,000 services are read from the bytes of Istio's messages, a thousand at a time as a push is
//! read, and shown in one step. Told are the resident memory that this takes, by what the kernel says of this process
//! before and after; the time of reading and applying; and what one changed workload costs. The shape: replicas of a
//! Deployment behind one service each, in 500 namespaces on 1,000 nodes, every string of a record a string of its own
//! as it is read.
#![expect(clippy::print_stdout, reason = "the table is what a person asked for")]

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use culvert::mesh::{self, Changes, Writer};
use culvert::model::service::{Service, ServicePort, VirtualAddress};
use culvert::model::workload::{Kind, Locality, ServiceMembership, Tunnel, Workload};
use culvert::proto::workload::Address;
use culvert::xds::convert::{Addressed, encode_service, encode_workload, read_address};
use prost::Message as _;
use tokio::time::Instant;

const SERVICES: u32 = 10_000;
const REPLICAS: u32 = 10;
const WORKLOADS: u32 = SERVICES * REPLICAS;
const NAMESPACES: u32 = 500;
const NODES: u32 = 1_000;
/// Resources that are read before they are handed on.
const CHUNK: usize = 1_000;
const CHANGES: u32 = 1_000;

fn main() {
    let before = resident();
    let (mut writer, reader) = mesh::channel();
    let mut took = Took::default();
    // The messages of a chunk are written before the clocks run, and are gone before the next.
    for first in (0..SERVICES).step_by(CHUNK) {
        took += stage(&mut writer, (first..).take(CHUNK).map(|number| encode_service(&service(number))));
    }
    for first in (0..WORKLOADS).step_by(CHUNK) {
        took += stage(&mut writer, (first..).take(CHUNK).map(|number| encode_workload(&workload(number))));
    }
    took += Took::by(|| writer.apply(Changes::default()));
    let after = resident();

    let view = reader.view();
    assert_eq!((view.workloads().len(), view.services().len()), (WORKLOADS as usize, SERVICES as usize));
    drop(view);
    let changed: Vec<_> =
        (0..CHANGES).map(|turn| Workload { healthy: false, ..workload(turn * 7919 % WORKLOADS) }).collect();
    let changes = Took::by(|| {
        for workload in changed {
            writer.apply(Changes { workloads: vec![workload], ..Changes::default() });
        }
    });

    let taken = after.saturating_sub(before);
    let mib = |kib: u64| kib as f64 / 1024.0;
    let each = |took: Duration| took.as_secs_f64() * 1e6 / f64::from(CHANGES);
    println!("| {WORKLOADS} workloads in {SERVICES} services | |\n| --- | ---: |");
    println!("| resident, all of it (MiB) | {:.1} |", mib(taken));
    println!("| resident, a workload with its share of a service (bytes) | {} |", taken * 1024 / u64::from(WORKLOADS));
    println!("| resident, the most while reading (MiB) | {:.1} |", mib(status("VmHWM:").saturating_sub(before)));
    println!("| resident after {CHANGES} changes (MiB) | {:.1} |", mib(resident().saturating_sub(before)));
    println!("| first sync, reading and applying (s) | {:.2} |", took.wall.as_secs_f64());
    println!("| first sync, processor (s) | {:.2} |", took.processor.as_secs_f64());
    println!("| one changed workload (µs) | {:.0} |", each(changes.wall));
    println!("| one changed workload, processor (µs) | {:.0} |", each(changes.processor));
}

/// How long something took.
#[derive(Clone, Copy, Default)]
struct Took {
    wall: Duration,
    /// Of this thread, which is the only one: what else the machine does is not in it. As fine as the kernel's tick.
    processor: Duration,
}

impl Took {
    fn by(work: impl FnOnce()) -> Self {
        let (begin, ran) = (Instant::now(), processor());
        work();
        Self { wall: begin.elapsed(), processor: processor() - ran }
    }
}

impl std::ops::AddAssign for Took {
    fn add_assign(&mut self, other: Self) {
        self.wall += other.wall;
        self.processor += other.processor;
    }
}

/// Reads resources and hands them on.
fn stage(writer: &mut Writer, resources: impl Iterator<Item = Address>) -> Took {
    let bytes: Vec<_> = resources.map(|resource| resource.encode_to_vec()).collect();
    Took::by(|| {
        let mut changes = Changes::default();
        for bytes in &bytes {
            match read_address("x", bytes).expect("it was written here").value {
                Addressed::Service(service) => changes.services.push(service),
                Addressed::Workload(workload) => changes.workloads.push(workload),
            }
        }
        writer.stage(changes);
    })
}

fn processor() -> Duration {
    let text = std::fs::read_to_string("/proc/self/schedstat").expect("the kernel counts it");
    Duration::from_nanos(text.split(' ').next().and_then(|ran| ran.parse().ok()).expect("nanoseconds"))
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
