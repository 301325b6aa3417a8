//! `culvert strict-report` and `culvert explain` of daemons that run.

use culvert::sys::exec::Program;
use serde_json::Value;

use crate::bed::{BINARY, Bed, demo, until};
use crate::roads::{HBONE, PLAIN_IN, SAME_NODE};

/// What the program prints in a node's namespace, standard error with it, and its exit code.
fn culvert(bed: &Bed, node: &str, arguments: &str) -> (String, i32) {
    let line = format!("{BINARY} {arguments} 2>&1; echo \"code $?\"");
    let program = Program::new("sh", &["-c", &line]);
    let netns = &bed.lab().node(node).unwrap().netns;
    let said = netns.run(move || program.run()).unwrap().unwrap().stdout;
    let (text, code) = said.trim_end().rsplit_once("code ").unwrap();
    (text.to_owned(), code.parse().unwrap())
}

/// The flows of a report in JSON, of one client of one pod.
fn flow(bed: &Bed, node: &str, arguments: &str, pod: &str, key: &str, client: &str) -> Value {
    let (text, code) = culvert(bed, node, &format!("strict-report --output json {arguments}"));
    assert_eq!(code, 0, "{text}");
    let report: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
    let mut flows = report["flows"].as_array().unwrap().iter();
    let found = flows.find(|flow| flow["pod"] == pod && flow[key] == client).cloned();
    found.unwrap_or_else(|| panic!("no {client} at {pod}: {text}"))
}

const CLIENT: &str = "spiffe://cluster.local/ns/demo/sa/client";

#[test]
fn a_report_of_what_came_and_what_strict_would_do() {
    demo("strictreport", async |bed| {
        bed.start(&[]).await;
        for way in [PLAIN_IN, PLAIN_IN, SAME_NODE, HBONE] {
            bed.get(way.from, way.to).await.unwrap();
        }
        let plain = flow(bed, "node-a", "", "demo/near", "plaintextClient", "outside/outsider");
        assert_eq!((&plain["connections"], &plain["refused"]), (&2.into(), &0.into()), "{plain}");
        assert_eq!((&plain["strictRefuses"], &plain["identity"]), (&true.into(), &Value::Null), "{plain}");
        assert_eq!(plain["destination"], format!("{}", bed.at("near", crate::bed::Family::V4, 8080)), "{plain}");
        // With an identity on either road.
        for (node, pod) in [("node-a", "demo/near"), ("node-b", "demo/server")] {
            let mutual = flow(bed, node, "", pod, "identity", CLIENT);
            assert_eq!((&mutual["connections"], &mutual["strictRefuses"]), (&1.into(), &false.into()), "{mutual}");
        }
        let (text, _) = culvert(bed, "node-a", "strict-report");
        let row = text.lines().find(|line| line.starts_with("demo/near") && line.contains("outside/outsider")).unwrap();
        assert!(row.trim_end().ends_with("refuse") && text.contains("STRICT would refuse 1"), "{text}");
        assert!(!text.contains('\u{1b}'), "no colour in a pipe: {text:?}");

        // Tried, and not applied: who is refused today, and with the file.
        let tried = bed.path().join("tried.yaml");
        let strict = "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\n\
                      metadata: {name: default, namespace: demo}\nspec: {mtls: {mode: STRICT}}\n";
        let deny = "---\napiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\n\
                    metadata: {name: no-client, namespace: demo}\n\
                    spec: {action: DENY, rules: [{from: [{source: {serviceAccounts: [client]}}]}]}\n";
        std::fs::write(&tried, format!("{strict}{deny}")).unwrap();
        let with = format!("--policy {}", tried.display());
        let plain = flow(bed, "node-a", &with, "demo/near", "plaintextClient", "outside/outsider");
        assert_eq!(plain["today"]["verdict"], "allow", "{plain}");
        assert_eq!(plain["tried"]["policy"], "istio-system/istio_converted_static_strict", "{plain}");
        let mutual = flow(bed, "node-b", &with, "demo/server", "identity", CLIENT);
        assert_eq!(
            (&mutual["today"]["verdict"], &mutual["tried"]["policy"]),
            (&"allow".into(), &"demo/no-client".into()),
            "{mutual}"
        );
        bed.get("outsider", "near").await.expect("nothing was applied");

        // Applied, it does what was said.
        bed.put("strict.yaml", strict);
        bed.policies(1).await;
        bed.get("outsider", "near").await.expect_err("STRICT refuses");
        let plain = flow(bed, "node-a", &with, "demo/near", "plaintextClient", "outside/outsider");
        assert_eq!((&plain["connections"], &plain["refused"]), (&4.into(), &1.into()), "{plain}");
        assert_eq!(plain["today"]["verdict"], "refuse", "{plain}");
        let (text, code) = culvert(bed, "node-a", "strict-report --policy nowhere.yaml");
        assert!(code == 1 && text.contains("nowhere.yaml"), "{code}: {text}");
    });
}

#[test]
fn a_running_node_explains_its_live_mesh() {
    demo("explain", async |bed| {
        bed.start(&[]).await;
        let ask = |question: &str| culvert(bed, "node-b", &format!("explain {question}"));
        let (text, code) = ask("--from demo/client --to demo/server:8080");
        assert!(code == 0 && text.contains("ALLOWED") && text.contains(CLIENT), "{text}");
        bed.put(
            "only.yaml",
            "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: only-near, namespace: demo}\n\
             spec: {rules: [{from: [{source: {principals: [cluster.local/ns/demo/sa/near]}}]}]}\n",
        );
        let from = "--from demo/client --to demo/server:8080";
        until("the policy is told", async || ask(from).1 == 1).await;
        let (text, _) = ask(from);
        let what = "wants principal cluster.local/ns/demo/sa/near: the peer is cluster.local/ns/demo/sa/client";
        assert!(text.contains("DENIED") && text.contains("demo/only-near") && text.contains(what), "{text}");
        // What is said is what happens.
        bed.get("client", "server").await.expect_err("it is denied");
        bed.get("near", "server").await.unwrap();
        for (question, expected) in [
            ("--from demo/near --to demo/server:8080", 0),
            ("--sa demo/near --to demo/server:8080", 0),
            ("--from outside/outsider --to demo/server:8080", 1),
            ("--ip 192.0.2.1 --to demo/server:8080", 1),
            ("--from demo/client --to outside/outsider:8080", 0),
            ("--from demo/client --to demo/servr:8080", 2),
            ("--from demo/client --to demo/server", 64),
        ] {
            let (text, code) = ask(question);
            assert_eq!(code, expected, "{question}: {text}");
        }
        let (text, _) = ask("--from demo/client --to demo/servr:8080");
        assert!(text.contains("the nearest pods are demo/server"), "{text}");
        let (json, _) = ask(&format!("{from} --output json"));
        let answer: Value = serde_json::from_str(&json).unwrap();
        let page = bed.admin("node-b", "/explain?from=demo/client&to=demo/server:8080").await.unwrap();
        assert_eq!(answer, page);
    });
}
