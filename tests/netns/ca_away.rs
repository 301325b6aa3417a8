//! A CA that hangs and dies while the control plane goes on: what is certified serves, and what is new waits for it.

use std::time::Duration;

use culvert::role::demo::app::{STREAM_PORT, Trickle, Way as Bytes};
use culvert::role::demo::lab::{PodSpec, Topology};
use serde_json::Value;

use crate::bed::{Bed, Family, NODES, PATIENCE, SOME, run, until};
use crate::remote::{
    Control, Issuer, all_roads, answers_pods, certificates, launch, pods_of, policy, renewals, within,
};

/// A request has ten seconds, whatever the CA does; the rest is the machine's.
const GIVEN_UP: Duration = Duration::from_secs(20);
/// After three failures it is asked again within five seconds.
const ASKED_AGAIN: Duration = Duration::from_secs(20);
const NOT_INTRUDER: &str =
    "{action: DENY, rules: [{from: [{source: {principals: [cluster.local/ns/demo/sa/intruder]}}]}]}";

/// What node-a says of a pod's certificate.
async fn state_of(bed: &Bed, account: &str) -> Option<Value> {
    let identity = format!("spiffe://cluster.local/ns/demo/sa/{account}");
    let all = certificates(bed, "node-a").await;
    all.into_iter().find(|one| one["identity"] == identity).map(|one| one["state"].clone())
}

#[test]
fn a_ca_that_hangs_and_dies_alone_stops_nothing_that_was_certified() {
    let mut topology = Topology::demo();
    topology.pods.push(PodSpec::new("demo", "late", "node-a"));
    run("caaway", &topology, async |bed| {
        let mut control = Control::prepare(bed, &[]);
        let mut ca = control.in_pod(bed, "outsider");
        answers_pods(bed);
        // It is not there yet when the node starts.
        let (late, aside) = (pods_of(bed, "node-a").join("pod-demo-late.yaml"), bed.path().join("late.yaml"));
        std::fs::rename(&late, &aside).unwrap();
        control.start().await;
        ca.start().await;
        let address = format!("https://{}:15012", bed.at("outsider", Family::V4, 0).ip());
        for node in NODES {
            launch(bed, node, Issuer::Control, &[("ca-address", &address), ("connect-timeout", "2s")]);
        }
        for node in NODES {
            bed.ready(node, Duration::from_secs(20)).await.unwrap();
        }
        let to = bed.at("server", Family::V4, STREAM_PORT);
        let mut held = Trickle::start(bed.netns("client"), to, Bytes::Echo, PATIENCE).await.unwrap();

        // It takes the request and answers nothing.
        ca.pause(true);
        std::fs::copy(&aside, &late).unwrap();
        until("the new pod waits", async || state_of(bed, "late").await == Some("Unavailable".into())).await;
        all_roads(bed).await;
        let given_up = async || renewals(bed, "node-a", "failed").await >= 1.0;
        within(GIVEN_UP, "a request is given up", given_up).await;
        assert_eq!(renewals(bed, "node-b", "failed").await, 0.0, "nobody else was kept from anything");
        let mark = bed.mark("node-a");
        let refused = bed.get("late", "server").await.expect_err("without a certificate it goes nowhere");
        assert!(refused.after < PATIENCE, "{refused}");
        bed.says("node-a", mark, "no_certificate").await;

        // Now it dies, and the control plane does not.
        ca.kill();
        bed.put("deny.yaml", &policy("no-intruder", NOT_INTRUDER));
        bed.policies(1).await;
        bed.get("intruder", "client").await.expect_err("what the control plane says holds");
        all_roads(bed).await;
        held.advance(SOME, PATIENCE).await.unwrap();

        // And comes back. The token's file has gone meanwhile: the last one is shown, and somebody hears of it.
        let mark = bed.mark("node-a");
        std::fs::remove_file(bed.path().join("node-a.token")).unwrap();
        ca.start().await;
        let available = async || state_of(bed, "late").await == Some("Available".into());
        within(ASKED_AGAIN, "the new pod has a certificate", available).await;
        bed.says("node-a", mark, "the last token is used until it is refused").await;
        until("the new pod is served", async || bed.get("late", "server").await.is_ok()).await;
        held.finish(PATIENCE).await.unwrap();
        for node in NODES {
            assert_eq!(bed.metric(node, "culvert_task_panics_total", &[]).await, 0.0);
        }
    });
}
