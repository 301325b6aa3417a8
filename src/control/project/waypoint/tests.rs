use super::super::{Level, Projection, Reason, Settings, project};
use crate::control::index::Index;
use crate::control::manifests;
use crate::model::workload::Tunnel;

pub(super) fn projected(text: &str) -> Projection {
    let objects =
        manifests::parse(&[("a.yaml".into(), text.as_bytes().to_vec())]).unwrap_or_else(|e| panic!("{e}\n{text}"));
    project(&Index::build(objects), &Settings::default())
}

pub(super) fn namespace(name: &str, labels: &str) -> String {
    format!("---\napiVersion: v1\nkind: Namespace\nmetadata: {{name: {name}, labels: {{{labels}}}}}\n")
}

/// A healthy pod of the mesh in namespace `d`, with its own service account.
pub(super) fn pod(name: &str, last: u8, labels: &str) -> String {
    let mode = if labels.contains("dataplane-mode") { "" } else { "istio.io/dataplane-mode: ambient, " };
    format!(
        "---\napiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, namespace: d, labels: {{{mode}{labels}}}}}\n\
         spec: {{serviceAccountName: {name}}}\n\
         status: {{podIP: 10.0.0.{last}, conditions: [{{type: Ready, status: 'True'}}]}}\n"
    )
}

/// A Service of namespace `d` in front of pods with the label `app: <name>`.
pub(super) fn service(name: &str, labels: &str) -> String {
    format!(
        "---\napiVersion: v1\nkind: Service\nmetadata: {{name: {name}, namespace: d, labels: {{{labels}}}}}\n\
         spec: {{clusterIP: None, selector: {{app: {name}}}, ports: [{{port: 80}}]}}\n"
    )
}

const LISTENER: &str = "{name: mesh, port: 15008, protocol: HBONE}";

/// A Gateway: `namespace/name`, labels, and its spec after the class.
pub(super) fn gateway(key: &str, labels: &str, class: &str, spec: &str) -> String {
    let (namespace, name) = key.split_once('/').unwrap();
    format!(
        "---\napiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\n\
         metadata: {{name: {name}, namespace: {namespace}, labels: {{{labels}}}}}\nspec: {{gatewayClassName: {class}, {spec}}}\n"
    )
}

/// A waypoint of namespace `d` with a Service of its own and one pod, as a person would deploy it.
pub(super) fn waypoint(name: &str, last: u8, labels: &str) -> String {
    gateway(&format!("d/{name}"), labels, "istio-waypoint", &format!("listeners: [{LISTENER}]"))
        + &own(name, "15008")
        + &pod(name, last, &instance(name))
}

pub(super) fn own(name: &str, port: &str) -> String {
    format!(
        "---\napiVersion: v1\nkind: Service\nmetadata: {{name: {name}, namespace: d}}\n\
         spec: {{clusterIP: None, selector: {{gateway.networking.k8s.io/gateway-name: {name}}}, ports: [{{port: {port}}}]}}\n"
    )
}

pub(super) fn instance(name: &str) -> String {
    format!("gateway.networking.k8s.io/gateway-name: {name}, istio.io/dataplane-mode: none")
}

fn short(address: &impl ToString) -> String {
    address.to_string().replace(".svc.cluster.local:15008", "")
}

/// Who goes where, and every status about it that is not `Accepted`.
pub(super) fn facts(projection: &Projection) -> Vec<String> {
    let mut facts = Vec::new();
    for service in &projection.services {
        if let Some(waypoint) = &service.waypoint {
            let weights = service.weighted_waypoints.iter().map(|(to, weight)| format!(", {weight} {}", short(to)));
            let ingress = if service.ingress_use_waypoint { ", ingress" } else { "" };
            facts.push(format!("svc {} > {}{}{ingress}", service.name, short(waypoint), weights.collect::<String>()));
        }
    }
    for workload in &projection.workloads {
        if let Some(waypoint) = &workload.waypoint {
            facts.push(format!("pod {} > {}", workload.name, short(waypoint)));
        }
    }
    let about = projection.statuses.iter().filter(|s| s.reason != Reason::Accepted);
    facts.extend(about.map(|s| {
        let mark = ["", "! ", "!! "][usize::from(s.level > Level::Info) + usize::from(s.level > Level::Warning)];
        format!("{mark}{} {} {}", s.kind, s.key, s.reason.as_str())
    }));
    facts
}

#[track_caller]
fn check(text: &str, wanted: &[&str]) -> Projection {
    let projection = projected(text);
    assert_eq!(facts(&projection), wanted, "{text}\n{:#?}", projection.statuses);
    projection
}

#[track_caller]
pub(super) fn says(projection: &Projection, kind: &str, part: &str) {
    let said: Vec<_> = projection.statuses.iter().filter(|s| s.kind == kind).map(ToString::to_string).collect();
    assert!(said.iter().any(|text| text.contains(part)), "no {part:?} in {said:#?}");
}

pub(super) const USE: &str = "istio.io/use-waypoint: wp";

#[test]
fn where_a_waypoint_is() {
    let user = service("s", USE);
    let hbone = format!("listeners: [{LISTENER}]");
    let with = |class: &str, spec: &str, rest: &str| gateway("d/wp", "", class, spec) + rest + &user;
    let status = |list: &str| format!("status: {{addresses: [{list}]}}\n");
    let ip = "{type: IPAddress, value: 10.1.1.1}";
    let rows: &[(&str, String, &str)] = &[
        (
            "status, host name first",
            with("x", "", &status(&format!("{ip}, {{type: Hostname, value: w.d.svc}}"))),
            "d/w.d.svc:15008",
        ),
        ("status, address", with("x", "", &status(ip)), "10.1.1.1:15008"),
        ("status, IPv4 in IPv6", with("x", "", &status("{value: '::ffff:10.1.1.1'}")), "10.1.1.1:15008"),
        ("status, nothing that can be read", with("x", "", &status("{value: x}")), ""),
        ("status, loopback", with("x", "", &status("{value: 127.0.0.1}")), ""),
        (
            "status before spec",
            with("x", &format!("{hbone}, addresses: [{{value: 10.2.2.2}}]"), &status(ip)),
            "10.1.1.1:15008",
        ),
        ("spec", with("x", &format!("{hbone}, addresses: [{ip}]"), ""), "10.1.1.1:15008"),
        (
            "spec before Service",
            with("x", &format!("{hbone}, addresses: [{ip}]"), &own("wp", "15008")),
            "10.1.1.1:15008",
        ),
        ("Service", with("x", &hbone, &own("wp", "15008")), "d/wp.d"),
        ("Service before pod", with("x", &hbone, &(own("wp", "15008") + &pod("wp", 9, &instance("wp")))), "d/wp.d"),
        ("Service without the port", with("x", &hbone, &own("wp", "80")), ""),
        ("Service with the port for UDP", with("x", &hbone, &own("wp", "15008, protocol: UDP")), ""),
        ("pod", with("x", &hbone, &pod("wp", 9, &instance("wp"))), "10.0.0.9:15008"),
        (
            "healthy pod",
            with(
                "x",
                &hbone,
                &(pod("a", 8, &instance("wp")).replace("'True'", "'False'") + &pod("b", 9, &instance("wp"))),
            ),
            "10.0.0.9:15008",
        ),
        ("nothing", with("x", &hbone, ""), ""),
        (
            "another class without a listener for HBONE",
            with("x", "listeners: [{port: 80, protocol: HTTP}]", &own("wp", "15008")),
            "",
        ),
        ("Istio's class without a listener", with("istio-waypoint", "", &status(ip)), ""),
        (
            "Istio's class, another port",
            with("istio-waypoint", "listeners: [{port: 15009, protocol: HBONE}]", &own("wp", "15008")),
            "",
        ),
        (
            "Istio's class, another protocol",
            with("istio-waypoint", "listeners: [{port: 15008, protocol: TCP}]", &own("wp", "15008")),
            "",
        ),
        ("Istio's class", with("istio-waypoint", &hbone, &own("wp", "15008")), "d/wp.d"),
    ];
    for (what, text, wanted) in rows {
        let projection = projected(text);
        let model = projection.services.iter().find(|service| &*service.name == "s").unwrap();
        let found = short(model.waypoint.as_ref().unwrap());
        let told = projection.statuses.iter().find(|s| s.kind == "Service").unwrap();
        // A name with an underscore: nothing has it, so callers find no road.
        let unusable = found == "d/unusable_wp.d";
        assert_eq!(if unusable { "" } else { &found }, *wanted, "{what}");
        let reason = if unusable { Reason::WaypointIsNotReady } else { Reason::WaypointAccepted };
        assert_eq!((told.reason, told.level > Level::Info), (reason, unusable), "{what}: {told}");
    }
}

#[test]
fn what_a_broken_gateway_says() {
    let rows = [
        (gateway("d/wp", "", "istio-waypoint", ""), "protocol HBONE on port 15008, and it has none; who names it"),
        (
            gateway("d/wp", "", "istio-waypoint", "listeners: [{name: m, port: 80, protocol: TCP}]"),
            "it has TCP m on port 80",
        ),
        (
            gateway("d/wp", "", "x", &format!("listeners: [{LISTENER}]")),
            "give it spec.addresses, a Service d/wp or a pod",
        ),
        (waypoint("wp", 9, "istio.io/waypoint-for: servce"), "is `servce`, and not service, workload, all or none"),
        (waypoint("wp", 9, USE), "a waypoint has none of its own"),
        (waypoint("wp", 9, "").replace("'True'", "'False'"), "no healthy pod has the label"),
        (waypoint("wp", 9, "").replace("mode: none", "mode: ambient"), "its pod d/wp is enrolled"),
        (
            waypoint("wp", 9, "")
                .replace("protocol: HBONE", "protocol: HBONE, allowedRoutes: {namespaces: {from: all}}"),
            "from is `all`",
        ),
        (
            waypoint("wp", 9, "")
                .replace("protocol: HBONE", "protocol: HBONE, allowedRoutes: {namespaces: {from: Selector}}"),
            "has no selector",
        ),
    ];
    for (text, part) in rows {
        says(&projected(&text), "Gateway", part);
    }
    // Of Gateways that are none of ours nothing is said.
    let ingress = gateway("d/web", "", "nginx", "listeners: [{port: 80, protocol: HTTP}]");
    assert_eq!(projected(&ingress).statuses, []);
}

#[test]
fn who_is_bound() {
    let wp = waypoint("wp", 9, "istio.io/waypoint-for: all");
    let ns = |labels: &str| namespace("d", labels);
    let both = |labels: &str| service("s", labels) + &pod("a", 1, labels);
    let bound = ["svc s > d/wp.d", "pod a > d/wp.d"];
    let accepted = |first: &[&'static str], rest: &[&'static str]| [first, rest].concat();
    // The object, its namespace, neither, and `none`.
    check(&(wp.clone() + &both(USE)), &accepted(&bound, &["Pod d/a WaypointAccepted", "Service d/s WaypointAccepted"]));
    check(
        &(wp.clone() + &both("") + &ns(USE)),
        &accepted(&bound, &["Namespace d WaypointAccepted", "Service d/s WaypointAccepted"]),
    );
    check(&(wp.clone() + &both("")), &[]);
    check(&(wp.clone() + &both("istio.io/use-waypoint: none") + &ns(USE)), &["Namespace d WaypointAccepted"]);
    check(&(wp.clone() + &both("") + &ns("istio.io/use-waypoint: none")), &[]);
    // A name of the object that cannot be used does not fall back to the namespace's.
    let projection = check(
        &(wp.clone() + &both("istio.io/use-waypoint: gone") + &ns(USE)),
        &[
            "svc s > d/unusable_gone.d",
            "pod a > d/unusable_gone.d",
            "Namespace d WaypointAccepted",
            "! Pod d/a WaypointIsNotReady",
            "! Service d/s WaypointIsNotReady",
        ],
    );
    says(&projection, "Pod", "there is no Gateway d/gone; calls through it are refused until then, and never go round");
    // A namespace's is told of the namespace and of its Services, and not of each pod.
    check(
        &(both("") + &ns("istio.io/use-waypoint: gone")),
        &[
            "svc s > d/unusable_gone.d",
            "pod a > d/unusable_gone.d",
            "! Namespace d WaypointIsNotReady",
            "! Service d/s WaypointIsNotReady",
        ],
    );
    // An empty name was meant to be one.
    check(&service("s", "istio.io/use-waypoint: ''"), &["svc s > d/unusable_.d", "! Service d/s WaypointIsNotReady"]);
    check(&service("s", "istio.io/use-waypoint-namespace: d"), &[]);
}

#[test]
fn what_a_waypoint_is_for() {
    let own = |labels: &str| service("s", labels) + &pod("a", 1, labels);
    let no = "UnsupportedTrafficType";
    // Value of the label, then service and workload that name it, then those that inherit it: yes, no answer, refused.
    let rows = [
        ("", [Some(true), Some(false)], [Some(true), None]),
        ("istio.io/waypoint-for: service", [Some(true), Some(false)], [Some(true), None]),
        ("istio.io/waypoint-for: workload", [Some(false), Some(true)], [None, Some(true)]),
        ("istio.io/waypoint-for: all", [Some(true), Some(true)], [Some(true), Some(true)]),
        ("istio.io/waypoint-for: none", [Some(false), Some(false)], [Some(false), Some(false)]),
        ("istio.io/waypoint-for: other", [Some(false), Some(false)], [Some(false), Some(false)]),
    ];
    for (label, named, inherited) in rows {
        for (text, wanted) in [(own(USE), named), (own("") + &namespace("d", USE), inherited)] {
            let projection = projected(&(waypoint("wp", 9, label) + &text));
            let of = |waypoint: &Option<_>| waypoint.as_ref().map(|address| short(address) == "d/wp.d");
            let service = projection.services.iter().find(|s| &*s.name == "s").unwrap();
            let pod = projection.workloads.iter().find(|w| &*w.name == "a").unwrap();
            assert_eq!([of(&service.waypoint), of(&pod.waypoint)], wanted, "{label} {text}");
            let refused = projection.statuses.iter().any(|s| s.reason.as_str() == no);
            assert_eq!(refused, wanted.contains(&Some(false)), "{label} {text}");
        }
    }
    // The Gateway's word beats its class's.
    let class = "---\napiVersion: gateway.networking.k8s.io/v1beta1\nkind: GatewayClass\n\
                 metadata: {name: istio-waypoint, labels: {istio.io/waypoint-for: workload}}\n";
    for (label, refused) in [("", true), ("istio.io/waypoint-for: service", false)] {
        let projection = projected(&(waypoint("wp", 9, label) + class + &service("s", USE)));
        assert_eq!(facts(&projection).iter().any(|fact| fact.contains(no)), refused, "{label}");
    }
}

#[test]
fn whose_objects_a_waypoint_takes() {
    let user = |namespace: &str| {
        service("s", &format!("{USE}, istio.io/use-waypoint-namespace: d"))
            .replace("namespace: d,", &format!("namespace: {namespace},"))
    };
    // `from` and selector, then whether objects of d and of e (which has the label x: y) are taken.
    let rows = [
        ("", true, false),
        ("from: Same", true, false),
        ("from: All", true, true),
        ("from: None", false, false),
        ("from: everyone", false, false),
        ("from: Selector", false, false),
        ("from: Selector, selector: {}", true, true),
        ("from: Selector, selector: {matchLabels: {x: y}}", false, true),
        ("from: Selector, selector: {matchLabels: {kubernetes.io/metadata.name: e}}", false, true),
        ("from: Selector, selector: {matchExpressions: [{key: x, operator: DoesNotExist}]}", true, false),
        ("from: Selector, selector: {matchExpressions: [{key: x, operator: Exists}]}", false, true),
        ("from: Selector, selector: {matchExpressions: [{key: x, operator: In, values: [y]}]}", false, true),
        ("from: Selector, selector: {matchExpressions: [{key: x, operator: NotIn, values: [y]}]}", true, false),
        ("from: Selector, selector: {matchExpressions: [{key: x, operator: Near}]}", false, false),
    ];
    for (routes, own, other) in rows {
        let listener = format!("protocol: HBONE, allowedRoutes: {{namespaces: {{{routes}}}}}");
        let wp = waypoint("wp", 9, "").replace("protocol: HBONE", &listener) + &namespace("e", "x: y");
        for (name, wanted) in [("d", own), ("e", other)] {
            let projection = projected(&(wp.clone() + &user(name)));
            let told = projection.statuses.iter().find(|s| s.kind == "Service").unwrap();
            let reason = if wanted { Reason::WaypointAccepted } else { Reason::AttachmentDenied };
            assert_eq!(told.reason, reason, "{routes}: {name}: {told}");
            let service = projection.services.iter().find(|s| &*s.name == "s").unwrap();
            let to = if wanted { "d/wp.d" } else { "d/unusable_wp.d" };
            assert_eq!(short(service.waypoint.as_ref().unwrap()), to, "{routes}: {name}");
        }
    }
}

#[test]
fn canaries() {
    let both = waypoint("wp", 9, "") + &waypoint("next", 8, "");
    let text = |canary: &str, weight: &str| {
        let labels = format!("{USE}, istio.io/use-waypoint-canary: {canary}");
        let annotated = format!("annotations: {{istio.io/use-waypoint-canary-weight: '{weight}'}}, labels: {{{USE}");
        both.clone() + &service("s", &labels).replace(&format!("labels: {{{USE}"), &annotated)
    };
    let ok = "Service d/s WaypointAccepted";
    let weighted = "svc s > d/wp.d, 90 d/wp.d, 10 d/next.d";
    check(&text("next", "10"), &[weighted, ok]);
    check(&text("next", "0"), &["svc s > d/wp.d, 100 d/wp.d, 0 d/next.d", ok]);
    for (canary, weight, reason) in [
        ("next", "101", "CanaryInvalidWeight"),
        ("next", "-1", "CanaryInvalidWeight"),
        ("next", "ten", "CanaryInvalidWeight"),
        ("wp", "10", "CanarySameAsPrimary"),
        ("gone", "10", "WaypointIsNotReady"),
    ] {
        check(&text(canary, weight), &["svc s > d/wp.d", ok, &format!("! Service d/s {reason}")]);
    }
    check(&text("none", "10"), &["svc s > d/wp.d", ok]);
    // The canary is read where the primary is: the namespace's does not join an object's own primary.
    let inherited = namespace("d", "istio.io/use-waypoint-canary: next");
    check(&(both.clone() + &service("s", USE) + &inherited), &["svc s > d/wp.d", ok]);
    // Without a primary that can be used everything is refused, and the canary helps nobody.
    let gone = text("next", "10").replace(USE, "istio.io/use-waypoint: gone");
    check(&gone, &["svc s > d/unusable_gone.d", "! Service d/s WaypointIsNotReady"]);
}

#[test]
fn ingress_gateways() {
    let wp = waypoint("wp", 9, "");
    let ok = ["Namespace d WaypointAccepted", "Service d/s WaypointAccepted"];
    let (without, with) = ("svc s > d/wp.d", "svc s > d/wp.d, ingress");
    let rows = [
        ("", "", without),
        ("true", "", with),
        ("", "true", with),
        ("false", "true", without),
        ("true", "false", with),
    ];
    for (own, inherited, wanted) in rows {
        let label = |value: &str| {
            if value.is_empty() { String::new() } else { format!("istio.io/ingress-use-waypoint: '{value}'") }
        };
        let text = wp.clone() + &service("s", &label(own)) + &namespace("d", &format!("{USE}, {}", label(inherited)));
        let projection = projected(&text);
        assert_eq!(facts(&projection)[0], wanted, "{own} {inherited}");
        assert_eq!(facts(&projection).len(), 1 + ok.len());
    }
    let odd = wp.clone() + &service("s", &format!("{USE}, istio.io/ingress-use-waypoint: 'yes'"));
    check(&odd, &[without, "Service d/s WaypointAccepted", "! Service d/s Invalid"]);
    // Nothing is bound, so there is nothing to go through.
    assert_eq!(facts(&projected(&service("s", "istio.io/ingress-use-waypoint: 'true'"))), [""; 0]);
    // Refused for ingress gateways as well, and not open to them alone.
    let gone = service("s", "istio.io/use-waypoint: gone, istio.io/ingress-use-waypoint: 'true'");
    check(&gone, &["svc s > d/unusable_gone.d, ingress", "! Service d/s WaypointIsNotReady"]);
}

#[test]
fn a_waypoints_own_have_none() {
    let all = "istio.io/waypoint-for: all";
    // The namespace sends everything through it, and it is not sent to itself.
    check(&(waypoint("wp", 9, all) + &namespace("d", USE)), &["Namespace d WaypointAccepted"]);
    // Its Service may select its pods by any label: where it is, is itself.
    let by_app =
        waypoint("wp", 9, all).replace("selector: {gateway.networking.k8s.io/gateway-name: wp}", "selector: {app: wp}");
    check(&(by_app + &namespace("d", USE)), &["Namespace d WaypointAccepted"]);
    // Two that name each other.
    let use_of = |name: &str| format!(", istio.io/use-waypoint: {name}");
    let each = |name: &str, last, other: &str| {
        waypoint(name, last, all).replace("mode: none", &format!("mode: none{}", use_of(other)))
    };
    check(&(each("a", 8, "b") + &each("b", 9, "a")), &["! Pod d/a WaypointIgnored", "! Pod d/b WaypointIgnored"]);
    for labels in
        ["gateway.istio.io/managed: istio.io-mesh-controller", "gateway.istio.io/managed: istio.io-eastwest-controller"]
    {
        let text = waypoint("wp", 9, all) + &service("made", &format!("{labels}, {USE}"));
        check(&text, &["! Service d/made WaypointIgnored"]);
    }
    // The label of a Gateway that does not exist makes no waypoint of a pod.
    check(
        &(waypoint("wp", 9, all) + &pod("a", 1, &format!("gateway.networking.k8s.io/gateway-name: gone, {USE}"))),
        &["pod a > d/wp.d", "Pod d/a WaypointAccepted"],
    );
}

#[test]
fn a_label_that_is_an_annotation_does_nothing_and_says_so() {
    let moved = |text: String| text.replace("labels: {istio.io/", "annotations: {istio.io/");
    let ignored = |kind: &str| format!("!! {kind} WaypointIgnored");
    check(&moved(service("s", USE)), &[&ignored("Service d/s")]);
    check(&moved(namespace("d", USE)), &[&ignored("Namespace d")]);
    let pod =
        pod("a", 1, "").replace("namespace: d,", "namespace: d, annotations: {culvert.dev/enforce-waypoint: 'true'},");
    check(&pod, &[&ignored("Pod d/a")]);
    check(&moved(waypoint("wp", 9, "istio.io/waypoint-for: all")), &[&ignored("Gateway d/wp")]);
}

#[test]
fn how_a_waypoints_hbone_ends() {
    let speaks = "istio.io/dataplane-mode: none, networking.istio.io/tunnel: 'a, http'";
    let sandwich = |binding: &str| {
        let text = gateway("d/wp", "", "istio", "listeners: [{port: 15088, protocol: istio.io/PROXY}]");
        text.replace(
            "labels:",
            &format!("annotations: {{ambient.istio.io/waypoint-inbound-binding: {binding}}}, labels:"),
        )
    };
    let of = "gateway.networking.k8s.io/gateway-name: wp";
    let out = &instance("wp");
    let tunnel = |proxy, port| Some(crate::model::workload::ApplicationTunnel { proxy, port });
    let rows = [
        ("opted out", waypoint("wp", 9, ""), Tunnel::Hbone, true, None),
        ("enrolled", waypoint("wp", 9, "").replace("mode: none", "mode: ambient"), Tunnel::Hbone, false, None),
        ("not ready", gateway("d/wp", "", "istio-waypoint", "") + &pod("wp", 9, out), Tunnel::None, false, None),
        ("says so", pod("wp", 9, speaks), Tunnel::Hbone, true, None),
        ("says something else", pod("wp", 9, &speaks.replace("http", "https")), Tunnel::None, false, None),
        ("ingress", gateway("d/wp", "", "nginx", "") + &pod("wp", 9, out), Tunnel::None, false, None),
        ("sandwich", sandwich("PROXY/15088") + &pod("wp", 9, of), Tunnel::Hbone, false, tunnel(true, 15088)),
        ("sandwich without port", sandwich("PROXY") + &pod("wp", 9, of), Tunnel::Hbone, false, tunnel(true, 0)),
        ("no header", sandwich("NONE/80") + &pod("wp", 9, of), Tunnel::Hbone, false, tunnel(false, 80)),
        ("nothing", sandwich("NONE") + &pod("wp", 9, of), Tunnel::Hbone, false, None),
        ("another word", sandwich("HTTP/80") + &pod("wp", 9, of), Tunnel::Hbone, false, None),
        ("no port", sandwich("PROXY/http") + &pod("wp", 9, of), Tunnel::Hbone, false, None),
    ];
    for (what, text, reached, native, application) in rows {
        let projection = projected(&text);
        let workload = projection.workloads.iter().find(|w| &*w.name == "wp").unwrap();
        assert_eq!((workload.tunnel, workload.native_tunnel), (reached, native), "{what}");
        assert_eq!(workload.application_tunnel, application, "{what}");
    }
    // One that nobody captures for is found at its Service without a port of that number, and told.
    let outside = projected(&(sandwich("PROXY/15088") + &own("wp", "15088") + &pod("wp", 9, out) + &service("s", USE)));
    assert_eq!(facts(&outside)[0], "svc s > d/wp.d");
    says(&outside, "Gateway", "its pod d/wp is not enrolled, so nobody ends HBONE");
}

#[test]
fn who_judges_a_policy_with_targets() {
    let policy = |refs: &str| {
        format!(
            "---\napiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {{name: p, namespace: d}}\n\
             spec: {{action: DENY, targetRefs: [{refs}], rules: [{{to: [{{operation: {{methods: [GET]}}}}]}}]}}\n"
        )
    };
    let gateways = "gateway.networking.k8s.io";
    let target = |group: &str, kind: &str, name: &str| format!("{{group: '{group}', kind: {kind}, name: {name}}}");
    let mesh = waypoint("wp", 9, "")
        + &service("bound", USE)
        + &service("free", "")
        + &service("lost", "istio.io/use-waypoint: gone")
        + &gateway("d/broken", "", "istio-waypoint", "");
    let gateway = |name: &str| target(gateways, "Gateway", name);
    let svc = |name: &str| target("", "Service", name);
    let ok = (Level::Info, Reason::WaypointAccepted);
    let not = |reason| (Level::NotEnforced, reason);
    let rows = [
        (gateway("wp"), ok, "judged by the waypoint d/wp, and not at L4"),
        (gateway("gone"), not(Reason::TargetNotFound), "nobody judges it: there is no Gateway d/gone"),
        (gateway("broken"), not(Reason::AncestorNotBound), "no waypoint that is ready: class istio-waypoint needs"),
        (svc("bound"), ok, "judged by the waypoint d/wp"),
        (target("core", "Service", "bound"), ok, "judged by the waypoint d/wp"),
        (svc("free"), not(Reason::AncestorNotBound), "nobody judges it: Service d/free has no waypoint"),
        (
            svc("lost"),
            not(Reason::AncestorNotBound),
            "refused until its waypoint is mended: there is no Gateway d/gone",
        ),
        (svc("gone"), not(Reason::TargetNotFound), "there is no Service d/gone"),
        (
            target("networking.istio.io", "ServiceEntry", "x"),
            not(Reason::TargetNotFound),
            "there is no ServiceEntry d/x",
        ),
        ("{kind: Service, name: bound, namespace: e}".to_owned(), not(Reason::Invalid), "of another namespace"),
        (target("apps", "Deployment", "x"), not(Reason::Invalid), "`Deployment` of group `apps` is no target"),
        (target("", "Gateway", "wp"), not(Reason::Invalid), "`Gateway` of group `` is no target"),
        (target(gateways, "GatewayClass", "istio-waypoint"), not(Reason::Invalid), "in namespace istio-system only"),
        (svc("bound") + ", " + &gateway("wp"), ok, "judged by the waypoint d/wp and the waypoint d/wp"),
        (svc("bound") + ", " + &svc("free"), not(Reason::PartiallyInvalid), "by nobody elsewhere: Service d/free"),
        (svc("gone") + ", " + &svc("free"), not(Reason::Invalid), "there is no Service d/gone; Service d/free has"),
    ];
    for (refs, wanted, part) in rows {
        let projection = projected(&(mesh.clone() + &policy(&refs)));
        let told: Vec<_> = projection.statuses.iter().filter(|s| s.kind == "AuthorizationPolicy").collect();
        assert_eq!(told.len(), 1, "{refs}: {told:?}");
        assert_eq!((told[0].level, told[0].reason), wanted, "{refs}: {}", told[0]);
        says(&projection, "AuthorizationPolicy", part);
        assert_eq!(projection.policies, [], "{refs}");
    }
    let class =
        |name: &str| policy(&target(gateways, "GatewayClass", name)).replace("namespace: d", "namespace: istio-system");
    let declared = "---\napiVersion: gateway.networking.k8s.io/v1\nkind: GatewayClass\nmetadata: {name: c}\nspec: {controllerName: x/y}\n";
    let rows = [
        (mesh.clone() + &class("istio-waypoint"), ok, "judged by the waypoint d/wp"),
        (class("istio-waypoint"), not(Reason::AncestorNotBound), "no waypoint of class istio-waypoint is ready"),
        (class("c"), not(Reason::TargetNotFound), "there is no GatewayClass c"),
        (class("c") + declared, not(Reason::Invalid), "is of x/y, and not of istio.io/mesh-controller"),
    ];
    for (text, wanted, part) in rows {
        let projection = projected(&text);
        let told = projection.statuses.iter().find(|s| s.kind == "AuthorizationPolicy").unwrap();
        assert_eq!((told.level, told.reason), wanted, "{told}");
        says(&projection, "AuthorizationPolicy", part);
    }
}

#[test]
fn entries_are_bound_like_services_and_pods() {
    let entry = |kind: &str, name: &str, labels: &str, spec: &str| {
        format!(
            "---\napiVersion: networking.istio.io/v1\nkind: {kind}\n\
             metadata: {{name: {name}, namespace: d, labels: {{{labels}}}}}\nspec: {{{spec}}}\n"
        )
    };
    let spec = |host: &str, labels: &str| {
        format!(
            "hosts: [{host}], addresses: [10.96.9.9], resolution: STATIC, ports: [{{number: 80, name: http}}], \
             endpoints: [{{address: 10.5.0.1, labels: {{{labels}}}}}]"
        )
    };
    let all = waypoint("wp", 9, "istio.io/waypoint-for: all");
    let has = |text: &str, wanted: &[&str], unwanted: &str| {
        let facts = facts(&projected(text));
        assert!(wanted.iter().all(|fact| facts.contains(&(*fact).to_owned())), "{wanted:?} in {facts:#?}");
        assert!(unwanted.is_empty() || !facts.iter().any(|fact| fact.contains(unwanted)), "{unwanted} in {facts:#?}");
    };
    // Its own labels for the service, those of the endpoint for the endpoint.
    let named = |labels: &str, endpoint: &str| {
        all.clone() + &entry("ServiceEntry", "e", labels, &spec("Api.example.com", endpoint))
    };
    has(&named(USE, ""), &["svc e > d/wp.d", "ServiceEntry d/e WaypointAccepted"], "pod e");
    has(&named("", USE), &["pod e > d/wp.d"], "svc e");
    // Labels of the object, then of its spec.
    let address = "address: 10.6.0.1";
    let machine = |labels: &str, spec: &str| {
        all.clone() + &entry("WorkloadEntry", "w", labels, &format!("{address}, labels: {{{spec}}}"))
    };
    has(&machine(USE, "istio.io/use-waypoint: none"), &["pod w > d/wp.d", "WorkloadEntry d/w WaypointAccepted"], "");
    has(&machine("", USE), &["pod w > d/wp.d"], "");
    has(
        &machine("", "istio.io/use-waypoint: gone"),
        &["pod w > d/unusable_gone.d", "! WorkloadEntry d/w WaypointIsNotReady"],
        "",
    );
    // A host that a Service has is the Service's, with its labels.
    let both = all.clone() + &service("s", "") + &entry("ServiceEntry", "s", USE, &spec("s.d.svc.cluster.local", ""));
    has(&both, &[], "svc s");
    // Nobody but the waypoint may connect to an endpoint: it is outside of the mesh, and that is told.
    has(&named(&format!("{USE}, culvert.dev/enforce-waypoint: 'true'"), ""), &["!! ServiceEntry d/e NotEnrolled"], "");
    let policy = "---\napiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: p, namespace: d}\n\
                  spec: {targetRefs: [{group: networking.istio.io, kind: ServiceEntry, name: e}]}\n";
    has(&(named(USE, "") + policy), &["AuthorizationPolicy d/p WaypointAccepted"], "");
}
