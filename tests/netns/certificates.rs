//! Certificates that are renewed, of another root, of another trust domain, and of somebody else.

use std::time::{Duration, SystemTime};

use culvert::ca::{Authority, Root};
use culvert::model::spiffe::Identity;
use culvert::role::demo::app::{STREAM_PORT, Trickle, Way as Bytes};
use culvert::sys::plain_tcp;
use culvert::tls::{Acceptor, Credentials};
use tokio::io::AsyncReadExt;
use tokio::time::{Instant, timeout};

use crate::bed::{Bed, Family, NODES, PATIENCE, demo, until};
use crate::roads::{PLAIN_OUT, SAME_NODE, takes};

/// The CA of a bed, as its daemons have it.
pub(crate) fn authority(bed: &Bed) -> Authority {
    Root::load_or_create(&bed.path().join("ca"), "cluster.local").unwrap()
}

pub(crate) fn credentials(authority: &Authority, identity: &Identity) -> Credentials {
    let now = SystemTime::now();
    let issued = authority.issue(identity, Duration::from_secs(3600), now).unwrap();
    Credentials::build(&issued, identity, now).unwrap()
}

pub(crate) fn account(name: &str) -> Identity {
    Identity::new("cluster.local", "demo", name)
}

#[test]
fn renewals_under_load_are_not_noticed() {
    demo("rotate", async |bed| {
        // Short enough for several renewals and for the first certificates to expire within the test.
        bed.start(&[("leaf-ttl", "6s"), ("pool-idle", "1s")]).await;
        let to = bed.at("server", Family::V4, STREAM_PORT);
        let mut trickle = Trickle::start(bed.netns("client"), to, Bytes::Echo, PATIENCE).await.unwrap();
        let (started, mut requests) = (Instant::now(), 0);
        while started.elapsed() < Duration::from_secs(9) {
            for (from, to) in [("client", "server"), ("server", "near"), ("client", "near")] {
                bed.get(from, to).await.unwrap_or_else(|e| panic!("{from} → {to} after {:?}: {e}", started.elapsed()));
                requests += 1;
            }
            trickle.advance(100, PATIENCE).await.unwrap();
            // Long enough now and then for a tunnel to go idle, so that handshakes are made with new certificates.
            tokio::time::sleep(Duration::from_millis(if requests % 30 == 0 { 1500 } else { 50 })).await;
        }
        trickle.finish(PATIENCE).await.unwrap();
        for node in NODES {
            let renewed = bed.admin(node, "/certificates").await.unwrap();
            for certificate in renewed.as_array().unwrap() {
                assert_eq!((&certificate["state"], &certificate["failures"]), (&"Available".into(), &0.into()));
                assert!(certificate["secondsToExpiry"].as_i64().unwrap() <= 6, "{certificate}");
            }
        }
    });
}

/// A handshake of the same two pods is a short one, and not with other certificates than the last.
#[test]
fn sessions_are_resumed_until_the_certificates_change() {
    demo("resume", async |bed| {
        bed.start(&[("leaf-ttl", "12s"), ("pool-idle", "1s")]).await;
        let made = async |kind| {
            bed.metric("node-a", "culvert_tls_handshakes_total", &[("reporter", "source"), ("kind", kind)]).await
        };
        let renewed = async |node| bed.metric(node, "culvert_certificate_renewals_total", &[("result", "ok")]).await;
        let (first, idle) = (renewed("node-a").await, Duration::from_millis(1800));
        bed.get("client", "server").await.unwrap();
        tokio::time::sleep(idle).await;
        bed.get("client", "server").await.unwrap();
        assert_eq!((made("full").await, made("resumed").await), (1.0, 1.0));
        // Two pods on that node, and each has another certificate.
        until("certificates change", async || renewed("node-a").await >= first + 2.0).await;
        tokio::time::sleep(idle).await;
        bed.get("client", "server").await.unwrap();
        assert_eq!(made("full").await, 2.0, "the client is somebody else's key now");
    });
}

/// New streams leave a tunnel whose certificates have expired; a stream that is open goes on in it.
#[test]
fn a_tunnel_in_use_is_left_when_its_certificates_expire() {
    demo("expire", async |bed| {
        bed.start(&[("leaf-ttl", "4s")]).await;
        let to = bed.at("server", Family::V4, STREAM_PORT);
        let mut trickle = Trickle::start(bed.netns("client"), to, Bytes::Echo, PATIENCE).await.unwrap();
        let (started, from) = (Instant::now(), [("reporter", "source")]);
        // Never idle for as long as a pool keeps a tunnel.
        while started.elapsed() < Duration::from_secs(10) {
            bed.get("client", "server").await.unwrap_or_else(|e| panic!("after {:?}: {e}", started.elapsed()));
            trickle.advance(100, PATIENCE).await.unwrap();
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        trickle.finish(PATIENCE).await.unwrap();
        // One for each four seconds at least; one alone would be the tunnel of the beginning.
        let handshakes = bed.metric("node-a", "culvert_tls_handshakes_total", &from).await;
        assert!(handshakes >= 3.0, "{handshakes}");
    });
}

#[test]
fn nodes_of_two_roots_do_not_trust_each_other() {
    demo("roots", async |bed| {
        let other = bed.path().join("other-ca").display().to_string();
        bed.launch("node-a", &[]);
        bed.launch("node-b", &[("ca-dir", &other)]);
        for node in NODES {
            bed.ready(node, Duration::from_secs(10)).await.unwrap();
        }
        refused_by_tls(bed).await;
        // Each for itself is fine.
        takes(bed, &SAME_NODE, Family::V4).await;
        takes(bed, &PLAIN_OUT, Family::V4).await;
    });
}

#[test]
fn another_trust_domain_is_refused() {
    demo("domain", async |bed| {
        // The same root: only the names differ.
        bed.launch("node-a", &[]);
        bed.ready("node-a", Duration::from_secs(10)).await.unwrap();
        bed.launch("node-b", &[("trust-domain", "other.example")]);
        bed.ready("node-b", Duration::from_secs(10)).await.unwrap();
        refused_by_tls(bed).await;
        takes(bed, &SAME_NODE, Family::V6).await;
    });
}

/// Both directions between the nodes, refused soon, with the reason on both sides.
async fn refused_by_tls(bed: &Bed) {
    for (from, to) in [("client", "server"), ("server", "client")] {
        let (marks, what) = (bed.marks(), format!("{from} → {to}"));
        let refused = bed.get(from, to).await.expect_err(&what);
        assert!(refused.after < PATIENCE, "{refused}");
        let line = bed.access(marks, "outbound", from, to).await;
        assert_eq!((&line["road"], &line["reason"]), (&"refused".into(), &"tls".into()), "{what}: {line}");
        let node = bed.node_of(to);
        let mark = marks[NODES.iter().position(|known| *known == node).unwrap()];
        let refusal = |line: &serde_json::Value| line["direction"] == "inbound" && line["dst.workload"] == to;
        let line = bed.line_after(&node, mark, PATIENCE, refusal).await.expect("the other side says it too");
        assert_eq!(line["reason"], "tls", "{what}: {line}");
    }
    for (node, reporter) in [("node-a", "source"), ("node-b", "destination")] {
        let labels = [("reason", "tls"), ("reporter", reporter)];
        let count = || bed.metric(node, "culvert_refusals_total", &labels);
        until(&format!("{node} counts it"), async || count().await >= 1.0).await;
    }
}

/// Somebody took the server's address and shows a good certificate, which is not the server's.
#[test]
fn a_server_with_somebody_elses_certificate_gets_nothing() {
    demo("impostor", async |bed| {
        bed.launch("node-a", &[]);
        bed.ready("node-a", Duration::from_secs(10)).await.unwrap();
        let authority = authority(bed);
        // No daemon runs on node-b, so its pods' port 15008 is free.
        let listener = plain_tcp::listen(bed.netns("server"), bed.at("server", Family::V4, 15008)).await.unwrap();
        for (who, expected) in [("intruder", false), ("server", true)] {
            let acceptor = Acceptor::new(&credentials(&authority, &account(who)));
            let serve = async {
                let (stream, _) = listener.accept().await.unwrap();
                let mut stream = acceptor.accept(stream).await.ok()?;
                // The HTTP/2 preface comes only to whom the client believes.
                let mut first = [0; 3];
                stream.read_exact(&mut first).await.ok().map(|_| first)
            };
            let marks = bed.marks();
            let (served, got) = tokio::join!(timeout(PATIENCE, serve), bed.get("client", "server"));
            let served = served.expect("the client comes");
            got.expect_err("nobody answers");
            assert_eq!(served.is_some(), expected, "{who}: {served:?}");
            if !expected {
                let line = bed.access(marks, "outbound", "client", "server").await;
                assert_eq!(line["reason"], "tls", "{who}: {line}");
                let detail = line["detail"].as_str().unwrap();
                assert!(detail.contains("sa/intruder") && detail.contains("sa/server"), "it names both: {line}");
            }
        }
    });
}
