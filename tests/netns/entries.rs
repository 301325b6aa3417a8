//! Services that are no usual ones: headless with a StatefulSet's pods, and ServiceEntries and WorkloadEntries for what is
//! outside of the cluster.

use std::net::SocketAddr;

use culvert::role::demo::app::{self, HTTP_PORT};
use culvert::role::demo::lab::{KubeNamespace, PodSpec, Topology};
use serde_json::Value;

use crate::bed::{Family, PATIENCE, run};

/// `client` and `db-0` on node-a, `db-1` on node-b; `vm` is a machine outside of the cluster.
fn topology() -> Topology {
    let mut pods = vec![PodSpec::new("demo", "client", "node-a"), PodSpec::new("outside", "vm", "node-b")];
    for (name, node) in [("db-0", "node-a"), ("db-1", "node-b")] {
        let mut pod = PodSpec::new("demo", name, node);
        pod.labels.insert("app".into(), "db".into());
        pod.labels.insert("apps.kubernetes.io/pod-index".into(), name.trim_start_matches("db-").into());
        pods.push(pod);
    }
    Topology {
        namespaces: vec![KubeNamespace::ambient("demo"), KubeNamespace::plain("outside")],
        pods,
        ..Topology::demo()
    }
}

#[test]
fn each_pod_of_a_headless_service_is_called_by_its_own_address() {
    run("headless", &topology(), async |bed| {
        bed.put(
            "db.yaml",
            "apiVersion: v1\nkind: Service\nmetadata: {name: db, namespace: demo}\n\
             spec: {clusterIP: None, selector: {app: db}, ports: [{name: http, port: 8080}]}\n",
        );
        bed.put(
            "strict.yaml",
            "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: all, namespace: demo}\n\
             spec: {mtls: {mode: STRICT}}\n",
        );
        bed.start(&[]).await;
        for (pod, road) in [("db-0", "same_node"), ("db-1", "hbone")] {
            for family in [Family::V4, Family::V6] {
                let marks = bed.marks();
                let to = bed.at(pod, family, HTTP_PORT);
                let reply = app::get(bed.netns("client"), to, "-", PATIENCE).await.unwrap();
                assert_eq!(reply.answer.pod, pod, "whoever asks for one of them means that one");
                for direction in ["outbound", "inbound"] {
                    let line = bed.access(marks, direction, "client", pod).await;
                    assert_eq!(line["road"], road, "{line}");
                    assert_eq!(line["src.identity"], "spiffe://cluster.local/ns/demo/sa/client", "{line}");
                }
            }
        }
    });
}

#[test]
fn what_is_outside_of_the_cluster_is_called_by_the_addresses_that_entries_give_it() {
    run("entries", &topology(), async |bed| {
        let vm = bed.at("vm", Family::V4, HTTP_PORT);
        // An external host with an address of its own, and a machine that a Service selects.
        bed.put(
            "entries.yaml",
            &format!(
                "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {{name: shop, namespace: demo}}\n\
                 spec:\n  hosts: [shop.example.com]\n  addresses: [10.97.0.1]\n  location: MESH_EXTERNAL\n  \
                 resolution: STATIC\n  ports: [{{number: 80, name: http, protocol: HTTP}}]\n  \
                 endpoints: [{{address: {ip}, ports: {{http: {HTTP_PORT}}}}}]\n---\n\
                 apiVersion: networking.istio.io/v1\nkind: WorkloadEntry\nmetadata: {{name: vm, namespace: demo}}\n\
                 spec: {{address: {ip}, labels: {{app: vm}}}}\n---\n\
                 apiVersion: v1\nkind: Service\nmetadata: {{name: vm, namespace: demo}}\n\
                 spec: {{clusterIP: 10.96.0.20, selector: {{app: vm}}, ports: [{{name: http, port: 80, targetPort: {HTTP_PORT}}}]}}\n",
                ip = vm.ip(),
            ),
        );
        bed.start(&[]).await;
        for (address, service) in [("10.97.0.1", "shop.example.com"), ("10.96.0.20", "vm.demo.svc.cluster.local")] {
            let marks = bed.marks();
            let to = SocketAddr::new(address.parse().unwrap(), 80);
            let reply = app::get(bed.netns("client"), to, "-", PATIENCE).await.unwrap();
            assert_eq!(reply.answer.pod, "vm");
            assert_eq!(reply.answer.source.ip(), bed.at("client", Family::V4, 0).ip(), "as the pod itself sent it");
            let outbound = |line: &Value| line["direction"] == "outbound";
            let line = bed.line_after("node-a", marks[0], PATIENCE, outbound).await.unwrap();
            assert_eq!((&line["road"], &line["reason"]), (&"plain".into(), &Value::Null), "{line}");
            assert_eq!(line["dst.service"], service, "{line}");
            assert_eq!(line["dst.addr"], vm.to_string(), "{line}");
        }
    });
}
