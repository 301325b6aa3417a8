use std::net::{IpAddr, SocketAddr};

use super::super::super::{Projection, Settings, bypassable, project};
use super::super::tests::{USE, facts, gateway, instance, namespace, pod, projected, says, service, waypoint};
use crate::authz::{Request, evaluate};
use crate::control::index::Index;
use crate::mesh::{self, State};
use crate::model::spiffe::Identity;

const ENFORCE: &str = "culvert.dev/enforce-waypoint: 'true'";

/// Who of the waypoints, a client of the mesh and a caller without an identity may connect to a pod of namespace `d`.
fn admitted(projection: &Projection, name: &str) -> Vec<&'static str> {
    let (mut writer, reader) = mesh::channel();
    let Projection { workloads, services, policies, .. } = projection.clone();
    let target = workloads.iter().find(|w| &*w.name == name).unwrap().clone();
    writer.replace(State { workloads, services, policies });
    let applicable = reader.view().policies_for(&target.clone().into());
    assert!(applicable.missing.is_empty(), "{:?}", applicable.missing);
    let source = IpAddr::from([10, 9, 9, 9]);
    let may = |peer: Option<&Identity>| {
        let destination = SocketAddr::new(target.addresses[0], 80);
        evaluate(&Request { peer, foreign: false, source, destination, now: std::time::UNIX_EPOCH }, &applicable)
            .is_allow()
    };
    let peers = ["wp", "next", "client"].map(|name| (name, Identity::new("cluster.local", "d", name)));
    let mut found: Vec<_> = peers.iter().filter(|(_, peer)| may(Some(peer))).map(|(name, _)| *name).collect();
    // The same name elsewhere is somebody else.
    for (domain, namespace) in [("other.local", "d"), ("cluster.local", "e")] {
        let stranger = Identity::new(domain, namespace, "wp");
        assert_eq!(may(Some(&stranger)), found.contains(&"client"), "{stranger}");
    }
    found.extend(may(None).then_some("plaintext"));
    found
}

const EVERYBODY: &[&str] = &["wp", "next", "client", "plaintext"];

struct Case<'a> {
    what: &'a str,
    text: String,
    /// Who may connect to pod `a`, whose label `app: s` makes it an endpoint of Service `s`.
    admitted: &'a [&'a str],
    /// What is said of it with words of this part, all others apart.
    told: &'a [&'a str],
}

#[test]
fn who_may_connect() {
    let all = "istio.io/waypoint-for: all";
    let wp = |labels: &str| waypoint("wp", 9, labels);
    let both = |labels: &str| format!("{USE}, {labels}");
    let a = |labels: &str| pod("a", 1, &format!("app: s, {labels}"));
    let other = |labels: &str| service("t", labels).replace("{app: t}", "{app: s}");
    let next = || waypoint("next", 8, all);
    let nobody = "! Pod d/a NoWaypointToEnforce";
    let cases = [
        Case { what: "no label", text: wp("") + &service("s", USE) + &a(""), admitted: EVERYBODY, told: &[] },
        Case {
            what: "label of the Service",
            text: wp("") + &service("s", &both(ENFORCE)) + &a(""),
            admitted: &["wp"],
            told: &["Service d/s WaypointEnforced"],
        },
        Case {
            what: "label of the pod, waypoint of the Service",
            text: wp("") + &service("s", USE) + &a(ENFORCE),
            admitted: &["wp"],
            told: &["Pod d/a WaypointEnforced"],
        },
        Case {
            what: "label and waypoint of the pod",
            text: wp(all) + &a(&both(ENFORCE)),
            admitted: &["wp"],
            told: &["Pod d/a WaypointEnforced"],
        },
        Case {
            what: "label and waypoint of the namespace",
            text: wp(all) + &namespace("d", &both(ENFORCE)) + &service("s", "") + &a(""),
            admitted: &["wp"],
            told: &["Namespace d WaypointEnforced"],
        },
        Case {
            what: "the pod is out of what its namespace asks",
            text: wp(all) + &namespace("d", &both(ENFORCE)) + &a("culvert.dev/enforce-waypoint: 'false'"),
            admitted: EVERYBODY,
            told: &["Namespace d WaypointEnforced"],
        },
        Case {
            what: "the pod is not out of what its Service asks",
            text: wp("") + &service("s", &both(ENFORCE)) + &a("culvert.dev/enforce-waypoint: 'false'"),
            admitted: &["wp"],
            told: &["Service d/s WaypointEnforced"],
        },
        Case {
            what: "a value that nobody knows",
            text: wp(all) + &a(&both("culvert.dev/enforce-waypoint: 'yes'")),
            admitted: &["wp"],
            told: &["! Pod d/a Invalid", "Pod d/a WaypointEnforced"],
        },
        Case { what: "no waypoint is named", text: wp(all) + &a(ENFORCE), admitted: &[], told: &[nobody] },
        Case {
            what: "it is missing",
            text: a(&both(ENFORCE)),
            admitted: &[],
            told: &["! Pod d/a WaypointIsNotReady", nobody],
        },
        Case {
            what: "it is not ready, and has a pod",
            text: gateway("d/wp", all, "istio-waypoint", "") + &pod("wp", 9, &instance("wp")) + &a(&both(ENFORCE)),
            admitted: &[],
            told: &["! Gateway d/wp WaypointIsNotReady", "! Pod d/a WaypointIsNotReady", nobody],
        },
        Case {
            what: "it has no pod",
            text: wp(all).replace("gateway-name: wp, istio", "gateway-name: none, istio") + &a(&both(ENFORCE)),
            admitted: &[],
            told: &["! Gateway d/wp Invalid", "Pod d/a WaypointAccepted", nobody],
        },
        Case {
            what: "a Service whose waypoint is for workloads",
            text: wp("istio.io/waypoint-for: workload") + &service("s", &both(ENFORCE)) + &a(""),
            admitted: &[],
            told: &["! Service d/s UnsupportedTrafficType", "! Service d/s NoWaypointToEnforce"],
        },
        Case {
            what: "the namespace's waypoint is for workloads, and the Service has the label",
            text: wp("istio.io/waypoint-for: workload") + &namespace("d", USE) + &service("s", ENFORCE) + &a(""),
            admitted: &["wp"],
            told: &["! Service d/s NoWaypointToEnforce"],
        },
        Case {
            what: "a canary",
            text: wp("")
                + &next()
                + &service("s", &both(&format!("istio.io/use-waypoint-canary: next, {ENFORCE}")))
                + &a(""),
            admitted: &["wp", "next"],
            told: &["Service d/s WaypointEnforced"],
        },
        Case {
            what: "another Service of the pod without the label",
            text: wp("") + &next() + &service("s", &both(ENFORCE)) + &other("istio.io/use-waypoint: next") + &a(""),
            admitted: &["wp"],
            told: &["Service d/s WaypointEnforced"],
        },
        Case {
            what: "another Service of the pod with the label",
            text: wp("")
                + &next()
                + &service("s", &both(ENFORCE))
                + &other(&format!("istio.io/use-waypoint: next, {ENFORCE}"))
                + &a(""),
            admitted: &["wp", "next"],
            told: &["Service d/s WaypointEnforced", "Service d/t WaypointEnforced"],
        },
        Case {
            what: "the pod asks, with two Services",
            text: wp("") + &next() + &service("s", USE) + &other("istio.io/use-waypoint: next") + &a(ENFORCE),
            admitted: &["wp", "next"],
            told: &["Pod d/a WaypointEnforced"],
        },
        Case {
            what: "outside of the mesh",
            text: wp(all) + &a(&format!("{}, istio.io/dataplane-mode: none", both(ENFORCE))),
            admitted: &["wp"],
            told: &["!! Pod d/a NotEnrolled"],
        },
    ];
    for Case { what, text, admitted: wanted, told } in cases {
        let projection = projected(&text);
        assert_eq!(admitted(&projection, "a"), wanted, "{what}");
        let is_told = |fact: &&String| {
            !fact.contains(" > ") && (!fact.ends_with("WaypointAccepted") || told.contains(&fact.as_str()))
        };
        let facts = facts(&projection);
        let found: Vec<_> = facts.iter().filter(is_told).collect();
        assert_eq!(found, told.iter().collect::<Vec<_>>(), "{what}: {:#?}", projection.statuses);
    }
}

#[test]
fn a_waypoints_own_pods_are_left_alone() {
    let ns = namespace("d", &format!("{USE}, {ENFORCE}"));
    let projection = projected(&(waypoint("wp", 9, "istio.io/waypoint-for: all") + &ns + &pod("a", 1, "")));
    assert_eq!((admitted(&projection, "wp"), admitted(&projection, "a")), (EVERYBODY.to_vec(), vec!["wp"]));
    let labelled = waypoint("wp", 9, "").replace("mode: none", &format!("mode: none, {ENFORCE}"));
    let projection = projected(&labelled);
    assert_eq!(admitted(&projection, "wp"), EVERYBODY);
    says(&projection, "Pod", "does nothing on a pod that is a waypoint's own");
}

#[test]
fn policies_are_named_after_their_waypoints() {
    let text = waypoint("wp", 9, "istio.io/waypoint-for: all")
        + &pod("a", 1, &format!("{USE}, {ENFORCE}"))
        + &pod("b", 2, &format!("{USE}, {ENFORCE}"))
        + &pod("c", 3, ENFORCE);
    let projection = projected(&text);
    let keys: Vec<_> = projection.policies.iter().map(|policy| policy.key.to_string()).collect();
    assert_eq!(keys, ["d/culvert_enforce_waypoint_d_wp", "istio-system/culvert_enforce_waypoint_none"]);
    says(&projection, "Pod", "nobody but d/wp may connect to its 1 workloads");
    says(&projection, "Pod", "nobody may connect to 1 of its 1 workloads: no waypoint with a pod is bound to them");
}

/// A waypoint is itself under every name of the trust domain, and nobody is taken for one that can be gone round.
#[test]
fn a_waypoint_has_every_name_of_the_trust_domain() {
    let text = waypoint("wp", 9, "") + &service("s", &format!("{USE}, {ENFORCE}")) + &pod("a", 1, "app: s");
    let objects = crate::control::manifests::parse(&[("a.yaml".into(), text.into_bytes())]).unwrap();
    let settings = Settings { trust_domain_aliases: vec!["old.example".into()], ..Settings::default() };
    let projection = project(&Index::build(objects), &settings);
    let [binding] = &projection.bindings[..] else { panic!("{:?}", projection.bindings) };
    assert_eq!(binding.identities, ["cluster.local", "old.example"].map(|td| Identity::new(td, "d", "wp")));
    assert_eq!(bypassable(&projection), []);
    let policy = projection.policies.iter().find(|policy| policy.key.name.contains("_wp")).unwrap();
    let names = &policy.groups[0].clauses[0].matches[0].not_principals;
    assert_eq!(names.len(), 2, "{names:?}");
}
