//! Seeds that are messages, from the types that write them. Others are text, certificates, or found by the fuzzer.

use culvert::config::local::{Settings, parse};
use culvert::mesh::State;
use culvert::proto::ca::IstioCertificateResponse;
use culvert::proto::discovery::{DeltaDiscoveryResponse, Resource};
use culvert::proto::google::Any;
use culvert::proto::zds::{
    AddWorkload, DelWorkload, KeepWorkload, SnapshotSent, WorkloadInfo, WorkloadRequest, WorkloadRequestPayload,
};
use culvert::xds::convert::{encode_policy, encode_service, encode_workload, name};
use prost::Message;

/// Path below `seeds`, and the bytes.
type Seed = (String, Vec<u8>);

pub fn messages() -> Vec<Seed> {
    [xds(), zds(), ca(), dns(), proxy()].concat()
}

/// The mesh of the target `local_xds`, on the wire.
fn xds() -> Vec<Seed> {
    let settings = Settings { trust_domain: "cluster.local".into(), cluster: "Kubernetes".into() };
    let State { workloads, services, policies } =
        parse("whole.yaml", include_str!("seeds/local_xds/whole.yaml"), &settings).expect("the seed is a mesh");
    let mut addresses = Vec::new();
    for workload in &workloads {
        addresses.push((name::of_workload(workload).to_owned(), encode_workload(workload).encode_to_vec()));
    }
    for service in &services {
        addresses.push((name::of_service(service), encode_service(service).encode_to_vec()));
    }
    let policies: Vec<_> =
        policies.iter().map(|policy| (name::of_policy(policy), encode_policy(policy).encode_to_vec())).collect();

    let mut seeds = Vec::new();
    for (target, resources) in [("xds_address", &addresses), ("xds_policy", &policies)] {
        assert!(!resources.is_empty());
        let all = resources.iter().enumerate();
        seeds.extend(all.map(|(place, (_, bytes))| (format!("{target}/{place}"), bytes.clone())));
    }
    let removed = addresses[0].0.clone();
    seeds.push(("xds_response/addresses".into(), response(0, name::ADDRESS, addresses, &[])));
    seeds.push(("xds_response/policies".into(), response(1, name::AUTHORIZATION, policies, &["shop/gone"])));
    seeds.push(("xds_response/removal".into(), response(1, name::ADDRESS, Vec::new(), &[&removed])));
    seeds
}

fn response(on_demand: u8, url: &str, resources: Vec<(String, Vec<u8>)>, removed: &[&str]) -> Vec<u8> {
    let resource = |(name, value)| Resource {
        version: "0f".into(),
        resource: Some(Any { type_url: url.into(), value }),
        name,
        aliases: vec!["n1/10.1.0.4".into()],
    };
    let response = DeltaDiscoveryResponse {
        system_version_info: "s".into(),
        resources: resources.into_iter().map(resource).collect(),
        type_url: url.into(),
        nonce: "n1".into(),
        removed_resources: removed.iter().map(ToString::to_string).collect(),
    };
    [vec![on_demand], response.encode_to_vec()].concat()
}

/// The first byte is the number of descriptors.
fn zds() -> Vec<Seed> {
    let uid = || "0b3f9a5e-6c1f-4c55-9d5b-3f2a7e8d9c10".to_owned();
    let who = WorkloadInfo { name: "cart-0".into(), namespace: "shop".into(), service_account: "cart".into() };
    let add = AddWorkload { uid: uid(), workload_info: Some(who) };
    let packets = [
        ("add", 1, WorkloadRequestPayload::Add(add)),
        ("nobody", 1, WorkloadRequestPayload::Add(AddWorkload { uid: uid(), workload_info: None })),
        ("del", 0, WorkloadRequestPayload::Del(DelWorkload { uid: uid() })),
        ("keep", 0, WorkloadRequestPayload::Keep(KeepWorkload { uid: uid() })),
        ("sent", 0, WorkloadRequestPayload::SnapshotSent(SnapshotSent {})),
    ];
    let packet = |(name, count, payload)| {
        let packet = WorkloadRequest { payload: Some(payload) }.encode_to_vec();
        (format!("zds_packet/{name}"), [vec![count], packet].concat())
    };
    packets.map(packet).to_vec()
}

fn ca() -> Vec<Seed> {
    let (leaf, root) = (include_str!("seeds/pem_bundle/leaf.pem"), include_str!("seeds/pem_bundle/root.pem"));
    let answer = |name: &str, texts: &[&str]| {
        let cert_chain = texts.iter().map(ToString::to_string).collect();
        (format!("ca_answer/{name}"), IstioCertificateResponse { cert_chain }.encode_to_vec())
    };
    vec![
        answer("whole", &[leaf, root]),
        answer("intermediate", &[leaf, root, include_str!("seeds/pem_bundle/broken.pem")]),
        answer("no_roots", &[leaf]),
    ]
}

/// Questions, and questions behind their length with their answers.
fn dns() -> Vec<Seed> {
    const A: u16 = 1;
    const AAAA: u16 = 28;
    let query = |name: &str, kind: u16, payload: Option<u16>| {
        let mut bytes = vec![0xab, 0xcd, 1, 0, 0, 1, 0, 0, 0, 0, 0, u8::from(payload.is_some())];
        for label in name.split('.') {
            bytes.push(label.len() as u8);
            bytes.extend(label.as_bytes());
        }
        bytes.push(0);
        bytes.extend([kind.to_be_bytes(), [0, 1]].concat());
        if let Some(payload) = payload {
            bytes.extend([vec![0, 0, 41], payload.to_be_bytes().to_vec(), vec![0, 0, 0x80, 0, 0, 0]].concat());
        }
        bytes
    };
    let record = |kind: u16, ttl: u32, data: &[u8]| {
        let fields = [vec![0xc0, 12], kind.to_be_bytes().to_vec(), vec![0, 1], ttl.to_be_bytes().to_vec()].concat();
        [fields, (data.len() as u16).to_be_bytes().to_vec(), data.to_vec()].concat()
    };
    let web = query("web", A, None);
    let answered = |rcode: u8, answers: u8, authority: u8, records: &[Vec<u8>]| {
        let mut answer = web.clone();
        answer[2] |= 0x80;
        (answer[3], answer[7], answer[9]) = (0x80 | rcode, answers, authority);
        [(web.len() as u16).to_be_bytes().to_vec(), web.clone(), answer, records.concat()].concat()
    };
    let soa = [vec![0; 18], 20_u32.to_be_bytes().to_vec()].concat();
    let seeds = [
        ("dns_query/short", web.clone()),
        ("dns_query/whole", query("web.shop.svc.cluster.local", AAAA, Some(1232))),
        ("dns_query/search", query("many.shop.svc.cluster.local.shop.svc.cluster.local", A, None)),
        ("dns_query/wildcard", query("A.Example.com", A, Some(512))),
        ("dns_query/elsewhere", query("a.example.org", 65, None)),
        ("dns_answer/found", answered(0, 2, 0, &[record(A, 60, &[1, 2, 3, 4]), record(A, 5, &[1, 2, 3, 5])])),
        ("dns_answer/no_such_name", answered(3, 0, 1, &[record(6, 60, &soa)])),
        ("dns_answer/failed", answered(2, 0, 0, &[])),
    ];
    seeds.map(|(name, bytes)| (name.to_owned(), bytes)).to_vec()
}

fn proxy() -> Vec<Seed> {
    let identity = b"spiffe://cluster.local/ns/shop/sa/cart".to_vec();
    let v4 = |last: u8| vec![10, 1, 0, last, 0x1f, 0x90];
    let v6 = |last: u8| [vec![0xfd, 0], vec![0; 13], vec![last, 0x1f, 0x90]].concat();
    vec![
        ("proxy_header/v4".into(), [vec![0], v4(1), v4(2), identity.clone()].concat()),
        ("proxy_header/v6".into(), [vec![3], v6(1), v6(2), identity.clone()].concat()),
        ("proxy_header/mixed".into(), [vec![2], v4(1), v6(2), identity].concat()),
    ]
}
