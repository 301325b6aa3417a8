//! Pods that come into the mesh and leave it while they live.

use std::time::Duration;

use culvert::role::demo::app::{self, HTTP_PORT, STREAM_PORT, Trickle, Way as Bytes};
use culvert::role::demo::lab::KubeNamespace;

use crate::bed::{Bed, Family, NODES, PATIENCE, SOME, demo, ends, rules, until};
use crate::roads::{HBONE, PLAIN_IN, SAME_NODE, Way, takes};

const PODS: [&str; 4] = ["client", "near", "server", "intruder"];
const LABEL: &str = "istio.io/dataplane-mode";

/// How a person takes pods out of the mesh and puts them back.
#[derive(Clone, Copy, Debug)]
enum Switch {
    Namespace,
    Pod(&'static str),
}

// === impl Switch ===

impl Switch {
    fn turn(self, bed: &Bed, on: bool) {
        match self {
            Self::Namespace if on => bed.manifests().namespace(&KubeNamespace::ambient("demo")).unwrap(),
            Self::Namespace => bed.manifests().namespace(&KubeNamespace::plain("demo")).unwrap(),
            Self::Pod(name) => {
                let pod = bed.pod(name).unwrap();
                let mut plan = pod.plan.clone();
                if !on {
                    plan.spec.labels.insert(LABEL.into(), "none".into());
                }
                bed.manifests().pod(&plan, pod.netns.path()).unwrap();
            }
        }
    }

    fn pods(self) -> &'static [&'static str] {
        match self {
            Self::Namespace => &PODS,
            Self::Pod("client") => &["client"],
            Self::Pod(_) => &["server"],
        }
    }
}

/// A transfer on each road, each way and in both families.
async fn transfers(bed: &Bed) -> Vec<(String, Trickle)> {
    let mut all = Vec::new();
    for way in [HBONE, SAME_NODE, PLAIN_IN] {
        for (family, bytes) in [
            (Family::V4, Bytes::Echo),
            (Family::V6, Bytes::Echo),
            (Family::V4, Bytes::Download),
            (Family::V6, Bytes::Upload),
        ] {
            let to = bed.at(way.to, family, STREAM_PORT);
            let what = format!("{} → {} {family:?} {bytes:?}", way.from, way.to);
            let trickle = Trickle::start(bed.netns(way.from), to, bytes, PATIENCE).await;
            all.push((what.clone(), trickle.unwrap_or_else(|e| panic!("{what}: {e}"))));
        }
    }
    all
}

async fn all_advance(transfers: &mut [(String, Trickle)], when: &str) {
    for (what, trickle) in transfers {
        trickle.advance(SOME, PATIENCE).await.unwrap_or_else(|cut| panic!("{when}: {what}: {cut}"));
    }
}

async fn finish(transfers: Vec<(String, Trickle)>) {
    for (what, trickle) in transfers {
        trickle.finish(PATIENCE).await.unwrap_or_else(|cut| panic!("{what}: {cut}"));
    }
}

/// Waits until the pods' redirects are gone; their captured connections may live on.
async fn released(bed: &Bed, pods: &[&str]) {
    for pod in pods {
        let out = async || {
            bed.pod_status(pod).await.is_some_and(|status| status["state"] == "out" || status["state"] == "withdrawing")
        };
        until(&format!("{pod} leaves"), out).await;
        // The redirects go while the pod is "withdrawing" already.
        let netns = bed.netns(pod).clone();
        until(&format!("{pod} has no redirect"), async || !rules(&netns).contains("redirect to")).await;
    }
}

async fn out_and_in(bed: &mut Bed, switch: Switch) {
    let before = PODS.map(|pod| rules(bed.netns(pod)));
    bed.start(&[]).await;
    let mut old = transfers(bed).await;
    switch.turn(bed, false);
    released(bed, switch.pods()).await;
    all_advance(&mut old, "after leaving").await;
    let mut during = transfers(bed).await;
    // New connections take the plain road, and say so on the side that is still in.
    let marks = bed.marks();
    bed.get("client", "server").await.unwrap();
    match switch {
        Switch::Namespace => {}
        Switch::Pod("client") => {
            let line = bed.access(marks, "inbound", "client", "server").await;
            assert_eq!((&line["road"], &line["src.identity"]), (&"plain".into(), &serde_json::Value::Null), "{line}");
        }
        Switch::Pod(_) => {
            let line = bed.access(marks, "outbound", "client", "server").await;
            assert_eq!(line["road"], "plain", "{line}");
        }
    }
    switch.turn(bed, true);
    bed.states(switch.pods(), "enrolled").await;
    all_advance(&mut old, "after coming back").await;
    all_advance(&mut during, "after coming back").await;
    for way in [HBONE, SAME_NODE, PLAIN_IN] {
        takes(bed, &way, Family::V4).await;
        takes(bed, &way, Family::V6).await;
    }
    finish(old).await;
    finish(during).await;
    // Out again, with nothing live: the namespaces are as they were before the mesh.
    Switch::Namespace.turn(bed, false);
    bed.states(&PODS, "out").await;
    for (pod, before) in PODS.iter().zip(before) {
        assert_eq!(rules(bed.netns(pod)), before, "{pod} is as it was");
    }
    for node in NODES {
        assert_eq!(bed.metric(node, "culvert_task_panics_total", &[]).await, 0.0);
    }
}

#[test]
fn a_namespace_leaves_and_comes_back_under_load() {
    demo("label", async |bed| out_and_in(bed, Switch::Namespace).await);
}

#[test]
fn a_client_leaves_and_comes_back_under_load() {
    demo("clientlabel", async |bed| out_and_in(bed, Switch::Pod("client")).await);
}

#[test]
fn a_server_leaves_and_comes_back_under_load() {
    demo("serverlabel", async |bed| out_and_in(bed, Switch::Pod("server")).await);
}

const PAIRS: [Way; 3] = [HBONE, SAME_NODE, PLAIN_IN];

#[test]
fn connections_older_than_the_enrolment_live_on_and_are_counted() {
    demo("older", async |bed| {
        let mut old = transfers(bed).await;
        bed.start(&[]).await;
        all_advance(&mut old, "after the enrolment").await;
        let older =
            async |pod: &str| bed.metric(&bed.node_of(pod), "culvert_pod_older_connections", &[("pod", pod)]).await;
        // Four transfers a road: client is an end of two roads, near of two, server of one.
        for (pod, count) in [("client", 8.0), ("near", 8.0), ("server", 4.0)] {
            until(&format!("{pod} has {count} older connections"), async || older(pod).await == count).await;
        }
        for way in PAIRS {
            takes(bed, &way, Family::V4).await;
        }
        finish(old).await;
        for pod in ["client", "near", "server"] {
            until(&format!("{pod} has none left"), async || older(pod).await == 0.0).await;
        }
    });
}

#[test]
fn older_connections_are_reset_where_that_is_asked_for() {
    demo("resetolder", async |bed| {
        let mut old = transfers(bed).await;
        bed.start(&[("reset-older-connections", "true")]).await;
        for (what, trickle) in &mut old {
            ends(trickle, PATIENCE, what).await;
        }
        for way in PAIRS {
            takes(bed, &way, Family::V6).await;
        }
    });
}

#[test]
fn a_withdrawal_that_does_not_end_is_cut_at_its_deadline() {
    demo("deadline", async |bed| {
        let before = rules(bed.netns("client"));
        bed.start(&[("withdraw-deadline", "3s")]).await;
        let to = bed.at("server", Family::V4, STREAM_PORT);
        let mut trickle = Trickle::start(bed.netns("client"), to, Bytes::Echo, PATIENCE).await.unwrap();
        Switch::Pod("client").turn(bed, false);
        bed.states(&["client"], "withdrawing").await;
        trickle.advance(SOME, PATIENCE).await.unwrap();
        ends(&mut trickle, Duration::from_secs(8), "the deadline cuts it").await;
        bed.states(&["client"], "out").await;
        assert_eq!(rules(bed.netns("client")), before);
        let to = bed.at("server", Family::V4, HTTP_PORT);
        app::get(bed.netns("client"), to, "-", PATIENCE).await.unwrap();
    });
}
