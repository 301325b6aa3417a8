//! Pods whose manifests and namespaces do not fit: each is reported, and the others do not notice.

use std::path::{Path, PathBuf};

use culvert::role::demo::lab::{KubeNamespace, PodSpec, Topology};

use crate::bed::{Bed, Family, PATIENCE, demo, rules, run, until};
use crate::roads::{HBONE, SAME_NODE, takes};

/// A pod object of node-a with the namespace and the address that are given.
fn pod(name: &str, netns: &Path, address: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata:\n  name: {name}\n  namespace: demo\n  annotations: {{culvert.dev/netns: {}}}\n\
         spec: {{nodeName: node-a, serviceAccountName: odd}}\n\
         status: {{phase: Running, podIP: {address}, podIPs: [{{ip: {address}}}]}}\n",
        netns.display()
    )
}

#[test]
fn a_namespace_that_is_not_the_pods_is_refused_and_said() {
    demo("odd", async |bed| {
        let plain = bed.path().join("plain-file");
        std::fs::write(&plain, "x").unwrap();
        let node = bed.lab().node("node-a").unwrap();
        let (node_netns, node_ip) = (node.netns.path().to_owned(), node.plan.v4.to_string());
        let outsider = bed.pod("outsider").unwrap();
        let (outsider_netns, outsider_before) = (outsider.netns.path().to_owned(), rules(&outsider.netns));
        let node_before = rules(&node.netns);
        // Name, namespace, address, what the state must say.
        let odd: [(&str, PathBuf, &str, &str); 4] = [
            ("missing", "/run/netns/culvert-no-such".into(), "10.88.1.90", "cannot open the network namespace"),
            ("file", plain.clone(), "10.88.1.91", "is not a network namespace"),
            ("host", node_netns, &node_ip, "it is the daemon's own network namespace"),
            ("foreign", outsider_netns, "10.88.1.93", "no interface in it has an address of the pod (10.88.1.93)"),
        ];
        bed.start(&[]).await;
        for (name, netns, address, _) in &odd {
            bed.put(&format!("pod-demo-{name}.yaml"), &pod(name, netns, address));
        }
        for (name, _, _, reason) in &odd {
            let error = async || bed.admin("node-a", "/pods").await.and_then(|pods| status(&pods, name));
            until(&format!("{name} has failed"), async || error().await.is_some_and(|(state, _)| state == "failed"))
                .await;
            let (_, said) = error().await.unwrap();
            assert!(said.contains(reason), "{name}: {said}");
        }
        assert_eq!(rules(&bed.lab().node("node-a").unwrap().netns), node_before, "nothing is laid into the node's own");
        assert_eq!(rules(bed.netns("outsider")), outsider_before, "nothing is laid into a stranger's");
        assert_eq!(bed.metric("node-a", "culvert_pods", &[("state", "failed")]).await, 4.0);
        for way in [HBONE, SAME_NODE] {
            takes(bed, &way, Family::V4).await;
        }
        for (name, ..) in &odd {
            bed.remove(&format!("pod-demo-{name}.yaml"));
        }
        until("the failed ones are forgotten", async || {
            bed.metric("node-a", "culvert_pods", &[("state", "failed")]).await == 0.0
        })
        .await;
        takes(bed, &SAME_NODE, Family::V4).await;
    });
}

/// Two objects cannot both be the pod at an address: the first by name stays, the other is said to be out.
#[test]
fn of_two_pods_that_claim_one_namespace_one_is_out_and_told() {
    demo("twin", async |bed| {
        bed.start(&[]).await;
        let near = bed.pod("near").unwrap();
        let (laid, netns) = (rules(&near.netns).lines().count(), near.netns.path());
        for (name, address, claim) in
            [("twin", near.plan.v4.to_string(), "address"), ("zwin", "10.88.1.94".into(), "namespace")]
        {
            bed.put("pod-demo-odd.yaml", &pod(name, netns, &address));
            let told = async || {
                let statuses = bed.admin("node-a", "/statuses").await.unwrap_or_default();
                let of_odd =
                    statuses.as_array().and_then(|all| all.iter().find(|one| one["object"] == format!("demo/{name}")));
                of_odd.is_some_and(|one| {
                    one["message"].as_str().is_some_and(|text| text.contains(claim) && text.contains("demo/near"))
                })
            };
            until(&format!("{name} is told"), told).await;
            takes(bed, &SAME_NODE, Family::V4).await;
            assert_eq!(rules(bed.netns("near")).lines().count(), laid, "near's rules are laid once");
        }
        bed.remove("pod-demo-odd.yaml");
        takes(bed, &SAME_NODE, Family::V6).await;
    });
}

fn status(pods: &serde_json::Value, name: &str) -> Option<(String, String)> {
    let pod = pods.as_array()?.iter().find(|pod| pod["name"] == name)?;
    Some((pod["state"].as_str()?.to_owned(), pod["error"].as_str().unwrap_or_default().to_owned()))
}

/// A StatefulSet's pod comes back under its name, in another namespace with another address.
#[test]
fn a_pod_that_comes_back_under_its_name_is_a_new_one() {
    let mut topology = Topology::demo();
    topology.namespaces.push(KubeNamespace::plain("spare"));
    topology.pods.push(PodSpec::new("spare", "spare", "node-b"));
    run("reborn", &topology, async |bed: &mut Bed| {
        bed.remove("pod-spare-spare.yaml");
        let [before, spare_before] = ["server", "spare"].map(|pod| rules(bed.netns(pod)));
        bed.start(&[]).await;
        takes(bed, &HBONE, Family::V4).await;
        let (server, spare) = (bed.pod("server").unwrap().clone(), bed.pod("spare").unwrap().clone());
        // Gone and made anew between two looks: the same object name, another address and namespace.
        let mut plan = server.plan.clone();
        (plan.v4, plan.v6) = (spare.plan.v4, spare.plan.v6);
        bed.manifests().pod(&plan, spare.netns.path()).unwrap();
        let at_spare = async || {
            let status = bed.pod_status("server").await;
            status.is_some_and(|pod| pod["state"] == "enrolled" && pod["addresses"][0] == spare.plan.v4.to_string())
        };
        until("the new server is enrolled", at_spare).await;
        // The client's node may read the change a moment later; until then the address is nobody's, and called as it is.
        let known = async || {
            let all = bed.admin("node-a", "/workloads").await;
            all.is_some_and(|all| all.to_string().contains(&spare.plan.v4.to_string()))
        };
        until("the client's node knows the new address", known).await;
        let marks = bed.marks();
        let to = bed.at("spare", Family::V4, 8080);
        until("the new server answers", async || {
            culvert::role::demo::app::get(bed.netns("client"), to, "-", PATIENCE).await.is_ok()
        })
        .await;
        let line = bed.access(marks, "inbound", "client", "server").await;
        assert_eq!(line["dst.identity"], "spiffe://cluster.local/ns/demo/sa/server", "{line}");
        assert_eq!(line["road"], "hbone", "{line}");
        until("the old namespace is clean", async || rules(&server.netns) == before).await;
        // And back again.
        bed.manifests().pod(&server.plan, server.netns.path()).unwrap();
        until("the first namespace is enrolled again", async || {
            bed.pod_status("server")
                .await
                .is_some_and(|pod| pod["state"] == "enrolled" && pod["addresses"][0] == server.plan.v4.to_string())
        })
        .await;
        until("the spare one is clean", async || rules(&spare.netns) == spare_before).await;
        until("traffic flows", async || bed.get("client", "server").await.is_ok()).await;
    });
}

/// Deleted while it is enrolled and comes back later with the same namespace.
#[test]
fn a_pod_that_is_deleted_is_withdrawn() {
    demo("deleted", async |bed| {
        let before = rules(bed.netns("near"));
        bed.start(&[]).await;
        bed.remove("pod-demo-near.yaml");
        until("near is clean", async || rules(bed.netns("near")) == before).await;
        takes(bed, &HBONE, Family::V6).await;
        let near = bed.pod("near").unwrap();
        bed.manifests().pod(&near.plan, near.netns.path()).unwrap();
        bed.states(&["near"], "enrolled").await;
        takes(bed, &SAME_NODE, Family::V6).await;
    });
}
