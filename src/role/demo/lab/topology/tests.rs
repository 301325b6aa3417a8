use super::*;

#[test]
fn the_demonstrations_addresses_are_the_documented_ones() {
    let plan = Topology::demo().plan("lab").unwrap();
    let nodes: Vec<_> = plan
        .nodes
        .iter()
        .map(|node| format!("{} {} {} {} {}", node.netns, node.port, node.v4, node.v6, node.pods_v6))
        .collect();
    assert_eq!(
        nodes,
        [
            "lab-node-a n1-node-a 10.88.0.1 fd88::1 fd88:0:0:1::/64",
            "lab-node-b n2-node-b 10.88.0.2 fd88::2 fd88:0:0:2::/64",
        ]
    );
    let pods: Vec<_> =
        plan.pods.iter().map(|pod| format!("{} {} {} {}", pod.netns, pod.link, pod.v4, pod.v6)).collect();
    assert_eq!(
        pods,
        [
            "lab-client p0-client 10.88.1.10 fd88:0:0:1::10",
            "lab-near p1-near 10.88.1.11 fd88:0:0:1::11",
            "lab-server p0-server 10.88.2.10 fd88:0:0:2::10",
            "lab-intruder p1-intruder 10.88.2.11 fd88:0:0:2::11",
            "lab-outsider p2-outsider 10.88.2.12 fd88:0:0:2::12",
        ]
    );
}

#[test]
fn directions_name_every_place_with_its_addresses() {
    let mut topology = Topology::demo();
    topology.pods.truncate(1);
    assert_eq!(
        topology.plan("lab").unwrap().directions(),
        "\
enter a namespace with: nsenter --net=/run/netns/NAME
  lab-node-a  10.88.0.1     fd88::1           a node
  lab-node-b  10.88.0.2     fd88::2           a node
  lab-client  10.88.1.10    fd88:0:0:1::10    node-a
"
    );
}

#[test]
fn a_full_node_has_distinct_addresses_and_links_that_fit() {
    let mut topology = Topology::demo();
    topology.pods =
        (0..MOST_PODS).map(|n| PodSpec::new("demo", &format!("a-rather-long-name-{n}"), "node-a")).collect();
    let plan = topology.plan("lab").unwrap();
    let distinct: BTreeSet<_> = plan.pods.iter().map(|pod| (pod.v4, pod.v6)).collect();
    let links: BTreeSet<_> = plan.pods.iter().map(|pod| &pod.link).collect();
    assert_eq!((distinct.len(), links.len()), (MOST_PODS, MOST_PODS));
    assert!(links.iter().all(|link| link.len() <= 15), "{links:?}");
    assert_eq!(plan.pods[199].v4.to_string(), "10.88.1.209");
    assert_eq!(plan.pods[199].v6.to_string(), "fd88:0:0:1::209");
}

fn check(change: impl FnOnce(&mut Topology), prefix: &str, expected: TopologyError) {
    let mut topology = Topology::demo();
    change(&mut topology);
    assert_eq!(topology.plan(prefix).unwrap_err(), expected);
}

#[test]
fn what_cannot_be_built_is_said_before_anything_is() {
    let name = |name: &str| TopologyError::Name { name: name.into() };
    check(|_| {}, "", name(""));
    check(|_| {}, "../etc", name("../etc"));
    check(|t| t.pods[0].name = "UPPER".into(), "lab", name("UPPER"));
    check(|t| t.nodes[0] = "-a".into(), "lab", name("-a"));
    check(|t| t.mtu = 1279, "lab", TopologyError::Mtu { mtu: 1279 });
    let duplicate = |name: &str| TopologyError::Duplicate { name: name.into() };
    check(|t| t.pods[1].name = "client".into(), "lab", duplicate("lab-client"));
    check(|t| t.pods[1].name = "node-a".into(), "lab", duplicate("lab-node-a"));
    check(|t| t.pods[1].name = "fabric".into(), "lab", duplicate("lab-fabric"));
    check(
        |t| t.pods[0].node = "node-z".into(),
        "lab",
        TopologyError::UnknownNode { pod: "client".into(), node: "node-z".into() },
    );
    check(
        |t| t.pods[0].namespace = "nowhere".into(),
        "lab",
        TopologyError::UnknownNamespace { pod: "client".into(), namespace: "nowhere".into() },
    );
    check(|t| t.nodes = vec!["n".into(); 201], "lab", TopologyError::TooMany { kind: "nodes", count: 201, most: 200 });
    check(
        |t| t.pods = (0..201).map(|n| PodSpec::new("demo", &format!("p{n}"), "node-b")).collect(),
        "lab",
        TopologyError::TooMany { kind: "pods on a node", count: 201, most: 200 },
    );
}
