//! A waypoint that has its TLS done by the node: it is a captured pod, and is told who calls by the PROXY protocol.

use std::net::SocketAddr;

use culvert::role::demo::app;
use culvert::role::demo::lab::{KubeNamespace, PodSpec, Topology};
use culvert::sys::plain_tcp;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::bed::{Bed, Family, PATIENCE, run};
use crate::wire;

const GATEWAY: &str = "gateway.networking.k8s.io/gateway-name";
/// Section 2.2 of the PROXY protocol's text.
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
const VIPS: [(Family, &str); 2] = [(Family::V4, "10.96.0.30"), (Family::V6, "fd96::30")];

/// `client` on node-a, `web` and the waypoint `wp` on node-b, all enrolled.
fn topology() -> Topology {
    let pod = |name: &str, node: &str, label: (&str, &str)| {
        let mut pod = PodSpec::new("demo", name, node);
        pod.labels.insert(label.0.into(), label.1.into());
        pod
    };
    let pods = vec![
        pod("client", "node-a", ("app", "client")),
        pod("web", "node-b", ("app", "web")),
        pod("wp", "node-b", (GATEWAY, "wp")),
    ];
    Topology { namespaces: vec![KubeNamespace::ambient("demo")], pods, ..Topology::demo() }
}

fn declare(bed: &Bed) {
    bed.put(
        "waypoint.yaml",
        &format!(
            "apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata:\n  name: wp\n  namespace: demo\n  \
             annotations: {{ambient.istio.io/waypoint-inbound-binding: PROXY/15088}}\n\
             spec: {{gatewayClassName: istio-waypoint, listeners: [{{name: mesh, port: 15008, protocol: HBONE}}]}}\n---\n\
             apiVersion: v1\nkind: Service\nmetadata: {{name: wp, namespace: demo}}\n\
             spec: {{clusterIP: 10.96.0.31, selector: {{{GATEWAY}: wp}}, ports: [{{name: mesh, port: 15008}}]}}\n---\n\
             apiVersion: v1\nkind: Service\nmetadata: {{name: web, namespace: demo, labels: {{istio.io/use-waypoint: wp}}}}\n\
             spec: {{clusterIP: 10.96.0.30, clusterIPs: [10.96.0.30, 'fd96::30'], selector: {{app: web}}, \
             ports: [{{name: http, port: 80, targetPort: 8080}}]}}\n"
        ),
    );
}

#[test]
fn a_captured_waypoint_is_told_who_calls_and_what_was_called() {
    run("sandwich", &topology(), async |bed| {
        declare(bed);
        bed.start(&[]).await;
        for (family, vip) in VIPS {
            let lo: SocketAddr = if family == Family::V4 { "127.0.0.1:15088" } else { "[::1]:15088" }.parse().unwrap();
            let waypoint = plain_tcp::listen(bed.netns("wp"), lo).await.unwrap();
            let called = SocketAddr::new(vip.parse().unwrap(), 80);
            let marks = bed.marks();
            let mut client = wire::connect(bed.netns("client"), called).await.unwrap();
            client.write_all(b"hello").await.unwrap();
            let (mut taken, from) = tokio::time::timeout(PATIENCE, waypoint.accept()).await.unwrap().unwrap();
            assert!(from.ip().is_loopback(), "{from}");
            let (addresses, peer) = header(&mut taken).await;
            assert_eq!(addresses[1], called, "what was called, not where it went");
            assert_eq!(addresses[0].ip(), bed.at("client", family, 0).ip());
            assert_eq!(peer, "spiffe://cluster.local/ns/demo/sa/client");
            let mut bytes = [0; 5];
            taken.read_exact(&mut bytes).await.unwrap();
            assert_eq!(&bytes, b"hello", "the first bytes come after the header and not within");
            taken.write_all(b"from the waypoint").await.unwrap();
            drop(taken);
            assert_eq!(wire::rest(&mut client).await.unwrap(), b"from the waypoint");
            drop(client);
            let line = bed.access(marks, "inbound", "client", "wp").await;
            assert_eq!((&line["road"], &line["reason"]), (&"hbone".into(), &Value::Null), "{line}");
        }
        // With nobody at the waypoint's port the call fails, and the pod behind is not called round it.
        let refused =
            app::get(bed.netns("client"), SocketAddr::new(VIPS[0].1.parse().unwrap(), 80), "-", PATIENCE).await;
        assert!(refused.is_err(), "{refused:?}");
        assert_eq!(
            bed.metric("node-b", "istio_tcp_connections_opened_total", &[("destination_workload", "web")]).await,
            0.0
        );
    });
}

/// Reads a header of version 2: both addresses, and the text of TLV 0xD0.
async fn header(stream: &mut tokio::net::TcpStream) -> ([SocketAddr; 2], String) {
    let mut fixed = [0; 16];
    stream.read_exact(&mut fixed).await.unwrap();
    assert_eq!(&fixed[..12], SIGNATURE);
    assert_eq!(fixed[12], 0x21, "version 2, PROXY");
    let mut rest = vec![0; usize::from(u16::from_be_bytes([fixed[14], fixed[15]]))];
    stream.read_exact(&mut rest).await.unwrap();
    let (addresses, tlvs) = match fixed[13] {
        0x11 => {
            let ip = |at: usize| std::net::IpAddr::from(<[u8; 4]>::try_from(&rest[at..at + 4]).unwrap());
            ([SocketAddr::new(ip(0), port(&rest, 8)), SocketAddr::new(ip(4), port(&rest, 10))], 12)
        }
        0x21 => {
            let ip = |at: usize| std::net::IpAddr::from(<[u8; 16]>::try_from(&rest[at..at + 16]).unwrap());
            ([SocketAddr::new(ip(0), port(&rest, 32)), SocketAddr::new(ip(16), port(&rest, 34))], 36)
        }
        other => panic!("family {other:#x}"),
    };
    let mut tlvs = &rest[tlvs..];
    while let [kind, high, low, value @ ..] = tlvs {
        let (value, more) = value.split_at(usize::from(u16::from_be_bytes([*high, *low])));
        if *kind == 0xD0 {
            return (addresses, String::from_utf8(value.to_vec()).unwrap());
        }
        tlvs = more;
    }
    panic!("no identity in {rest:?}");
}

fn port(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}
