//! What a person sees from outside: lines, metrics, pages.

use culvert::role::demo::app::page::page;
use culvert::role::demo::app::{self, ECHO_PORT, HTTP_PORT};
use serde_json::Value;

use crate::bed::{Bed, Family, NODES, PATIENCE, demo, series, sh, until};
use crate::roads::{HBONE, PLAIN_IN, PLAIN_OUT, SAME_NODE};

/// The fields of a line in their order; those that are not known are left out of it.
const FIELDS: [&str; 21] = [
    "src.addr",
    "src.workload",
    "src.namespace",
    "src.identity",
    "src.cluster",
    "dst.addr",
    "dst.hbone_addr",
    "dst.service",
    "dst.workload",
    "dst.namespace",
    "dst.identity",
    "dst.cluster",
    "direction",
    "bytes_sent",
    "bytes_recv",
    "duration",
    "road",
    "connection_security_policy",
    "reason",
    "policy",
    "detail",
];
/// The labels of Istio's TCP metrics, in Istio's order, with ours at the end.
const LABELS: &str = "reporter source_workload source_canonical_service source_canonical_revision \
    source_workload_namespace source_principal source_app source_version source_cluster destination_service \
    destination_service_namespace destination_service_name destination_workload destination_canonical_service \
    destination_canonical_revision destination_workload_namespace destination_principal destination_app \
    destination_version destination_cluster request_protocol response_flags connection_security_policy source_region \
    source_zone destination_region destination_zone";

/// Which fields a complete line of each side has besides those that every one has.
const TUNNEL: &[&str] = &["src.identity", "dst.identity", "dst.hbone_addr"];
const NODE_LOCAL: &[&str] = &["src.identity", "dst.identity"];
const EVERY: [&str; 13] = [
    "src.addr",
    "src.workload",
    "src.namespace",
    "src.cluster",
    "dst.addr",
    "dst.workload",
    "dst.namespace",
    "dst.cluster",
    "direction",
    "bytes_sent",
    "bytes_recv",
    "duration",
    "road",
];

#[test]
fn a_line_for_each_connection_and_reporter_in_json() {
    demo("json", async |bed| {
        bed.start(&[]).await;
        for (way, more) in [(HBONE, TUNNEL), (SAME_NODE, NODE_LOCAL), (PLAIN_IN, &[]), (PLAIN_OUT, &[])] {
            let marks = bed.marks();
            bed.get(way.from, way.to).await.unwrap();
            for (direction, road) in [("outbound", way.outbound), ("inbound", way.inbound)] {
                if road.is_empty() {
                    continue;
                }
                let line = bed.access(marks, direction, way.from, way.to).await;
                let expected: Vec<_> = EVERY.iter().chain(more).chain(&["connection_security_policy"]).collect();
                for field in FIELDS {
                    let has = expected.iter().any(|known| **known == field);
                    assert_eq!(!line[field].is_null(), has, "{field} in {line}");
                }
                assert_eq!((&line["level"], &line["target"]), (&"info".into(), &"access".into()), "{line}");
                let source: std::net::SocketAddr = line["src.addr"].as_str().unwrap().parse().unwrap();
                assert_eq!(source.ip(), bed.at(way.from, Family::V4, 0).ip(), "{line}");
                let (addr, hbone) = (line["dst.addr"].as_str(), line["dst.hbone_addr"].as_str());
                let (http, tunnel) = [HTTP_PORT, 15008].map(|port| bed.at(way.to, Family::V4, port).to_string()).into();
                let wanted = if road == "hbone" { (Some(&*tunnel), Some(&*http)) } else { (Some(&*http), None) };
                assert_eq!((addr, hbone), wanted, "{line}");
                assert!(line["duration"].as_str().unwrap().ends_with("ms"), "{line}");
            }
        }
    });
}

#[test]
fn lines_of_text_have_the_same_fields_in_order() {
    demo("text", async |bed| {
        bed.start(&[("log-format", "text")]).await;
        for (way, more) in [(HBONE, TUNNEL), (SAME_NODE, NODE_LOCAL), (PLAIN_IN, &[]), (PLAIN_OUT, &[])] {
            bed.get(way.from, way.to).await.unwrap();
            for (direction, road) in [("outbound", way.outbound), ("inbound", way.inbound)] {
                if road.is_empty() {
                    continue;
                }
                let line = text_line(bed, way.from, way.to, direction, "connection complete").await;
                let wanted = EVERY.len() + more.len() + 1;
                assert_eq!(fields(&line).len(), wanted, "{line}");
                let security = format!("connection_security_policy={}", way.security);
                assert!(line.contains(&format!(" road={road} ")) && line.ends_with(&security), "{line}");
                assert!(line.contains("Z info  access: connection complete src.addr="), "{line}");
            }
        }
        let deny = "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\n\
                    metadata: {name: no-http, namespace: demo}\n\
                    spec: {action: DENY, rules: [{to: [{operation: {ports: [\"8080\"]}}]}]}\n";
        bed.put("deny.yaml", deny);
        bed.policies(1).await;
        for (way, security) in [(HBONE, "mutual_tls"), (SAME_NODE, "node_local"), (PLAIN_IN, "unknown")] {
            bed.get(way.from, way.to).await.expect_err("it is denied");
            let line = text_line(bed, way.from, way.to, "inbound", "connection refused").await;
            let end = format!(
                " road=refused connection_security_policy={security} reason=policy policy=demo/no-http \
                 detail=\"denied by demo/no-http rule 0: the port is 8080\""
            );
            assert!(line.ends_with(&end) && line.contains("Z warn  access: "), "{line}");
            fields(&line);
        }
    });
}

/// The line of text of one side of a connection.
async fn text_line(bed: &Bed, from: &str, to: &str, direction: &str, what: &str) -> String {
    let node = bed.node_of(if direction == "outbound" { from } else { to });
    let parts = [
        format!("access: {what} "),
        format!(" src.workload={from} "),
        format!(" dst.workload={to} "),
        format!(" direction={direction} "),
    ];
    let find = || {
        let text = std::fs::read_to_string(bed.log_of(&node)).unwrap();
        let mut lines = text.lines().rev();
        lines.find(|line| parts.iter().all(|part| line.contains(part))).map(str::to_owned)
    };
    until(&format!("{node} has its line of {from} → {to}"), async || find().is_some()).await;
    find().unwrap()
}

/// The fields that a line of text has, which stand in the order that is told, and nothing colours it.
fn fields(line: &str) -> Vec<&'static str> {
    let found: Vec<_> =
        FIELDS.into_iter().filter_map(|field| Some((line.find(&format!(" {field}="))?, field))).collect();
    assert!(found.is_sorted(), "{line}");
    assert!(!line.contains('\u{1b}'), "no colour in a file: {line:?}");
    found.into_iter().map(|(_, field)| field).collect()
}

#[test]
fn metrics_have_istios_labels_and_gauges_go_back() {
    demo("metrics", async |bed| {
        bed.start(&[]).await;
        let open = async |node: &str, reporter: &str| {
            bed.metric(node, "istio_tcp_sockets_open", &[("reporter", reporter)]).await
        };
        let held = app::hold(bed.netns("client"), bed.at("server", Family::V4, ECHO_PORT), 7, PATIENCE).await.unwrap();
        let near = app::hold(bed.netns("client"), bed.at("near", Family::V4, ECHO_PORT), 3, PATIENCE).await.unwrap();
        assert_eq!(open("node-a", "source").await, 10.0);
        assert_eq!((open("node-a", "destination").await, open("node-b", "destination").await), (3.0, 7.0));
        let mutual = [("connection_security_policy", "mutual_tls"), ("reporter", "destination")];
        assert_eq!(bed.metric("node-b", "culvert_connections", &mutual).await, 7.0);
        drop((held, near));
        for (node, reporter) in [("node-a", "source"), ("node-a", "destination"), ("node-b", "destination")] {
            until("nothing is open", async || open(node, reporter).await == 0.0).await;
        }
        let text = bed.metrics("node-b").await.unwrap();
        let labels = [("reporter", "destination"), ("destination_workload", "server")];
        let found = series(&text, "istio_tcp_connections_opened_total", &labels);
        let [(line, 7.0)] = found[..] else { panic!("{found:?}") };
        let inside = line.split_once('{').unwrap().1;
        let names: Vec<_> = inside.split("\",").map(|part| part.split_once('=').unwrap().0).collect();
        assert_eq!(names, LABELS.split_whitespace().collect::<Vec<_>>(), "{line}");
        for part in [
            "source_principal=\"spiffe://cluster.local/ns/demo/sa/client\"",
            "destination_principal=\"spiffe://cluster.local/ns/demo/sa/server\"",
            "source_workload_namespace=\"demo\"",
            "source_canonical_service=\"client\"",
            "destination_app=\"server\"",
            "source_cluster=\"Kubernetes\"",
            "request_protocol=\"tcp\"",
            "response_flags=\"-\"",
            "connection_security_policy=\"mutual_tls\"",
            "destination_service=\"unknown\"",
        ] {
            assert!(line.contains(part), "{part}: {line}");
        }
        for (kind, least) in [("leaf", 80_000.0), ("root", 80_000.0)] {
            let found = series(&text, "culvert_certificate_expiry_seconds", &[("kind", kind)]);
            assert!(found.len() == 2 && found.iter().all(|(_, left)| *left > least), "{found:?}");
        }
        assert_eq!(bed.metric("node-a", "culvert_pods", &[("state", "enrolled")]).await, 2.0);
        assert_eq!(bed.metric("node-b", "culvert_pods", &[("state", "out")]).await, 1.0);
        assert_eq!(series(&text, "istio_build", &[]).len(), 1);
    });
}

#[test]
fn pages_tell_what_is_so_and_no_secret() {
    demo("pages", async |bed| {
        bed.start(&[]).await;
        let held = app::hold(bed.netns("client"), bed.at("server", Family::V4, ECHO_PORT), 2, PATIENCE).await.unwrap();
        let at = |port| std::net::SocketAddr::new(std::net::Ipv4Addr::LOCALHOST.into(), port);
        for node in NODES {
            let netns = bed.lab().node(node).unwrap().netns.clone();
            let (status, body) = page(&netns, at(15021), "/healthz/ready", PATIENCE).await.unwrap();
            assert_eq!((status, body.as_str()), (200, "ready\n"));
            let (_, dump) = page(&netns, at(15000), "/config_dump", PATIENCE).await.unwrap();
            let all: Value = serde_json::from_str(&dump).unwrap();
            let pages = ["certificates", "connections", "flows", "node", "pods", "policies", "statuses", "workloads"];
            assert!(pages.iter().all(|name| !all[name].is_null()), "{dump}");
            let (_, metrics) = page(&netns, at(15020), "/metrics", PATIENCE).await.unwrap();
            let key = std::fs::read_to_string(bed.path().join("ca/ca-key.pem")).unwrap();
            let secret = key.lines().nth(1).unwrap();
            for text in [&dump, &metrics, &std::fs::read_to_string(bed.log_of(node)).unwrap()] {
                assert!(!text.contains("PRIVATE") && !text.contains(secret), "a private key is shown by {node}");
            }
        }
        let connections = bed.admin("node-a", "/connections").await.unwrap();
        let of_client = connections["demo/client"].as_array().unwrap();
        assert_eq!(of_client.len(), 2, "{connections}");
        assert_eq!(of_client[0]["serverIdentity"], "spiffe://cluster.local/ns/demo/sa/server");
        assert_eq!(of_client[0]["road"], "hbone");
        let pod = bed.pod_status("client").await.unwrap();
        assert_eq!((&pod["state"], &pod["serviceAccount"]), (&"enrolled".into(), &"client".into()), "{pod}");
        let certificates = bed.admin("node-a", "/certificates").await.unwrap();
        assert!(certificates.as_array().unwrap().iter().all(|one| one["state"] == "Available"), "{certificates}");
        drop(held);
    });
}

#[test]
fn what_is_not_carried_is_counted() {
    demo("udp", async |bed| {
        bed.start(&[]).await;
        let to = bed.at("outsider", Family::V4, 5353);
        let send = move || {
            let socket = std::net::UdpSocket::bind("0.0.0.0:0")?;
            (0..5).try_for_each(|_| socket.send_to(b"x", to).map(drop))
        };
        bed.netns("client").run(send).unwrap().unwrap();
        let labels = [("pod", "client"), ("protocol", "udp"), ("direction", "out"), ("namespace", "demo")];
        let counted = || bed.metric("node-a", "culvert_pod_uncarried_packets_total", &labels);
        until("five packets are counted", async || counted().await == 5.0).await;
        assert!(
            sh(bed.netns("client"), "nft -nn list table inet culvert").contains("count-udp"),
            "the rule has its name"
        );
    });
}
