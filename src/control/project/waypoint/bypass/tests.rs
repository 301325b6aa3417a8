use std::net::{IpAddr, SocketAddr};

use proptest::prelude::*;

use super::super::tests::{USE, namespace, pod, projected, service, waypoint};
use super::*;
use crate::authz::{Request, evaluate};
use crate::mesh::{self, State};
use crate::model::policy::ServiceAccountMatch;

const WP: &str = "cluster.local/ns/d/sa/wp";

fn policy(name: &str, action: &str, rules: &str) -> String {
    format!(
        "---\napiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {{name: {name}, namespace: d}}\n\
         spec: {{action: {action}, rules: [{rules}]}}\n"
    )
}

#[test]
fn who_can_be_gone_round() {
    let mesh = waypoint("wp", 9, "") + &service("s", USE) + &pod("a", 1, "app: s");
    let with = |policies: &str| mesh.clone() + policies;
    let from = |field: &str, value: &str| format!("from: [{{source: {{{field}: [{value}]}}}}]");
    let allow = |rules: &str| with(&policy("p", "ALLOW", rules));
    let deny = |rules: &str| with(&policy("p", "DENY", rules));
    let wp = from("principals", WP);
    let not_wp = from("notPrincipals", WP);
    let port = |port: &str| format!("to: [{{operation: {{ports: ['{port}']}}}}]");
    let open = |ports: &[u16], others| Some(Why::Open { ports: ports.to_vec(), others });
    let rows = [
        ("no policy", with(""), open(&[], true)),
        ("only the waypoint is allowed", allow(&format!("{{{wp}}}")), None),
        ("its account is", allow(&format!("{{{}}}", from("serviceAccounts", "d/wp"))), None),
        ("nobody is", allow(""), None),
        ("everybody else is denied", deny(&format!("{{{not_wp}}}")), None),
        ("every other account is", deny(&format!("{{{}}}", from("notServiceAccounts", "d/wp"))), None),
        ("everybody is denied", deny("{}"), None),
        (
            "somebody else is allowed too",
            allow(&format!("{{{wp}}}, {{{}}}", from("principals", "cluster.local/ns/d/sa/x"))),
            open(&[], true),
        ),
        ("by a pattern", allow(&format!("{{{}}}", from("principals", "'cluster.local/ns/d/sa/w*'"))), open(&[], true)),
        ("its namespace is allowed", allow(&format!("{{{}}}", from("namespaces", "d"))), open(&[], true)),
        (
            "everybody else of one namespace is denied",
            deny("{from: [{source: {notPrincipals: [cluster.local/ns/d/sa/wp], namespaces: [e]}}]}"),
            open(&[], true),
        ),
        ("plaintext is denied", deny(&format!("{{{}}}", from("notPrincipals", "'*'"))), open(&[], true)),
        ("a block of addresses is denied", deny(&format!("{{{}}}", from("ipBlocks", "10.0.0.0/8"))), open(&[], true)),
        ("allowed on one port", allow(&format!("{{{wp}}}, {{{}}}", port("80"))), open(&[80], false)),
        ("denied on one port", deny(&format!("{{{not_wp}, {}}}", port("80"))), open(&[], true)),
        (
            "on one, and on all others",
            deny(&format!("{{{not_wp}, {}}}, {{{not_wp}, to: [{{operation: {{notPorts: ['80']}}}}]}}", port("80"))),
            None,
        ),
        ("the waypoint and a port", allow(&format!("{{{wp}, {}}}", port("80"))), None),
        (
            "two sources",
            allow(&format!("{{from: [{{source: {{principals: [{WP}]}}}}, {{source: {{ipBlocks: [10.0.0.1]}}}}]}}")),
            open(&[], true),
        ),
        (
            "outside of the mesh",
            with("").replace("dataplane-mode: ambient, app: s", "dataplane-mode: none, app: s"),
            Some(Why::Outside),
        ),
        (
            "it is enforced",
            mesh.replace(
                "metadata: {name: s, namespace: d, labels: {",
                "metadata: {name: s, namespace: d, labels: {culvert.dev/enforce-waypoint: 'true', ",
            ),
            None,
        ),
    ];
    for (what, text, wanted) in rows {
        let found = bypassable(&projected(&text));
        let wanted: Vec<_> = wanted
            .map(|why| Bypass {
                workload: "Kubernetes//Pod/d/a".into(),
                waypoints: vec![NamespacedName::new("d", "wp")],
                why,
            })
            .into_iter()
            .collect();
        assert_eq!(found, wanted, "{what}");
    }
}

#[test]
fn what_nobody_sends_through_a_waypoint_is_not_gone_round() {
    let text = waypoint("wp", 9, "") + &service("s", "") + &pod("a", 1, "app: s");
    assert_eq!(bypassable(&projected(&text)), []);
    // One that is missing protects nothing, whatever callers do.
    let gone = namespace("d", "istio.io/use-waypoint: gone") + &pod("a", 1, "");
    let found = bypassable(&projected(&gone));
    assert_eq!(found[0].waypoints, [NamespacedName::new("d", "gone")]);
    assert_eq!(found[0].why, Why::Open { ports: vec![], others: true });
}

fn field<T: Clone + std::fmt::Debug + 'static>(values: Vec<T>) -> impl Strategy<Value = Vec<T>> {
    prop::collection::vec(prop::sample::select(values), 0..2)
}

fn any_match() -> impl Strategy<Value = Match> {
    let exact = |text: &str| StringMatch::Exact(text.into());
    let principals = || vec![exact(WP), exact("cluster.local/ns/d/sa/x"), StringMatch::Presence];
    let account = |name: &str| ServiceAccountMatch { namespace: "d".into(), service_account: name.into() };
    let accounts = move || vec![account("wp"), account("x")];
    let nets = || vec!["10.0.0.0/8".parse().unwrap()];
    (
        field(principals()),
        field(principals()),
        field(accounts()),
        field(accounts()),
        field(nets()),
        field(vec![80, 81]),
        field(vec![80, 81]),
    )
        .prop_map(
            |(
                principals,
                not_principals,
                service_accounts,
                not_service_accounts,
                source_ips,
                destination_ports,
                not_destination_ports,
            )| Match {
                principals,
                not_principals,
                service_accounts,
                not_service_accounts,
                source_ips,
                destination_ports,
                not_destination_ports,
                ..Match::default()
            },
        )
}

fn any_policy() -> impl Strategy<Value = Policy> {
    let clause = prop::collection::vec(any_match(), 1..3).prop_map(|matches| Clause { matches });
    let group = prop::collection::vec(clause, 0..3).prop_map(|clauses| Group { rule: 0, clauses });
    let groups = prop::collection::vec(group, 0..3);
    (prop::sample::select(vec![Action::Allow, Action::Deny]), groups)
        .prop_map(|(action, groups)| Policy::new(NamespacedName::new("d", "p"), Scope::Namespace, action, groups))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    /// What is not reported is closed for everybody else, as the evaluator sees it.
    #[test]
    fn a_workload_that_is_not_named_is_closed(policies in prop::collection::vec(any_policy(), 0..3)) {
        let mut projection = projected(&(waypoint("wp", 9, "") + &service("s", USE) + &pod("a", 1, "app: s")));
        let matches = policies.iter().flat_map(|p| &p.groups).flat_map(|g| &g.clauses).flat_map(|c| &c.matches);
        let named: Vec<u16> =
            matches.flat_map(|m| m.destination_ports.iter().chain(&m.not_destination_ports)).copied().collect();
        // Of two with one key the mesh keeps one.
        projection.policies = policies;
        for (place, policy) in projection.policies.iter_mut().enumerate() {
            policy.key = NamespacedName::new("d", format!("p{place}"));
        }
        let open = bypassable(&projection);
        let target = projection.workloads.iter().find(|w| &*w.name == "a").unwrap().clone();
        let (mut writer, reader) = mesh::channel();
        writer.replace(State { workloads: projection.workloads, services: Vec::new(), policies: projection.policies });
        let applicable = reader.view().policies_for(&target.clone().into());
        let others = [None, Some(Identity::new("cluster.local", "d", "x")), Some(Identity::new("cluster.local", "e", "wp"))];
        for (port, peer, source) in [80, 81, 82].iter().flat_map(|port| {
            let sources = [[10, 9, 9, 9], [192, 0, 2, 1]].map(IpAddr::from);
            others.iter().flat_map(move |peer| sources.map(|source| (*port, peer.as_ref(), source)))
        }) {
            let destination = SocketAddr::new(target.addresses[0], port);
            let reported = open.iter().any(|bypass| match &bypass.why {
                Why::Outside => true,
                Why::Open { ports, others } => ports.contains(&port) || (*others && !named.contains(&port)),
            });
            if evaluate(&Request { peer, foreign: false, source, destination, now: std::time::UNIX_EPOCH }, &applicable).is_allow() {
                prop_assert!(reported, "port {} is open to {:?} from {}", port, peer, source);
            }
        }
    }
}
