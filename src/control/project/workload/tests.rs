use proptest::prelude::*;

use crate::control::index::Index;
use crate::control::manifests;
use crate::control::project::{Projection, Settings, project};
use crate::model::workload::{Locality, Tunnel, Workload};

fn projected(text: &str) -> Projection {
    let objects =
        manifests::parse(&[("a.yaml".into(), text.as_bytes().to_vec())]).unwrap_or_else(|e| panic!("{e}\n{text}"));
    project(&Index::build(objects), &Settings::default())
}

/// An object of namespace `d`; `rest` is the rest of its metadata, then its other fields.
fn object(version: &str, kind: &str, name: &str, rest: &str) -> String {
    format!("---\napiVersion: {version}\nkind: {kind}\nmetadata: {{name: {name}, namespace: d{rest}\n")
}

fn pod(name: &str, ip: &str, meta: &str) -> String {
    let rest = format!(
        "{meta}}}\nspec: {{nodeName: n, containers: [{{ports: [{{name: web, containerPort: 8080}}]}}]}}\n\
                        status: {{podIP: {ip}, conditions: [{{type: Ready, status: 'True'}}]}}"
    );
    object("v1", "Pod", name, &rest)
}

fn service(name: &str, spec: &str) -> String {
    object("v1", "Service", name, &format!("}}\nspec: {{{spec}}}"))
}

fn slice(name: &str, service: &str, rest: &str) -> String {
    object(
        "discovery.k8s.io/v1",
        "EndpointSlice",
        name,
        &format!(", labels: {{kubernetes.io/service-name: {service}}}}}\n{rest}"),
    )
}

fn workload_entry(name: &str, meta: &str, spec: &str) -> String {
    object("networking.istio.io/v1", "WorkloadEntry", name, &format!("{meta}}}\nspec: {{{spec}}}"))
}

fn service_entry(name: &str, meta: &str, spec: &str) -> String {
    object("networking.istio.io/v1beta1", "ServiceEntry", name, &format!("{meta}}}\nspec: {{{spec}}}"))
}

fn found<'a>(projection: &'a Projection, uid: &str) -> &'a Workload {
    let uids: Vec<_> = projection.workloads.iter().map(|w| &*w.uid).collect();
    projection.workloads.iter().find(|w| &*w.uid == uid).unwrap_or_else(|| panic!("no {uid} in {uids:?}"))
}

/// `<host name> <port>→<port>…` of each service.
fn services(workload: &Workload) -> Vec<String> {
    let ports = |ports: &[(u16, u16)]| ports.iter().map(|(from, to)| format!(" {from}→{to}")).collect::<String>();
    workload.services.iter().map(|m| format!("{}{}", m.service.name, ports(&m.ports))).collect()
}

fn told(projection: &Projection) -> Vec<String> {
    projection.statuses.iter().map(ToString::to_string).collect()
}

fn locality(region: &str, zone: &str, subzone: &str) -> Locality {
    Locality { region: region.into(), zone: zone.into(), subzone: subzone.into() }
}

#[test]
fn nodes_say_where_pods_run() {
    let node = |labels: &str| {
        let text = format!("apiVersion: v1\nkind: Node\nmetadata: {{name: n, labels: {{{labels}}}}}\n");
        projected(&(text + &pod("a", "10.0.0.1", ""))).workloads[0].locality.clone()
    };
    let region = "topology.kubernetes.io/region: r";
    let all = format!("{region}, topology.kubernetes.io/zone: z, topology.istio.io/subzone: s");
    assert_eq!(node(&all), locality("r", "z", "s"));
    assert_eq!(node(region), locality("r", "", ""));
    assert_eq!(node(""), Locality::default());
    assert_eq!(projected(&pod("a", "10.0.0.1", "")).workloads[0].locality, Locality::default());
}

#[test]
fn who_speaks_hbone() {
    let check = |meta: &str, wanted: (Tunnel, bool)| {
        let found = [pod("a", "10.0.0.1", meta), workload_entry("a", meta, "address: 10.0.0.1")]
            .map(|text| (projected(&text).workloads[0].tunnel, projected(&text).workloads[0].native_tunnel));
        assert_eq!(found, [wanted; 2], "{meta}");
    };
    check("", (Tunnel::None, false));
    check(", labels: {networking.istio.io/tunnel: http}", (Tunnel::Hbone, true));
    check(", labels: {networking.istio.io/tunnel: 'grpc, http'}", (Tunnel::Hbone, true));
    check(", labels: {networking.istio.io/tunnel: http2}", (Tunnel::None, false));
    let redirected = ", annotations: {ambient.istio.io/redirection: enabled}";
    let entry = projected(&workload_entry("a", redirected, "address: 10.0.0.1"));
    assert_eq!((entry.workloads[0].tunnel, entry.workloads[0].native_tunnel), (Tunnel::Hbone, false));
    // A pod's membership is known from its labels; the annotation is what somebody else has seen.
    assert_eq!(projected(&pod("a", "10.0.0.1", redirected)).workloads[0].tunnel, Tunnel::None);
}

#[test]
fn slices_may_only_take_readiness_away() {
    let check = |conditions: &[&str], target: &str, wanted: bool| {
        let slices: String = (0..)
            .zip(conditions)
            .map(|(i, c)| slice(&format!("s{i}"), "s", &format!("endpoints: [{{addresses: [10.0.0.1], conditions: {{{c}}}, targetRef: {{kind: Pod, name: a{target}}}}}]")))
            .collect();
        let text = pod("a", "10.0.0.1", ", uid: u, labels: {app: a}") + &service("s", "selector: {app: a}") + &slices;
        assert_eq!(projected(&text).workloads[0].healthy, wanted, "{conditions:?} {target}");
    };
    check(&[], "", true);
    check(&["ready: true"], "", true);
    check(&["ready: null"], "", true);
    check(&["ready: true", "ready: false"], "", false);
    check(&["serving: true, terminating: true"], "", false);
    check(&["ready: true, serving: true, terminating: true"], "", true);
    check(&["ready: false"], ", uid: another", true);
    check(&["ready: false"], ", namespace: e", true);
    let text = pod("a", "10.0.0.1", "")
        + &slice(
            "s0",
            "gone",
            "endpoints: [{addresses: [10.0.0.1], conditions: {ready: false}, targetRef: {kind: Pod, name: a}}]",
        );
    assert!(projected(&text).workloads[0].healthy, "the slice's Service is not there");
    let unready = pod("a", "10.0.0.1", "").replace("'True'", "'False'");
    let text = unready
        + &service("s", "")
        + &slice(
            "s0",
            "s",
            "endpoints: [{addresses: [10.0.0.1], conditions: {ready: true}, targetRef: {kind: Pod, name: a}}]",
        );
    assert!(!projected(&text).workloads[0].healthy, "the pod says otherwise");
}

#[test]
fn all_slices_of_a_service_count() {
    let of = |addresses: &str, ports: &str| {
        format!(
            "addressType: IPv4\nendpoints: [{{addresses: [{addresses}], targetRef: {{kind: Pod, name: a}}}}]\nports: [{ports}]"
        )
    };
    let text = pod("a", "10.0.0.1", "")
        + &service("s", "ports: [{name: x, port: 80}, {name: y, port: 81}, {name: z, port: 82}]")
        + &slice("s1", "s", &of("10.0.0.1", "{name: x, port: 8080}, {name: z, port: 1, protocol: UDP}"))
        + &slice("s2", "s", &of("'fd00::1'", "{name: x, port: 9}, {name: y, port: 8081}"));
    assert_eq!(services(&projected(&text).workloads[0]), ["s.d.svc.cluster.local 80→8080 81→8081"]);
}

#[test]
fn endpoints_that_are_no_pods() {
    let text = service("s", "ports: [{name: x, port: 80}, {name: y, port: 81}]")
        + "---\napiVersion: v1\nkind: Node\nmetadata: {name: n, labels: {topology.kubernetes.io/region: r, topology.kubernetes.io/zone: z}}\n"
        + &slice(
            "m",
            "s",
            "addressType: IPv4\nports: [{name: x, port: 6443}]\nendpoints:\n\
           - {addresses: [10.0.0.1, 10.0.0.2], nodeName: n, zone: other}\n- {addresses: [10.0.0.3], conditions: {ready: false}, zone: z2}\n\
           - {addresses: [10.0.0.4, x]}\n- {addresses: [127.0.0.1]}\n- {addresses: [10.0.0.1]}\n- {addresses: []}\n\
           - {addresses: [10.0.0.5], targetRef: {kind: Pod, name: unknown}}\n- {addresses: [10.0.0.6], targetRef: {kind: Node, name: n}}",
        )
        + &slice("names", "s", "addressType: FQDN\nendpoints: [{addresses: [a.com]}]")
        + &slice("orphan", "t", "addressType: IPv4\nendpoints: [{addresses: [10.0.0.9]}]");
    let projection = projected(&text);
    let uid = |ip: &str| format!("Kubernetes/discovery.k8s.io/EndpointSlice/d/m/{ip}");
    let uids: Vec<_> = projection.workloads.iter().map(|w| w.uid.to_string()).collect();
    assert_eq!(uids, ["10.0.0.1", "10.0.0.3", "10.0.0.6"].map(uid));
    let first = &projection.workloads[0];
    assert_eq!(services(first), ["s.d.svc.cluster.local 80→6443"]);
    assert_eq!((first.addresses.len(), first.healthy, first.host_network, first.tunnel), (2, true, true, Tunnel::None));
    assert_eq!((&*first.name, &*first.service_account, &*first.node), ("m", "", "n"));
    assert_eq!(first.locality, locality("r", "z", ""));
    assert_eq!((projection.workloads[1].healthy, &projection.workloads[1].locality), (false, &locality("", "z2", "")));
    let told = told(&projection);
    for (told, wanted) in told.iter().zip([
        "EndpointSlice d/m: warning: endpoints[2].addresses: `x` is not an address; write it as 10.1.2.3 or fd00::1; until then the endpoint is left out",
        "EndpointSlice d/m: warning: endpoints[3].addresses: `127.0.0.1` cannot be",
        "EndpointSlice d/names: warning: addressType FQDN is not carried",
    ]) {
        assert!(told.starts_with(wanted), "{wanted}\n{told}");
    }
    assert_eq!(told.len(), 3, "{told:#?}");
}

#[test]
fn a_workload_entry_is_a_workload() {
    let selectors = service(
        "k",
        "selector: {app: a}, ports: [{name: http, port: 80, targetPort: 8080}, {name: web, port: 81, targetPort: web}, \
                                   {name: gone, port: 82, targetPort: gone}, {port: 83}]",
    ) + &service_entry(
        "s",
        "",
        "hosts: [s.com], addresses: [10.9.0.1], resolution: STATIC, workloadSelector: {labels: {app: a}}, \
                                   ports: [{number: 90, name: http}, {number: 91, name: other, targetPort: 9191}, {number: 92}]",
    ) + &service_entry(
        "other",
        "",
        "hosts: [o.com], addresses: [10.9.0.2], resolution: STATIC, workloadSelector: {labels: {app: b}}",
    ) + "---\napiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: p, namespace: d}\nspec: {selector: {matchLabels: {app: a}}}\n";
    let text = selectors
        + &workload_entry(
            "vm",
            ", labels: {version: v1}, annotations: {istio.io/autoRegistrationGroup: vms}",
            "address: 10.0.0.1, labels: {app: a, version: v2}, ports: {http: 1080, web: 1081}, network: far, locality: r/z, weight: 7, serviceAccount: sa",
        )
        + &workload_entry("dns", ", labels: {service.istio.io/workload-name: w}", "address: VM.example.com")
        + &workload_entry("gw", "", "network: far")
        + &workload_entry("bad", "", "address: a_b")
        + &workload_entry("bad2", "", "address: 10.0.0.2, serviceAccount: '../x'");
    let projection = projected(&text);
    let uid = |name: &str| format!("Kubernetes/networking.istio.io/WorkloadEntry/d/{name}");
    let vm = found(&projection, &uid("vm"));
    assert_eq!(vm.identity().to_string(), "spiffe://cluster.local/ns/d/sa/sa");
    assert_eq!((&*vm.owner, &*vm.canonical_name, &*vm.canonical_revision), ("vms", "a", "v1"));
    assert_eq!((&*vm.network, vm.capacity, vm.healthy, vm.tunnel), ("far", 7, true, Tunnel::None));
    assert_eq!((vm.addresses[0].to_string(), &*vm.hostname), ("10.0.0.1".to_owned(), ""));
    assert_eq!((&vm.locality, vm.policies.len()), (&locality("r", "z", ""), 1));
    assert_eq!(services(vm), ["k.d.svc.cluster.local 80→1080 81→1081 83→83", "s.com 90→1080 91→9191 92→92"]);
    let dns = found(&projection, &uid("dns"));
    assert_eq!((dns.addresses.len(), &*dns.hostname, &*dns.owner, dns.capacity), (0, "vm.example.com", "w", 1));
    let gateway = found(&projection, &uid("gw"));
    assert_eq!((gateway.addresses.len(), &*gateway.hostname, &*gateway.network), (0, "", "far"));
    assert_eq!(projection.workloads.len(), 3);
    let bad: Vec<_> = told(&projection).into_iter().filter(|line| line.starts_with("WorkloadEntry")).collect();
    assert!(bad[0].starts_with("WorkloadEntry d/bad: warning: spec.address: `a_b` is not a host name"), "{bad:?}");
    assert!(bad[1].starts_with("WorkloadEntry d/bad2: warning: spec.serviceAccount: `../x` is not"), "{bad:?}");
    assert_eq!(bad.len(), 2);
}

#[test]
fn endpoints_of_a_service_entry() {
    let text = service_entry(
        "s",
        ", labels: {app: x, networking.istio.io/tunnel: http}",
        "hosts: [b.com, a.com], addresses: [10.9.0.1], resolution: DNS, ports: [{number: 80, name: http, targetPort: 8080}, {number: 81}], endpoints: [\
         {address: 10.0.0.1, ports: {http: 1}, network: far, locality: r/z/s, weight: 3, serviceAccount: sa, labels: {app: y}}, \
         {address: 10.0.0.1, ports: {http: 2}}, {address: db.example.com}]",
    ) + &service_entry(
        "h",
        "",
        "hosts: [h.com, i.com], addresses: [10.9.0.2], resolution: DNS_ROUND_ROBIN, ports: [{number: 443, targetPort: 8443}]",
    ) + &service_entry("n", "", "hosts: [n.com], addresses: [10.9.0.3]");
    let projection = projected(&text);
    let uid = |rest: &str| format!("Kubernetes/networking.istio.io/ServiceEntry/d/{rest}");
    let uids: Vec<_> = projection.workloads.iter().map(|w| w.uid.to_string()).collect();
    assert_eq!(uids, ["h/h.com", "h/i.com", "s/10.0.0.1", "s/10.0.0.1/2", "s/db.example.com"].map(uid));
    let first = found(&projection, &uid("s/10.0.0.1"));
    assert_eq!(services(first), ["a.com 80→1 81→81", "b.com 80→1 81→81"]);
    assert_eq!((&*first.name, &*first.owner, &*first.canonical_name, first.capacity), ("s", "s", "x", 3));
    assert_eq!((first.tunnel, first.native_tunnel, &*first.network), (Tunnel::Hbone, true, "far"));
    assert_eq!((&first.locality, &*first.service_account), (&locality("r", "z", "s"), "sa"));
    let second = found(&projection, &uid("s/10.0.0.1/2"));
    assert_eq!(
        (services(second), &*second.network),
        (vec!["a.com 80→2 81→81".to_owned(), "b.com 80→2 81→81".to_owned()], "")
    );
    let third = found(&projection, &uid("s/db.example.com"));
    assert_eq!((third.addresses.len(), &*third.hostname), (0, "db.example.com"));
    let host = found(&projection, &uid("h/i.com"));
    assert_eq!(
        (services(host), &*host.hostname, host.tunnel),
        (vec!["i.com 443→8443".to_owned()], "i.com", Tunnel::None)
    );
}

#[test]
fn a_service_entry_selects_pods() {
    let text = pod("a", "10.0.0.1", ", labels: {app: a, v: '1'}")
        + &pod("b", "10.0.0.2", ", labels: {app: b}")
        + &service_entry(
            "s",
            "",
            "hosts: [s.com], addresses: [10.9.0.1], resolution: STATIC, workloadSelector: {labels: {app: a}}, \
                                   ports: [{number: 80, name: web}, {number: 81, name: other, targetPort: 1}, {number: 82}]",
        )
        + &service_entry(
            "all",
            "",
            "hosts: [t.com], addresses: [10.9.0.2], resolution: STATIC, workloadSelector: {labels: {}}",
        );
    let projection = projected(&text);
    assert_eq!(services(&projection.workloads[0]), ["s.com 80→8080 81→1 82→82"]);
    assert_eq!(services(&projection.workloads[1]), Vec::<String>::new());
}

/// A value for a field, good or bad.
fn value(values: &'static [&'static str]) -> prop::sample::Select<&'static str> {
    prop::sample::select(values)
}

/// What is good and the same comes often, so that objects meet.
fn addresses() -> impl Strategy<Value = &'static str> {
    let any = value(&[
        "10.0.0.1",
        "10.0.0.2",
        "240.240.161.17",
        "fd00::1",
        "::ffff:10.0.0.1",
        "10.0.0.0/8",
        "0.0.0.0/0",
        "127.0.0.1",
        "x",
        "",
        "a.com",
        "*.a.com",
        "unix:///x",
    ]);
    prop_oneof![Just("10.0.0.1"), any]
}

fn hosts() -> impl Strategy<Value = &'static str> {
    let any = value(&[
        "a.com",
        "A.com",
        "b.com",
        "*.a.com",
        "*",
        "",
        "10.0.0.1",
        "ks.d.svc.cluster.local",
        "\u{202e}\\n",
        "a..b",
    ]);
    prop_oneof![value(&["a.com", "b.com"]), any]
}

fn any_object() -> impl Strategy<Value = String> {
    let number = || prop::sample::select(vec![0_u32, 1, 80, 65535, 65536, u32::MAX]);
    let name = || value(&["r", "s", "t", "u", "v", "w", "x"]);
    let meta = value(&[
        "",
        ", labels: {app: a}",
        ", labels: {networking.istio.io/tunnel: http}",
        ", creationTimestamp: '2026-01-01T00:00:00Z'",
        ", annotations: {istio.io/autoRegistrationGroup: ''}",
    ]);
    let resolution = value(&["NONE", "STATIC", "DNS", "DNS_ROUND_ROBIN", "DYNAMIC_DNS"]);
    let endpoint = || {
        (addresses(), number(), value(&["", "sa", "a/b"])).prop_map(|(a, n, sa)| {
            format!("{{address: '{a}', ports: {{http: {n}}}, weight: {n}, serviceAccount: '{sa}', locality: '{a}/'}}")
        })
    };
    let selector = value(&["", ", workloadSelector: {}", ", workloadSelector: {labels: {app: a}}"]);
    let list = |items: Vec<String>| items.join(", ");
    let entry = (
        (name(), meta.clone(), resolution, selector),
        prop::collection::vec(hosts(), 0..3),
        prop::collection::vec(addresses(), 0..3),
        prop::collection::vec((number(), number()), 0..3),
        prop::collection::vec(endpoint(), 0..3),
    )
        .prop_map(move |((name, meta, resolution, selector), hosts, addresses, ports, endpoints)| {
            let quoted = |texts: Vec<&str>| list(texts.iter().map(|text| format!("\"{}\"", text.replace('\\', "\\\\"))).collect());
            let ports = list(ports.iter().map(|(n, t)| format!("{{number: {n}, targetPort: {t}, name: http}}")).collect());
            service_entry(name, meta, &format!("hosts: [{}], addresses: [{}], ports: [{ports}], resolution: {resolution}, endpoints: [{}]{selector}", quoted(hosts), quoted(addresses), list(endpoints)))
        });
    let workload = (name(), meta, endpoint())
        .prop_map(|(name, meta, spec)| workload_entry(name, meta, spec.trim_matches(['{', '}'])));
    let kubernetes = (
        name(),
        value(&["10.0.0.1", "10.0.0.2", "None"]),
        value(&["", "selector: {app: a}, ", "type: ExternalName, "]),
        0..3_u16,
    )
        .prop_map(|(name, ip, more, port)| {
            let name = format!("k{name}");
            service(&name, &format!("{more}clusterIP: {ip}, ports: [{{port: {port}}}, {{port: 1, targetPort: http}}]"))
        });
    let endpoints = (name(), name(), addresses(), any::<bool>()).prop_map(|(name, service, ip, ready)| {
        let service = format!("k{service}");
        slice(name, &service, &format!("endpoints: [{{addresses: ['{ip}'], conditions: {{ready: {ready}}}}}, {{addresses: ['{ip}'], targetRef: {{kind: Pod, name: s}}}}]\nports: [{{port: 1}}]"))
    });
    let pods = name().prop_map(|name| pod(name, "10.0.0.1", ", labels: {app: a}"));
    prop_oneof![4 => entry, 2 => workload, 2 => kubernetes, 1 => endpoints, 1 => pods]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    /// Whatever is declared: nothing panics, and what comes out holds together.
    #[test]
    fn what_comes_out_holds_together(texts in prop::collection::vec(any_object(), 0..8)) {
        let text = texts.concat();
        let objects = match manifests::parse(&[("a.yaml".into(), text.clone().into_bytes())]) {
            Ok(objects) => objects,
            Err(error) => {
                // The same object twice is the reader's to refuse, and nothing else here.
                prop_assert!(error.to_string().contains("the same object is in"), "{error}\n{text}");
                return Ok(());
            }
        };
        let projection = project(&Index::build(objects), &Settings::default());
        let mut uids = std::collections::HashSet::new();
        let mut keys = std::collections::HashSet::new();
        let mut owners = std::collections::HashMap::new();
        for service in &projection.services {
            prop_assert!(keys.insert(service.key()), "{text}");
            for address in &service.addresses {
                prop_assert_eq!(*owners.entry(address.net).or_insert(&service.name), &service.name, "{} {}", address.net, text);
            }
        }
        for workload in &projection.workloads {
            prop_assert!(uids.insert(&workload.uid), "{} {text}", workload.uid);
            prop_assert!(workload.services.iter().all(|m| keys.contains(&m.service)), "{text}");
            prop_assert!(workload.services.iter().flat_map(|m| &m.ports).all(|(from, to)| *from > 0 && *to > 0), "{text}");
        }
        for hostname in projection.services.iter().map(|s| &s.hostname) {
            let canonical = projection.services.iter().filter(|s| s.hostname == *hostname && s.canonical).count();
            prop_assert_eq!(canonical, 1);
        }
        for status in &projection.statuses {
            prop_assert!(!status.message.chars().any(char::is_control));
        }
    }
}
