//! A second process takes a node over: no new connection fails, whichever of the two ends and when.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use culvert::role::demo::app::{self, HTTP_PORT, STREAM_PORT, Trickle, Way as Bytes};
use culvert::sys::child::Child;
use culvert::sys::netns::Netns;
use nix::sys::signal::Signal;
use tokio::task::JoinSet;

use crate::bed::{Bed, Family, PATIENCE, SOME, demo, ends, rules, sh, until};
use crate::roads::{HBONE, SAME_NODE, takes};

/// Every road: tunnel, lane, out of the mesh, into it.
const ROADS: [(&str, &str); 4] = [("client", "server"), ("client", "near"), ("near", "outsider"), ("outsider", "near")];
const NODES: [&str; 2] = ["node-b", "node-a"];

/// Clients that open one connection after the other, a request each.
pub(crate) struct Flood {
    stop: Arc<AtomicBool>,
    clients: JoinSet<u32>,
}

impl Flood {
    /// Two clients on each road.
    pub(crate) fn start(bed: &Bed) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let mut clients = JoinSet::new();
        for (from, to) in ROADS.into_iter().chain(ROADS) {
            let (from, at) = (bed.netns(from).clone(), bed.at(to, Family::V4, HTTP_PORT));
            clients.spawn(client(from, at, Arc::clone(&stop)));
        }
        Self { stop, clients }
    }

    /// How many requests were answered. Fails when one was not.
    pub(crate) async fn end(mut self) -> u32 {
        self.stop.store(true, Ordering::Relaxed);
        let mut answered = 0;
        while let Some(client) = self.clients.join_next().await {
            answered += client.unwrap();
        }
        answered
    }
}

async fn client(from: Netns, to: SocketAddr, stop: Arc<AtomicBool>) -> u32 {
    let mut answered = 0;
    while !stop.load(Ordering::Relaxed) {
        let got = app::get(&from, to, "-", PATIENCE).await;
        got.unwrap_or_else(|refused| panic!("{to}, after {answered} that were answered: {refused}"));
        answered += 1;
    }
    answered
}

async fn live(bed: &Bed, from: &str, to: &str) -> Trickle {
    Trickle::start(bed.netns(from), bed.at(to, Family::V4, STREAM_PORT), Bytes::Echo, PATIENCE).await.unwrap()
}

/// Starts a second process of the node; the first one. What that carries is no connection from before the enrolment.
fn second(bed: &mut Bed, node: &str) -> Child {
    let old = bed.part_with_node(node).unwrap();
    bed.launch(node, &[("reset-older-connections", "true")]);
    old
}

/// A pod whose namespace is not there: it cannot be enrolled, so a process that starts is in the middle for a minute.
fn put_ghost(bed: &Bed) {
    bed.put(
        "ghost.yaml",
        "apiVersion: v1\nkind: Pod\nmetadata:\n  name: ghost\n  namespace: demo\n  annotations: {culvert.dev/netns: /run/netns/culvert-nowhere}\n\
         spec: {nodeName: node-a, serviceAccountName: ghost}\nstatus: {phase: Running, podIPs: [{ip: 10.99.9.9}]}\n",
    );
}

/// Starts a second process of node-a and waits until it has the pods' sockets and waits for the ghost.
async fn in_the_middle(bed: &mut Bed) -> Child {
    let mark = bed.mark("node-a");
    put_ghost(bed);
    bed.says("node-a", mark, "demo/ghost").await;
    let mark = bed.mark("node-a");
    let old = second(bed, "node-a");
    for pod in ["demo/client", "demo/near"] {
        let enrolled = |line: &serde_json::Value| line["pod"] == pod && line["message"] == "enrolled";
        assert!(bed.line_after("node-a", mark, PATIENCE, enrolled).await.is_some(), "{pod} is enrolled");
    }
    old
}

#[test]
fn no_connection_is_lost_while_the_next_process_takes_over() {
    demo("takeover", async |bed| {
        bed.start(&[]).await;
        let laid = rules(bed.netns("client")).lines().count();
        let mut lives = [live(bed, "client", "server").await, live(bed, "client", "near").await];
        let flood = Flood::start(bed);
        let mut before = Vec::new();
        for node in NODES {
            let mark = bed.mark(node);
            before.push(second(bed, node));
            bed.says(node, mark, "took over").await;
            bed.ready(node, PATIENCE).await.unwrap();
            // The pages are the new one's.
            until("its pods are enrolled", async || {
                bed.metric(node, "culvert_pods", &[("state", "enrolled")]).await > 0.0
            })
            .await;
            for live in &mut lives {
                live.advance(SOME, PATIENCE).await.unwrap();
            }
        }
        // Several verifications: the two do not quarrel about rules.
        tokio::time::sleep(Duration::from_secs(3)).await;
        for node in NODES {
            assert_eq!(bed.metric(node, "culvert_pod_verifications_total", &[("result", "healed")]).await, 0.0);
        }
        for live in lives {
            live.finish(PATIENCE).await.unwrap();
        }
        for mut old in before {
            old.signal(Signal::SIGTERM).unwrap();
            let status = old.wait(Duration::from_secs(20)).unwrap();
            assert_eq!(status.and_then(|status| status.code()), Some(0), "the old process drains");
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
        let answered = flood.end().await;
        assert!(answered > 100, "{answered}");
        assert_eq!(rules(bed.netns("client")).lines().count(), laid, "the rules stay as they are");
        for road in [HBONE, SAME_NODE] {
            takes(bed, &road, Family::V4).await;
            takes(bed, &road, Family::V6).await;
        }
    });
}

/// The ports of pods are free at once, and the connections live on for the drain.
#[test]
fn what_a_process_before_it_drains_is_not_older_than_the_enrolment() {
    demo("olderdrain", async |bed| {
        bed.start(&[("drain-deadline", "30s")]).await;
        let mut lives = [
            live(bed, "client", "server").await,
            live(bed, "client", "near").await,
            live(bed, "outsider", "near").await,
            live(bed, "server", "client").await,
        ];
        let mut old = bed.part_with_node("node-a").unwrap();
        old.signal(Signal::SIGTERM).unwrap();
        let mark = bed.mark("node-a");
        let ports = [("admin-address", 25000), ("metrics-address", 25020), ("ready-address", 25021)];
        let ports = ports.map(|(key, port)| (key, format!("127.0.0.1:{port}")));
        // Nobody listens there: nothing is handed over.
        let nowhere = bed.path().join("nowhere.sock").display().to_string();
        let mut settings = vec![("reset-older-connections", "true"), ("takeover-socket", nowhere.as_str())];
        settings.extend(ports.iter().map(|(key, at)| (*key, at.as_str())));
        bed.launch("node-a", &settings);
        for pod in ["demo/client", "demo/near"] {
            let enrolled = |line: &serde_json::Value| line["pod"] == pod && line["message"] == "enrolled";
            assert!(bed.line_after("node-a", mark, PATIENCE, enrolled).await.is_some(), "{pod} is enrolled");
        }
        for live in &mut lives {
            live.advance(SOME, PATIENCE).await.unwrap();
        }
        for live in lives {
            live.finish(PATIENCE).await.unwrap();
        }
        let status = old.wait(Duration::from_secs(20)).unwrap();
        assert_eq!(status.and_then(|status| status.code()), Some(0), "the old process drains");
    });
}

#[test]
fn the_old_process_killed_in_the_middle_leaves_the_new_one_serving() {
    demo("overold", async |bed| {
        bed.start(&[]).await;
        let mut old = in_the_middle(bed).await;
        let mut cut = live(bed, "client", "near").await;
        old.kill().unwrap();
        for (from, to) in ROADS.into_iter().chain(ROADS) {
            bed.get(from, to).await.unwrap_or_else(|refused| panic!("{from} → {to}: {refused}"));
        }
        ends(&mut cut, PATIENCE, "what was live in the old process ends").await;
        bed.remove("ghost.yaml");
        bed.ready("node-a", Duration::from_secs(15)).await.unwrap();
        takes(bed, &SAME_NODE, Family::V6).await;
    });
}

#[test]
fn the_new_process_killed_in_the_middle_leaves_the_old_one_serving() {
    demo("overnew", async |bed| {
        bed.start(&[]).await;
        let flood = Flood::start(bed);
        let mut lives = live(bed, "client", "near").await;
        let mut first = in_the_middle(bed).await;
        bed.kill_node("node-a").unwrap();
        lives.advance(SOME, PATIENCE).await.unwrap();
        tokio::time::sleep(Duration::from_millis(500)).await;
        assert!(flood.end().await > 20);
        lives.finish(PATIENCE).await.unwrap();
        // It looks after the rules again.
        let laid = rules(bed.netns("client")).lines().count();
        sh(bed.netns("client"), "nft delete table inet culvert");
        until("the rules come back", async || rules(bed.netns("client")).lines().count() == laid).await;
        // And a third one takes over from it.
        let mut lives = live(bed, "client", "near").await;
        bed.remove("ghost.yaml");
        let mark = bed.mark("node-a");
        bed.launch("node-a", &[]);
        bed.says("node-a", mark, "took over").await;
        lives.advance(SOME, PATIENCE).await.unwrap();
        lives.finish(PATIENCE).await.unwrap();
        first.stop(Duration::from_secs(20)).unwrap();
        takes(bed, &SAME_NODE, Family::V4).await;
    });
}
