use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::*;
use crate::role::demo::app::{HTTP_PORT, Server, get};
use crate::sys::child::{Bond, Child, Output, Program};
use crate::sys::kernel_tests;
use crate::sys::named_netns;
use crate::sys::netlink::Links;
use crate::sys::netns::Netns;
use crate::sys::packet::{Capture, Finding};

const PATIENCE: Duration = Duration::from_secs(3);

/// A lab's name that no other test and no other run on this machine has.
fn name(test: &str) -> String {
    format!("culvert-{test}-{}", std::process::id())
}

/// One client, one neighbour of it, and one server on the other node.
fn small() -> Topology {
    let mut topology = Topology::demo();
    topology.pods.retain(|pod| pod.name != "intruder" && pod.name != "outsider");
    topology
}

/// Cleans up after a test that failed between its lab's standing and its own sweep.
struct Swept(String);

impl Drop for Swept {
    fn drop(&mut self) {
        drop(Lab::sweep(&self.0, Kept::Remove));
    }
}

/// Names, mounts and lists that carry `prefix`.
fn traces(prefix: &str) -> Vec<String> {
    let mut traces = named_netns::list(prefix).unwrap();
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    traces.extend(mounts.lines().filter(|line| line.contains(prefix)).map(Into::into));
    if let Ok(entries) = std::fs::read_dir("/run/culvert-lab") {
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        traces.extend(names.filter(|name| name.starts_with(prefix)));
    }
    traces
}

fn own_links() -> Vec<String> {
    Links::open(&Netns::own().unwrap()).unwrap().names().unwrap()
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

/// Runs `test` with the program of `server` running in its pod.
fn with_server(lab: &Lab, server: &str, test: impl AsyncFnOnce()) {
    runtime().block_on(async {
        let running = Server::bind(&lab.pod(server).unwrap().netns, server, &[HTTP_PORT]).await.unwrap();
        tokio::select! {
            () = running.run() => panic!("the server ended"),
            () = test() => {}
        }
    });
}

#[test]
fn pods_reach_each_other_with_their_own_addresses_and_nothing_is_left() {
    if !kernel_tests::may_run("a laboratory in network namespaces") {
        return;
    }
    let prefix = name("reach");
    let links = own_links();
    let lab = Lab::build(&prefix, &small()).unwrap();
    assert_eq!(own_links(), links, "every link is inside the lab");
    with_server(&lab, "server", async || {
        let server = &lab.pod("server").unwrap().plan;
        for from in ["client", "near", "server"] {
            let pod = lab.pod(from).unwrap();
            let ways: [(SocketAddr, IpAddr); 2] =
                [(server.at_v4(HTTP_PORT), pod.plan.v4.into()), (server.at_v6(HTTP_PORT), pod.plan.v6.into())];
            for (to, own) in ways {
                let answer = get(&pod.netns, to, "m-1", PATIENCE).await.unwrap().answer;
                assert_eq!(answer.source.ip(), own, "{from} to {to}");
                assert_eq!(answer.local, to, "{from} to {to}");
                assert_eq!((answer.pod.as_str(), answer.marker.as_deref()), ("server", Some("m-1")));
            }
        }
        // The node itself reaches its pod from its own address, as a kubelet's probe would.
        let node = lab.node("node-b").unwrap();
        let answer = get(&node.netns, server.at_v4(HTTP_PORT), "", PATIENCE).await.unwrap().answer;
        assert_eq!(answer.source.ip(), IpAddr::V4(node.plan.v4));
        let answer = get(&node.netns, server.at_v6(HTTP_PORT), "", PATIENCE).await.unwrap().answer;
        assert_eq!(answer.source.ip(), IpAddr::V6(node.plan.v6));
    });
    with_server(&lab, "near", async || {
        let (client, near) = (lab.pod("client").unwrap(), &lab.pod("near").unwrap().plan);
        for to in [near.at_v4(HTTP_PORT), near.at_v6(HTTP_PORT)] {
            let answer = get(&client.netns, to, "", PATIENCE).await.unwrap().answer;
            assert_eq!(answer.local, to, "on one node");
            let own = [IpAddr::V4(client.plan.v4), IpAddr::V6(client.plan.v6)];
            assert!(own.contains(&answer.source.ip()), "{answer:?}");
        }
    });
    lab.teardown().unwrap();
    assert_eq!(traces(&prefix), Vec::<String>::new());
    assert_eq!(own_links(), links);
}

#[test]
fn a_capture_on_the_fabric_sees_what_crosses_it_and_nothing_else() {
    if !kernel_tests::may_run("a capture") {
        return;
    }
    let lab = Lab::build(&name("capture"), &small()).unwrap();
    with_server(&lab, "server", async || {
        let server = &lab.pod("server").unwrap().plan;
        let client = lab.pod("client").unwrap();
        for to in [server.at_v4(HTTP_PORT), server.at_v6(HTTP_PORT)] {
            let capture = Capture::start(lab.fabric(), &lab.node("node-a").unwrap().plan.port).unwrap();
            get(&client.netns, to, "marker-that-was-sent", PATIENCE).await.unwrap();
            let captured = capture.stop().unwrap();
            assert_eq!(captured.find(b"marker-that-was-sent"), Finding::Present, "{to}");
            assert_eq!(captured.find(b"marker-that-was-not"), Finding::Absent, "{to}");
            // The handshake's three, a request, an answer, and their acknowledgements.
            assert!(captured.tcp_packets(HTTP_PORT) >= 5, "{:?}", captured.tcp_ports());
            assert_eq!(captured.tcp_packets(15008), 0);
        }
    });
    with_server(&lab, "near", async || {
        let capture = Capture::start(lab.fabric(), &lab.node("node-a").unwrap().plan.port).unwrap();
        let to = lab.pod("near").unwrap().plan.at_v4(HTTP_PORT);
        get(&lab.pod("client").unwrap().netns, to, "marker-at-home", PATIENCE).await.unwrap();
        assert_eq!(capture.stop().unwrap().find(b"marker-at-home"), Finding::Absent, "one node crosses no fabric");
    });
}

#[test]
fn large_frames_are_captured_whole() {
    if !kernel_tests::may_run("a capture of large frames") {
        return;
    }
    let lab = Lab::build(&name("large"), &small()).unwrap();
    with_server(&lab, "server", async || {
        let to = lab.pod("server").unwrap().plan.at_v4(HTTP_PORT);
        let capture = Capture::start(lab.fabric(), &lab.node("node-b").unwrap().plan.port).unwrap();
        // An answer that is no Answer; what matters is what crossed.
        let client = lab.pod("client").unwrap().netns.clone();
        let refused = crate::role::demo::app::get_path(&client, to, "/bytes?n=60000", "", PATIENCE).await.unwrap_err();
        assert_eq!(refused.refusal, crate::role::demo::app::Refusal::Garbled, "{refused:?}");
        let captured = capture.stop().unwrap();
        let whole = crate::role::demo::app::Pattern::default().take(60_000);
        assert_eq!(captured.find(&whole), Finding::Present, "{:?}", captured.lost);
    });
}

#[test]
fn two_labs_stand_at_once_and_one_name_only_once() {
    if !kernel_tests::may_run("two laboratories") {
        return;
    }
    let (one, two) = (name("one"), name("two"));
    let first = Lab::build(&one, &small()).unwrap();
    let second = Lab::build(&two, &small()).unwrap();
    let taken = Lab::build(&one, &small()).err().unwrap();
    assert!(matches!(taken, LabError::Claim(ClaimError::InUse { .. })), "{taken}");
    // The same addresses, and each its own server.
    with_server(&first, "server", async || {
        let to = first.pod("server").unwrap().plan.at_v4(HTTP_PORT);
        assert!(get(&first.pod("client").unwrap().netns, to, "", PATIENCE).await.is_ok());
        let refused = get(&second.pod("client").unwrap().netns, to, "", PATIENCE).await.unwrap_err();
        assert_eq!(refused.refusal, crate::role::demo::app::Refusal::Refused, "{refused:?}");
    });
    // A sweep spares what is in use.
    assert_eq!(Lab::sweep(&two, Kept::Remove).unwrap(), Vec::<String>::new());
    drop(first);
    assert_eq!(traces(&one), Vec::<String>::new(), "a drop takes everything away too");
    assert!(!traces(&two).is_empty());
    second.teardown().unwrap();
    assert_eq!(traces(&two), Vec::<String>::new());
}

#[test]
fn a_failure_half_way_leaves_nothing_and_touches_nothing_of_others() {
    if !kernel_tests::may_run("a laboratory that cannot be built") {
        return;
    }
    let prefix = name("half");
    let foreign = format!("{prefix}-server");
    let theirs = named_netns::create(&foreign).unwrap();
    let error = Lab::build(&prefix, &small()).err().unwrap();
    assert!(format!("{:#}", anyhow::Error::from(error)).contains(&foreign));
    assert_eq!(named_netns::list(&prefix).unwrap(), std::slice::from_ref(&foreign), "only theirs is left");
    assert_eq!(Netns::open(named_netns::path_of(&foreign)).unwrap().id(), theirs.id());
    named_netns::delete(&foreign).unwrap();
    assert_eq!(traces(&prefix), Vec::<String>::new());
}

#[test]
fn kept_labs_stay_until_they_are_asked_for() {
    if !kernel_tests::may_run("a laboratory that is kept") {
        return;
    }
    let prefix = name("kept");
    let _guard = Swept(prefix.clone());
    let lab = Lab::build(&prefix, &small()).unwrap();
    let server = lab.pod("server").unwrap().netns.clone();
    lab.keep().unwrap();
    let program = Program {
        name: "a program that was kept".into(),
        path: "/bin/sleep".into(),
        arguments: vec!["60".into()],
        environment: Vec::new(),
        netns: server,
        output: Output::Nothing,
        bond: Bond::Free,
    };
    let mut child = Child::start(&program).unwrap();
    assert_eq!(Lab::sweep(&prefix, Kept::Spare).unwrap(), Vec::<String>::new());
    assert!(!traces(&prefix).is_empty());
    let error = Lab::build(&prefix, &small()).err().unwrap();
    assert!(matches!(error, LabError::Claim(ClaimError::Kept { .. })), "{error}");
    assert_eq!(child.ended().unwrap(), None);
    assert_eq!(Lab::sweep(&prefix, Kept::Remove).unwrap(), std::slice::from_ref(&prefix));
    assert_eq!(traces(&prefix), Vec::<String>::new());
    assert!(child.wait(PATIENCE).unwrap().is_some(), "its program was ended");
}

#[test]
fn a_node_can_be_cut_off_the_fabric_and_every_link_has_the_mtu() {
    if !kernel_tests::may_run("a fabric that is cut") {
        return;
    }
    let mut topology = small();
    topology.mtu = 1400;
    let lab = Lab::build(&name("cut"), &topology).unwrap();
    let node = lab.node("node-b").unwrap();
    let mut fabric = Links::open(lab.fabric()).unwrap();
    assert_eq!(fabric.names().unwrap(), ["br0", "lo", "n1-node-a", "n2-node-b"]);
    let mut inside = Links::open(&node.netns).unwrap();
    assert_eq!(inside.names().unwrap(), ["eth0", "lo", "p0-server"]);
    let mut pod = Links::open(&lab.pod("server").unwrap().netns).unwrap();
    assert_eq!(pod.names().unwrap(), ["eth0", "lo"]);
    for (links, link) in [(&mut fabric, "br0"), (&mut inside, "p0-server"), (&mut pod, "eth0")] {
        assert_eq!(links.mtu(link).unwrap(), 1400, "{link}");
    }
    with_server(&lab, "server", async || {
        let (client, to) = (&lab.pod("client").unwrap().netns, lab.pod("server").unwrap().plan.at_v4(HTTP_PORT));
        get(client, to, "", PATIENCE).await.unwrap();
        fabric.set_down(&node.plan.port).unwrap();
        assert!(!fabric.is_running(&node.plan.port).unwrap());
        assert!(get(client, to, "", Duration::from_millis(300)).await.is_err(), "the fabric is cut");
        fabric.set_up(&node.plan.port).unwrap();
        get(client, to, "", PATIENCE).await.unwrap();
    });
    fabric.delete(&node.plan.port).unwrap();
    assert_eq!(inside.names().unwrap(), ["lo", "p0-server"], "the other end of a pair goes with it");
}

/// Only does something when the next test starts it as a process of its own.
#[test]
fn builder_that_is_killed() {
    let Some(prefix) = prefix_from_environment() else { return };
    let _lab = Lab::build(&prefix, &small()).unwrap();
    let program = Program {
        name: "a program of the killed builder".into(),
        path: "/bin/sleep".into(),
        arguments: vec!["60".into()],
        environment: Vec::new(),
        netns: Netns::open(named_netns::path_of(&format!("{prefix}-client"))).unwrap(),
        output: Output::Nothing,
        bond: Bond::Ours,
    };
    let sleeper = Child::start(&program).unwrap();
    println!("\nstands {}", sleeper.pid());
    loop {
        std::thread::park();
    }
}

/// True while a process of that number exists and is no zombie.
fn runs(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

#[expect(clippy::disallowed_methods, reason = "how a test tells a process of its own what to build")]
fn prefix_from_environment() -> Option<String> {
    std::env::var("LAB_PREFIX").ok()
}

#[test]
fn what_a_killed_builder_left_is_swept() {
    if !kernel_tests::may_run("a builder that is killed") {
        return;
    }
    let prefix = name("killed");
    let _guard = Swept(prefix.clone());
    let program = Program {
        name: "the builder".into(),
        path: std::env::current_exe().unwrap(),
        arguments: ["--exact", "--nocapture", "role::demo::lab::tests::builder_that_is_killed"].map(Into::into).into(),
        environment: vec![("LAB_PREFIX".into(), prefix.clone())],
        netns: Netns::own().unwrap(),
        output: Output::Pipe,
        bond: Bond::Ours,
    };
    let mut builder = Child::start(&program).unwrap();
    let lines = std::io::BufRead::lines(std::io::BufReader::new(builder.take_stdout().unwrap()));
    let stands = lines.map_while(Result::ok).find_map(|line| line.strip_prefix("stands ")?.parse::<u32>().ok());
    let sleeper = stands.expect("the builder says that its lab stands");
    assert_eq!(Lab::sweep(&prefix, Kept::Remove).unwrap(), Vec::<String>::new(), "it is in use");
    assert!(runs(sleeper));
    builder.kill().unwrap();
    // Before anything is swept, which would end it too.
    let dies = (0..200).any(|_| {
        std::thread::sleep(Duration::from_millis(10));
        !runs(sleeper)
    });
    assert!(dies, "its program does not die with it");
    let before: BTreeSet<String> = traces(&prefix).into_iter().collect();
    assert!(before.contains(&format!("{prefix}-fabric")), "{before:?}");
    assert_eq!(Lab::sweep(&prefix, Kept::Spare).unwrap(), std::slice::from_ref(&prefix));
    assert_eq!(traces(&prefix), Vec::<String>::new());
    // The name is free again.
    Lab::build(&prefix, &small()).unwrap().teardown().unwrap();
}

#[test]
fn the_manifests_of_a_lab_name_its_namespaces() {
    if !kernel_tests::may_run("the manifests of a laboratory") {
        return;
    }
    let prefix = name("yaml");
    let lab = Lab::build(&prefix, &small()).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let manifests = lab.manifests(directory.path()).unwrap();
    let mut names: Vec<_> = std::fs::read_dir(manifests.directory())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(
        names,
        [
            "namespace-demo.yaml",
            "namespace-outside.yaml",
            "pod-demo-client.yaml",
            "pod-demo-near.yaml",
            "pod-demo-server.yaml"
        ]
    );
    let text = std::fs::read_to_string(directory.path().join("pod-demo-server.yaml")).unwrap();
    let pod: serde_json::Value = serde_saphyr::from_str(&text).unwrap();
    let path = pod["metadata"]["annotations"]["culvert.dev/netns"].as_str().unwrap();
    assert_eq!(Netns::open(path).unwrap().id(), lab.pod("server").unwrap().netns.id());
}
