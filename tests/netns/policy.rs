//! Policy that changes while connections live, on every road.

use std::time::Duration;

use culvert::role::demo::app::{self, ECHO_PORT, HTTP_PORT, STREAM_PORT, Trickle, Way as Bytes};
use serde_json::Value;
use tokio::time::Instant;

use crate::bed::{Bed, Family, NODES, PATIENCE, SOME, demo, ends, until};
use crate::roads::{HBONE, PLAIN_IN, SAME_NODE, Way};

/// A connection ends within a second of the change of its policy; the second one is the machine's.
const AT_ONCE: Duration = Duration::from_secs(2);

async fn start(bed: &Bed, way: &Way) -> Trickle {
    let to = bed.at(way.to, Family::V4, STREAM_PORT);
    Trickle::start(bed.netns(way.from), to, Bytes::Echo, PATIENCE).await.unwrap_or_else(|e| panic!("{}: {e}", way.to))
}

/// Between pods that no policy of the table names.
const BYSTANDER: Way = Way { from: "near", ..HBONE };

struct Change {
    policy: &'static str,
    /// What ends, and what lives on.
    cut: &'static [Way],
    lives: &'static [Way],
    /// Who the log says decided.
    by: &'static str,
}

const CHANGES: [Change; 5] = [
    Change {
        policy: "{action: DENY, rules: [{from: [{source: {principals: [cluster.local/ns/demo/sa/client]}}]}]}",
        cut: &[HBONE, SAME_NODE],
        lives: &[PLAIN_IN, BYSTANDER],
        by: "demo/changing",
    },
    Change {
        policy: "{action: DENY, rules: [{from: [{source: {notNamespaces: [demo]}}]}]}",
        cut: &[PLAIN_IN],
        lives: &[HBONE, SAME_NODE, BYSTANDER],
        by: "demo/changing",
    },
    Change {
        policy: "{action: ALLOW, rules: [{from: [{source: {principals: [cluster.local/ns/demo/sa/near]}}]}]}",
        cut: &[HBONE, SAME_NODE, PLAIN_IN],
        lives: &[BYSTANDER],
        // The only one that could have allowed it.
        by: "demo/changing",
    },
    Change {
        policy: "{action: DENY, rules: [{to: [{operation: {ports: [\"8082\"]}}]}]}",
        cut: &[HBONE, SAME_NODE, PLAIN_IN, BYSTANDER],
        lives: &[],
        by: "demo/changing",
    },
    Change {
        policy: "{action: DENY, rules: [{to: [{operation: {ports: [\"8080\"]}}]}]}",
        cut: &[],
        lives: &[HBONE, SAME_NODE, PLAIN_IN, BYSTANDER],
        by: "",
    },
];

#[test]
fn a_change_ends_what_it_forbids_and_nothing_else() {
    demo("change", async |bed| {
        bed.start(&[]).await;
        for Change { policy, cut, lives, by } in &CHANGES {
            let mut ending = Vec::new();
            for way in *cut {
                ending.push((way, start(bed, way).await));
            }
            let mut living = Vec::new();
            for way in *lives {
                living.push((way, start(bed, way).await));
            }
            let (marks, changed) = (bed.marks(), Instant::now());
            bed.put("changing.yaml", &manifest("AuthorizationPolicy", "changing", policy));
            for (way, trickle) in &mut ending {
                let what = format!("{policy}: {} → {}", way.from, way.to);
                // Far more than it carries in the time.
                ends(trickle, AT_ONCE, &what).await;
                assert!(changed.elapsed() < AT_ONCE, "{what}: {:?}", changed.elapsed());
                let line = bed.access(marks, "inbound", way.from, way.to).await;
                assert_eq!(line["reason"], "policy_changed", "{what}: {line}");
                assert_eq!(line["policy"].as_str().unwrap_or_default(), *by, "{what}: {line}");
            }
            bed.policies(1).await;
            for (way, trickle) in &mut living {
                let alive = trickle.advance(SOME, PATIENCE).await;
                alive.unwrap_or_else(|cut| panic!("{policy}: {} → {}: {cut}", way.from, way.to));
            }
            // What is permitted again is taken again, and what lived still does.
            bed.remove("changing.yaml");
            bed.policies(0).await;
            for (_, trickle) in living {
                trickle.finish(PATIENCE).await.unwrap();
            }
            for way in [HBONE, SAME_NODE, PLAIN_IN] {
                bed.get(way.from, way.to).await.unwrap_or_else(|e| panic!("{policy}: {}: {e}", way.to));
            }
        }
    });
}

#[test]
fn strict_and_permissive_by_turns() {
    demo("strict", async |bed| {
        bed.start(&[]).await;
        let (mut plain, mut tunnel) = (start(bed, &PLAIN_IN).await, start(bed, &HBONE).await);
        for round in 0..2 {
            let marks = bed.marks();
            bed.put("strict.yaml", &manifest("PeerAuthentication", "default", "{mtls: {mode: STRICT}}"));
            ends(&mut plain, AT_ONCE, "plaintext ends under STRICT").await;
            let line = bed.access(marks, "inbound", "outsider", "near").await;
            assert_eq!((&line["reason"], &line["road"]), (&"policy_changed".into(), &"plain".into()), "{line}");
            bed.policies(1).await;
            for to in ["near", "server", "client"] {
                let refused = bed.get("outsider", to).await.expect_err("STRICT refuses plaintext");
                assert!(refused.after < PATIENCE, "{refused}");
            }
            for (from, to) in [("client", "server"), ("client", "near"), ("intruder", "server"), ("client", "outsider")]
            {
                bed.get(from, to).await.unwrap_or_else(|e| panic!("round {round}: {from} → {to}: {e}"));
            }
            tunnel.advance(SOME, PATIENCE).await.unwrap();
            bed.remove("strict.yaml");
            bed.policies(0).await;
            plain = start(bed, &PLAIN_IN).await;
            plain.advance(SOME, PATIENCE).await.unwrap();
        }
        tunnel.finish(PATIENCE).await.unwrap();
    });
}

/// Refusals of new connections on each road: what the client sees, what is logged and what is counted.
#[test]
fn a_refusal_names_the_policy_on_every_road() {
    demo("refusal", async |bed| {
        bed.start(&[]).await;
        let ports = "{action: DENY, rules: [{to: [{operation: {ports: [\"8080\"]}}]}]}";
        bed.put("ports.yaml", &manifest("AuthorizationPolicy", "no-http", ports));
        bed.policies(1).await;
        for way in [HBONE, SAME_NODE, PLAIN_IN] {
            let (what, marks) = (format!("{} → {}", way.from, way.to), bed.marks());
            let labels = [("reporter", "destination"), ("reason", "policy"), ("policy", "demo/no-http")];
            let node = bed.node_of(way.to);
            let before = bed.metric(&node, "culvert_refusals_total", &labels).await;
            let refused = bed.get(way.from, way.to).await.expect_err(&what);
            assert!(refused.after < PATIENCE, "{what}: {refused}");
            let line = bed.access(marks, "inbound", way.from, way.to).await;
            for (key, value) in
                [("road", "refused"), ("reason", "policy"), ("policy", "demo/no-http"), ("level", "warn")]
            {
                assert_eq!(line[key], value, "{what}: {line}");
            }
            assert_eq!(bed.metric(&node, "culvert_refusals_total", &labels).await - before, 1.0, "{what}");
            // The other ports are open.
            let echo = app::hold(bed.netns(way.from), bed.at(way.to, Family::V4, ECHO_PORT), 1, PATIENCE).await;
            echo.unwrap_or_else(|e| panic!("{what}: {e}"));
        }
        let marks = bed.marks();
        drop(bed.get("client", "server").await);
        let line = bed.access(marks, "outbound", "client", "server").await;
        assert_eq!((&line["road"], &line["reason"]), (&"refused".into(), &"refused_by_peer".into()), "{line}");
        assert_eq!(line["dst.identity"], Value::Null, "{line}");
        bed.remove("ports.yaml");
        bed.policies(0).await;
        bed.get("client", "server").await.unwrap();
    });
}

/// AUDIT and dry runs on each road: the connection goes through, and is counted by policy and source.
#[test]
fn what_decides_nothing_is_counted_on_every_road() {
    demo("observed", async |bed| {
        bed.start(&[]).await;
        let ports = "rules: [{to: [{operation: {ports: [\"8080\"]}}]}]";
        bed.put("watch.yaml", &manifest("AuthorizationPolicy", "watch", &format!("{{action: AUDIT, {ports}}}")));
        let dry = manifest("AuthorizationPolicy", "dry", &format!("{{action: DENY, {ports}}}"));
        bed.put("dry.yaml", &dry.replace("{name: dry,", "{name: dry, annotations: {istio.io/dry-run: \"true\"},"));
        bed.policies(2).await;
        for (way, source) in [
            (HBONE, "spiffe://cluster.local/ns/demo/sa/client"),
            (SAME_NODE, "spiffe://cluster.local/ns/demo/sa/client"),
            (PLAIN_IN, "unknown"),
        ] {
            let (what, marks, node) = (format!("{} → {}", way.from, way.to), bed.marks(), bed.node_of(way.to));
            let count = async |policy: &str, outcome: &str| {
                let labels =
                    [("policy", policy), ("source_principal", source), ("outcome", outcome), ("decision", "allowed")];
                bed.metric(&node, "culvert_policy_observations_total", &labels).await
            };
            let before = (count("demo/watch", "audited").await, count("demo/dry", "would_deny").await);
            bed.get(way.from, way.to).await.unwrap_or_else(|e| panic!("{what}: {e}"));
            let after = (count("demo/watch", "audited").await, count("demo/dry", "would_deny").await);
            assert_eq!((after.0 - before.0, after.1 - before.1), (1.0, 1.0), "{what}");
            let mark = marks[NODES.iter().position(|known| *known == node).unwrap()];
            let line = bed.says(&node, mark, "would_deny").await;
            assert_eq!((&line["policy"], &line["src.identity"]), (&"demo/dry".into(), &source.into()), "{line}");
        }
    });
}

/// A window of time that is open all day, and one that never is, on each road.
#[test]
fn windows_of_time_hold_on_every_road() {
    demo("windows", async |bed| {
        bed.start(&[]).await;
        let deny = |values: &str| {
            let spec = format!("{{action: DENY, rules: [{{when: [{{key: custom.time_of_day, {values}}}]}}]}}");
            manifest("AuthorizationPolicy", "window", &spec)
        };
        bed.put("window.yaml", &deny("notValues: [\"00:00-24:00\"]"));
        bed.policies(1).await;
        for way in [HBONE, SAME_NODE, PLAIN_IN] {
            bed.get(way.from, way.to).await.unwrap_or_else(|e| panic!("{} → {}: {e}", way.from, way.to));
        }
        bed.put("window.yaml", &deny("values: [\"00:00-24:00\"]"));
        for way in [HBONE, SAME_NODE, PLAIN_IN] {
            let what = format!("{} → {} is refused", way.from, way.to);
            until(&what, async || bed.get(way.from, way.to).await.is_err()).await;
            let marks = bed.marks();
            bed.get(way.from, way.to).await.expect_err(&what);
            let line = bed.access(marks, "inbound", way.from, way.to).await;
            assert_eq!(line["policy"], "demo/window", "{line}");
            assert!(line["detail"].as_str().unwrap_or_default().contains("the time is"), "{line}");
        }
    });
}

/// A policy of the root namespace holds everywhere, and goes away with its file.
#[test]
fn mesh_wide_policies_hold_on_both_nodes() {
    demo("meshwide", async |bed| {
        bed.start(&[]).await;
        let deny = "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\n\
                    metadata: {name: nothing, namespace: istio-system}\nspec: {}\n";
        bed.put("nothing.yaml", deny);
        bed.policies(1).await;
        for (from, to) in [("client", "server"), ("client", "near"), ("server", "client"), ("outsider", "near")] {
            bed.get(from, to).await.expect_err("an ALLOW policy without rules allows nobody");
        }
        // Outside of the mesh nobody asks it.
        bed.get("client", "outsider").await.unwrap();
        bed.remove("nothing.yaml");
        bed.policies(0).await;
        for node in NODES {
            until(&format!("{node} carries"), async || bed.get("client", "server").await.is_ok()).await;
        }
        let to = bed.at("near", Family::V6, HTTP_PORT);
        app::get(bed.netns("client"), to, "-", PATIENCE).await.unwrap();
    });
}

fn manifest(kind: &str, name: &str, spec: &str) -> String {
    format!(
        "apiVersion: security.istio.io/v1\nkind: {kind}\nmetadata: {{name: {name}, namespace: demo}}\nspec: {spec}\n"
    )
}
