use super::*;
use crate::model::name::NamespacedName;

fn pod(mode: Option<&str>) -> Pod {
    Pod {
        key: NamespacedName::new("shop", "cart"),
        uid: "u".into(),
        service_account: "cart".into(),
        node: "a".into(),
        addresses: vec!["10.0.0.1".parse().expect("an address")],
        host_network: false,
        finished: false,
        dataplane_mode: mode.map(Into::into),
        has_sidecar: false,
        dns_capture: None,
        netns: None,
    }
}

#[test]
fn labels_decide() {
    use Membership::{In, Out};
    for (on_pod, on_namespace, expect) in [
        (None, None, Out(OutReason::NoLabel)),
        (None, Some("ambient"), In(InReason::NamespaceLabel)),
        (None, Some("none"), Out(OutReason::NoLabel)),
        (None, Some("sidecar"), Out(OutReason::NoLabel)),
        (Some("ambient"), None, In(InReason::PodLabel)),
        (Some("ambient"), Some("none"), In(InReason::PodLabel)),
        (Some("none"), Some("ambient"), Out(OutReason::PodLabelNone)),
        (Some("none"), None, Out(OutReason::PodLabelNone)),
        // An unknown value on the pod is neither: the namespace decides, as with Istio's selectors.
        (Some("other"), Some("ambient"), In(InReason::NamespaceLabel)),
        (Some("other"), None, Out(OutReason::NoLabel)),
    ] {
        assert_eq!(membership(&pod(on_pod), on_namespace), expect, "pod {on_pod:?}, namespace {on_namespace:?}");
    }
}

#[test]
fn exceptions_beat_labels() {
    type Change = fn(&mut Pod);
    let cases: [(Change, OutReason); 4] = [
        (|p| p.host_network = true, OutReason::HostNetwork),
        (|p| p.has_sidecar = true, OutReason::Sidecar),
        (|p| p.finished = true, OutReason::Finished),
        (|p| p.addresses.clear(), OutReason::NoAddress),
    ];
    for (change, reason) in cases {
        let mut pod = pod(Some("ambient"));
        change(&mut pod);
        assert_eq!(membership(&pod, Some("ambient")), Membership::Out(reason));
    }
}
