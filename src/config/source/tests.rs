use std::collections::BTreeMap;

use super::*;
use crate::config::env::Environment;
use crate::config::raw::{ConfigError, Effective};
use crate::config::table::NODE;

fn settings(pairs: &[(&'static str, &str)]) -> Result<NodeSettings, ConfigError> {
    let mut flags = BTreeMap::from([("node", "a".to_owned())]);
    flags.extend(pairs.iter().map(|(key, value)| (*key, (*value).to_owned())));
    NodeSettings::try_from(&Effective::resolve(NODE, &flags, &Environment::default(), None)?)
}

#[test]
fn each_seam_has_its_source() {
    let check = |pairs: &[(&'static str, &str)], mesh: &str, certificates: &str, pods: &str| {
        let settings = settings(pairs).unwrap();
        let shown = |value: String| value.split(['(', ' ']).next().unwrap().to_owned();
        let found = [
            shown(format!("{:?}", settings.mesh_source())),
            shown(format!("{:?}", settings.certificate_source())),
            shown(format!("{:?}", settings.pod_source())),
        ];
        assert_eq!(found, [mesh, certificates, pods], "{pairs:?}");
    };
    let (xds, zds) = (("xds-address", "istiod:15012"), ("zds-socket", "z.sock"));
    check(&[("manifests", "m")], "Manifests", "Embedded", "Manifests");
    check(&[("manifests", "m"), xds], "ControlPlane", "Embedded", "Manifests");
    check(&[xds, zds, ("ca-address", "istiod:15012")], "ControlPlane", "Service", "Agent");
    check(&[("local-xds", "f"), zds], "Local", "Embedded", "Agent");
    check(&[("local-xds", "f"), ("manifests", "m")], "Local", "Embedded", "Manifests");
    check(&[("manifests", "m"), zds], "Manifests", "Embedded", "Agent");
}

#[test]
fn a_remote_has_everything_that_is_said_of_it() {
    let settings = settings(&[
        ("xds-address", "[fd00::1]:15010"),
        ("xds-roots", "SYSTEM"),
        ("xds-server-name", "istiod.mesh"),
        ("zds-socket", "z.sock"),
        ("token-file", "token"),
        ("state-dir", "s"),
        ("state-max-age", "2h"),
        ("cluster", "east"),
        ("local-xds", "f"),
    ])
    .unwrap();
    let MeshSource::ControlPlane { remote, on_demand, kept, local } = settings.mesh_source() else {
        panic!("not a control plane")
    };
    assert_eq!(remote.endpoint.to_string(), "https://[fd00::1]:15010");
    assert_eq!((remote.roots, remote.server_name, remote.cluster), (&Roots::System, Some("istiod.mesh"), "east"));
    assert!(matches!(remote.token, Token::File(path) if path == Path::new("token")));
    assert_eq!(kept, Some(Kept { directory: Path::new("s"), max_age: Duration::from_secs(7200) }));
    assert_eq!((on_demand, local), (false, Some(LocalMesh::File(Path::new("f")))));
}

#[test]
fn contradictions_are_refused() {
    let check = |pairs: &[(&'static str, &str)], part: &str| {
        let error = settings(pairs).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    };
    let (xds, zds) = (("xds-address", "istiod:15012"), ("zds-socket", "z.sock"));
    check(&[xds], "manifests is not set");
    check(&[zds], "manifests is not set");
    check(&[("manifests", "m"), ("redirect-backend", "agent")], "needs zds-socket");
    check(&[("manifests", "m"), ("xds-on-demand", "true")], "needs xds-address");
    check(&[("manifests", "m"), ("xds-server-name", "x")], "without xds-address");
    check(&[("manifests", "m"), ("ca-server-name", "x")], "without ca-address");
    assert!(settings(&[xds, zds, ("redirect-backend", "agent")]).is_ok());
}

#[test]
fn a_process_without_a_pod_is_named_after_its_node() {
    let settings = settings(&[("manifests", "m"), ("cluster-domain", "k8s.example"), ("network", "n1")]).unwrap();
    let XdsNode { id, metadata } = settings.xds_node();
    assert_eq!(id, "ztunnel~1.1.1.1~culvert-a.istio-system~istio-system.svc.k8s.example");
    assert_eq!(metadata["NODE_NAME"], "a");
    assert_eq!((metadata["CLUSTER_ID"].as_str(), metadata["NETWORK"].as_str()), (Some("Kubernetes"), Some("n1")));
}
