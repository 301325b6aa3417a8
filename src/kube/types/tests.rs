use serde_json::json;

use super::*;

#[test]
fn a_pod_ignores_what_it_does_not_read() {
    let pod: Pod = serde_json::from_value(json!({
        "metadata": {"name": "a", "labels": null, "managedFields": [1, 2]},
        "spec": {"nodeName": "n", "containers": [{"image": "x", "ports": [{"containerPort": 80, "name": "web"}]}]},
        "status": {"podIP": "10.0.0.1", "podIPs": [{"ip": "10.0.0.1"}, {"ip": "fd00::1"}]},
    }))
    .unwrap();
    assert_eq!(pod.status.addresses().collect::<Vec<_>>(), ["10.0.0.1", "fd00::1"]);
    assert_eq!(pod.spec.containers[0].ports[0].container_port, 80);
}

#[test]
fn one_pod_ip_is_enough() {
    let pod: Pod = serde_json::from_value(json!({"metadata": {}, "status": {"podIP": "10.0.0.1"}})).unwrap();
    assert_eq!(pod.status.addresses().collect::<Vec<_>>(), ["10.0.0.1"]);
}

#[test]
fn policies_refuse_a_misspelt_field() {
    let policy = json!({"metadata": {}, "spec": {"rules": [{"from": [{"source": {"principal": ["x"]}}]}]}});
    let error = serde_json::from_value::<AuthorizationPolicy>(policy).unwrap_err().to_string();
    assert!(error.contains("unknown field `principal`"), "{error}");
    let peer = json!({"metadata": {}, "spec": {"mtls": {"mode": "strict"}}});
    let error = serde_json::from_value::<PeerAuthentication>(peer).unwrap_err().to_string();
    assert!(error.contains("unknown variant `strict`"), "{error}");
}

#[test]
fn a_target_port_is_a_number_or_a_name() {
    let service: Service = serde_json::from_value(json!({
        "metadata": {"name": "s"},
        "spec": {"clusterIP": "None", "ports": [{"port": 80, "targetPort": "web"}, {"port": 81, "targetPort": 8081}]},
    }))
    .unwrap();
    assert_eq!(service.spec.addresses().count(), 0);
    let targets: Vec<_> = service.spec.ports.into_iter().map(|p| p.target_port).collect();
    assert_eq!(targets, [Some(service::TargetPort::Name("web".into())), Some(service::TargetPort::Number(8081))]);
}

#[test]
fn times_are_compared_as_times() {
    let created = |text: &str| ObjectMeta { creation_timestamp: Some(text.into()), ..ObjectMeta::default() }.created();
    let ordered =
        ["2026-01-01T01:00:00+02:00", "2026-01-01T00:00:00Z", "2026-01-01T00:00:00.5Z", "2025-12-31T23:00:00-02:00"];
    assert!(ordered.is_sorted_by_key(|text| created(text)), "{:?}", ordered.map(created));
    assert_eq!(created("2026-01-01T01:00:00+01:00"), created("2026-01-01T00:00:00Z"));
    for unknown in ["", "yesterday", "2026-01-01", "2026-13-01T00:00:00Z"] {
        assert_eq!(created(unknown), None, "{unknown}");
    }
}

#[test]
fn readiness_of_endpoints() {
    let ready = |ready, serving, terminating| service::EndpointConditions { ready, serving, terminating }.is_ready();
    assert!(
        ready(None, None, None) && ready(Some(true), Some(false), Some(true)) && ready(None, Some(true), Some(false))
    );
    assert!(
        !ready(Some(false), Some(true), None)
            && !ready(None, Some(false), None)
            && !ready(None, Some(true), Some(true))
    );
}

#[test]
fn entries_refuse_a_misspelt_field() {
    for (spec, unknown) in [
        (json!({"host": ["a.com"]}), "unknown field `host`"),
        (json!({"ports": [{"number": 1, "target": 2}]}), "unknown field `target`"),
        (json!({"endpoints": [{"adress": "10.0.0.1"}]}), "unknown field `adress`"),
        (json!({"workloadSelector": {"matchLabels": {}}}), "unknown field `matchLabels`"),
        (json!({"resolution": "dns"}), "unknown variant `dns`"),
    ] {
        let error =
            serde_json::from_value::<ServiceEntry>(json!({"metadata": {}, "spec": spec})).unwrap_err().to_string();
        assert!(error.contains(unknown), "{error}");
    }
    let error =
        serde_json::from_value::<WorkloadEntry>(json!({"metadata": {}, "spec": {"port": {}}})).unwrap_err().to_string();
    assert!(error.contains("unknown field `port`"), "{error}");
}
