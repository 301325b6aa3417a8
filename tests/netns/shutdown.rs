//! SIGTERM, and SIGTERM twice.

use std::time::Duration;

use culvert::role::demo::app::{STREAM_PORT, Trickle, Way as Bytes};
use nix::sys::signal::Signal;
use tokio::time::Instant;

use crate::bed::{Bed, Family, PATIENCE, SOME, demo, ends, rules};
use crate::roads::{HBONE, SAME_NODE, takes};

async fn live(bed: &Bed, from: &str, to: &str) -> Trickle {
    Trickle::start(bed.netns(from), bed.at(to, Family::V4, STREAM_PORT), Bytes::Echo, PATIENCE).await.unwrap()
}

/// The server's node drains: what is live goes on until the deadline, what is new is refused soon.
#[test]
fn a_drain_lets_live_transfers_go_on_and_refuses_new_ones() {
    demo("drain", async |bed| {
        bed.start(&[("drain-deadline", "4s")]).await;
        let laid = rules(bed.netns("server"));
        let (mut first, mut second) = (live(bed, "client", "server").await, live(bed, "near", "server").await);
        let (mark, started) = (bed.mark("node-b"), Instant::now());
        bed.signal_node("node-b", Signal::SIGTERM).unwrap();
        bed.says("node-b", mark, "draining").await;
        first.advance(SOME, PATIENCE).await.unwrap();
        for _ in 0..2 {
            let refused = bed.get("client", "server").await.expect_err("a node that drains takes nothing new");
            assert!(refused.after < PATIENCE, "{refused}");
        }
        first.advance(SOME, PATIENCE).await.unwrap();
        // One ends by itself in time, the other is cut at the deadline.
        first.finish(PATIENCE).await.unwrap();
        second.advance(SOME, PATIENCE).await.unwrap();
        ends(&mut second, Duration::from_secs(8), "the deadline cuts it").await;
        let code = bed.node_ended("node-b", PATIENCE).unwrap();
        assert_eq!(code, Some(0));
        let took = started.elapsed();
        assert!(took > Duration::from_millis(3500) && took < Duration::from_secs(8), "{took:?}");
        let now = rules(bed.netns("server"));
        assert_eq!(now.lines().count(), laid.lines().count(), "the rules stay:\n{now}");
        bed.get("client", "server").await.expect_err("and refuse");
        bed.launch("node-b", &[]);
        bed.ready("node-b", Duration::from_secs(10)).await.unwrap();
        takes(bed, &HBONE, Family::V4).await;
    });
}

#[test]
fn without_live_connections_a_drain_is_over_at_once() {
    demo("idle", async |bed| {
        bed.start(&[("drain-deadline", "60s")]).await;
        // A tunnel that nobody uses must not hold it up.
        takes(bed, &HBONE, Family::V4).await;
        takes(bed, &SAME_NODE, Family::V4).await;
        for node in ["node-a", "node-b"] {
            bed.signal_node(node, Signal::SIGTERM).unwrap();
            assert_eq!(bed.node_ended(node, Duration::from_secs(8)).unwrap(), Some(0), "{node}");
        }
    });
}

#[test]
fn a_second_signal_does_not_wait() {
    demo("twice", async |bed| {
        bed.start(&[("drain-deadline", "60s")]).await;
        let mut trickle = live(bed, "client", "near").await;
        for signal in [Signal::SIGTERM, Signal::SIGINT] {
            let mark = bed.mark("node-a");
            bed.signal_node("node-a", signal).unwrap();
            if signal == Signal::SIGTERM {
                bed.says("node-a", mark, "draining").await;
                trickle.advance(SOME, PATIENCE).await.unwrap();
            }
        }
        let code = bed.node_ended("node-a", PATIENCE).unwrap();
        assert_eq!(code, Some(0));
        ends(&mut trickle, PATIENCE, "it is cut").await;
    });
}

#[test]
fn policy_holds_while_a_node_drains() {
    demo("drainpolicy", async |bed| {
        bed.start(&[("drain-deadline", "30s")]).await;
        let (mut denied, mut allowed) = (live(bed, "client", "server").await, live(bed, "near", "server").await);
        let mark = bed.mark("node-b");
        bed.signal_node("node-b", Signal::SIGTERM).unwrap();
        bed.says("node-b", mark, "draining").await;
        bed.put(
            "deny.yaml",
            "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: no-client, namespace: demo}\n\
             spec: {action: DENY, rules: [{from: [{source: {principals: [cluster.local/ns/demo/sa/client]}}]}]}\n",
        );
        let marks = [0, mark];
        ends(&mut denied, PATIENCE, "no longer permitted").await;
        let line = bed.access(marks, "inbound", "client", "server").await;
        assert_eq!((&line["reason"], &line["policy"]), (&"policy_changed".into(), &"demo/no-client".into()), "{line}");
        allowed.advance(SOME, PATIENCE).await.unwrap();
        allowed.finish(PATIENCE).await.unwrap();
        assert_eq!(bed.node_ended("node-b", PATIENCE).unwrap(), Some(0));
    });
}
