use super::*;
use crate::enroll::pairing::Pairing::{Foreign, Proven, Unproven};
use crate::mesh::{State, channel};
use crate::model::pod::PodNetns;
use crate::model::workload::Workload;
use crate::sys::netns::Netns;

fn workload(uid: &str, node: &str, cluster: &str, address: &str) -> Workload {
    Workload {
        uid: uid.into(),
        name: "cart".into(),
        namespace: "shop".into(),
        trust_domain: "mesh.example".into(),
        addresses: vec![address.parse().unwrap()],
        node: node.into(),
        cluster: cluster.into(),
        ..Workload::default()
    }
}

fn pod() -> Pod {
    Pod {
        key: NamespacedName::new("shop", "cart"),
        uid: "u1".into(),
        service_account: "cart".into(),
        node: "a".into(),
        addresses: Vec::new(),
        host_network: false,
        finished: false,
        dataplane_mode: None,
        has_sidecar: false,
        dns_capture: None,
        netns: Some(PodNetns::Handle(Netns::own().unwrap())),
    }
}

#[test]
fn only_the_record_of_this_nodes_pod_speaks_of_it() {
    let (mut writer, reader) = channel();
    let pairs = Pairs::new(reader, Place { node: "a".into(), cluster: "c".into() });
    let inside = ["127.0.0.1".parse().unwrap(), "10.0.0.1".parse().unwrap()];
    let mut judge = |workloads: Vec<Workload>| {
        writer.replace(State { workloads, ..State::default() });
        pairs.judge(&pod(), &inside, &[]).pairing
    };
    assert_eq!(judge(vec![]), Unproven);
    assert_eq!(judge(vec![workload("c//Pod/shop/cart", "a", "c", "10.0.0.1")]), Proven);
    assert_eq!(judge(vec![workload("c//v1/Pod/shop/cart", "a", "c", "10.0.0.2")]), Foreign);
    assert_eq!(judge(vec![workload("c//Pod/shop/cart", "a", "", "10.0.0.2")]), Foreign);
    // The pod of this name on another node, of another cluster, and something that is no pod.
    assert_eq!(judge(vec![workload("c//Pod/shop/cart", "b", "c", "10.0.0.2")]), Unproven);
    assert_eq!(judge(vec![workload("d//Pod/shop/cart", "a", "d", "10.0.0.2")]), Unproven);
    assert_eq!(judge(vec![workload("c/networking.istio.io/WorkloadEntry/shop/cart", "a", "c", "10.0.0.2")]), Unproven);
    let host = Workload { host_network: true, ..workload("c//Pod/shop/cart", "a", "c", "10.0.0.2") };
    assert_eq!(judge(vec![host]), Unproven);
    let judged = pairs.judge(&pod(), &inside, &[]);
    assert_eq!(judged.addresses, ["10.0.0.1".parse::<IpAddr>().unwrap()]);

    let other = Pod { uid: "u0".into(), ..pod() };
    writer.replace(State { workloads: vec![workload("c//Pod/shop/cart", "a", "c", "10.0.0.2")], ..State::default() });
    assert_eq!(pairs.judge(&pod(), &inside, &[]).pairing, Foreign);
    pairs.departed(&other, &["10.0.0.2".parse().unwrap()]);
    let judged = pairs.judge(&pod(), &inside, &[]);
    assert_eq!(judged.pairing, Unproven, "it is the record of the pod before it");
    // The mesh has heard that it is gone, and gives the same address again: now it speaks of this one.
    writer.replace(State::default());
    assert_eq!(pairs.judge(&pod(), &inside, &[]).pairing, Unproven);
    writer.replace(State { workloads: vec![workload("c//Pod/shop/cart", "a", "c", "10.0.0.2")], ..State::default() });
    assert_eq!(pairs.judge(&pod(), &inside, &[]).pairing, Foreign);
    assert!(is_other(&judged.record, "cluster.local") && !is_other(&judged.record, "mesh.example"));
}

/// However the mesh came to be as it is, what is known of the node's pods is what a look at all of it finds.
#[test]
fn many_small_changes_lead_to_what_there_is() {
    let place = || Place { node: "a".into(), cluster: "c".into() };
    let (mut writer, reader) = channel();
    let pairs = Pairs::new(reader.clone(), place());
    let named = |n: u8, node: &str, address: u8| Workload {
        name: format!("cart-{}", n % 4).into(),
        ..workload(&format!("c//Pod/shop/cart-{}", n % 4), node, "c", &format!("10.0.0.{address}"))
    };
    let strangers = (0..2000).map(|n| workload(&format!("c//Pod/far/w{n}"), "b", "c", "10.1.0.1"));
    writer.replace(State { workloads: strangers.collect(), ..State::default() });
    for step in 0..60_u8 {
        let node = if step % 3 == 0 { "b" } else { "a" };
        let gone = mesh::Removed::Workload(format!("c//Pod/shop/cart-{}", step % 5).into());
        let workloads = if step % 2 == 0 { vec![named(step, node, step)] } else { Vec::new() };
        writer.apply(mesh::Changes { workloads, removed: vec![gone], ..mesh::Changes::default() });
        // Now and then several changes are looked at together.
        if step % 4 != 1 {
            let anew = Pairs::new(reader.clone(), place());
            let (known, anew) = (pairs.look(), anew.look());
            assert_eq!(known.records, anew.records, "{step}");
            assert!(known.records.len() <= 4);
        }
    }
}

#[tokio::test]
async fn a_suspicion_is_not_lost_by_whoever_gives_up_waiting() {
    let (_writer, reader) = channel();
    let pairs = Pairs::new(reader, Place { node: "a".into(), cluster: "c".into() });
    let given_up = tokio::time::timeout(Duration::from_millis(1), pairs.attention()).await;
    assert!(given_up.is_err());
    lock(&pairs.suspects).insert("u1".into());
    pairs.suspected.notify_one();
    drop(pairs.attention());
    assert_eq!(pairs.attention().await, ["u1".into()]);
}
