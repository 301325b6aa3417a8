//! Calls to Services: which endpoint takes them, by which road, and what happens when one of them does not.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use culvert::role::demo::app::{self, HTTP_PORT, Refusal};
use culvert::role::demo::lab::{KubeNamespace, PodSpec, Topology};
use culvert::sys::netns::Netns;
use culvert::sys::plain_tcp;
use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::task::JoinHandle;

use crate::bed::{Bed, Family, NODES, PATIENCE, run, sh, until};
use crate::wire;

const BOTH: [(Family, &str); 2] = [(Family::V4, "10.96.0.10"), (Family::V6, "fd96::10")];

/// `client` and `near` on node-a, `far` on node-b: the last two are endpoints of `web`. `legacy` is outside of the mesh.
pub(crate) fn topology() -> Topology {
    let pod = |namespace: &str, name: &str, node: &str, app: &str| {
        let mut pod = PodSpec::new(namespace, name, node);
        pod.labels.insert("app".into(), app.into());
        pod.labels.insert("pod".into(), name.into());
        pod
    };
    Topology {
        namespaces: vec![KubeNamespace::ambient("demo"), KubeNamespace::plain("outside")],
        pods: vec![
            pod("demo", "client", "node-a", "client"),
            pod("demo", "near", "node-a", "web"),
            pod("demo", "far", "node-b", "web"),
            pod("outside", "legacy", "node-b", "legacy"),
        ],
        ..Topology::demo()
    }
}

pub(crate) fn service(namespace: &str, name: &str, addresses: &[&str], app: &str, ports: &[(u16, &str)]) -> String {
    let quoted: Vec<_> = addresses.iter().map(|ip| format!("\"{ip}\"")).collect();
    let ports: String = ports
        .iter()
        .map(|(port, target)| format!("  - name: p{port}\n    port: {port}\n    targetPort: {target}\n"))
        .collect();
    format!(
        "apiVersion: v1\nkind: Service\nmetadata:\n  name: {name}\n  namespace: {namespace}\nspec:\n  clusterIP: {}\n  \
         clusterIPs: [{}]\n  selector:\n    app: {app}\n  ports:\n{ports}",
        quoted[0],
        quoted.join(", "),
    )
}

pub(crate) fn to(ip: &str, port: u16) -> SocketAddr {
    SocketAddr::new(ip.parse().unwrap(), port)
}

/// The access line of one call, and the line of its other end where that is in the mesh.
async fn line(bed: &Bed, marks: [u64; 2], node: usize, direction: &str) -> Value {
    let wanted = |line: &Value| line["direction"] == direction;
    let line = bed.line_after(NODES[node], marks[node], PATIENCE, wanted).await;
    line.unwrap_or_else(|| panic!("{} has no {direction} line", NODES[node]))
}

#[test]
fn a_services_address_leads_to_its_endpoints_by_their_roads() {
    run("svc", &topology(), async |bed| {
        bed.put(
            "web.yaml",
            &service("demo", "web", &["10.96.0.10", "fd96::10"], "web", &[(80, "8080"), (81, "named")]),
        );
        for pod in ["near", "far"] {
            name_a_port(bed, pod);
        }
        bed.start(&[]).await;
        let identity = |pod: &str| Value::from(format!("spiffe://cluster.local/ns/demo/sa/{pod}"));
        for (family, ip) in BOTH {
            for port in [80, 81] {
                let mut taken = BTreeMap::new();
                // Each of two is missed by forty tries once in a trillion.
                for _ in 0..40 {
                    let marks = bed.marks();
                    let reply = app::get(bed.netns("client"), to(ip, port), "-", PATIENCE).await.unwrap();
                    let pod = reply.answer.pod.clone();
                    assert_eq!(reply.answer.source.ip(), bed.at("client", family, 0).ip(), "the client's own address");
                    assert_eq!(reply.answer.local, bed.at(&pod, family, HTTP_PORT), "the endpoint's own port");
                    if taken.insert(pod.clone(), ()).is_some() {
                        continue;
                    }
                    let road = if pod == "near" { "same_node" } else { "hbone" };
                    for direction in ["outbound", "inbound"] {
                        let line = bed.access(marks, direction, "client", &pod).await;
                        assert_eq!(
                            (&line["road"], &line["dst.workload"]),
                            (&road.into(), &pod.clone().into()),
                            "{line}"
                        );
                        assert_eq!(line["dst.service"], "web.demo.svc.cluster.local", "{line}");
                        assert_eq!(line["src.identity"], identity("client"), "{line}");
                        assert_eq!(line["dst.identity"], identity(&pod), "{line}");
                        assert!(line["reason"].is_null(), "{line}");
                    }
                }
                assert_eq!(taken.len(), 2, "{ip}:{port} used {taken:?}");
            }
        }
        for reporter in ["source", "destination"] {
            let labels = [
                ("reporter", reporter),
                ("destination_service", "web.demo.svc.cluster.local"),
                ("destination_service_name", "web"),
                ("destination_service_namespace", "demo"),
            ];
            let mut sum = 0.0;
            for node in NODES {
                sum += bed.metric(node, "istio_tcp_connections_opened_total", &labels).await;
            }
            assert_eq!(sum, 160.0, "{reporter}");
        }
        // A pod's own address is the pod's, whatever services it has.
        let marks = bed.marks();
        let reply = app::get(bed.netns("client"), bed.at("far", Family::V4, HTTP_PORT), "-", PATIENCE).await.unwrap();
        assert_eq!(reply.answer.pod, "far");
        let line = bed.access(marks, "outbound", "client", "far").await;
        assert_eq!((&line["road"], &line["dst.service"]), (&"hbone".into(), &Value::Null), "{line}");
    });
}

/// Gives the pod's container a port with a name.
fn name_a_port(bed: &Bed, pod: &str) {
    let file = format!("pod-demo-{pod}.yaml");
    let text = std::fs::read_to_string(bed.manifests().directory().join(&file)).unwrap();
    let image = "    image: culvert-demo-app\n";
    assert!(text.contains(image), "{text}");
    let named = format!("{image}    ports:\n    - name: named\n      containerPort: 8080\n");
    bed.put(&file, &text.replace(image, &named));
}

#[test]
fn what_a_service_cannot_do_is_refused_with_its_reason_and_never_sent_on() {
    run("svcno", &topology(), async |bed| {
        bed.put(
            "web.yaml",
            &service("demo", "web", &["10.96.0.10"], "web", &[(80, "8080"), (82, "absent"), (83, "9999")]),
        );
        bed.put("empty.yaml", &service("demo", "empty", &["10.96.0.11"], "nobody", &[(80, "8080")]));
        bed.put("legacy.yaml", &service("outside", "legacy", &["10.96.0.12"], "legacy", &[(80, "8080")]));
        bed.start(&[]).await;
        for (at, reason, service) in [
            (to("10.96.0.11", 80), "no_healthy_upstream", "empty"),
            (to("10.96.0.10", 79), "no_such_port", "web"),
            // A name that no endpoint has.
            (to("10.96.0.10", 82), "no_healthy_upstream", "web"),
        ] {
            let marks = bed.marks();
            let refused = app::get(bed.netns("client"), at, "-", PATIENCE).await.unwrap_err();
            assert!(matches!(refused.refusal, Refusal::Reset | Refusal::Closed), "{at}: {refused}");
            let line = line(bed, marks, 0, "outbound").await;
            assert_eq!((&line["road"], &line["reason"]), (&"refused".into(), &reason.into()), "{at}: {line}");
            assert_eq!(line["dst.service"], format!("{service}.demo.svc.cluster.local"), "{line}");
            assert_eq!(line["dst.addr"], at.to_string(), "{line}");
            let labels = [("reporter", "source"), ("reason", reason)];
            assert!(bed.metric("node-a", "culvert_refusals_total", &labels).await >= 1.0);
        }
        // Nobody listens there: both endpoints are asked, and the last answer is told.
        let marks = bed.marks();
        app::get(bed.netns("client"), to("10.96.0.10", 83), "-", PATIENCE).await.unwrap_err();
        let wanted = |line: &Value| line["direction"] == "outbound";
        let line = bed.line_after("node-a", marks[0], PATIENCE, wanted).await.unwrap();
        assert!(["status", "app_refused"].map(Value::from).contains(&line["reason"]), "{line}");
        assert_eq!(bed.metric("node-a", "culvert_endpoints_set_aside_total", &[]).await, 2.0);
        // An endpoint outside of the mesh is called as it is.
        let marks = bed.marks();
        let reply = app::get(bed.netns("client"), to("10.96.0.12", 80), "-", PATIENCE).await.unwrap();
        assert_eq!(reply.answer.pod, "legacy");
        let line = bed.access(marks, "outbound", "client", "legacy").await;
        assert_eq!((&line["road"], &line["reason"]), (&"plain".into(), &Value::Null), "{line}");
        assert_eq!(line["dst.service"], "legacy.outside.svc.cluster.local", "{line}");
        assert_eq!(line["dst.addr"], bed.at("legacy", Family::V4, HTTP_PORT).to_string(), "{line}");
    });
}

/// What policy refuses is the answer: to ask another endpoint would be to look for one that lets the caller in.
#[test]
fn a_refusal_by_policy_is_not_tried_elsewhere() {
    run("svcdeny", &topology(), async |bed| {
        bed.put("web.yaml", &service("demo", "web", &["10.96.0.10"], "web", &[(80, "8080")]));
        bed.put(
            "deny.yaml",
            "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: not-far, namespace: demo}\n\
             spec: {action: DENY, selector: {matchLabels: {pod: far}}, rules: [{}]}\n",
        );
        bed.start(&[]).await;
        let (mut near, mut refused) = (0, 0);
        for _ in 0..40 {
            match app::get(bed.netns("client"), to("10.96.0.10", 80), "-", PATIENCE).await {
                Ok(reply) => {
                    assert_eq!(reply.answer.pod, "near");
                    near += 1;
                }
                Err(no) => {
                    assert!(matches!(no.refusal, Refusal::Reset | Refusal::Closed), "{no}");
                    refused += 1;
                }
            }
        }
        // Each of two is missed by forty tries once in a trillion.
        assert!(near > 0 && refused > 0, "{near} by near, {refused} refused");
        assert_eq!(bed.metric("node-a", "culvert_connection_retries_total", &[]).await, 0.0);
        assert_eq!(bed.metric("node-a", "culvert_endpoints_set_aside_total", &[]).await, 0.0, "nobody is to blame");
    });
}

/// A server that says its name and closes; dropped, its port is free and its clients are refused.
struct Named(JoinHandle<()>);

impl Named {
    async fn start(netns: &Netns, at: SocketAddr, name: &'static str) -> Self {
        let listener = plain_tcp::listen(netns, at).await.unwrap();
        #[expect(clippy::disallowed_methods, reason = "it ends with the test's runtime")]
        Self(tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                drop(stream.write_all(name.as_bytes()).await);
            }
        }))
    }
}

/// From now on nobody connects to the program. Those whose connection the kernel has taken already are served: a program that is gone
/// at once resets them, and nobody can tell that from an answer.
async fn dies(netns: &Netns) {
    sh(netns, "nft add table inet dying");
    sh(netns, "nft add chain inet dying in { type filter hook input priority 0 ; }");
    sh(netns, "nft add rule inet dying in tcp dport 9100 tcp flags syn reject with tcp reset");
    tokio::time::sleep(Duration::from_millis(100)).await;
}

fn lives(netns: &Netns) {
    sh(netns, "nft delete table inet dying");
}

impl Drop for Named {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Who answers a new connection.
async fn ask(netns: &Netns, at: SocketAddr) -> std::io::Result<String> {
    let mut stream = wire::connect(netns, at).await?;
    Ok(String::from_utf8_lossy(&wire::rest(&mut stream).await?).into_owned())
}

#[test]
fn an_endpoint_whose_program_dies_costs_no_new_connection() {
    run("svcdie", &topology(), async |bed| {
        bed.put("web.yaml", &service("demo", "web", &["10.96.0.10"], "web", &[(80, "9100")]));
        bed.start(&[]).await;
        let at = to("10.96.0.10", 80);
        let near = Named::start(bed.netns("near"), bed.at("near", Family::V4, 9100), "near").await;
        let mut far = Some(Named::start(bed.netns("far"), bed.at("far", Family::V4, 9100), "far").await);
        let stop = Arc::new(AtomicBool::new(false));
        let mut callers = Vec::new();
        for _ in 0..4 {
            let (netns, stop) = (bed.netns("client").clone(), Arc::clone(&stop));
            #[expect(clippy::disallowed_methods, reason = "it ends with the test's runtime")]
            callers.push(tokio::spawn(async move {
                let (mut answers, mut failures) = (BTreeMap::<String, u32>::new(), Vec::new());
                while !stop.load(Ordering::Relaxed) {
                    match ask(&netns, at).await {
                        Ok(name) => *answers.entry(name).or_default() += 1,
                        Err(error) => failures.push(error.to_string()),
                    }
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                (answers, failures)
            }));
        }
        // Twice gone and twice back, across nodes.
        for _ in 0..2 {
            tokio::time::sleep(Duration::from_millis(700)).await;
            dies(bed.netns("far")).await;
            drop(far.take());
            tokio::time::sleep(Duration::from_millis(1500)).await;
            far = Some(Named::start(bed.netns("far"), bed.at("far", Family::V4, 9100), "far").await);
            lives(bed.netns("far"));
        }
        dies(bed.netns("near")).await;
        drop(near);
        // Only the far one is left.
        tokio::time::sleep(Duration::from_millis(1500)).await;
        stop.store(true, Ordering::Relaxed);
        let mut total = BTreeMap::<String, u32>::new();
        for caller in callers {
            let (answers, failures) = caller.await.unwrap();
            assert!(failures.is_empty(), "{} connections were lost: {:?}", failures.len(), failures.first());
            answers.into_iter().for_each(|(name, count)| *total.entry(name).or_default() += count);
        }
        assert!(!total.contains_key(""), "a connection ended before it said a word: {total:?}");
        assert!(total["near"] > 20 && total["far"] > 20, "{total:?}");
        assert!(bed.metric("node-a", "culvert_connection_retries_total", &[]).await >= 1.0);
        assert!(bed.metric("node-a", "culvert_endpoints_set_aside_total", &[]).await >= 2.0);
        drop(far);
    });
}

#[test]
fn an_endpoint_that_is_not_ready_or_gone_is_not_called() {
    run("svcgone", &topology(), async |bed| {
        bed.put("web.yaml", &service("demo", "web", &["10.96.0.10"], "web", &[(80, "8080")]));
        bed.start(&[]).await;
        let at = to("10.96.0.10", 80);
        let file = "pod-demo-near.yaml";
        let text = std::fs::read_to_string(bed.manifests().directory().join(file)).unwrap();
        // Not ready: the other one takes everything, from the moment that the mesh knows.
        bed.put(file, &text.replace("status: \"True\"", "status: \"False\""));
        until("near is not healthy", async || {
            let workloads = bed.admin("node-a", "/workloads").await;
            let near = workloads.and_then(|all| all.as_array()?.iter().find(|w| w["name"] == "near").cloned());
            near.is_some_and(|near| near["healthy"] == false)
        })
        .await;
        for _ in 0..30 {
            assert_eq!(app::get(bed.netns("client"), at, "-", PATIENCE).await.unwrap().answer.pod, "far");
        }
        // Its own address is called all the same, as a headless service's clients do.
        let own = bed.at("near", Family::V4, HTTP_PORT);
        assert_eq!(app::get(bed.netns("client"), own, "-", PATIENCE).await.unwrap().answer.pod, "near");
        // Back, with the other one gone from the manifests.
        bed.put(file, &text);
        bed.remove("pod-demo-far.yaml");
        let only_near = async || {
            let workloads = bed.admin("node-a", "/workloads").await;
            workloads.and_then(|all| Some(all.as_array()?.iter().all(|w| w["name"] != "far"))).unwrap_or(false)
        };
        until("far is gone", only_near).await;
        for _ in 0..30 {
            assert_eq!(app::get(bed.netns("client"), at, "-", PATIENCE).await.unwrap().answer.pod, "near");
        }
    });
}
