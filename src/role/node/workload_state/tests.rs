use serde_json::json;

use super::*;
use crate::model::membership::{InReason, Membership, OutReason};
use crate::model::name::NamespacedName;
use crate::model::pod::Pod;

fn status(uid: &str, state: State) -> PodStatus {
    let pod = Pod {
        key: NamespacedName::new("shop", "cart"),
        uid: uid.into(),
        service_account: "sa".into(),
        node: "a".into(),
        addresses: Vec::new(),
        host_network: false,
        finished: false,
        dataplane_mode: None,
        has_sidecar: false,
        netns: None,
    };
    let membership = match state {
        State::Out => Membership::Out(OutReason::NoLabel),
        _ => Membership::In(InReason::Announced),
    };
    PodStatus { pod: Arc::new(pod), membership, state, settled: true, healed: 0 }
}

#[test]
fn the_shape_is_the_one_that_tools_read() {
    let pods = [
        status("u1", State::Enrolled),
        status("u2", State::Failed("port".into())),
        status("u3", State::Enrolling),
        status("u4", State::Out),
    ];
    let report = serde_json::to_value(report(&pods, &LocalPods::default(), 10)).unwrap();
    let info = json!({"name": "cart", "namespace": "shop", "serviceAccount": "sa"});
    assert_eq!(
        report,
        json!({
            "u1": {"state": "Up", "info": info},
            "u2": {"state": "Pending", "info": info},
            "u3": {"state": "Pending", "info": info},
        })
    );
}

#[test]
fn connections_are_told_by_their_ends() {
    let facts = |road, hop: Option<&str>| Facts {
        reporter: crate::telemetry::metrics::Reporter::Source,
        road,
        client: "10.0.0.1:40000".parse().unwrap(),
        destination: "10.96.0.1:80".parse().unwrap(),
        hop: hop.map(|hop| hop.parse().unwrap()),
        client_identity: None,
        server_identity: None,
        source: None,
        target: None,
        service: None,
    };
    let tunnelled = facts(Road::Hbone, Some("10.0.0.2:15008"));
    assert_eq!(
        serde_json::to_value(outbound(&tunnelled)).unwrap(),
        json!({"src": "10.0.0.1:40000", "originalDst": "10.96.0.1:80", "actualDst": "10.0.0.2:15008", "protocol": "HBONE"})
    );
    assert_eq!(
        serde_json::to_value(inbound(&facts(Road::Plain, None))).unwrap(),
        json!({"src": "10.0.0.1:40000", "originalDst": null, "actualDst": "10.96.0.1:80", "protocol": "TCP"})
    );
}
