//! A daemon that is killed: its pods are closed and not open, and the next daemon takes over. Rules that somebody else
//! changes come back.

use std::time::Duration;

use culvert::role::demo::app::{self, ECHO_PORT, HTTP_PORT};
use culvert::sys::packet::{Capture, Finding};

use crate::bed::{BINARY, Bed, Family, NODES, PATIENCE, demo, rules, sh, until};
use crate::roads::{HBONE, PLAIN_OUT, SAME_NODE, takes};

const PODS: [&str; 4] = ["client", "near", "server", "intruder"];
const MARKER: &str = "culvert-must-not-be-seen";

#[test]
fn pods_of_a_killed_daemon_are_refused_and_nothing_leaks() {
    demo("kill", async |bed| {
        bed.start(&[]).await;
        let laid = PODS.map(|pod| skeleton(&rules(bed.netns(pod))));
        takes(bed, &HBONE, Family::V4).await;
        let ports: Vec<_> = bed.lab().nodes().iter().map(|node| node.plan.port.clone()).collect();
        let captures: Vec<_> = ports.iter().map(|port| Capture::start(bed.lab().fabric(), port).unwrap()).collect();
        // What the captures would show: a request in clear.
        let clear = "culvert-is-seen".to_owned();
        app::get(bed.netns("client"), bed.at("outsider", Family::V4, HTTP_PORT), &clear, PATIENCE).await.unwrap();
        for node in NODES {
            bed.kill_node(node).unwrap();
        }
        for (pod, laid) in PODS.iter().zip(&laid) {
            assert_eq!(&skeleton(&rules(bed.netns(pod))), laid, "{pod}: the rules outlive the daemon");
        }
        for (from, to) in [("client", "server"), ("client", "near"), ("client", "outsider"), ("outsider", "near")] {
            for family in [Family::V4, Family::V6] {
                let to_address = bed.at(to, family, HTTP_PORT);
                let refused = app::get(bed.netns(from), to_address, MARKER, PATIENCE).await;
                let refused = refused.expect_err("a pod without its daemon is refused");
                assert!(refused.after < PATIENCE, "{from} → {to}: {refused} after {:?}", refused.after);
            }
        }
        for capture in captures {
            let captured = capture.stop().unwrap();
            assert_eq!(captured.find(clear.as_bytes()), Finding::Present, "the capture sees what is in clear");
            assert_eq!(captured.find(MARKER.as_bytes()), Finding::Absent, "no byte in clear");
        }
        // The next daemon finds its own rules, and everything flows.
        bed.start(&[]).await;
        for (pod, laid) in PODS.iter().zip(&laid) {
            assert_eq!(&skeleton(&rules(bed.netns(pod))), laid, "{pod}: the same rules");
        }
        for way in [HBONE, SAME_NODE, PLAIN_OUT] {
            takes(bed, &way, Family::V4).await;
            takes(bed, &way, Family::V6).await;
        }
        for node in NODES {
            until("two verifications have found nothing", async || {
                bed.metric(node, "culvert_pod_verifications_total", &[("result", "ok")]).await >= 4.0
            })
            .await;
            assert_eq!(bed.metric(node, "culvert_pod_verifications_total", &[("result", "healed")]).await, 0.0);
        }
    });
}

/// A rule listing without what changes by itself: values of counters, and the kernel's handles.
fn skeleton(rules: &str) -> String {
    let lines = rules.lines().map(|line| match line.split_once("counter packets") {
        Some((front, rest)) => {
            let back = rest.split_whitespace().skip(3).collect::<Vec<_>>().join(" ");
            format!("{front}counter {back}")
        }
        None => line.to_owned(),
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// What somebody does to a pod's rules, and what the daemon then says.
const HARM: [(&str, &str); 7] = [
    ("nft delete rule inet culvert output handle", "output"),
    ("nft flush chain inet culvert output", "output"),
    ("nft flush chain inet culvert prerouting", "prerouting"),
    ("nft delete table inet culvert", "table"),
    ("nft flush ruleset", "table"),
    ("ip rule del fwmark 0x111/0xfff pref 32764", "rule"),
    ("ip route flush table 100", "route"),
];

#[test]
fn rules_that_somebody_takes_away_come_back() {
    demo("heal", async |bed| {
        bed.start(&[]).await;
        let laid = skeleton(&rules(bed.netns("client")));
        // The lane, whose live connection must not notice.
        let mut held =
            app::hold(bed.netns("client"), bed.at("near", Family::V4, ECHO_PORT), 3, PATIENCE).await.unwrap();
        for (at, (harm, said)) in HARM.iter().enumerate() {
            let mark = bed.mark("node-a");
            if harm.ends_with("handle") {
                let chain = sh(bed.netns("client"), "nft -a list chain inet culvert output");
                let rule = chain.lines().find(|line| line.contains("redirect to")).unwrap();
                sh(bed.netns("client"), &format!("{harm} {}", rule.rsplit_once("handle ").unwrap().1));
            } else {
                sh(bed.netns("client"), harm);
            }
            assert_ne!(skeleton(&rules(bed.netns("client"))), laid, "{harm} does something");
            until(&format!("{harm} is healed"), async || skeleton(&rules(bed.netns("client"))) == laid).await;
            let line = bed.says("node-a", mark, "laying them again").await;
            assert_eq!((&line["pod"], &line["level"]), (&"demo/client".into(), &"warn".into()), "{line}");
            assert!(line["difference"].as_str().unwrap().contains(said), "{harm}: {line}");
            // Counted once it is verified, a moment after the rules are back.
            let healed = || bed.metric("node-a", "culvert_pod_verifications_total", &[("result", "healed")]);
            until(&format!("{harm} is counted once"), async || healed().await == (at + 1) as f64).await;
            takes(bed, &HBONE, Family::V4).await;
        }
        assert_eq!(bed.pod_status("client").await.unwrap()["healed"], HARM.len());
        assert_eq!(held.alive(PATIENCE).await, 3, "live connections live on");
    });
}

/// `culvert cleanup` sees every namespace of the machine. Here it runs where only those of this lab can be seen.
#[test]
fn cleanup_removes_what_is_ours_and_nothing_else() {
    demo("cleanup", async |bed| {
        let before = PODS.map(|pod| rules(bed.netns(pod)));
        foreign(bed);
        let with_foreign = rules(bed.netns("client"));
        bed.start(&[]).await;
        takes(bed, &HBONE, Family::V4).await;
        for node in NODES {
            bed.kill_node(node).unwrap();
        }
        let said = cleanup(bed);
        assert!(said.contains("looked into") && said.contains("cleaned 4"), "{said}");
        for pod in PODS {
            assert!(said.contains(&format!("culvert-t-cleanup-{pod}: removed")), "{said}");
        }
        assert_eq!(rules(bed.netns("client")), with_foreign, "foreign rules stay");
        for (pod, before) in PODS.iter().zip(before).skip(1) {
            assert_eq!(rules(bed.netns(pod)), before, "{pod}");
        }
        bed.get("client", "server").await.unwrap();
        let again = cleanup(bed);
        assert!(again.contains("cleaned 0"), "{again}");
    });
}

/// A firewall, a routing rule and a route of somebody else's.
fn foreign(bed: &Bed) {
    for line in [
        "nft add table inet firewall",
        "nft add chain inet firewall input { type filter hook input priority 0 ; }",
        "nft add rule inet firewall input tcp dport 9999 drop",
        "ip rule add fwmark 0x5 pref 100 lookup 55",
        "ip route add local default dev lo table 55",
    ] {
        sh(bed.netns("client"), line);
    }
}

/// In namespaces of its own for mounts and processes, so that labs of other tests are left alone.
fn cleanup(bed: &Bed) -> String {
    let names = bed.path().join("names");
    let prefix = bed.lab().prefix();
    let script = format!(
        "set -e; mkdir -p {0}; mount -t tmpfs none {0}; for path in /run/netns/{prefix}-*; do name={0}/$(basename $path); \
         touch $name; mount --bind $path $name; done; mount --rbind {0} /run/netns; exec {BINARY} cleanup",
        names.display()
    );
    let arguments = ["--mount", "--pid", "--fork", "--mount-proc", "sh", "-c", &script];
    let program = culvert::sys::exec::Program::new("unshare", &arguments);
    program.run().unwrap().stdout
}

#[test]
fn restart_after_restart_leaves_the_same_rules() {
    demo("restart", async |bed| {
        bed.start(&[]).await;
        let laid = skeleton(&rules(bed.netns("client")));
        for _ in 0..3 {
            bed.kill_node("node-a").unwrap();
            bed.launch("node-a", &[]);
            bed.ready("node-a", Duration::from_secs(10)).await.unwrap();
            assert_eq!(skeleton(&rules(bed.netns("client"))), laid);
            takes(bed, &HBONE, Family::V4).await;
        }
    });
}
