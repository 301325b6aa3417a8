//! A node that is killed while its control plane is away: the state on disk serves, and says how old it is.

use std::net::SocketAddr;
use std::time::Duration;

use culvert::role::demo::app::{self, STREAM_PORT, Trickle, Way as Bytes};
use serde_json::Value;

use crate::bed::{Bed, Family, NODES, PATIENCE, SOME, demo, until};
use crate::remote::{Control, Issuer, RETURNS, VIP, age, all_roads, buys, knows, launch, nodes, policy, within};
use crate::roads::{HBONE, takes};

/// Changes are collected for 10 s before they are written.
const KEPT: Duration = Duration::from_secs(25);
const NOT_NEAR: &str = "{selector: {matchLabels: {app: server}}, action: DENY, rules: [{from: [{source: {principals: \
                        [cluster.local/ns/demo/sa/near]}}]}]}";

async fn currency(bed: &Bed, node: &str) -> Value {
    bed.admin(node, "/node").await.map(|page| page["controlPlane"].clone()).unwrap_or_default()
}

#[test]
fn a_killed_node_serves_from_its_disk_and_hears_later_what_was_removed() {
    demo("warm", async |bed| {
        let mut control = Control::prepare(bed, &[]);
        bed.put("deny.yaml", &policy("not-near", NOT_NEAR));
        control.start().await;
        nodes(bed, Issuer::Node, &[]).await;
        buys(bed).await;
        bed.get("near", "server").await.expect_err("the policy is there");
        for node in NODES {
            assert!(knows(bed, node, "intruder").await);
            let file = bed.path().join(format!("state-{node}/xds-state"));
            let kept = async || file.metadata().is_ok_and(|file| file.len() > 0);
            within(KEPT, &format!("{node} keeps its state"), kept).await;
        }
        // What was begun is written out: a kill in the middle of a write is another test's.
        tokio::time::sleep(Duration::from_millis(500)).await;

        control.kill();
        for node in NODES {
            bed.kill_node(node).unwrap();
        }
        bed.remove("deny.yaml");
        let service = std::fs::read_to_string(bed.manifests().directory().join("service.yaml")).unwrap();
        bed.remove("service.yaml");
        bed.remove("pod-demo-intruder.yaml");
        for node in NODES {
            launch(bed, node, Issuer::Node, &[]);
        }
        for node in NODES {
            // There is nobody to wait for.
            bed.ready(node, Duration::from_secs(10)).await.unwrap();
        }
        all_roads(bed).await;
        buys(bed).await;
        bed.get("near", "server").await.expect_err("a policy from the disk holds");
        let to = bed.at("server", Family::V4, STREAM_PORT);
        let mut live = Trickle::start(bed.netns("client"), to, Bytes::Echo, PATIENCE).await.unwrap();
        for node in NODES {
            until(&format!("{node} says how old it is"), async || age(bed, node).await >= 1.0).await;
            let told = currency(bed, node).await;
            assert_eq!((&told["restored"], &told["connected"]), (&true.into(), &false.into()), "{node}: {told}");
            assert!(told["ageSeconds"].as_u64().unwrap() >= 1, "{node}: {told}");
            assert!(knows(bed, node, "intruder").await, "{node} has heard of no removal");
        }

        control.start().await;
        for node in NODES {
            let gone = async || !knows(bed, node, "intruder").await;
            within(RETURNS, &format!("{node} hears that a workload is gone"), gone).await;
        }
        bed.policies(0).await;
        live.advance(SOME, PATIENCE).await.unwrap();
        live.finish(PATIENCE).await.unwrap();
        until("the policy is gone", async || bed.get("near", "server").await.is_ok()).await;
        let shop: SocketAddr = VIP.parse().unwrap();
        let patience = Duration::from_secs(2);
        let bought = async || app::get(bed.netns("client"), shop, "shop", patience).await.is_ok();
        until("the service is gone", async || !bought().await).await;
        takes(bed, &HBONE, Family::V6).await;
        // It comes back, and no endpoint of it has changed meanwhile.
        bed.put("service.yaml", &service);
        until("the service is there again", bought).await;
        for node in NODES {
            let told = currency(bed, node).await;
            assert_eq!((&told["restored"], &told["connected"]), (&false.into(), &true.into()), "{node}: {told}");
            assert_eq!((&told["ageSeconds"], age(bed, node).await), (&0.into(), 0.0), "{node}: {told}");
        }
    });
}
