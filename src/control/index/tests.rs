use std::net::IpAddr;

use super::*;
use crate::control::manifests::{self, Objects};
use crate::model::membership::{InReason, OutReason};

fn objects(text: &str) -> Objects {
    manifests::parse(&[("a.yaml".into(), text.as_bytes().to_vec())]).unwrap_or_else(|e| panic!("{e}"))
}

/// Pods of namespace `d`, each `name: fields of the manifest`.
fn pods(list: &[(&str, &str)]) -> Index {
    let text: String = list
        .iter()
        .map(|(name, rest)| format!("---\napiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, namespace: d{}\n", rest))
        .collect();
    Index::build(objects(&text))
}

#[test]
fn a_pod_and_its_defaults() {
    let index = pods(&[(
        "a",
        "}\nspec: {nodeName: n}\nstatus: {podIPs: [{ip: '::ffff:10.0.0.1'}, {ip: 10.0.0.1}, {ip: fd00::1}]}",
    )]);
    let pod = index.pods().next().unwrap();
    assert_eq!((&*pod.uid, &*pod.service_account, &*pod.node), ("static:d/a", "default", "n"));
    assert_eq!(pod.addresses, ["10.0.0.1".parse::<IpAddr>().unwrap(), "fd00::1".parse().unwrap()]);
    let text = ", uid: u1, annotations: {culvert.dev/netns: /n/a, sidecar.istio.io/status: x}, labels: {istio.io/dataplane-mode: none}}\n\
                spec: {serviceAccountName: sa, hostNetwork: true}\nstatus: {phase: Failed}";
    let index = pods(&[("a", text)]);
    let pod = index.pod(&NamespacedName::new("d", "a")).unwrap();
    assert_eq!((&*pod.uid, &*pod.service_account, pod.dataplane_mode.as_deref()), ("u1", "sa", Some("none")));
    assert!(pod.has_sidecar && pod.host_network && pod.finished);
    assert_eq!(pod.netns, Some("/n/a".into()));
}

#[test]
fn membership_follows_namespace_and_pod() {
    let text = "apiVersion: v1\nkind: Namespace\nmetadata: {name: d, labels: {istio.io/dataplane-mode: ambient}}\n---\n\
                apiVersion: v1\nkind: Pod\nmetadata: {name: a, namespace: d}\nstatus: {podIP: 10.0.0.1}\n---\n\
                apiVersion: v1\nkind: Pod\nmetadata: {name: a, namespace: e}\nstatus: {podIP: 10.0.0.2}\n";
    let index = Index::build(objects(text));
    let of = |ns: &str| index.membership(index.pod(&NamespacedName::new(ns, "a")).unwrap());
    assert_eq!((of("d"), of("e")), (Membership::In(InReason::NamespaceLabel), Membership::Out(OutReason::NoLabel)));
    assert_eq!((index.namespace_mode("d"), index.namespace_mode("e")), (Some("ambient"), None));
}

#[track_caller]
fn check_conflicts(list: &[(&str, &str)], kept: &[&str], told: &[&str]) {
    let index = pods(list);
    let names: Vec<_> = index.pods().map(|pod| pod.key.name.to_string()).collect();
    let conflicts: Vec<_> = index.conflicts().iter().map(ToString::to_string).collect();
    assert_eq!(
        (names, conflicts),
        (kept.iter().map(ToString::to_string).collect(), told.iter().map(ToString::to_string).collect())
    );
}

#[test]
fn what_two_pods_claim_the_first_keeps() {
    let ip = "}\nstatus: {podIP: 10.0.0.1}";
    let second = "}\nstatus: {podIPs: [{ip: 10.0.0.2}, {ip: 10.0.0.1}]}";
    check_conflicts(
        &[("b", second), ("a", ip), ("c", "}\nstatus: {podIP: 10.0.0.2}")],
        &["a", "c"],
        &["pods d/a and d/b both claim the address 10.0.0.1; d/b stays out of the mesh until one of them changes"],
    );
    let netns = ", annotations: {culvert.dev/netns: /n/x}}";
    check_conflicts(
        &[("a", netns), ("b", netns)],
        &["a"],
        &["pods d/a and d/b both claim the namespace /n/x; d/b stays out of the mesh until one of them changes"],
    );
    check_conflicts(
        &[("a", ", uid: u}"), ("b", ", uid: u}")],
        &["a"],
        &["pods d/a and d/b both claim the UID u; d/b stays out of the mesh until one of them changes"],
    );
}

#[test]
fn finished_pods_and_pods_of_the_host_claim_nothing() {
    let ip = "}\nstatus: {podIP: 10.0.0.1}";
    let host = "}\nspec: {hostNetwork: true}\nstatus: {podIP: 10.0.0.1}";
    let finished = "}\nstatus: {podIP: 10.0.0.1, phase: Succeeded}";
    check_conflicts(
        &[("a", host), ("b", finished), ("c", ip), ("d", host), ("e", finished)],
        &["a", "b", "c", "d", "e"],
        &[],
    );
}
