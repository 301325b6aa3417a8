use std::collections::BTreeMap;
use std::net::SocketAddr;

use proptest::prelude::*;

use super::*;
use crate::authz::{Request, evaluate, observe};
use crate::control::manifests;
use crate::mesh::{self, State};
use crate::model::name::NamespacedName;
use crate::model::policy::{Action, Scope};
use crate::model::spiffe::Identity;
use crate::model::workload::Tunnel;

fn projected(text: &str) -> Projection {
    let objects =
        manifests::parse(&[("a.yaml".into(), text.as_bytes().to_vec())]).unwrap_or_else(|e| panic!("{e}\n{text}"));
    project(&Index::build(objects), &Settings::default())
}

fn workload<'a>(projection: &'a Projection, name: &str) -> &'a Workload {
    projection.workloads.iter().find(|w| &*w.name == name).unwrap()
}

const POD: &str = "---\napiVersion: v1\nkind: Pod\n";

#[test]
fn a_pod_becomes_a_workload() {
    let projection = projected(&format!(
        "apiVersion: v1\nkind: Namespace\nmetadata: {{name: d, labels: {{istio.io/dataplane-mode: ambient}}}}\n{POD}\
         metadata: {{name: web-5d9-x, namespace: d, generateName: web-5d9-, labels: {{pod-template-hash: 5d9, app: shop, version: v2}}, \
         ownerReferences: [{{kind: Node, name: n}}, {{kind: ReplicaSet, name: web-5d9, controller: true}}]}}\n\
         spec: {{nodeName: n, serviceAccountName: sa}}\nstatus: {{podIP: 10.0.0.1, conditions: [{{type: Ready, status: 'True'}}]}}\n{POD}\
         metadata: {{name: gone, namespace: d}}\nstatus: {{podIP: 10.0.0.2, phase: Succeeded}}\n{POD}\
         metadata: {{name: early, namespace: d}}\n{POD}\
         metadata: {{name: host, namespace: d}}\nspec: {{hostNetwork: true}}\nstatus: {{podIP: 10.0.0.3}}\n"
    ));
    let names: Vec<_> = projection.workloads.iter().map(|w| &*w.name).collect();
    assert_eq!(names, ["host", "web-5d9-x"]);
    let web = workload(&projection, "web-5d9-x");
    assert_eq!(&*web.uid, "Kubernetes//Pod/d/web-5d9-x");
    assert_eq!(web.identity().to_string(), "spiffe://cluster.local/ns/d/sa/sa");
    assert_eq!((&*web.owner, &*web.canonical_name, &*web.canonical_revision), ("web", "shop", "v2"));
    assert_eq!((web.tunnel, web.healthy, web.host_network, &*web.node), (Tunnel::Hbone, true, false, "n"));
    let host = workload(&projection, "host");
    assert_eq!((host.tunnel, host.healthy, host.host_network), (Tunnel::None, false, true));
}

#[test]
fn health_is_readiness_and_not_leaving() {
    let check = |meta: &str, conditions: &str, wanted: bool| {
        let status = format!("status: {{podIP: 10.0.0.1, conditions: {conditions}}}");
        let projection = projected(&format!("{POD}metadata: {{name: a{meta}}}\n{status}\n"));
        assert_eq!(projection.workloads[0].healthy, wanted, "{meta} {conditions}");
    };
    check("", "[{type: Ready, status: 'True'}]", true);
    check("", "[{type: Ready, status: 'False'}]", false);
    check("", "[{type: Ready, status: Unknown}]", false);
    check("", "[{type: Initialized, status: 'True'}]", false);
    check(", deletionTimestamp: '2026-01-01T00:00:00Z'", "[{type: Ready, status: 'True'}]", false);
    check(", annotations: {culvert.dev/netns: /n}", "[]", true);
    check(", annotations: {culvert.dev/netns: /n}", "[{type: Ready, status: 'False'}]", false);
}

#[test]
fn owners() {
    let check = |labels: &str, generated: bool, owner: (&str, &str), wanted: &str| {
        let generated = if generated { ", generateName: x-" } else { "" };
        let (kind, name) = owner;
        let projection = projected(&format!(
            "{POD}metadata: {{name: pod, labels: {{{labels}}}{generated}, ownerReferences: [{{kind: {kind}, name: {name}, controller: true}}]}}\n\
             status: {{podIP: 10.0.0.1}}\n"
        ));
        let workload = &projection.workloads[0];
        assert_eq!((&*workload.owner, &*workload.canonical_name), (wanted, wanted), "{labels} {owner:?}");
        assert_eq!(&*workload.canonical_revision, "latest");
    };
    check("pod-template-hash: abc", true, ("ReplicaSet", "web-abc"), "web");
    check("pod-template-hash: abc", false, ("ReplicaSet", "web-abc"), "pod");
    check("pod-template-hash: bc", true, ("ReplicaSet", "web-abc"), "web-abc");
    check("rollouts-pod-template-hash: abc", true, ("ReplicaSet", "web-abc"), "web");
    check("deploymentconfig: dc", true, ("ReplicationController", "dc-1"), "dc");
    check("", true, ("Job", "nightly-28371234"), "nightly");
    check("", true, ("Job", "nightly-1234567"), "nightly-1234567");
    check("", true, ("StatefulSet", "db"), "db");
    check("service.istio.io/workload-name: named", true, ("StatefulSet", "db"), "named");
}

#[test]
fn services_and_their_endpoints() {
    let projection = projected(&format!(
        "{POD}metadata: {{name: a, namespace: d, uid: u1, labels: {{app: a}}}}\nspec:\n  containers: [{{ports: [{{name: web, containerPort: 8080}}, {{name: udp, containerPort: 1, protocol: UDP}}]}}]\n\
           \x20 initContainers: [{{restartPolicy: Always, ports: [{{name: side, containerPort: 9}}]}}, {{ports: [{{name: once, containerPort: 7}}]}}]\n\
         status: {{podIP: 10.0.0.1}}\n---\n\
         apiVersion: v1\nkind: Service\nmetadata: {{name: s, namespace: d}}\nspec:\n  clusterIPs: [10.96.0.1, 'fd00::1']\n  selector: {{app: a}}\n  ports:\n\
         \x20 - {{port: 80, targetPort: web}}\n  - {{port: 81}}\n  - {{port: 82, targetPort: 8082}}\n  - {{port: 83, targetPort: gone}}\n  - {{port: 84, targetPort: udp}}\n\
         \x20 - {{port: 85, targetPort: side}}\n  - {{port: 86, targetPort: once}}\n  - {{port: 53, protocol: UDP}}\n---\n\
         apiVersion: v1\nkind: Service\nmetadata: {{name: ext, namespace: d}}\nspec: {{type: ExternalName, selector: {{app: a}}}}\n---\n\
         apiVersion: v1\nkind: Service\nmetadata: {{name: other, namespace: e}}\nspec: {{clusterIP: None, selector: {{app: a}}}}\n---\n\
         apiVersion: v1\nkind: Service\nmetadata: {{name: manual, namespace: d}}\nspec: {{ports: [{{name: x, port: 80}}, {{name: y, port: 81}}]}}\n---\n\
         apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {{name: m1, namespace: d, labels: {{kubernetes.io/service-name: manual}}}}\naddressType: IPv4\n\
         endpoints: [{{addresses: [10.0.0.1], targetRef: {{kind: Pod, namespace: d, name: a, uid: u1}}}}]\nports: [{{name: x, port: 8000}}]\n---\n\
         apiVersion: v1\nkind: Service\nmetadata: {{name: stale, namespace: d}}\nspec: {{ports: [{{port: 80}}]}}\n---\n\
         apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {{name: m2, namespace: d, labels: {{kubernetes.io/service-name: stale}}}}\n\
         endpoints: [{{addresses: [10.0.0.1], targetRef: {{kind: Pod, namespace: d, name: a, uid: u0}}}}]\nports: [{{port: 8000}}]\n"
    ));
    let names: Vec<_> = projection.services.iter().map(|s| s.key().to_string()).collect();
    let end = "svc.cluster.local";
    assert_eq!(
        names,
        [format!("d/manual.d.{end}"), format!("d/s.d.{end}"), format!("d/stale.d.{end}"), format!("e/other.e.{end}")]
    );
    let service = &projection.services[1];
    let ports: Vec<_> = service.ports.iter().map(|port| (port.port, port.target)).collect();
    assert_eq!(ports, [(80, 0), (81, 81), (82, 8082), (83, 0), (84, 0), (85, 0), (86, 0)]);
    assert_eq!((service.addresses.len(), projection.services[3].addresses.len()), (2, 0));
    let of: Vec<_> =
        projection.workloads[0].services.iter().map(|m| (m.service.name.to_string(), m.ports.clone())).collect();
    let wanted = [
        (format!("manual.d.{end}"), vec![(80, 8000)]),
        (format!("s.d.{end}"), vec![(80, 8080), (81, 81), (82, 8082), (85, 9)]),
    ];
    assert_eq!(of, wanted);
}

#[test]
fn a_conflict_is_a_status() {
    let pod = |name: &str| format!("{POD}metadata: {{name: {name}}}\nstatus: {{podIP: 10.0.0.1}}\n");
    let projection = projected(&(pod("a") + &pod("b")));
    let status = &projection.statuses[0];
    assert_eq!((status.kind, status.key.to_string(), status.level), ("Pod", "default/b".to_owned(), Level::Warning));
    assert_eq!(projection.workloads.len(), 1);
}

#[test]
fn the_oldest_is_the_oldest_in_time() {
    let peer = |name: &str, time: &str| {
        format!(
            "---\napiVersion: security.istio.io/v1\nkind: PeerAuthentication\n\
             metadata: {{name: {name}, namespace: d, creationTimestamp: '{time}'}}\n"
        )
    };
    // As text the first sorts before the second; in time it is half an hour younger.
    let projection = projected(&(peer("a", "2026-01-01T00:30:00Z") + &peer("b", "2026-01-01T02:00:00+02:00")));
    let told: Vec<_> = projection.statuses.iter().map(|s| (&*s.key.name, s.reason)).collect();
    assert_eq!(told, [("a", Reason::Shadowed), ("b", Reason::Accepted)]);
}

/// Objects from a source that does not validate, as an API server with other rules would be.
#[test]
fn what_does_not_parse_is_closed() {
    use crate::kube::types::authorization as types;
    let meta =
        |name: &str| crate::kube::types::ObjectMeta { name: name.into(), namespace: "d".into(), ..Default::default() };
    let broken = |name: &str, action| crate::kube::types::AuthorizationPolicy {
        metadata: meta(name),
        spec: types::AuthorizationSpec {
            action,
            rules: vec![types::Rule { from: Some(Vec::new()), ..Default::default() }],
            ..Default::default()
        },
    };
    let mut peer = crate::kube::types::PeerAuthentication { metadata: meta("p"), ..Default::default() };
    peer.spec.port_level_mtls.insert("x".to_owned(), crate::kube::types::peer::Mtls::default());
    let pod = crate::kube::types::Pod {
        metadata: meta("pod"),
        status: crate::kube::types::pod::PodStatus { pod_ip: Some("10.0.0.1".to_owned()), ..Default::default() },
        ..Default::default()
    };
    let objects = manifests::Objects {
        pods: vec![pod],
        authorization_policies: vec![broken("allow", types::Action::Allow), broken("deny", types::Action::Deny)],
        peer_authentications: vec![peer],
        ..Default::default()
    };
    let projection = project(&Index::build(objects), &Settings::default());
    let made: Vec<_> = projection.policies.iter().map(|p| (&*p.key.name, p.action, p.scope, p.groups.len())).collect();
    let wanted = [("allow", Action::Allow, Scope::Namespace, 0), (STATIC_STRICT, Action::Deny, Scope::Workload, 1)];
    assert_eq!(made, wanted);
    assert_eq!(projection.workloads[0].policies, [NamespacedName::new("istio-system", STATIC_STRICT)]);
    let told: Vec<_> = projection.statuses.iter().map(|s| (&*s.key.name, s.reason)).collect();
    assert!(["allow", "deny", "p"].iter().all(|name| told.contains(&(name, Reason::Invalid))), "{told:?}");
}

/// As an API server gives it, which asks nobody about annotations.
fn from_the_cluster(
    name: &str,
    annotation: (&str, &str),
    action: crate::kube::types::authorization::Action,
    spec: serde_json::Value,
) -> crate::kube::types::AuthorizationPolicy {
    let (key, value) = annotation;
    let metadata = serde_json::json!({"name": name, "namespace": "d", "annotations": {key: value}});
    let mut policy: crate::kube::types::AuthorizationPolicy =
        serde_json::from_value(serde_json::json!({"metadata": metadata, "spec": spec})).unwrap();
    policy.spec.action = action;
    policy
}

#[test]
fn what_would_not_be_enforced_anyway_closes_nothing() {
    use crate::kube::types::authorization::Action as Written;
    let broken = serde_json::json!({"rules": [{"from": []}]});
    let targets = serde_json::json!({"targetRefs": [], "rules": [{}]});
    let objects = manifests::Objects {
        authorization_policies: vec![
            from_the_cluster("dry", ("istio.io/dry-run", "true"), Written::Allow, broken),
            from_the_cluster("target", ("x", "y"), Written::Allow, targets),
        ],
        ..Default::default()
    };
    let projection = project(&Index::build(objects), &Settings::default());
    assert_eq!(projection.policies, []);
    let told: Vec<_> = projection.statuses.iter().map(|s| (&*s.key.name, s.reason)).collect();
    assert_eq!(told, [("dry", Reason::Invalid), ("target", Reason::Invalid)]);
}

#[test]
fn a_time_zone_that_nobody_knows_errs_to_the_safe_side() {
    use crate::kube::types::authorization::Action as Written;
    let window = serde_json::json!({"rules": [{"when": [{"key": "custom.time_of_day", "values": ["00:00-24:00"]}]}]});
    for (written, allowed, effect) in [
        (Written::Allow, false, "rules with a time condition never match"),
        (Written::Deny, false, "it denies at all times"),
        (Written::Audit, true, "rules with a time condition never match"),
    ] {
        let zone = ("culvert.dev/timezone", "Europe/Wien");
        let policy = from_the_cluster("zone", zone, written, window.clone());
        let objects = manifests::Objects { authorization_policies: vec![policy], ..Default::default() };
        let projection = project(&Index::build(objects), &Settings::default());
        let status = projection.statuses.iter().find(|s| s.reason == Reason::UnknownTimezone).unwrap();
        assert!(status.level == Level::Warning && status.message.contains(effect), "{status}");
        assert!(status.message.contains("`Europe/Wien` is not a time zone"), "{status}");

        let (mut writer, reader) = mesh::channel();
        let target = Workload { uid: "w".into(), namespace: "d".into(), ..Workload::default() };
        writer.replace(State { policies: projection.policies, ..State::default() });
        let applicable = reader.view().policies_for(&target.clone().into());
        let destination = SocketAddr::from(([10, 0, 0, 1], 80));
        let request =
            Request { peer: None, foreign: false, source: destination.ip(), destination, now: std::time::UNIX_EPOCH };
        let decision = evaluate(&request, &applicable);
        assert_eq!(decision.is_allow(), allowed, "{written:?}");
        assert!(observe(&request, &applicable, &decision).is_empty());
    }
}

const MODES: [&str; 4] = ["UNSET", "DISABLE", "PERMISSIVE", "STRICT"];

/// The mode of one port, as the documentation reads: port, workload, namespace, mesh, PERMISSIVE.
fn is_strict(levels: &[Option<&str>]) -> bool {
    levels.iter().flatten().find(|mode| **mode != "UNSET").is_some_and(|mode| *mode == "STRICT")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn peer_authentication_protects_exactly_the_strict_ports(
        mesh in prop::option::of(prop::sample::select(&MODES[..])),
        namespace in prop::option::of(prop::sample::select(&MODES[..])),
        own in prop::option::of((
            prop::option::of(prop::sample::select(&MODES[..])),
            prop::collection::btree_map(1..5_u16, prop::sample::select(&MODES[..]), 0..4),
        )),
    ) {
        let head = "---\napiVersion: security.istio.io/v1\nkind: PeerAuthentication\n";
        let mut text = format!("{POD}metadata: {{name: a, namespace: d, labels: {{app: a}}}}\nstatus: {{podIP: 10.0.0.1}}\n");
        for (mode, ns) in [(mesh, "istio-system"), (namespace, "d")] {
            if let Some(mode) = mode {
                text += &format!("{head}metadata: {{name: default, namespace: {ns}}}\nspec: {{mtls: {{mode: {mode}}}}}\n");
            }
        }
        let mut ports = BTreeMap::new();
        if let Some((mode, own_ports)) = &own {
            let mtls = mode.map_or_else(String::new, |mode| format!(", mtls: {{mode: {mode}}}"));
            let list: Vec<_> = own_ports.iter().map(|(port, mode)| format!("{port}: {{mode: {mode}}}")).collect();
            let list = list.join(", ");
            text += &format!("{head}metadata: {{name: own, namespace: d}}\nspec: {{selector: {{matchLabels: {{app: a}}}}{mtls}, portLevelMtls: {{{list}}}}}\n");
            ports.clone_from(own_ports);
        }
        let projection = projected(&text);
        let target = projection.workloads[0].clone();
        let (mut writer, reader) = mesh::channel();
        writer.replace(State { workloads: projection.workloads, services: Vec::new(), policies: projection.policies });
        let applicable = reader.view().policies_for(&target.clone().into());
        prop_assert!(applicable.missing.is_empty(), "{:?}", applicable.missing);
        let peer = Identity::new("any", "x", "y");
        for port in 0..6_u16 {
            let levels = [ports.get(&port).copied(), own.as_ref().and_then(|(mode, _)| *mode), namespace, mesh];
            let allowed = |peer| {
                let destination = SocketAddr::new(target.addresses[0], port);
                evaluate(&Request { peer, foreign: false, source: target.addresses[0], destination, now: std::time::UNIX_EPOCH }, &applicable).is_allow()
            };
            prop_assert_eq!(allowed(None), !is_strict(&levels), "port {} of {}", port, text);
            prop_assert!(allowed(Some(&peer)));
        }
    }
}
