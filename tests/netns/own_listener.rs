//! The node in ztunnel's place as a workload of the mesh: its pages over HBONE, at its own address.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use culvert::model::ports;
use culvert::model::spiffe::Identity;
use culvert::role::demo::app::page::{PageError, page};
use culvert::sys::plain_tcp;
use culvert::tls::Connector;
use http::{Method, Request, Version};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::bed::{Bed, Family, NODES, PATIENCE, demo, until};
use crate::certificates::{account, authority, credentials};
use crate::wire;

const SPIFFE: &str = "spiffe://cluster.local/ns/istio-system/sa/ztunnel";

fn node_at(bed: &Bed, node: &str, family: Family, port: u16) -> SocketAddr {
    let plan = &bed.lab().node(node).unwrap().plan;
    match family {
        Family::V4 => SocketAddr::new(plan.v4.into(), port),
        Family::V6 => SocketAddr::new(plan.v6.into(), port),
    }
}

/// What both nodes know: the pods, and node-b itself, which is not for `near`.
fn mesh(bed: &Bed) -> Value {
    let workload = |namespace: &str, name: &str, account: &str, node: &str, ips: [SocketAddr; 2]| {
        json!({
            "uid": format!("Kubernetes//Pod/{namespace}/{name}"), "name": name, "namespace": namespace,
            "workloadIps": ips.map(|at| at.ip().to_string()), "protocol": "HBONE", "serviceAccount": account,
            "node": node, "workloadName": account, "workloadType": "pod",
        })
    };
    let pod = |name: &str| {
        let ips = [Family::V4, Family::V6].map(|family| bed.at(name, family, 0));
        workload("demo", name, name, &bed.node_of(name), ips)
    };
    // A name that no header may hold, and a service at a pod's own address whose endpoint is another pod.
    let (mut client, mut near) = (pod("client"), pod("near"));
    client["canonicalName"] = json!("a,b=\u{fc}\u{7f}");
    near["services"] = json!({ "demo/trap.demo.svc.cluster.local": { "8080": 8080 } });
    let trap = json!({
        "name": "trap", "namespace": "demo", "hostname": "trap.demo.svc.cluster.local", "ports": { "8080": 8080 },
        "vips": [format!("/{}", bed.at("server", Family::V4, 0).ip())],
    });
    let ips = [Family::V4, Family::V6].map(|family| node_at(bed, "node-b", family, 0));
    let mut own = workload("istio-system", "ztunnel-b", "ztunnel", "node-b", ips);
    own["authorizationPolicies"] = json!(["istio-system/not-near"]);
    json!({
        "workloads": [client, near, pod("server"), pod("intruder"), own],
        "services": [trap],
        "policies": [{
            "name": "not-near", "namespace": "istio-system", "scope": "WorkloadSelector", "action": "Deny",
            "rules": [[[{"principals": [{"Exact": "cluster.local/ns/demo/sa/near"}]}]]],
        }],
    })
}

/// Starts `culvert proxy ztunnel` with rules of its own and pods from the manifests. `own` says who it is.
fn launch(bed: &mut Bed, node: &str, own: &[(&str, &str)]) {
    let path = |name: &str| bed.path().join(name).display().to_string();
    let file = PathBuf::from(path("mesh.yaml"));
    if !file.exists() {
        // JSON has this one as it is, and YAML only by its number.
        std::fs::write(&file, mesh(bed).to_string().replace('\u{7f}', "\\u007f")).unwrap();
    }
    let variables = [
        ("CA_ADDRESS", String::new()),
        ("CULVERT_CA_DIR", path("ca")),
        ("CULVERT_MANIFESTS", path("manifests")),
        ("CULVERT_REDIRECT_BACKEND", "nftables".to_owned()),
        ("CULVERT_TAKEOVER_SOCKET", path(&format!("{node}.sock"))),
        ("CULVERT_VERIFY_INTERVAL", "1s".to_owned()),
        ("INPOD_UDS", String::new()),
        ("LOCAL_XDS_PATH", path("mesh.yaml")),
        ("LOG_FORMAT", "json".to_owned()),
        ("NODE_NAME", node.to_owned()),
        ("XDS_ADDRESS", String::new()),
    ];
    let own = own.iter().map(|(name, value)| format!("{name}={value}"));
    let variables: Vec<_> = variables.into_iter().map(|(name, value)| format!("{name}={value}")).chain(own).collect();
    // The words of `culvert node` are the shell's, which drops them.
    let words: Vec<_> = ["/usr/bin/env"].into_iter().chain(variables.iter().map(String::as_str)).collect();
    let by = [&words[..], &["/bin/sh", "-c", "exec \"$0\" proxy ztunnel"]].concat();
    bed.launch_by(&by, node, &[]);
}

/// Starts both nodes; node-b is told who it is, and node-a only half of it.
async fn start(bed: &mut Bed) {
    launch(bed, "node-a", &[("POD_NAME", "ztunnel-a"), ("POD_NAMESPACE", "istio-system")]);
    launch_own(bed, "ztunnel-b");
    for node in NODES {
        bed.ready(node, Duration::from_secs(20)).await.unwrap();
    }
}

fn launch_own(bed: &mut Bed, name: &str) {
    let at = node_at(bed, "node-b", Family::V4, 0).ip().to_string();
    let own =
        [("POD_NAME", name), ("POD_NAMESPACE", "istio-system"), ("SERVICE_ACCOUNT", "ztunnel"), ("INSTANCE_IP", &at)];
    launch(bed, "node-b", &own);
}

async fn scrape(bed: &Bed, from: &str, family: Family) -> Result<(u16, String), PageError> {
    page(bed.netns(from), node_at(bed, "node-b", family, ports::METRICS), "/metrics", PATIENCE).await
}

/// What the node answers to a CONNECT of a peer with a good certificate.
async fn asked(bed: &Bed, authority_of: &str) -> u16 {
    let at = node_at(bed, "node-b", Family::V4, ports::HBONE);
    let stream = wire::connect(bed.netns("outsider"), at).await.unwrap();
    let expected: Arc<[Identity]> = Arc::from([SPIFFE.parse().unwrap()]);
    let client = credentials(&authority(bed), &account("client"));
    let stream = Connector::new(&client, &expected).connect(stream).await.unwrap();
    let (requests, connection) = h2::client::handshake(stream).await.unwrap();
    let mut driving = JoinSet::new();
    driving.spawn(async move { drop(connection.await) });
    let request = Request::builder().method(Method::CONNECT).uri(authority_of).version(Version::HTTP_2);
    let (response, _body) = requests.ready().await.unwrap().send_request(request.body(()).unwrap(), false).unwrap();
    timeout(PATIENCE, response).await.expect("it is answered").unwrap().status().as_u16()
}

#[test]
fn peers_scrape_the_node_by_mutual_tls_and_under_policy() {
    demo("ownlistener", async |bed| {
        // Another program has the port at first. It is told, and does not keep the node from its pods.
        let netns = bed.lab().node("node-b").unwrap().netns.clone();
        let taken = plain_tcp::listen(&netns, ([0, 0, 0, 0], ports::HBONE).into()).await.unwrap();
        let marks = bed.marks();
        start(bed).await;
        let line = bed.says("node-b", marks[1], "cannot listen on 0.0.0.0:15008").await;
        assert!(line.to_string().contains("tried again"), "{line}");
        drop(taken);
        bed.says("node-b", marks[1], "peers of the mesh reach this node's own pages").await;

        for family in [Family::V4, Family::V6] {
            let marks = bed.marks();
            let (status, text) = scrape(bed, "client", family).await.unwrap();
            assert!(status == 200 && text.contains("# TYPE"), "{family:?}: {status}");
            let wanted = |line: &Value| line["direction"] == "inbound" && line["src.workload"] == "client";
            let line = bed.line_after("node-b", marks[1], PATIENCE, wanted).await.expect("a line of the scrape");
            for (key, value) in [
                ("dst.hbone_addr", node_at(bed, "node-b", family, ports::METRICS).to_string()),
                ("dst.identity", SPIFFE.to_owned()),
                ("dst.workload", "ztunnel-b".to_owned()),
                ("src.identity", "spiffe://cluster.local/ns/demo/sa/client".to_owned()),
                ("connection_security_policy", "mutual_tls".to_owned()),
            ] {
                assert_eq!(line[key], value, "{key} of {line}");
            }
        }
        let labels = [
            ("reporter", "destination"),
            ("source_workload", "client"),
            ("destination_workload", "ztunnel"),
            ("destination_principal", SPIFFE),
            ("connection_security_policy", "mutual_tls"),
        ];
        assert_eq!(bed.metric("node-b", "istio_tcp_connections_opened_total", &labels).await, 2.0);

        // A pod of this very node takes no other road.
        let marks = bed.marks();
        assert_eq!(scrape(bed, "server", Family::V4).await.unwrap().0, 200);
        let wanted = |line: &Value| line["direction"] == "inbound" && line["src.workload"] == "server";
        let line = bed.line_after("node-b", marks[1], PATIENCE, wanted).await.expect("a line of the scrape");
        assert_eq!(line["connection_security_policy"], "mutual_tls", "{line}");

        // Policy of the node's own workload.
        let marks = bed.marks();
        scrape(bed, "near", Family::V4).await.expect_err("it is denied");
        let wanted = |line: &Value| line["direction"] == "inbound" && line["src.workload"] == "near";
        let line = bed.line_after("node-b", marks[1], PATIENCE, wanted).await.expect("a line of the refusal");
        assert_eq!((&line["reason"], &line["policy"]), (&json!("policy"), &json!("istio-system/not-near")), "{line}");

        // A pod's own address is the pod's, whatever service has it too.
        let marks = bed.marks();
        let reply = bed.get("client", "server").await.unwrap();
        assert_eq!(reply.answer.pod, "server");
        let line = bed.access(marks, "outbound", "client", "server").await;
        assert_eq!((&line["road"], &line["dst.service"]), (&json!("hbone"), &Value::Null), "{line}");

        // Nothing but its own addresses, and neither its loopback nor its listener.
        let at = |node: &str, port: u16| node_at(bed, node, Family::V4, port).to_string();
        for (authority, expected) in [
            (at("node-b", ports::READY), 200),
            // The admin page is the loopback's, and the rest is not the node's to give.
            (at("node-b", ports::ADMIN), 400),
            (at("node-b", 9), 400),
            (at("node-b", ports::HBONE), 503),
            (at("node-a", ports::METRICS), 400),
            (bed.at("server", Family::V4, 8080).to_string(), 400),
            ("127.0.0.1:15000".to_owned(), 400),
            ("[::1]:15000".to_owned(), 400),
            ("localhost:15000".to_owned(), 503),
        ] {
            assert_eq!(asked(bed, &authority).await, expected, "CONNECT {authority}");
        }
        // Who is told half of who it is serves nobody.
        let netns = &bed.lab().node("node-a").unwrap().netns;
        let to = node_at(bed, "node-a", Family::V4, ports::HBONE);
        let refused = plain_tcp::unconnected(netns, to).await.unwrap().connect(to).await.unwrap_err();
        assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
        assert!(bed.stop_node("node-b", Duration::from_secs(20)).unwrap(), "it drains and ends");
    });
}

#[test]
fn the_next_process_has_the_nodes_own_listener_too() {
    demo("ownover", async |bed| {
        start(bed).await;
        until("it is scraped", async || scrape(bed, "client", Family::V4).await.is_ok()).await;
        let mut old = bed.part_with_node("node-b").unwrap();
        let mark = bed.mark("node-b");
        launch_own(bed, "ztunnel-b");
        bed.says("node-b", mark, "took over").await;
        bed.ready("node-b", PATIENCE).await.unwrap();
        for family in [Family::V4, Family::V6] {
            until("the next one is scraped", async || scrape(bed, "client", family).await.is_ok()).await;
        }
        old.stop(Duration::from_secs(20)).unwrap();
        let (status, _) = scrape(bed, "client", Family::V4).await.unwrap();
        assert_eq!(status, 200);
        let lines = bed.lines_after("node-b", mark);
        assert!(lines.iter().all(|line| !line.to_string().contains("cannot listen")), "it was handed over");
    });
}
