//! The other back end, for kernels without nf_tables: the same roads, the same life.

use culvert::role::demo::app::{STREAM_PORT, Trickle, Way as Bytes};
use culvert::role::demo::lab::KubeNamespace;

use crate::bed::{Bed, Family, NODES, PATIENCE, SOME, demo, sh, until};
use crate::roads::{HBONE, PLAIN_IN, SAME_NODE, WAYS, takes};

const SETTINGS: [(&str, &str); 1] = [("redirect-backend", "iptables")];
const PODS: [&str; 4] = ["client", "near", "server", "intruder"];

/// Our chains in the pod, by whichever variant of the program is the machine's own.
fn chains(bed: &Bed, pod: &str) -> usize {
    let lines = |program: &str| sh(bed.netns(pod), program).lines().filter(|line| line.contains("CULVERT_")).count();
    lines("iptables-save") + lines("ip6tables-save")
}

#[test]
fn every_road_with_iptables() {
    demo("iptroads", async |bed| {
        bed.start(&SETTINGS).await;
        for node in NODES {
            let page = bed.admin(node, "/node").await.unwrap();
            assert!(page["redirection"].as_str().unwrap().contains("iptables"), "{page}");
        }
        assert!(chains(bed, "client") > 0 && chains(bed, "outsider") == 0);
        for way in &WAYS {
            for family in [Family::V4, Family::V6] {
                takes(bed, way, family).await;
            }
        }
        for node in NODES {
            bed.kill_node(node).unwrap();
        }
        bed.get("client", "server").await.expect_err("closed without the daemon");
        bed.get("client", "outsider").await.expect_err("closed without the daemon");
        // The next daemon may have another back end: what the first one laid must not stay beside it.
        bed.start(&[("redirect-backend", "nftables")]).await;
        until("no chains are left", async || chains(bed, "client") == 0).await;
        for way in &WAYS {
            takes(bed, way, Family::V4).await;
        }
    });
}

#[test]
fn a_namespace_leaves_and_comes_back_with_iptables() {
    demo("iptlife", async |bed| {
        let before = sh(bed.netns("client"), "ip rule");
        bed.start(&SETTINGS).await;
        let mut live = Vec::new();
        for way in [HBONE, SAME_NODE, PLAIN_IN] {
            for family in [Family::V4, Family::V6] {
                let to = bed.at(way.to, family, STREAM_PORT);
                live.push(Trickle::start(bed.netns(way.from), to, Bytes::Echo, PATIENCE).await.unwrap());
            }
        }
        bed.manifests().namespace(&KubeNamespace::plain("demo")).unwrap();
        bed.states(&PODS[..3], "withdrawing").await;
        for trickle in &mut live {
            trickle.advance(SOME, PATIENCE).await.unwrap();
        }
        bed.get("client", "server").await.unwrap();
        bed.manifests().namespace(&KubeNamespace::ambient("demo")).unwrap();
        bed.states(&PODS, "enrolled").await;
        for trickle in &mut live {
            trickle.advance(SOME, PATIENCE).await.unwrap();
        }
        for way in [HBONE, SAME_NODE, PLAIN_IN] {
            takes(bed, &way, Family::V4).await;
        }
        for trickle in live {
            trickle.finish(PATIENCE).await.unwrap();
        }
        bed.manifests().namespace(&KubeNamespace::plain("demo")).unwrap();
        bed.states(&PODS, "out").await;
        for pod in PODS {
            assert_eq!(chains(bed, pod), 0, "{pod}");
        }
        assert_eq!(sh(bed.netns("client"), "ip rule"), before);
    });
}

#[test]
fn chains_that_somebody_flushes_come_back() {
    demo("iptheal", async |bed| {
        bed.start(&SETTINGS).await;
        let whole = chains(bed, "client");
        for harm in ["iptables -t nat -F", "ip6tables -t nat -F", "iptables -t mangle -F"] {
            sh(bed.netns("client"), harm);
            assert!(chains(bed, "client") < whole, "{harm} does something");
            until(&format!("{harm} is healed"), async || chains(bed, "client") == whole).await;
            takes(bed, &HBONE, Family::V4).await;
        }
    });
}
