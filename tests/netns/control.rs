//! Nodes whose mesh, and whose certificates unless a test says otherwise, come over the network from `culvert control`:
//! that it works at all, that certificates turn over under load, and what goes on while it is away.

use std::net::SocketAddr;
use std::time::Duration;

use culvert::model::ports;
use culvert::role::demo::app::{self, HTTP_PORT, STREAM_PORT, Trickle, Way as Bytes, page};
use culvert::sys::packet::{Capture, Finding};
use serde_json::Value;
use tokio::time::{Instant, sleep};

use crate::bed::{Bed, Family, NODES, PATIENCE, SOME, demo, ends, until};
use crate::remote::{
    Control, Issuer, RETURNS, age, all_roads, buys, certificates, launch, nodes, policy, renewals, under_load, within,
};
use crate::roads::{HBONE, takes};

/// The pods that are in the mesh.
const PODS: [&str; 4] = ["client", "near", "server", "intruder"];
const MARKER: &str = "culvert-must-not-be-seen";
/// How long the control plane is away. Nothing in a node counts between this and hours.
const AWAY: Duration = Duration::from_secs(60);
/// Of leaves while it is away: they are due after half of it, and outlive its return.
const LIFE: &str = "96s";

#[test]
fn two_machines_are_one_mesh_by_the_control_plane() {
    demo("control", async |bed| {
        let mut control = Control::prepare(bed, &[]);
        control.start().await;
        nodes(bed, Issuer::Control, &[]).await;
        all_roads(bed).await;
        assert!(!bed.path().join("no-ca").exists(), "a node under a CA makes none of its own");
        let marks = bed.marks();
        buys(bed).await;
        let line = bed.access(marks, "outbound", "client", "server").await;
        assert_eq!((&line["road"], &line["dst.service"]), (&"hbone".into(), &"shop.demo.svc.cluster.local".into()));

        // A policy that comes while nodes run: whom it allows goes on, another is refused and told why.
        let to = bed.at("server", Family::V4, STREAM_PORT);
        let mut live = Trickle::start(bed.netns("client"), to, Bytes::Echo, PATIENCE).await.unwrap();
        let allow = "{selector: {matchLabels: {app: server}}, action: ALLOW, rules: [{from: [{source: {principals: \
                     [cluster.local/ns/demo/sa/client]}}]}]}";
        bed.put("allow.yaml", &policy("only-client", allow));
        bed.policies(1).await;
        let marks = bed.marks();
        bed.get("near", "server").await.expect_err("it is not the client");
        let line = bed.access(marks, "inbound", "near", "server").await;
        assert_eq!((&line["reason"], &line["policy"]), (&"policy".into(), &"demo/only-client".into()), "{line}");
        live.advance(SOME, PATIENCE).await.unwrap();
        takes(bed, &HBONE, Family::V4).await;
        // The policy of a connection that lives: it ends.
        let marks = bed.marks();
        bed.put("allow.yaml", &policy("only-client", &allow.replace("sa/client", "sa/near")));
        ends(&mut live, Duration::from_secs(4), "the policy forbids what lives").await;
        let line = bed.access(marks, "inbound", "client", "server").await;
        assert_eq!(line["reason"], "policy_changed", "{line}");
        bed.remove("allow.yaml");
        bed.policies(0).await;
        takes(bed, &HBONE, Family::V4).await;

        assert_eq!(control.metric("culvert_xds_nacks_total").await, 0.0, "nodes take all that they are sent");
        assert_eq!(control.metric("culvert_xds_clients").await, 2.0);
        another_nodes_identity_is_refused(bed, &control).await;
    });
}

/// The control plane says that `near` runs on node-b; node-a, which has it in its own files, asks for its certificate
/// all the same.
async fn another_nodes_identity_is_refused(bed: &mut Bed, control: &Control) {
    let file = "pod-demo-near.yaml";
    let text = std::fs::read_to_string(bed.manifests().directory().join(file)).unwrap();
    let moved = text.replace("nodeName: node-a", "nodeName: node-b");
    assert_ne!(moved, text);
    let reloads = || control.log().matches("manifests reloaded").count();
    let before = reloads();
    bed.put(file, &moved);
    until("the control plane has read it", async || reloads() > before).await;
    bed.kill_node("node-a").unwrap();
    launch(bed, "node-a", Issuer::Control, &[]);
    until("the refusal is told", async || control.log().contains("is of no pod that runs on")).await;
    let state = async |account: &str| {
        let known = bed.admin("node-a", "/certificates").await;
        let known = known.and_then(|all| Some(all.as_array()?.clone())).unwrap_or_default();
        let of = |one: &Value| one["identity"] == format!("spiffe://cluster.local/ns/demo/sa/{account}");
        known.iter().find(|one| of(one)).map(|one| one["state"].clone())
    };
    until("its own pod has one", async || state("client").await == Some("Available".into())).await;
    assert_eq!(state("near").await, Some("Unavailable".into()));
}

#[test]
fn certificates_of_20_seconds_turn_over_under_load_and_no_request_fails() {
    demo("turnover", async |bed| {
        let life = [("leaf-ttl", "20s")];
        // The server's own certificate turns over as well.
        let mut control = Control::prepare(bed, &life);
        control.start().await;
        nodes(bed, Issuer::Control, &[("leaf-ttl", "20s"), ("pool-idle", "1s")]).await;
        let started = Instant::now();
        let script = async {
            for node in NODES {
                // Two pods: the first certificates, and two more of each.
                let turned = async || renewals(bed, node, "ok").await >= 6.0;
                within(Duration::from_secs(40), &format!("{node} has renewed twice"), turned).await;
            }
            // And the first ones have expired.
            sleep(Duration::from_secs(21).saturating_sub(started.elapsed())).await;
        };
        let ((), requests) = under_load(bed, script).await;
        assert!(requests > 200, "{requests} requests are no load");
        for node in NODES {
            assert_eq!(renewals(bed, node, "failed").await, 0.0, "{node}");
            for certificate in certificates(bed, node).await {
                assert_eq!((&certificate["state"], &certificate["failures"]), (&"Available".into(), &0.into()));
                assert!(certificate["secondsToExpiry"].as_i64().unwrap() <= 20, "{certificate}");
            }
        }
    });
}

/// Mesh and certificates are both away for a minute: what is known serves live and new connections, new tunnels among
/// them, and a renewal that is due is made up for.
#[test]
fn a_control_plane_that_is_away_for_a_minute_fails_no_request() {
    demo("away", async |bed| {
        let mut control = Control::prepare(bed, &[]);
        control.start().await;
        nodes(bed, Issuer::Control, &[("leaf-ttl", LIFE), ("pool-idle", "1s")]).await;
        let script = async {
            sleep(Duration::from_secs(1)).await;
            let handshakes = async |node| bed.metric(node, "culvert_tls_handshakes_total", &[]).await;
            control.kill();
            let (gone, before) = (Instant::now(), handshakes("node-a").await);
            let deny = "{action: DENY, rules: [{from: [{source: {principals: [cluster.local/ns/demo/sa/intruder]}}]}]}";
            bed.put("deny.yaml", &policy("no-intruder", deny));
            for node in NODES {
                // They are due at half of their life.
                let failed = async || renewals(bed, node, "failed").await >= 1.0;
                within(Duration::from_secs(58), &format!("{node} has asked in vain"), failed).await;
            }
            sleep(AWAY.saturating_sub(gone.elapsed())).await;
            for node in NODES {
                assert!(age(bed, node).await >= 55.0, "{node} knows since when it has heard nothing");
            }
            let made = handshakes("node-a").await - before;
            assert!(made >= 10.0, "{made} handshakes while it was away");
            control.start().await;
            for node in NODES {
                let told = async || bed.admin(node, "/policies").await.is_some_and(|all| all[0].is_object());
                within(RETURNS, &format!("{node} hears what changed meanwhile"), told).await;
                assert!(age(bed, node).await < 2.0);
                let renewed = async || {
                    let all = certificates(bed, node).await;
                    all.iter().all(|one| one["state"] == "Available" && one["failures"] == 0)
                };
                within(RETURNS, &format!("{node} has certificates again"), renewed).await;
            }
        };
        let ((), requests) = under_load(bed, script).await;
        assert!(requests > 1000, "{requests} requests are no load");
        bed.get("intruder", "client").await.expect_err("the policy that was made meanwhile holds");
    });
}

/// With certificates from elsewhere a node needs no control plane to begin, and one that has known it serves at once.
#[test]
fn nodes_start_without_the_control_plane() {
    demo("alone", async |bed| {
        let mut control = Control::prepare(bed, &[]);
        for node in NODES {
            launch(bed, node, Issuer::Node, &[]);
        }
        bed.states(&PODS, "enrolled").await;
        for node in NODES {
            let have = async || {
                let all = bed.admin(node, "/certificates").await.unwrap_or_default();
                all.as_array().is_some_and(|all| all.len() == 2 && all.iter().all(|one| one["state"] == "Available"))
            };
            until(&format!("{node}'s pods have certificates"), have).await;
            let (code, why) = readiness(bed, node).await;
            assert_eq!(code, 503, "{node}: {why}");
            assert!(why.contains("state manager") && !why.contains("pods enrolled"), "{node}: {why}");
        }
        nobody_knows_who_is_in_the_mesh(bed).await;
        control.start().await;
        for node in NODES {
            bed.ready(node, Duration::from_secs(20)).await.unwrap();
        }
        all_roads(bed).await;

        // Now it has been known: what was told last is on disk.
        assert!(bed.stop_node("node-b", Duration::from_secs(10)).unwrap(), "node-b leaves in order");
        control.kill();
        launch(bed, "node-b", Issuer::Node, &[]);
        bed.ready("node-b", Duration::from_secs(10)).await.unwrap();
        all_roads(bed).await;
        buys(bed).await;
        until("nobody has confirmed what it serves", async || age(bed, "node-b").await >= 1.0).await;
        bed.put("deny.yaml", &policy("nobody", "{action: DENY, rules: [{to: [{operation: {ports: [\"8080\"]}}]}]}"));
        control.start().await;
        for node in NODES {
            let told = async || bed.admin(node, "/policies").await.is_some_and(|all| all[0].is_object());
            within(RETURNS, &format!("{node} follows again"), told).await;
        }
        bed.get("client", "server").await.expect_err("the new policy holds");
        until("what is served is the control plane's", async || age(bed, "node-b").await == 0.0).await;
    });
}

/// Nothing leaves in clear, and nothing is let in.
async fn nobody_knows_who_is_in_the_mesh(bed: &Bed) {
    let told = async |marks: [u64; 2], direction: &str, reason: &str| {
        let line = bed.line_after("node-a", marks[0], PATIENCE, |line| line["direction"] == direction).await;
        let line = line.expect("a refusal is told");
        assert_eq!((&line["road"], &line["reason"]), (&"refused".into(), &reason.into()), "{line}");
    };
    let port = &bed.lab().node("node-a").unwrap().plan.port;
    let capture = Capture::start(bed.lab().fabric(), port).unwrap();
    for to in ["server", "outsider"] {
        let (marks, at) = (bed.marks(), bed.at(to, Family::V4, HTTP_PORT));
        let refused = app::get(bed.netns("client"), at, MARKER, PATIENCE).await.expect_err(to);
        assert!(refused.after < PATIENCE, "{to}: {refused}");
        told(marks, "outbound", "no_mesh").await;
    }
    // What the capture would show: a request of somebody whom no node looks after.
    let marks = bed.marks();
    let seen = "culvert-is-seen";
    let at = bed.at("client", Family::V4, HTTP_PORT);
    app::get(bed.netns("outsider"), at, seen, PATIENCE).await.expect_err("a stranger");
    told(marks, "inbound", "unknown_workload").await;
    let captured = capture.stop().unwrap();
    assert_eq!(captured.find(seen.as_bytes()), Finding::Present, "the capture sees what is in clear");
    assert_eq!(captured.find(MARKER.as_bytes()), Finding::Absent, "no byte in clear");
}

async fn readiness(bed: &Bed, node: &str) -> (u16, String) {
    let at = SocketAddr::new(std::net::Ipv4Addr::LOCALHOST.into(), ports::READY);
    page::page(&bed.lab().node(node).unwrap().netns, at, "/healthz/ready", PATIENCE).await.unwrap()
}
