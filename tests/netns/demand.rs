//! On demand: a node that asks its control plane for an address when the first connection wants it.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use culvert::role::demo::app::{self, HTTP_PORT, Refusal, Server};
use culvert::sys::packet::{Capture, Finding};
use serde_json::Value;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::bed::{Bed, Family, PATIENCE, demo, until};
use crate::remote::{Control, HOST, Issuer, RETURNS, answers_pods, knows, nodes, within};
use crate::roads::{PLAIN_OUT, takes};

/// A connection waits for an answer for half of what it may take to connect, 3 s.
const SETTINGS: [(&str, &str); 2] = [("xds-on-demand", "true"), ("connect-timeout", "6s")];
/// Connections that are the first ones, all at once.
const FIRST: usize = 8;
const MARKER: &str = "culvert-must-not-be-seen";
const SEEN: &str = "culvert-is-seen";

/// The lines of one node about what `client` has sent, since the mark.
async fn lines(bed: &Bed, node: &str, mark: u64, direction: &str, count: usize) -> Vec<Value> {
    let client = bed.at("client", Family::V4, 0).ip().to_string();
    let is = |line: &Value| {
        let from = line["src.addr"].as_str().and_then(|from| from.rsplit_once(':'));
        line["direction"] == direction && from.is_some_and(|(ip, _)| ip == client)
    };
    let found = || bed.lines_after(node, mark).into_iter().filter(is).collect::<Vec<_>>();
    until(&format!("{node} has {count} {direction} lines"), async || found().len() >= count).await;
    found()
}

fn assert_tunnelled(line: &Value) {
    assert_eq!((&line["road"], &line["connection_security_policy"]), (&"hbone".into(), &"mutual_tls".into()), "{line}");
    for (key, account) in [("src.identity", "client"), ("dst.identity", "server")] {
        assert_eq!(line[key], format!("spiffe://cluster.local/ns/demo/sa/{account}"), "{line}");
    }
}

/// Several at once to an address that was never asked for, while the control plane does not answer: they wait.
async fn the_first_ones_wait(bed: &Bed, control: &mut Control) {
    let (from, to) = (bed.netns("client"), bed.at("server", Family::V4, HTTP_PORT));
    let marks = bed.marks();
    control.pause(true);
    let mut first = JoinSet::new();
    for _ in 0..FIRST {
        let from = from.clone();
        first.spawn(async move { app::get(&from, to, MARKER, PATIENCE).await });
    }
    sleep(Duration::from_secs(1)).await;
    assert!(first.try_join_next().is_none(), "they wait for the answer");
    assert!(bed.access_lines(marks).is_empty(), "none is decided before");
    control.pause(false);
    while let Some(reply) = first.join_next().await {
        let reply = reply.unwrap().unwrap_or_else(|refused| panic!("client → server: {refused}"));
        assert_eq!(reply.answer.pod, "server");
        assert_eq!(reply.answer.source.ip(), bed.at("client", Family::V4, 0).ip());
    }
    let mut connections = BTreeSet::new();
    for line in lines(bed, "node-a", marks[0], "outbound", FIRST).await {
        assert_tunnelled(&line);
        connections.insert(line["src.addr"].as_str().unwrap().to_owned());
    }
    assert_eq!(connections.len(), FIRST, "a line a connection");
    for line in lines(bed, "node-b", marks[1], "inbound", FIRST).await {
        assert_tunnelled(&line);
    }
    assert!(knows(bed, "node-a", "server").await && !knows(bed, "node-a", "intruder").await);
}

/// Refused with this reason, soon, and with no byte in clear.
async fn is_refused(bed: &Bed, to: SocketAddr, reason: &str) {
    let mark = bed.mark("node-a");
    let refused = app::get(bed.netns("client"), to, MARKER, PATIENCE).await.expect_err("nobody knows who it is");
    assert_ne!(refused.refusal, Refusal::Timeout, "{to}: {refused}");
    let text = to.to_string();
    let line = bed.line_after("node-a", mark, PATIENCE, |line| line["dst.addr"] == text).await;
    let line = line.expect("a refusal is told");
    assert_eq!((&line["road"], &line["reason"]), (&"refused".into(), &reason.into()), "{line}");
}

#[test]
fn on_demand_the_first_connections_wait_and_without_an_answer_nothing_goes_out() {
    demo("demand", async |bed| {
        let mut control = Control::prepare(bed, &[]);
        control.start().await;
        answers_pods(bed);
        let mut hosts = JoinSet::new();
        hosts.spawn(Server::bind(bed.lab().fabric(), "host", &[HTTP_PORT]).await.unwrap().run());
        nodes(bed, Issuer::Control, &SETTINGS).await;
        for unasked in ["server", "intruder"] {
            assert!(!knows(bed, "node-a", unasked).await, "{unasked} was not asked for");
        }
        let port = &bed.lab().node("node-a").unwrap().plan.port;
        let capture = Capture::start(bed.lab().fabric(), port).unwrap();
        the_first_ones_wait(bed, &mut control).await;

        // The control plane knows nothing of one address, and of another that it is outside of the mesh.
        let stranger = SocketAddr::new(HOST.parse().unwrap(), HTTP_PORT);
        let mark = bed.mark("node-a");
        let reply = app::get(bed.netns("client"), stranger, SEEN, PATIENCE).await.unwrap();
        assert_eq!(reply.answer.pod, "host");
        let line = bed.line_after("node-a", mark, PATIENCE, |line| line["dst.addr"] == stranger.to_string()).await;
        let line = line.unwrap();
        assert_eq!((&line["road"], &line["dst.workload"]), (&"plain".into(), &Value::Null), "{line}");
        takes(bed, &PLAIN_OUT, Family::V4).await;

        control.kill();
        let intruder = bed.at("intruder", Family::V4, HTTP_PORT);
        is_refused(bed, intruder, "no_mesh_answer").await;
        is_refused(bed, "10.88.0.251:8080".parse().unwrap(), "no_mesh_answer").await;
        let marks = bed.marks();
        let reply = bed.get("client", "server").await.unwrap();
        assert_eq!(reply.answer.pod, "server");
        assert_tunnelled(&lines(bed, "node-a", marks[0], "outbound", 1).await[0]);
        app::get(bed.netns("client"), stranger, SEEN, PATIENCE).await.expect("what was answered is believed");
        let captured = capture.stop().unwrap();
        assert_eq!(captured.find(SEEN.as_bytes()), Finding::Present, "the capture sees what is in clear");
        assert_eq!(captured.find(MARKER.as_bytes()), Finding::Absent, "no byte in clear");

        control.start().await;
        let reached = async || bed.get("client", "intruder").await.is_ok();
        within(RETURNS, "what was refused is reached once it is answered", reached).await;
        assert!(knows(bed, "node-a", "intruder").await);
    });
}
