use std::time::Duration;

use super::allocate::Allocator;
use super::protocol;
use crate::control::index::Index;
use crate::control::manifests;
use crate::control::project::{Level, Projection, Settings, project};
use crate::model::service::{Affinity, AppProtocol, Balancing, IpFamilies, Mode, Scope, Service, Visibility};

fn projected(text: &str) -> Projection {
    let objects =
        manifests::parse(&[("a.yaml".into(), text.as_bytes().to_vec())]).unwrap_or_else(|e| panic!("{e}\n{text}"));
    project(&Index::build(objects), &Settings::default())
}

/// A Service `d/<name>`.
fn service(name: &str, spec: &str) -> String {
    format!("---\napiVersion: v1\nkind: Service\nmetadata: {{name: {name}, namespace: d}}\nspec: {{{spec}}}\n")
}

/// A ServiceEntry; `meta` is added to its metadata.
fn entry(namespace: &str, name: &str, meta: &str, spec: &str) -> String {
    format!(
        "---\napiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {{name: {name}, namespace: {namespace}{meta}}}\nspec: {{{spec}}}\n"
    )
}

fn found<'a>(projection: &'a Projection, key: &str) -> &'a Service {
    projection.services.iter().find(|s| s.key().to_string() == key).unwrap_or_else(|| panic!("no {key}"))
}

fn addresses(service: &Service) -> Vec<String> {
    service.addresses.iter().map(|a| a.ip().map_or_else(|| a.net.to_string(), |ip| ip.to_string())).collect()
}

/// What is said besides the policies' statuses.
fn told(projection: &Projection) -> Vec<String> {
    projection.statuses.iter().map(ToString::to_string).collect()
}

#[track_caller]
fn check_told(text: &str, wanted: &[&str]) {
    let told = told(&projected(text));
    assert_eq!(told.len(), wanted.len(), "{told:#?}");
    for (told, wanted) in told.iter().zip(wanted) {
        assert!(told.contains(wanted) && told.lines().count() == 1, "{wanted}\n{told}");
    }
}

#[test]
fn application_protocols() {
    use AppProtocol::{Grpc, Http2, Http11, Tcp, Tls, Unknown};
    for (app_protocol, name, port, wanted) in [
        ("", "http", 80, Http11),
        ("", "http-metrics", 80, Http11),
        ("", "HTTP2-x", 80, Http2),
        ("", "grpc", 80, Grpc),
        ("", "grpc-web", 80, Unknown),
        ("", "grpc-web-x", 3306, Unknown),
        ("", "tcp-x", 80, Tcp),
        ("", "tls", 80, Tls),
        ("", "https-x", 80, Tls),
        ("", "web", 80, Unknown),
        ("", "", 25, Tcp),
        ("", "dns", 53, Tcp),
        ("", "mysql", 3306, Unknown),
        ("", "http", 27017, Http11),
        ("kubernetes.io/h2c", "tcp", 80, Http2),
        ("kubernetes.io/ws", "tcp", 80, Http11),
        ("kubernetes.io/wss", "tcp", 80, Tls),
        ("grpc", "http", 80, Grpc),
        ("example.com/mine", "http", 80, Unknown),
        ("redis", "http", 80, Unknown),
    ] {
        let found = protocol::of_port(Some(app_protocol), Some(name), port);
        assert_eq!(found, wanted, "{app_protocol} {name} {port}");
    }
    assert_eq!(protocol::of_port(None, None, 80), Unknown);
}

#[test]
fn addresses_ports_and_families_of_a_service() {
    let projection = projected(
        &(service(
            "a",
            "clusterIP: 10.96.0.1, clusterIPs: ['fd00::1', 10.96.0.1, '::ffff:10.96.0.1'], ipFamilies: [IPv6, IPv4], \
                        ports: [{port: 80, name: http, targetPort: web}, {port: 53, protocol: UDP}, {port: 81, appProtocol: kubernetes.io/h2c}]",
        ) + &service("b", "clusterIP: None, ipFamilies: [IPv4]")
            + &service("c", "clusterIPs: [''], ipFamilies: [IPv6]")
            + &service("d", "type: ExternalName, externalName: x.com")),
    );
    let a = found(&projection, "d/a.d.svc.cluster.local");
    assert_eq!(addresses(a), ["fd00::1", "10.96.0.1"]);
    let ports: Vec<_> = a.ports.iter().map(|p| (p.port, p.target, p.protocol)).collect();
    assert_eq!(ports, [(80, 0, AppProtocol::Http11), (81, 81, AppProtocol::Http2)]);
    assert_eq!((a.families, a.canonical, a.visibility), (IpFamilies::Dual, true, Visibility::Public));
    let others = ["b", "c"].map(|name| found(&projection, &format!("d/{name}.d.svc.cluster.local")));
    assert_eq!(others.map(|s| (s.addresses.len(), s.families)), [(0, IpFamilies::Ipv4Only), (0, IpFamilies::Ipv6Only)]);
    assert_eq!((projection.services.len(), told(&projection)), (3, Vec::<String>::new()));
}

#[test]
fn balancing_of_a_service() {
    const ZONE: [Scope; 3] = [Scope::Network, Scope::Region, Scope::Zone];
    const NODE: [Scope; 5] = [Scope::Network, Scope::Region, Scope::Zone, Scope::Subzone, Scope::Node];
    let annotation = |value: &str| format!("annotations: {{networking.istio.io/traffic-distribution: {value}}}");
    let check = |namespace: &str, own: &str, spec: &str, mode: Mode, preference: &[Scope]| {
        let projection = projected(&format!(
            "apiVersion: v1\nkind: Namespace\nmetadata: {{name: d, {namespace}}}\n---\n\
             apiVersion: v1\nkind: Service\nmetadata: {{name: a, namespace: d, {own}}}\nspec: {{{spec}}}\n"
        ));
        let wanted = Balancing { mode, preference: preference.to_vec(), ..Balancing::default() };
        assert_eq!(projection.services[0].balancing, wanted, "{namespace} {own} {spec}");
    };
    check("", "", "", Mode::Any, &[]);
    check("", "", "internalTrafficPolicy: Cluster", Mode::Any, &[]);
    check("", "", "internalTrafficPolicy: Local, trafficDistribution: PreferClose", Mode::Strict, &[Scope::Node]);
    check("", "", "trafficDistribution: PreferClose", Mode::Failover, &ZONE);
    check("", "", "trafficDistribution: PreferSameZone", Mode::Failover, &ZONE);
    check("", "", "trafficDistribution: PreferSameNode", Mode::Failover, &NODE);
    check("", &annotation("prefersamenode"), "", Mode::Failover, &NODE);
    check(&annotation("PREFERCLOSE"), "", "", Mode::Failover, &ZONE);
    check(&annotation("PreferClose"), &annotation("PreferSameNode"), "", Mode::Failover, &NODE);
    check(&annotation("PreferClose"), &annotation("none"), "", Mode::Any, &[]);
    check(
        &annotation("PreferClose"),
        &annotation("PreferClose"),
        "trafficDistribution: PreferSameNode",
        Mode::Failover,
        &NODE,
    );

    let projection = projected(
        &(service("a", "publishNotReadyAddresses: true, sessionAffinity: ClientIP")
            + &service("b", "sessionAffinity: ClientIP, sessionAffinityConfig: {clientIP: {timeoutSeconds: 5}}")
            + &service("c", "sessionAffinity: None, sessionAffinityConfig: {clientIP: {timeoutSeconds: 5}}")),
    );
    let balancing: Vec<_> =
        projection.services.iter().map(|s| (s.balancing.accept_unhealthy, s.balancing.affinity)).collect();
    let affinity = |seconds| Some(Affinity { timeout: Duration::from_secs(seconds) });
    assert_eq!(balancing, [(true, affinity(10_800)), (false, affinity(5)), (false, None)]);
}

#[test]
fn bad_services_lose_what_is_bad() {
    let text = service(
        "a",
        "ports: [{port: 80}, {port: 80, targetPort: 81}, {port: 0}, {port: 82, targetPort: 0}, {port: 83}]",
    ) + &service("b", "internalTrafficPolicy: local, trafficDistribution: Near")
        + &service("c", "sessionAffinity: Cookie")
        + &service("e", "sessionAffinity: ClientIP, sessionAffinityConfig: {clientIP: {timeoutSeconds: 0}}");
    let projection = projected(&text);
    let ports: Vec<_> = projection.services[0].ports.iter().map(|p| (p.port, p.target)).collect();
    assert_eq!((ports, projection.services.len()), (vec![(80, 80), (83, 83)], 4));
    check_told(
        &text,
        &[
            "Service d/a: warning: spec.ports[1]: 80 stands twice and the first counts; remove one of the two",
            "spec.ports[2]: 0 is not a port",
            "spec.ports[3]: 0 is not a port",
            "Service d/b: warning: spec.internalTrafficPolicy: `local` is not known",
            "spec.trafficDistribution: `Near` is not known",
            "spec.sessionAffinity: `Cookie` is not known",
            "timeoutSeconds: 0 is out of bounds and 10800 counts",
        ],
    );
}

#[test]
fn a_service_entry_has_a_service_for_each_host() {
    let projection = projected(
        &(entry(
            "d",
            "a",
            "",
            "hosts: [B.com, a.com], addresses: [10.1.2.3, 10.9.9.9/8, 'fd00::/64', '::ffff:10.1.2.3'], resolution: STATIC, \
                 ports: [{number: 80, name: http, protocol: HTTP}, {number: 443, protocol: HTTPS, targetPort: 8443}, {number: 5, protocol: UDP}, \
                 {number: 27017, protocol: MONGO, targetPort: 0}], endpoints: [{address: 10.0.0.1}], \
                 subjectAltNames: ['spiffe://cluster.local/ns/x/sa/y']",
        ) + &entry("d", "none", "", "hosts: [none.com], addresses: [10.2.0.1]")
            + &entry(
                "d",
                "near",
                ", annotations: {networking.istio.io/traffic-distribution: PreferClose}",
                "hosts: [near.com], addresses: [10.3.0.1], resolution: DNS",
            )),
    );
    let names: Vec<_> = projection.services.iter().map(|s| s.key().to_string()).collect();
    assert_eq!(names, ["d/a.com", "d/b.com", "d/near.com", "d/none.com"]);
    for service in &projection.services[..2] {
        assert_eq!(addresses(service), ["10.0.0.0/8", "10.1.2.3", "fd00::/64"]);
        let ports: Vec<_> = service.ports.iter().map(|p| (p.port, p.target, p.protocol)).collect();
        let wanted =
            [(80, 80, AppProtocol::Http11), (443, 8443, AppProtocol::Tls), (27017, 27017, AppProtocol::Unknown)];
        assert_eq!((ports.as_slice(), &*service.name, service.canonical), (&wanted[..], "a", true));
        assert_eq!(service.subject_alt_names[0].to_string(), "spiffe://cluster.local/ns/x/sa/y");
        assert_eq!((service.families, service.visibility), (IpFamilies::Automatic, Visibility::Public));
    }
    let modes: Vec<_> = projection.services.iter().map(|s| (s.balancing.mode, s.balancing.accept_unhealthy)).collect();
    let any = (Mode::Any, false);
    assert_eq!(modes, [any, any, (Mode::Failover, false), (Mode::Passthrough, true)]);
    assert_eq!(told(&projection), Vec::<String>::new());
}

#[test]
fn bad_service_entries_lose_what_is_bad() {
    let good = "addresses: [10.1.0.1], resolution: DNS";
    for (spec, wanted) in [
        (
            "hosts: [a_b.com], addresses: [10.1.0.1]",
            &["spec.hosts[0]: `a_b.com` is not a host name", "names no host"][..],
        ),
        (
            &format!("hosts: ['a.com', 'b..com', '*', A.com], {good}"),
            &["spec.hosts[1]", "spec.hosts[2]: `*`", "`a.com` stands twice"],
        ),
        (&format!("hosts: [10.0.0.1, x.com], {good}"), &["is an address and no host name; write it in spec.addresses"]),
        (&format!("hosts: [], {good}"), &["names no host, so nothing is made of it"]),
        (
            "hosts: [a.com], resolution: DNS, addresses: [10.0.0.1, 10.0.0.0/33]",
            &["spec.addresses[1]: `10.0.0.0/33` is neither"],
        ),
        (
            &format!(
                "hosts: [a.com], {good}, ports: [{{number: 0}}, {{number: 70000}}, {{number: 1, targetPort: 65536}}, {{number: 2}}, {{number: 2}}]"
            ),
            &[
                "spec.ports[0]: 0 is not a port",
                "spec.ports[1]: 70000",
                "spec.ports[2]: 65536",
                "spec.ports[4]: 2 stands twice",
            ],
        ),
        (
            &format!("hosts: [a.com], {good}, subjectAltNames: [a.com]"),
            &["spec.subjectAltNames[0]: `a.com` is not a workload's identity"],
        ),
        (&format!("hosts: [a.com], {good}, exportTo: ['.']"), &["spec.exportTo is not read"]),
        (&format!("hosts: [a.com], {good}, workloadSelector: {{}}"), &["has no labels and selects nothing"]),
        ("hosts: [a.com], resolution: STATIC, addresses: [10.1.0.1]", &["it has no endpoint to go to"]),
        ("hosts: [a.com], addresses: [10.1.0.1], endpoints: [{address: 10.0.0.1}]", &["resolution NONE goes where"]),
        (
            &format!(
                "hosts: [a.com], {good}, workloadSelector: {{labels: {{a: b}}}}, endpoints: [{{address: 10.0.0.1}}]"
            ),
            &["spec.endpoints does not count beside spec.workloadSelector"],
        ),
        (
            "hosts: ['*.a.com'], resolution: DNS",
            &["`*.a.com` has no address, because no address is given to a wildcard", "cannot be looked up"],
        ),
        ("hosts: ['*.a.com'], resolution: STATIC, addresses: [10.1.0.1], endpoints: [{address: 10.0.0.1}]", &[]),
        ("hosts: [a.com]", &["because resolution is NONE"]),
        ("hosts: [a.com], resolution: DYNAMIC_DNS, addresses: [10.1.0.1]", &["is a waypoint's work"]),
        (
            "hosts: [a.com], addresses: [10.1.0.1], resolution: STATIC, endpoints: [{address: ''}, {address: 'unix:///x'}, {address: b.com}, \
          {address: 127.0.0.1}, {address: 10.0.0.1, ports: {http: 0}}, {address: 10.0.0.2, serviceAccount: 'a/b'}]",
            &[
                "spec.endpoints[0].address: is missing",
                "spec.endpoints[1].address: `unix:///x`",
                "`b.com` is a host name; write an address",
                "`127.0.0.1` cannot be",
                "spec.endpoints[4].ports[http]: 0 is not a port",
                "spec.endpoints[5].serviceAccount",
            ],
        ),
    ] {
        // Beside it stands another that loses nothing.
        let text = entry("d", "bad", "", spec)
            + &entry("d", "good", "", "hosts: [good.com], addresses: [10.7.0.1], resolution: DNS");
        check_told(&text, wanted);
        let projection = projected(&text);
        assert_eq!(addresses(found(&projection, "d/good.com")), ["10.7.0.1"], "{spec}");
        assert!(projection.workloads.iter().any(|w| &*w.hostname == "good.com"), "{spec}");
    }
    let many: Vec<_> = (0..20).map(|i| format!("{{number: {}}}", 70_000 + i)).collect();
    let told = told(&projected(&entry("d", "a", "", &format!("hosts: [a.com], {good}, ports: [{}]", many.join(", ")))));
    assert_eq!(told.len(), 9, "{told:#?}");
    assert!(told[8].contains("and 12 more"), "{}", told[8]);
}

#[test]
fn one_host_of_a_namespace_has_one_owner() {
    let at = |time: &str| format!(", creationTimestamp: '{time}'");
    let spec = |ip: &str| format!("hosts: [x.com], addresses: [{ip}], resolution: DNS");
    let kubernetes = "hosts: [s.d.svc.cluster.local, y.com], addresses: [10.5.0.1], resolution: DNS";
    let projection = projected(
        // Younger in time, older as text.
        &(entry("d", "a", &at("2026-01-01T00:30:00Z"), &spec("10.1.0.1"))
            + &entry("d", "b", &at("2026-01-01T02:00:00+02:00"), &spec("10.2.0.1"))
            + &entry("e", "c", &at("2025-01-01T00:00:00Z"), &spec("10.3.0.1"))
            + &entry("d", "k", "", kubernetes)
            + &entry("e", "k", "", kubernetes)
            + &service("s", "clusterIP: 10.4.0.1")),
    );
    let made: Vec<_> =
        projection.services.iter().map(|s| (s.key().to_string(), s.name.to_string(), s.canonical)).collect();
    let row = |key: &str, name: &str, canonical| (key.to_owned(), name.to_owned(), canonical);
    assert_eq!(
        made,
        [
            row("d/s.d.svc.cluster.local", "s", true),
            row("d/x.com", "b", false),
            row("d/y.com", "k", true),
            row("e/s.d.svc.cluster.local", "k", false),
            row("e/x.com", "c", true),
            row("e/y.com", "k", false),
        ]
    );
    assert_eq!(
        told(&projection),
        [
            "ServiceEntry d/a: warning: its host `x.com` is ServiceEntry d/b's already and nothing is made of it here; \
             remove it from one of the two",
            "ServiceEntry d/k: warning: its host `s.d.svc.cluster.local` is Service d/s's already and nothing is made of \
             it here; remove it from one of the two",
        ]
    );
    let hosts: Vec<_> = projection.workloads.iter().map(|w| w.uid.to_string()).collect();
    let uid = |rest: &str| format!("Kubernetes/networking.istio.io/ServiceEntry/{rest}");
    let wanted = ["d/b/x.com", "d/k/y.com", "e/c/x.com", "e/k/s.d.svc.cluster.local", "e/k/y.com"];
    assert_eq!(hosts, wanted.map(uid));
}

#[test]
fn an_address_that_two_claim() {
    let aged = |name: &str, time: &str, spec: &str| {
        service(name, spec).replace("namespace: d", &format!("namespace: d, creationTimestamp: '{time}'"))
    };
    let dns =
        |ip: &str, host: &str| format!("hosts: [{host}, www.{host}], addresses: [{ip}, 10.8.0.0/16], resolution: DNS");
    let projection = projected(
        &(aged("a", "2026-02-01T00:00:00Z", "clusterIPs: [10.0.0.1, 10.0.0.2]")
            + &aged("b", "2026-01-01T00:00:00Z", "clusterIPs: [10.0.0.1]")
            + &service("c", "clusterIP: 10.0.0.3")
            + &service("d", "clusterIP: 10.0.0.3")
            + &entry("d", "e", ", creationTimestamp: '2000-01-01T00:00:00Z'", &dns("10.0.0.2", "e.com"))
            + &entry("d", "f", "", &dns("10.0.0.4", "f.com"))
            + &entry("e", "g", "", &dns("10.0.0.4", "g.com"))),
    );
    let wanted = [
        ("d/a.d.svc.cluster.local", vec!["10.0.0.2"]),
        ("d/b.d.svc.cluster.local", vec!["10.0.0.1"]),
        ("d/c.d.svc.cluster.local", vec!["10.0.0.3"]),
        ("d/d.d.svc.cluster.local", vec![]),
        ("d/e.com", vec![]),
        ("d/f.com", vec!["10.0.0.4", "10.8.0.0/16"]),
        ("d/www.f.com", vec!["10.0.0.4", "10.8.0.0/16"]),
        ("e/g.com", vec!["10.0.0.4", "10.8.0.0/16"]),
    ];
    for (key, ips) in wanted {
        assert_eq!(addresses(found(&projection, key)), ips, "{key}");
    }
    let told = told(&projection);
    let mend = "already and does not count here; give one of the two another";
    assert_eq!(told[0], format!("Service d/a: warning: the address 10.0.0.1 is Service d/b's {mend}"));
    assert_eq!(told[1], format!("Service d/d: warning: the address 10.0.0.3 is Service d/c's {mend}"));
    assert!(
        told[2..].contains(&format!("ServiceEntry d/e: warning: the address 10.0.0.2 is Service d/a's {mend}")),
        "{told:#?}"
    );
    assert!(
        told[2..].contains(&format!("ServiceEntry d/e: warning: the address 10.8.0.0/16 is ServiceEntry d/f's {mend}")),
        "{told:#?}"
    );
    assert_eq!(told.len(), 6, "{told:#?}");
}

#[test]
fn addresses_are_given_to_hosts_that_have_none() {
    let dns = |host: &str| format!("hosts: [{host}], resolution: DNS");
    let text = entry("d", "a", "", &dns("a.com")) + &entry("e", "a", "", &dns("a.com"));
    let projection = projected(&text);
    // A fixed function: nodes of every version give the same.
    assert_eq!(addresses(found(&projection, "d/a.com")), ["240.240.161.17", "2001:2::a111"]);
    assert_eq!(addresses(found(&projection, "e/a.com")), ["240.240.96.175", "2001:2::60af"]);
    check_told(
        &text,
        &["ServiceEntry d/a: ok: `a.com` was given 240.240.161.17 and 2001:2::a111", "ServiceEntry e/a: ok"],
    );

    let none = [
        entry("d", "a", ", labels: {networking.istio.io/enable-autoallocate-ip: 'false'}", &dns("a.com")),
        entry("d", "a", "", "hosts: [a.com]"),
        entry("d", "a", "", "hosts: ['*.a.com'], resolution: DYNAMIC_DNS"),
        entry("d", "a", "", "hosts: [a.com], resolution: DNS, addresses: [x]"),
    ];
    for text in none {
        let projection = projected(&text);
        assert!(
            projection.services[0].addresses.is_empty() && projection.statuses[0].level == Level::Warning,
            "{text}"
        );
    }
    let status = "status: {addresses: [{value: 240.240.0.7, host: a.com}, {value: '2001:2::7'}, {value: 240.240.0.8, host: b.com}]}\n";
    let written = entry("d", "a", "", "hosts: [a.com, b.com, c.com], resolution: DNS")
        .replace("spec:", &format!("{status}spec:"));
    let projection = projected(&written);
    assert_eq!(addresses(found(&projection, "d/a.com")), ["240.240.0.7", "2001:2::7"]);
    assert_eq!(addresses(found(&projection, "d/b.com")), ["240.240.0.8", "2001:2::7"]);
    assert_eq!(addresses(found(&projection, "d/c.com")), ["2001:2::7"]);
}

#[test]
fn newcomers_move_nobody_and_every_address_is_given_once() {
    let mut alone = Allocator::default();
    let first = alone.allocate("d", "a.com").unwrap();
    let mut crowded = Allocator::default();
    crowded.reserve(first[0]);
    let second = crowded.allocate("d", "a.com").unwrap();
    assert_ne!(first, second);
    let mut taken = Allocator::default();
    taken.reserve(first[1]);
    assert_eq!(taken.allocate("d", "a.com"), Some(second), "a place is taken by either family");

    let mut all = Allocator::default();
    let mut seen = std::collections::HashSet::new();
    for i in 0..65_534 {
        let [v4, v6] = all.allocate("d", &i.to_string()).unwrap();
        assert!(seen.insert(v4) && seen.insert(v6));
        assert!(v4.to_string().starts_with("240.240.") && v6.to_string().starts_with("2001:2::"), "{v4} {v6}");
    }
    for never in ["240.240.0.0", "240.240.255.255"] {
        assert!(!seen.contains(&never.parse().unwrap()));
    }
    assert_eq!(all.allocate("d", "one.more"), None);
}
