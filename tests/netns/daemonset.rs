//! A node proxy in a pod of Istio's DaemonSet: what its pages tell of pods that run, the orders that Istio's tools give,
//! names under istio-cni's own rules, and the few rights that its security context leaves.

use std::io::Read;
use std::time::Duration;

use culvert::model::ports;
use culvert::role::demo::app::{STREAM_PORT, Trickle, Way as Bytes};
use culvert::sys::netns::Netns;
use flate2::read::GzDecoder;
use hickory_proto::rr::RecordType;
use nix::sys::signal::Signal;
use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::time::Instant;

use crate::bed::{Bed, Family, PATIENCE, SOME, run, sh, until};
use crate::istio::{CARRIED, SEATS, Ztunnel, beside_an_agent, topology};
use crate::{dns, wire};

/// In the value of a header for the control plane and of one for the CA.
const HIDDEN: &str = "this-value-is-not-to-be-seen";
/// Rights of the DaemonSet: `drop: [ALL]`, `add: [NET_ADMIN, SYS_ADMIN, NET_RAW]`, `runAsGroup: 1337`,
/// `readOnlyRootFilesystem: true`. `$0` is what it may write: the host's directory of the agent's socket.
const CONFINED: &str = "mount --bind \"$0\" \"$0\"
for at in / /run /tmp /var /var/lib; do
    if mountpoint -q \"$at\"; then mount -o remount,bind,ro \"$at\"; fi
done
exec setpriv --bounding-set -all,+net_admin,+sys_admin,+net_raw --inh-caps -all --regid 1337 --clear-groups -- \"$@\"";

/// Status and body of an answer. HTTP/1.0, so that the body comes as it is.
async fn ask(seat: &Netns, method: &str, path: &str) -> (u16, Vec<u8>) {
    let mut stream = wire::connect(seat, ([127, 0, 0, 1], ports::ADMIN).into()).await.unwrap();
    let request = format!("{method} {path} HTTP/1.0\r\nhost: localhost\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let answer = wire::rest(&mut stream).await.unwrap();
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n").expect("an HTTP answer");
    let status = String::from_utf8_lossy(&answer[..end]).split(' ').nth(1).and_then(|code| code.parse().ok());
    (status.expect("a status"), answer[end + 4..].to_vec())
}

async fn order(seat: &Netns, path: &str) -> String {
    let (status, body) = ask(seat, "POST", path).await;
    let text = String::from_utf8_lossy(&body).into_owned();
    assert_eq!(status, 200, "POST {path}: {text}");
    text
}

async fn live(bed: &Bed, from: &str, to: &str) -> Trickle {
    Trickle::start(bed.netns(from), bed.at(to, Family::V4, STREAM_PORT), Bytes::Echo, PATIENCE).await.unwrap()
}

/// `/config_dump` has the pods that run, with what is live in them.
async fn is_dumped(bed: &Bed, seat: &Netns) {
    let (status, body) = ask(seat, "GET", "/config_dump").await;
    let text = String::from_utf8(body).unwrap();
    assert!(status == 200 && !text.contains(HIDDEN), "{status}: {text}");
    let dump: Value = serde_json::from_str(&text).unwrap();
    let pods = &dump["workloadState"];
    for pod in CARRIED {
        let entry = &pods[format!("uid-of-{pod}")];
        assert_eq!((&entry["state"], &entry["info"]["serviceAccount"]), (&"Up".into(), &pod.into()), "{pods}");
    }
    let at = |pod, port| Value::from(bed.at(pod, Family::V4, port).to_string());
    let sent = &pods["uid-of-client"]["connections"]["outbound"];
    assert_eq!(sent.as_array().map(Vec::len), Some(1), "{sent}");
    assert_eq!((&sent[0]["protocol"], &sent[0]["actualDst"]), (&"HBONE".into(), &at("server", ports::HBONE)), "{sent}");
    assert_eq!(sent[0]["originalDst"], at("server", STREAM_PORT), "{sent}");
    let received = &pods["uid-of-near"]["connections"]["inbound"];
    assert_eq!(received.as_array().map(Vec::len), Some(1), "{received}");
    assert_eq!((&received[0]["protocol"], &received[0]["actualDst"]), (&"TCP".into(), &at("near", STREAM_PORT)));
    let certificates = dump["certificates"].as_array().unwrap();
    for pod in CARRIED {
        let identity = format!("spiffe://cluster.local/ns/demo/sa/{pod}");
        let own = certificates.iter().find(|one| one["identity"] == identity).expect("each pod has one");
        assert_eq!(own["state"], "Available", "{own}");
        let serial = own["certChain"][0]["serialNumber"].as_str().unwrap();
        assert!(!serial.is_empty() && serial.bytes().all(|digit| digit.is_ascii_digit()), "{own}");
    }
    let told = &dump["controlPlane"];
    assert_eq!((&told["connected"], &told["ageSeconds"]), (&true.into(), &0.into()), "{told}");
}

/// Names of the mesh are answered in the pod; others by the server that was asked, to which they come from the pod.
async fn names_are_resolved(bed: &Bed) {
    let (client, at) = (bed.netns("client"), bed.at("outsider", Family::V4, 53));
    let elsewhere = dns::Server::start(bed.netns("outsider"), at, 4);
    for (name, expected) in [("shop.demo.svc.cluster.local", "10.96.0.10"), ("elsewhere.test", "192.0.2.4")] {
        let asked = dns::question(name, RecordType::A);
        let by_udp = dns::by_udp(client, at, &asked, PATIENCE).unwrap();
        assert_eq!(dns::addresses(&by_udp), [expected], "{name}");
        assert_eq!(dns::addresses(&dns::by_tcp(client, at, &asked).await), [expected], "{name} by TCP");
        let heard: Vec<_> = elsewhere.heard().into_iter().map(|(from, _)| from.ip()).collect();
        // By TCP it is remembered.
        let expected = if name == "elsewhere.test" { vec![bed.at("client", Family::V4, 0).ip()] } else { Vec::new() };
        assert_eq!(heard, expected, "{name}");
    }
}

/// `/debug/pprof/profile` while there is something to do.
async fn is_profiled(bed: &Bed, seat: &Netns) {
    let load = async {
        loop {
            bed.get("client", "server").await.unwrap();
        }
    };
    let started = Instant::now();
    let (status, body) = tokio::select! {
        () = load => unreachable!("it asks without end"),
        answer = ask(seat, "GET", "/debug/pprof/profile?seconds=1") => answer,
    };
    let took = started.elapsed();
    assert!(status == 200 && took >= Duration::from_millis(900), "{status} after {took:?}");
    let mut profile = Vec::new();
    GzDecoder::new(&*body).read_to_end(&mut profile).expect("pprof's format is packed");
    let text = String::from_utf8_lossy(&profile);
    assert!(text.contains("nanoseconds") && text.contains("/culvert"), "{text}");
}

/// What `istioctl` and people order, the last of it the end.
async fn orders_are_taken(bed: &Bed, mut proxy: Ztunnel) {
    let seat = proxy.seat().clone();
    for path in ["/logging?level=debug", "/quitquitquit"] {
        assert_eq!(ask(&seat, "GET", path).await.0, 405, "{path} changes something");
    }
    let debug = || proxy.log().matches("\"level\":\"debug\"").count();
    assert_eq!(debug(), 0);
    assert!(order(&seat, "/logging?level=debug").await.contains("debug"));
    bed.get("client", "server").await.unwrap();
    until("the log tells more", async || debug() > 0).await;
    assert!(order(&seat, "/logging?reset").await.contains("info"));
    is_profiled(bed, &seat).await;
    assert!(!proxy.log().contains(HIDDEN), "the log has no secret");
    assert_eq!(order(&seat, "/quitquitquit").await, "shutdown now\n");
    assert_eq!(proxy.ended(PATIENCE).await, Some(0), "it ends as after SIGTERM");
}

/// With the DaemonSet's rights, without a place for its state and with no time to drain.
async fn is_confined(bed: &Bed) {
    let own = bed.path().display().to_string();
    let by = ["/usr/bin/unshare", "--mount", "--propagation", "private", "/bin/sh", "-ec", CONFINED, &own];
    let more = [("CULVERT_STATE_DIR", ""), ("TERMINATION_GRACE_PERIOD_SECONDS", "0")];
    let mut proxy = Ztunnel::start_by(&by, bed, SEATS[1], &more);
    proxy.ready().await;
    let status = std::fs::read_to_string(format!("/proc/{}/status", proxy.pid())).unwrap();
    // Bits 12, 13 and 21 of capabilities(7).
    assert!(status.contains("CapBnd:\t0000000000203000\n") && status.contains("Gid:\t1337\t"), "{status}");
    for (from, to) in [("client", "server"), ("server", "near"), ("outsider", "near"), ("client", "near")] {
        bed.get(from, to).await.unwrap_or_else(|refused| panic!("{from} → {to}: {refused}"));
    }
    let mut held = live(bed, "client", "server").await;
    held.advance(SOME, PATIENCE).await.unwrap();
    let told = Instant::now();
    proxy.signal(Signal::SIGTERM);
    assert_eq!(proxy.ended(Duration::from_secs(3)).await, Some(0), "whatever is live");
    assert!(told.elapsed() > Duration::from_millis(700), "it has the least of a drain");
    let log = proxy.log();
    let lines: Vec<_> = log.lines().filter(|line| line.contains("state of the mesh")).collect();
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].contains("no state of the mesh on disk") && lines[0].contains("/var/lib/culvert"), "{lines:?}");
}

#[test]
fn a_daemonsets_pod_tells_what_runs_takes_orders_and_needs_few_rights() {
    run("daemonset", &topology(), async |bed| {
        let (_control, _agent) = beside_an_agent(bed).await;
        let hidden = [("XDS_HEADER_X_KEY", HIDDEN), ("CA_HEADER_X_KEY", HIDDEN), ("KEEPALIVE_TIME", "77s")];
        let proxy = Ztunnel::start_by(&[], bed, SEATS[0], &hidden);
        proxy.ready().await;
        let lives = [live(bed, "client", "server").await, live(bed, "outsider", "near").await];
        is_dumped(bed, proxy.seat()).await;
        // The default is three minutes.
        let probed = async || sh(bed.netns("client"), "ss -tnoH").contains("timer:(keepalive,1min");
        until("the first probe is due after 77 s", probed).await;
        for live in lives {
            live.finish(PATIENCE).await.unwrap();
        }
        names_are_resolved(bed).await;
        orders_are_taken(bed, proxy).await;
        is_confined(bed).await;
    });
}
