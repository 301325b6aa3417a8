//! Which road a connection takes, what both ends and both reporters see of it, and that its bytes and its end come
//! through unchanged.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};

use culvert::role::demo::app::{self, ECHO_PORT, HTTP_PORT, STREAM_PORT, Server};
use culvert::sys::netlink::{LinkRoute, Links};
use culvert::sys::plain_tcp;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::bed::{Bed, Family, NODES, PATIENCE, demo};
use crate::wire;

const BOTH: [Family; 2] = [Family::V4, Family::V6];
const MIB: usize = 1 << 20;

/// A road between two pods of the demonstration.
#[derive(Clone, Copy)]
pub(crate) struct Way {
    pub(crate) from: &'static str,
    pub(crate) to: &'static str,
    /// As the access log has it; empty where that side is outside of the mesh.
    pub(crate) outbound: &'static str,
    pub(crate) inbound: &'static str,
    pub(crate) security: &'static str,
    /// Both identities are proven.
    pub(crate) proven: bool,
}

const fn way(from: &'static str, to: &'static str, outbound: &'static str, inbound: &'static str) -> Way {
    let (security, proven) = match inbound.as_bytes() {
        b"hbone" => ("mutual_tls", true),
        b"same_node" => ("node_local", true),
        _ => ("unknown", false),
    };
    Way { from, to, outbound, inbound, security, proven }
}

pub(crate) const HBONE: Way = way("client", "server", "hbone", "hbone");
pub(crate) const SAME_NODE: Way = way("client", "near", "same_node", "same_node");
pub(crate) const PLAIN_IN: Way = way("outsider", "near", "", "plain");
const PLAIN_IN_SAME_NODE: Way = way("outsider", "server", "", "plain");
pub(crate) const PLAIN_OUT: Way = way("client", "outsider", "plain", "");
pub(crate) const WAYS: [Way; 5] = [HBONE, SAME_NODE, PLAIN_IN, PLAIN_IN_SAME_NODE, PLAIN_OUT];

/// One request on the way: it is answered, the server saw the client's own address, and each reporter says what happened.
pub(crate) async fn takes(bed: &Bed, way: &Way, family: Family) {
    let Way { from, to, outbound, inbound, security, proven } = *way;
    let what = format!("{from} → {to} ({family:?})");
    let marks = bed.marks();
    let to_address = bed.at(to, family, HTTP_PORT);
    let reply =
        app::get(bed.netns(from), to_address, "roads", PATIENCE).await.unwrap_or_else(|e| panic!("{what}: {e}"));
    assert_eq!(reply.answer.pod, to, "{what}");
    assert_eq!(reply.answer.source.ip(), bed.at(from, family, 0).ip(), "{what}: the client's own address");
    assert_eq!(reply.answer.local, to_address, "{what}: the address that was dialled");
    let identity = |account: &str| format!("spiffe://cluster.local/ns/demo/sa/{account}");
    for (direction, road) in [("outbound", outbound), ("inbound", inbound)] {
        if road.is_empty() {
            continue;
        }
        let line = bed.access(marks, direction, from, to).await;
        assert_eq!(line["road"], road, "{what}: {line}");
        assert_eq!(line["connection_security_policy"], security, "{what}: {line}");
        for (key, account) in [("src.identity", from), ("dst.identity", to)] {
            let expected = if proven { Value::from(identity(account)) } else { Value::Null };
            assert_eq!(line[key], expected, "{what}: {key} of {line}");
        }
        assert!(line["reason"].is_null(), "{what}: {line}");
    }
}

#[test]
fn every_road_in_both_families() {
    demo("roads", async |bed| {
        bed.start(&[]).await;
        for way in &WAYS {
            for family in BOTH {
                takes(bed, way, family).await;
            }
        }
        // A pod that calls itself is nobody's business.
        for family in BOTH {
            let marks = bed.marks();
            let loopback = match family {
                Family::V4 => "127.0.0.1:8080",
                Family::V6 => "[::1]:8080",
            };
            for to in [bed.at("client", family, HTTP_PORT), loopback.parse().unwrap()] {
                let reply = app::get(bed.netns("client"), to, "self", PATIENCE).await.unwrap();
                assert_eq!(reply.answer.pod, "client");
            }
            // Anything that is carried has been logged by the time that a later connection is.
            takes(bed, &HBONE, family).await;
            assert_eq!(bed.access_lines(marks).len(), 2, "only the later connection was carried");
        }
    });
}

#[test]
fn without_the_lane_neighbours_use_a_tunnel() {
    demo("lane", async |bed| {
        bed.start(&[("same-node-lane", "false")]).await;
        for family in BOTH {
            takes(bed, &way("client", "near", "hbone", "hbone"), family).await;
        }
    });
}

#[test]
fn strangers_are_passed_through() {
    demo("strangers", async |bed| {
        bed.start(&[]).await;
        let hosts = ["10.88.0.250", "fd88::250"].map(|ip| ip.parse::<IpAddr>().unwrap());
        let mut links = Links::open(bed.lab().fabric()).unwrap();
        for node in bed.lab().nodes() {
            let plan = &node.plan;
            for (to, via) in [(plan.pods_v4.into(), IpAddr::from(plan.v4)), (plan.pods_v6.into(), plan.v6.into())] {
                if to == bed.lab().nodes()[0].plan.pods_v4.into() {
                    links.add_address("br0", "10.88.0.250/24".parse().unwrap()).unwrap();
                    links.add_address("br0", "fd88::250/64".parse().unwrap()).unwrap();
                }
                links.add_route(&LinkRoute { to, via: Some(via), link: "br0", source: None }).unwrap();
            }
        }
        let mut serving = JoinSet::new();
        serving.spawn(Server::bind(bed.lab().fabric(), "host", &[HTTP_PORT]).await.unwrap().run());
        for host in hosts {
            let mark = bed.mark("node-a");
            let to = SocketAddr::new(host, HTTP_PORT);
            let reply = app::get(bed.netns("client"), to, "-", PATIENCE).await.unwrap();
            assert_eq!(reply.answer.pod, "host");
            let text = to.to_string();
            let line = bed.line_after("node-a", mark, PATIENCE, |line| line["dst.addr"] == text).await.unwrap();
            assert_eq!((&line["road"], &line["dst.workload"]), (&"plain".into(), &Value::Null), "{line}");
        }
        // Nobody has this address: the application hears of it, and soon.
        let mark = bed.mark("node-a");
        let nobody = "10.99.9.9:80".parse().unwrap();
        let refused = app::get(bed.netns("client"), nobody, "-", PATIENCE).await.unwrap_err();
        assert!(refused.after < PATIENCE, "{refused}");
        let line = bed.line_after("node-a", mark, PATIENCE, |line| line["dst.addr"] == "10.99.9.9:80").await.unwrap();
        assert_eq!((&line["road"], &line["reason"]), (&"refused".into(), &"connect".into()), "{line}");
    });
}

#[test]
fn bytes_come_through_and_are_counted() {
    demo("bytes", async |bed| {
        bed.start(&[]).await;
        for way in [HBONE, SAME_NODE, PLAIN_IN, PLAIN_OUT] {
            let what = format!("{} → {}", way.from, way.to);
            let from = bed.netns(way.from).clone();
            wire::echo(&from, bed.at(way.to, Family::V6, ECHO_PORT), 3 * MIB + 1).await;
            for (up, down) in [(0, 8 * MIB + 3), (8 * MIB + 5, 0)] {
                let before = totals(bed, &way).await;
                let marks = bed.marks();
                let count = wire::transfer(&from, bed.at(way.to, Family::V4, HTTP_PORT), up, down).await;
                for (direction, road) in [("outbound", way.outbound), ("inbound", way.inbound)] {
                    if road.is_empty() {
                        continue;
                    }
                    let line = bed.access(marks, direction, way.from, way.to).await;
                    let (sent, received) = match direction {
                        "outbound" => (count.sent, count.received),
                        _ => (count.received, count.sent),
                    };
                    assert_eq!(line["bytes_sent"], sent, "{what}: {line}");
                    assert_eq!(line["bytes_recv"], received, "{what}: {line}");
                }
                for (before, after) in before.iter().zip(totals(bed, &way).await) {
                    let [opened, closed, received, sent] = [0, 1, 2, 3].map(|at| after.1[at] - before.1[at]);
                    assert_eq!((opened, closed), (1.0, 1.0), "{what}: {}", after.0);
                    assert_eq!((received, sent), (count.sent as f64, count.received as f64), "{what}: {}", after.0);
                }
            }
        }
    });
}

/// Opened, closed, bytes to the server, bytes to the client: for each reporter of the way.
async fn totals(bed: &Bed, way: &Way) -> Vec<(&'static str, [f64; 4])> {
    let mut all = Vec::new();
    for (reporter, road, pod) in [("source", way.outbound, way.from), ("destination", way.inbound, way.to)] {
        if road.is_empty() {
            continue;
        }
        let node = bed.node_of(pod);
        let labels = [
            ("reporter", reporter),
            ("source_workload", way.from),
            ("destination_workload", way.to),
            ("connection_security_policy", way.security),
        ];
        let names = ["connections_opened", "connections_closed", "received_bytes", "sent_bytes"];
        let mut values = [0.0; 4];
        for (value, name) in values.iter_mut().zip(names) {
            *value = bed.metric(&node, &format!("istio_tcp_{name}_total"), &labels).await;
        }
        all.push((reporter, values));
    }
    all
}

#[test]
fn a_reset_stays_a_reset() {
    demo("reset", async |bed| {
        bed.start(&[]).await;
        for way in [HBONE, SAME_NODE, PLAIN_IN, PLAIN_OUT] {
            let what = format!("{} → {}", way.from, way.to);
            // The server resets: it does not know the letter.
            let mut stream = wire::connect(bed.netns(way.from), bed.at(way.to, Family::V4, STREAM_PORT)).await.unwrap();
            stream.write_all(b"?").await.unwrap();
            let end = wire::rest(&mut stream).await.expect_err(&what);
            assert_eq!(end.kind(), ErrorKind::ConnectionReset, "{what}: {end}");
            // The client resets in the middle of a conversation.
            let at = bed.at(way.to, Family::V4, 9000);
            let listener = plain_tcp::listen(bed.netns(way.to), at).await.unwrap();
            let mut client = wire::connect(bed.netns(way.from), at).await.unwrap();
            client.write_all(b"hello").await.unwrap();
            let (mut server, _) = timeout(PATIENCE, listener.accept()).await.unwrap().unwrap();
            let mut word = [0; 5];
            server.read_exact(&mut word).await.unwrap();
            plain_tcp::reset_on_close(&client).unwrap();
            drop(client);
            let end = wire::rest(&mut server).await.expect_err(&what);
            assert_eq!(end.kind(), ErrorKind::ConnectionReset, "{what}: {end}");
        }
        // A clean half-close of the server's is no reset: the client may go on sending.
        for way in [HBONE, SAME_NODE, PLAIN_IN, PLAIN_OUT] {
            let at = bed.at(way.to, Family::V6, 9001);
            let listener = plain_tcp::listen(bed.netns(way.to), at).await.unwrap();
            let mut client = wire::connect(bed.netns(way.from), at).await.unwrap();
            let (mut server, _) = timeout(PATIENCE, listener.accept()).await.unwrap().unwrap();
            server.write_all(b"last words").await.unwrap();
            server.shutdown().await.unwrap();
            assert_eq!(wire::rest(&mut client).await.unwrap(), b"last words");
            client.write_all(b"answer").await.unwrap();
            client.shutdown().await.unwrap();
            assert_eq!(wire::rest(&mut server).await.unwrap(), b"answer", "{} → {}", way.from, way.to);
        }
        for node in NODES {
            assert_eq!(bed.metric(node, "culvert_task_panics_total", &[]).await, 0.0);
        }
    });
}
