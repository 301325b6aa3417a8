//! Two nodes of two networks with a real Envoy as the gateway between them, which forwards bytes that it cannot read:
//! who has proven what to whom, what is shared, what is refused, and what is seen.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::{Duration, SystemTime};

use culvert::model::ports;
use culvert::role::demo::app::{
    self, ECHO_PORT, HTTP_PORT, Refusal, Refused, Reply, STREAM_PORT, Trickle, Way as Bytes,
};
use culvert::role::demo::lab::{KubeNamespace, PodSpec, Topology};
use culvert::sys::child::{Bond, Child, Output, Program};
use culvert::sys::plain_tcp;
use culvert::tls::{encode_certificates, encode_key};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::time::Instant;

use crate::bed::{Bed, Family, NODES, PATIENCE, SOME, ends, run, until};
use crate::certificates::{account, authority};
use crate::{waypoint, wire};

/// Services of the pod `far`: one with the names that may answer for it, one without, one with somebody else's, and one
/// whose gateway would have to be somebody else.
const SERVICES: [(&str, &str); 4] =
    [("far", "10.96.0.10"), ("plain", "10.96.0.11"), ("wrong", "10.96.0.12"), ("imposed", "10.96.0.13")];
const PORTS: [(u16, u16); 3] = [(80, HTTP_PORT), (81, ECHO_PORT), (82, STREAM_PORT)];
/// One that nobody in the pod listens on.
const NOBODY: (u16, u16) = (83, 9);

fn host(service: &str) -> String {
    format!("{service}.demo.svc.cluster.local")
}

fn spiffe(account: &str) -> String {
    format!("spiffe://cluster.local/ns/demo/sa/{account}")
}

fn to(service: &str, port: u16) -> SocketAddr {
    let (_, ip) = SERVICES.into_iter().find(|(name, _)| *name == service).unwrap();
    SocketAddr::new(ip.parse().unwrap(), port)
}

fn port_map(shift: bool) -> Value {
    let all = PORTS.into_iter().chain([NOBODY]);
    all.map(|(port, target)| (port.to_string(), Value::from(if shift { 1 } else { target })))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

/// The pods of a bed as one network's file has them.
fn workload(bed: &Bed, pod: &str, network: &str) -> Value {
    let ips = [Family::V4, Family::V6].map(|family| bed.at(pod, family, 0).ip().to_string());
    json!({
        "uid": format!("{network}//Pod/demo/{pod}"), "name": pod, "namespace": "demo", "workloadIps": ips,
        "network": network, "protocol": "HBONE", "serviceAccount": pod, "node": bed.node_of(pod),
        "workloadName": format!("{pod}-owner"), "workloadType": "deployment", "canonicalName": format!("{pod}-app"),
        "clusterId": format!("cluster-{network}"),
    })
}

/// What node-a knows: its own pods, the gateways, and of everything behind them a record without an address.
fn near_side(bed: &Bed) -> Value {
    let gateway = bed.at("gateway", Family::V4, 0).ip();
    let behind = |name: &str, gateway: String, services: &[&str]| {
        let services = services.iter().map(|service| (format!("demo/{}", host(service)), port_map(true)));
        json!({
            "uid": format!("two//SplitHorizon/{name}"), "name": name, "namespace": "demo", "workloadIps": [],
            "network": "two", "protocol": "HBONE", "serviceAccount": "far", "workloadName": "everything-there",
            "networkGateway": {"destination": gateway, "hboneMtlsPort": 15008},
            "services": services.collect::<serde_json::Map<_, _>>(),
        })
    };
    // The same address once more: there is no telling who answers there but by what it proves.
    let mut other = workload(bed, "gateway", "three");
    other["serviceAccount"] = "somebody".into();
    let mut imposed = behind("behind-three", format!("three/{gateway}"), &["imposed"]);
    imposed["network"] = "three".into();
    let services = SERVICES.map(|(name, ip)| {
        let names = match name {
            "plain" => Vec::new(),
            "wrong" => vec![spiffe("somebody")],
            _ => vec![spiffe("far"), spiffe("further")],
        };
        json!({
            "name": name, "namespace": "demo", "hostname": host(name), "vips": [format!("one/{ip}")],
            "ports": port_map(true), "subjectAltNames": names,
        })
    });
    json!({
        "workloads": [
            workload(bed, "client", "one"), workload(bed, "near", "one"), workload(bed, "gateway", "two"), other, imposed,
            behind("behind", format!("two/{gateway}"), &["far", "plain", "wrong"]),
        ],
        "services": services,
    })
}

/// What node-b knows: its own pods, and nothing of those on the other network. The gateway's address is `gateway`'s.
fn far_side(bed: &Bed) -> Value {
    let mut far = workload(bed, "far", "two");
    far["services"] = SERVICES
        .iter()
        .map(|(name, _)| (format!("demo/{}", host(name)), port_map(false)))
        .collect::<serde_json::Map<_, _>>()
        .into();
    far["authorizationPolicies"] = json!(["demo/client-alone"]);
    let services = SERVICES.map(|(name, _)| {
        json!({"name": name, "namespace": "demo", "hostname": host(name), "vips": [], "ports": port_map(false)})
    });
    json!({
        "workloads": [far, workload(bed, "gateway", "two")],
        "services": services,
        "policies": [{
            "name": "client-alone", "namespace": "demo", "scope": "WorkloadSelector", "action": "Allow",
            "rules": [[[{"principals": [{"Exact": "cluster.local/ns/demo/sa/client"}]}]]],
        }],
    })
}

fn extension(name: &str, message: &str, mut fields: Value) -> Value {
    fields["@type"] = format!("type.googleapis.com/envoy.extensions.{message}").into();
    json!({"name": name, "typed_config": fields})
}

/// An Envoy that ends the outer tunnel and forwards what is in it to port 15008 of `to`.
fn gateway(directory: &Path, to: IpAddr) -> Value {
    let at = |ip: &str, port: u16| json!({"socket_address": {"address": ip, "port_value": port}});
    let file = |name: &str| json!({"filename": directory.join(name).display().to_string()});
    let tls = json!({
        "require_client_certificate": true,
        "common_tls_context": {
            "tls_params": {"tls_minimum_protocol_version": "TLSv1_3", "tls_maximum_protocol_version": "TLSv1_3"},
            "alpn_protocols": ["h2"],
            "tls_certificates": [{"certificate_chain": file("chain.pem"), "private_key": file("key.pem")}],
            "validation_context": {
                "trusted_ca": file("root.pem"),
                "match_typed_subject_alt_names":
                    [{"san_type": "URI", "matcher": {"prefix": "spiffe://cluster.local/"}}],
            },
        },
    });
    let names = SERVICES.iter().flat_map(|(name, _)| PORTS.iter().map(|(port, _)| format!("{}:{port}", host(name))));
    // Only CONNECT by these names: whatever else was asked for is answered with 404.
    let domains: Vec<_> = names.chain([format!("{}:{}", host("far"), NOBODY.0)]).collect();
    let route = json!({
        "match": {"connect_matcher": {}},
        "route": {"cluster": "far", "timeout": "0s", "upgrade_configs": [{"upgrade_type": "CONNECT", "connect_config": {}}]},
    });
    let manager = json!({
        "stat_prefix": "outer",
        "codec_type": "HTTP2",
        "stream_idle_timeout": "0s",
        "http2_protocol_options": {"allow_connect": true},
        "upgrade_configs": [{"upgrade_type": "CONNECT"}],
        "route_config": {"virtual_hosts": [{"name": "services", "domains": domains, "routes": [route]}]},
        "http_filters": [extension("envoy.filters.http.router", "filters.http.router.v3.Router", json!({}))],
    });
    let name = "envoy.filters.network.http_connection_manager";
    let manager = extension(name, "filters.network.http_connection_manager.v3.HttpConnectionManager", manager);
    let tls = extension("envoy.transport_sockets.tls", "transport_sockets.tls.v3.DownstreamTlsContext", tls);
    json!({
        "static_resources": {
            "listeners": [{
                "name": "outer",
                "address": at("0.0.0.0", ports::HBONE),
                "filter_chains": [{"transport_socket": tls, "filters": [manager]}],
            }],
            "clusters": [{
                "name": "far",
                "type": "STATIC",
                "connect_timeout": "2s",
                "load_assignment": {
                    "cluster_name": "far",
                    "endpoints": [{"lb_endpoints": [{"endpoint": {"address": at(&to.to_string(), ports::HBONE)}}]}],
                },
            }],
        },
    })
}

/// The gateway's files and its program.
fn program(bed: &Bed, binary: &Path) -> Program {
    let directory = bed.path().join("gateway");
    std::fs::create_dir(&directory).unwrap();
    let issued = authority(bed).issue(&account("gateway"), Duration::from_secs(3600), SystemTime::now()).unwrap();
    let pem = |chain: &[Vec<u8>]| encode_certificates(chain.iter().map(Vec::as_slice));
    let config = gateway(&directory, bed.at("far", Family::V4, 0).ip()).to_string();
    let files = [
        ("key.pem", encode_key(issued.key.pkcs8()).as_str().to_owned()),
        ("chain.pem", pem(&issued.chain)),
        ("root.pem", pem(&issued.roots)),
        ("envoy.json", config),
    ];
    for (name, text) in files {
        std::fs::write(directory.join(name), text).unwrap();
    }
    let config = directory.join("envoy.json").display().to_string();
    let words = ["--config-path", &config, "--concurrency", "1", "--log-level", "warning", "--disable-hot-restart"];
    Program {
        name: "the Envoy of the gateway".into(),
        path: binary.into(),
        arguments: words.map(str::to_owned).into(),
        environment: Vec::new(),
        netns: bed.netns("gateway").clone(),
        output: Output::File(bed.path().join("gateway-envoy.log")),
        bond: Bond::Ours,
    }
}

/// Waits until the gateway listens.
async fn listens(bed: &Bed) {
    let at = bed.at("gateway", Family::V4, ports::HBONE);
    app::await_listening(bed.netns("gateway"), at, waypoint::STARTS).await.unwrap_or_else(|error| {
        let log = std::fs::read_to_string(bed.path().join("gateway-envoy.log")).unwrap_or_default();
        panic!("{error}; Envoy says: {log}")
    });
}

/// `client` and `near` on node-a of network one, which has further settings; `far` and the gateway on node-b of network
/// two. All of it runs.
fn across(name: &str, near: &[(&str, &str)], body: impl AsyncFnOnce(&mut Bed, &mut Child, &Program)) {
    let Some(binary) = waypoint::envoy() else { return };
    let pods = [("client", "node-a"), ("near", "node-a"), ("far", "node-b"), ("gateway", "node-b")];
    let mut pods = pods.map(|(name, node)| PodSpec::new("demo", name, node));
    pods[3].labels.insert("istio.io/dataplane-mode".into(), "none".into());
    let topology = Topology { namespaces: vec![KubeNamespace::ambient("demo")], pods: pods.into(), ..Topology::demo() };
    run(name, &topology, async |bed| {
        let program = program(bed, &binary);
        let mut envoy = Child::start(&program).unwrap();
        let sides = [("node-a", "one", near_side(bed), near), ("node-b", "two", far_side(bed), &[])];
        for (node, network, mesh, more) in sides {
            let file = bed.path().join(format!("{node}.mesh.yaml"));
            std::fs::write(&file, mesh.to_string()).unwrap();
            let file = file.display().to_string();
            let own = [("network", network), ("local-xds", file.as_str())];
            bed.launch(node, &[&own, more].concat());
        }
        for node in NODES {
            bed.ready(node, Duration::from_secs(20)).await.unwrap();
        }
        listens(bed).await;
        body(bed, &mut envoy, &program).await;
    });
}

async fn get(bed: &Bed, from: &str, to: SocketAddr) -> Result<Reply, Refused> {
    app::get(bed.netns(from), to, "-", PATIENCE).await
}

/// The access line of one end of the connections that `from` opens.
async fn line(bed: &Bed, marks: [u64; 2], direction: &str, from: &str) -> Value {
    let at = usize::from(direction == "inbound");
    let wanted = |line: &Value| line["direction"] == direction && line["src.identity"] == spiffe(from);
    let line = bed.line_after(NODES[at], marks[at], PATIENCE, wanted).await;
    line.unwrap_or_else(|| panic!("{} has no {direction} line of {from}", NODES[at]))
}

/// A call that is refused at once; the near node's line of it.
async fn refused(bed: &Bed, from: &str, to: SocketAddr) -> Value {
    let marks = bed.marks();
    let error = get(bed, from, to).await.expect_err("it is refused");
    assert_eq!(error.refusal, Refusal::Reset, "{error}");
    let wanted = |line: &Value| line["direction"] == "outbound" && line["src.workload"] == from;
    let line = bed.line_after("node-a", marks[0], PATIENCE, wanted).await.expect("a line of the refusal");
    assert_eq!(line["road"], "refused", "{line}");
    line
}

fn check(line: &Value, wanted: &[(&str, &str)]) {
    for (key, value) in wanted {
        assert_eq!(line[*key], *value, "{key} of {line}");
    }
}

/// Handshakes that one node has done, as the side `reporter`.
async fn handshakes(bed: &Bed, node: &str, reporter: &str) -> f64 {
    bed.metric(node, "culvert_tls_handshakes_total", &[("reporter", reporter)]).await
}

#[test]
fn a_service_of_another_network_is_called_through_its_gateway() {
    across("nets", &[("max-handshakes-per-pod", "5")], async |bed, _, _| {
        let gateway = bed.at("gateway", Family::V4, ports::HBONE);
        for service in ["far", "plain"] {
            let marks = bed.marks();
            let reply = get(bed, "client", to(service, 80)).await.unwrap();
            assert_eq!((&*reply.answer.pod, reply.answer.local), ("far", bed.at("far", Family::V4, HTTP_PORT)));
            assert_eq!(reply.answer.source.ip(), gateway.ip(), "whoever opened the connection to the pod");
            let (name, gateway) = (host(service), gateway.to_string());
            check(
                &line(bed, marks, "outbound", "client").await,
                &[
                    ("road", "hbone"),
                    ("dst.addr", &gateway),
                    ("dst.hbone_addr", &format!("{name}:80")),
                    ("dst.service", &name),
                    ("dst.identity", &spiffe("far")),
                    // What it says of itself: the record here is that of everything there.
                    ("dst.workload", "far-owner"),
                    ("connection_security_policy", "mutual_tls"),
                ],
            );
            check(
                &line(bed, marks, "inbound", "client").await,
                &[
                    ("road", "hbone"),
                    ("src.identity", &spiffe("client")),
                    // Not the gateway, whose address it comes from.
                    ("src.workload", "client-owner"),
                    ("src.namespace", "demo"),
                    ("dst.workload", "far"),
                    ("dst.identity", &spiffe("far")),
                    ("dst.service", &name),
                    ("connection_security_policy", "mutual_tls"),
                ],
            );
        }
        let labels = [
            ("source_workload", "client-owner"),
            ("source_cluster", "cluster-one"),
            ("source_app", "client-app"),
            ("destination_workload", "far-owner"),
            ("destination_cluster", "cluster-two"),
            ("destination_principal", &spiffe("far")),
            ("connection_security_policy", "mutual_tls"),
        ];
        for (node, reporter) in [("node-a", "source"), ("node-b", "destination")] {
            let all: Vec<_> = labels.into_iter().chain([("reporter", reporter)]).collect();
            assert_eq!(bed.metric(node, "istio_tcp_connections_opened_total", &all).await, 2.0, "{reporter}");
        }
        // Whole bytes, half-closed on both sides of four layers.
        wire::echo(bed.netns("client"), to("far", 81), 3 << 20).await;
        // Policy there speaks of the caller, and not of the gateway that everybody comes by.
        let marks = bed.marks();
        check(
            &refused(bed, "near", to("far", 80)).await,
            &[
                ("reason", "refused_by_peer"),
                ("dst.addr", &gateway.to_string()),
                ("dst.hbone_addr", &format!("{}:80", host("far"))),
            ],
        );
        let line = line(bed, marks, "inbound", "near").await;
        check(&line, &[("reason", "policy"), ("policy", "demo/client-alone"), ("src.workload", "near-owner")]);
        // The inner end must be the service, and the outer one the gateway.
        for (service, whom) in [("wrong", "somebody"), ("imposed", "somebody")] {
            let line = refused(bed, "client", to(service, 80)).await;
            check(&line, &[("reason", "tls"), ("dst.hbone_addr", &format!("{}:80", host(service)))]);
            assert!(line["detail"].as_str().unwrap().contains(whom), "{line}");
        }
        // A name that the gateway does not have.
        let line = refused(bed, "client", to("plain", NOBODY.0)).await;
        check(&line, &[("reason", "status")]);
        assert!(
            line["detail"].as_str().unwrap().contains("at the network gateway: the far side answered 404"),
            "{line}"
        );
        // Nobody listens in the pod.
        let line = refused(bed, "client", to("far", NOBODY.0)).await;
        check(&line, &[("reason", "status")]);
        assert!(
            line["detail"].as_str().unwrap().contains("behind the network gateway: the far side answered 503"),
            "{line}"
        );
        // Inner handshakes that fail use no outer one up. They are not free: five at once, then five a second.
        let started = Instant::now();
        for _ in 0..15 {
            get(bed, "client", to("wrong", 80)).await.expect_err("it proves to be another");
        }
        assert!(started.elapsed() > Duration::from_millis(1900), "15 handshakes in {:?}", started.elapsed());
    });
}

#[test]
fn connections_through_a_gateway_share_tunnels() {
    across("nets-share", &[], async |bed, _, _| {
        let far = to("far", 82);
        let mut trickles = Vec::new();
        // Two full ones of 16, and one more.
        for _ in 0..33 {
            trickles.push(Trickle::start(bed.netns("client"), far, Bytes::Echo, PATIENCE).await.unwrap());
        }
        for trickle in &mut trickles {
            trickle.advance(SOME, PATIENCE).await.unwrap();
        }
        let inner = handshakes(bed, "node-b", "destination").await;
        assert!((3.0..=5.0).contains(&inner), "33 connections came by {inner} tunnels");
        assert_eq!(handshakes(bed, "node-a", "source").await, inner + 1.0, "one outer tunnel for all of them");
        for trickle in trickles {
            trickle.finish(PATIENCE).await.unwrap();
        }
        // A reset of the server's is one at the client, and ends nobody else.
        let mut other = Trickle::start(bed.netns("client"), far, Bytes::Echo, PATIENCE).await.unwrap();
        let mut reset = wire::connect(bed.netns("client"), far).await.unwrap();
        reset.write_all(b"?").await.unwrap();
        let error = wire::rest(&mut reset).await.expect_err("the server resets what it does not know");
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
        // One of the client's is one at the server: its connection is gone there too.
        let held = wire::connect(bed.netns("client"), far).await.unwrap();
        let marks = bed.marks();
        plain_tcp::reset_on_close(&held).unwrap();
        drop(held);
        check(&line(bed, marks, "inbound", "client").await, &[("reason", "reset")]);
        other.advance(SOME, PATIENCE).await.unwrap();
        other.finish(PATIENCE).await.unwrap();
    });
}

#[test]
fn a_gateway_that_is_away_is_named_and_used_again() {
    across("nets-away", &[], async |bed, envoy, program| {
        get(bed, "client", to("far", 80)).await.unwrap();
        let mut trickle = Trickle::start(bed.netns("client"), to("far", 82), Bytes::Echo, PATIENCE).await.unwrap();
        trickle.advance(SOME, PATIENCE).await.unwrap();
        envoy.kill().unwrap();
        let cut = ends(&mut trickle, PATIENCE, "the gateway is gone").await;
        assert_eq!(cut.refusal, Refusal::Reset, "{cut}");
        for from in ["client", "near"] {
            let gateway = bed.at("gateway", Family::V4, ports::HBONE).to_string();
            check(&refused(bed, from, to("far", 80)).await, &[("reason", "connect"), ("dst.addr", &gateway)]);
        }
        *envoy = Child::start(program).unwrap();
        listens(bed).await;
        until("it is used again", async || get(bed, "client", to("far", 80)).await.is_ok()).await;
        // One that hangs takes connections, and says nothing: on a tunnel that is open, and on none.
        envoy.signal(Signal::SIGSTOP).unwrap();
        let marks = bed.marks();
        let call = async |from: &str| app::get(bed.netns(from), to("far", 80), "-", PATIENCE * 4).await;
        let (client, near) = tokio::join!(call("client"), call("near"));
        let wanted = [("client", client, "status"), ("near", near, "tls")];
        for (from, result, reason) in wanted {
            let error = result.expect_err("nobody answers");
            assert_eq!(error.refusal, Refusal::Reset, "{error}");
            assert!(error.after < PATIENCE * 3, "{from} is given up after {:?}", error.after);
            // The line of the call before it may come after the mark.
            let of = |line: &Value| {
                line["direction"] == "outbound" && line["src.workload"] == from && line["road"] == "refused"
            };
            let line = bed.line_after("node-a", marks[0], PATIENCE, of).await.expect("a line of the refusal");
            check(&line, &[("reason", reason)]);
        }
        envoy.signal(Signal::SIGCONT).unwrap();
        until("it goes on", async || get(bed, "client", to("far", 80)).await.is_ok()).await;
    });
}
