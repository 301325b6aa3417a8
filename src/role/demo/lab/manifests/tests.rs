use super::*;
use crate::role::demo::lab::Topology;

fn parsed(text: &str) -> serde_json::Value {
    serde_saphyr::from_str(text).unwrap()
}

#[test]
fn a_pod_is_written_as_kubernetes_would_show_it() {
    let plan = Topology::demo().plan("lab").unwrap();
    let text = pod_yaml(&plan.pods[2], Path::new("/run/netns/lab-server"));
    assert_eq!(
        parsed(&text),
        serde_json::json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": "server",
                "namespace": "demo",
                "labels": { "app": "server" },
                "annotations": { "culvert.dev/netns": "/run/netns/lab-server" },
            },
            "spec": {
                "nodeName": "node-b",
                "serviceAccountName": "server",
                "containers": [{ "name": "app", "image": "culvert-demo-app" }],
            },
            "status": {
                "phase": "Running",
                "conditions": [{ "type": "Ready", "status": "True" }],
                "podIP": "10.88.2.10",
                "podIPs": [{ "ip": "10.88.2.10" }, { "ip": "fd88:0:0:2::10" }],
            },
        })
    );
}

#[test]
fn a_namespace_says_whether_it_opted_in() {
    let label = |namespace: &KubeNamespace| {
        parsed(&namespace_yaml(namespace))["metadata"]["labels"]["istio.io/dataplane-mode"].clone()
    };
    assert_eq!(label(&KubeNamespace::ambient("demo")), "ambient");
    assert_eq!(label(&KubeNamespace::plain("outside")), serde_json::Value::Null);
}

proptest::proptest! {
    #[test]
    fn any_label_comes_back_as_it_went(key in "[a-z/.]{1,12}", value in "\\PC{0,20}") {
        let mut namespace = KubeNamespace::plain("demo");
        namespace.labels.insert(key.clone(), value.clone());
        let parsed = parsed(&namespace_yaml(&namespace));
        proptest::prop_assert_eq!(&parsed["metadata"]["labels"][key], &serde_json::Value::from(value));
    }
}

#[test]
fn files_are_replaced_whole_and_removed_once() {
    let directory = tempfile::tempdir().unwrap();
    let manifests = Manifests::open(&directory.path().join("new")).unwrap();
    let names = || -> Vec<String> {
        let entries = std::fs::read_dir(manifests.directory()).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    };
    manifests.put("policy.yaml", "a: 1\n").unwrap();
    manifests.put("policy.yaml", "a: 2\n").unwrap();
    assert_eq!(names(), ["policy.yaml"], "no draft is left");
    assert_eq!(std::fs::read_to_string(manifests.directory().join("policy.yaml")).unwrap(), "a: 2\n");
    manifests.remove("policy.yaml").unwrap();
    manifests.remove("policy.yaml").unwrap();
    assert!(names().is_empty());
    for name in ["", "../x.yaml", "a/b.yaml", ".hidden.yaml", "x.txt", "x y.yaml"] {
        assert!(matches!(manifests.put(name, ""), Err(ManifestError::Name { .. })), "{name:?}");
    }
}
