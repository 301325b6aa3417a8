use super::*;
use crate::authz::inquiry::Flaw;
use crate::mesh::{self, State};
use crate::model::gateway::{GatewayAddress, GatewayDestination};
use crate::model::name::NamespacedName;
use crate::model::policy::{Action, Clause, Group, Match, Policy, Scope, StringMatch};
use crate::model::service::{Service, VirtualAddress};
use crate::model::workload::Workload;

fn workload(name: &str, account: &str, tunnel: Tunnel, addresses: &[&str]) -> Workload {
    Workload {
        uid: format!("c//Pod/demo/{name}").into(),
        name: name.into(),
        namespace: "demo".into(),
        service_account: account.into(),
        trust_domain: "td".into(),
        addresses: addresses.iter().map(|ip| ip.parse().unwrap()).collect(),
        tunnel,
        ..Workload::default()
    }
}

/// `server` takes `client` alone, by its principal or its IPv6 address.
fn ask(query: &str) -> Result<Answer, Unanswered> {
    let (mut writer, reader) = mesh::channel();
    let allowed = |m: Match| Group { rule: 0, clauses: vec![Clause { matches: vec![m] }] };
    let client = Match { principals: vec![StringMatch::Exact("td/ns/demo/sa/client".into())], ..Match::default() };
    let six = Match { source_ips: vec!["fd00::1/128".parse().unwrap()], ..Match::default() };
    writer.replace(State {
        workloads: vec![
            workload("client", "client", Tunnel::Hbone, &["10.0.0.1", "fd00::1"]),
            workload("client-2", "client", Tunnel::Hbone, &["10.0.0.2"]),
            workload("six", "six", Tunnel::Hbone, &["fd00::6"]),
            workload("outsider", "default", Tunnel::None, &["10.0.0.9"]),
            Workload {
                policies: vec![NamespacedName::new("demo", "only-client")],
                ..workload("server", "server", Tunnel::Hbone, &["10.0.0.5", "fd00::5"])
            },
            Workload {
                waypoint: Some(GatewayAddress {
                    destination: GatewayDestination::Address { network: "".into(), ip: "10.0.0.7".parse().unwrap() },
                    port: 15008,
                }),
                ..workload("behind", "behind", Tunnel::Hbone, &["10.0.0.6"])
            },
        ],
        policies: vec![Policy::new(
            NamespacedName::new("demo", "only-client"),
            Scope::Workload,
            Action::Allow,
            vec![allowed(client), allowed(six)],
        )],
        services: vec![Service {
            namespace: "demo".into(),
            name: "shop".into(),
            addresses: vec![VirtualAddress::single("".into(), "10.96.0.1".parse().unwrap())],
            ..Service::default()
        }],
    });
    let domains = Domains { aliases: vec!["old.td".into()], federated: vec!["partner.td".into()] };
    answer(
        &Question::from_query(query).unwrap(),
        Place { network: "", domains: &domains },
        &reader.view(),
        std::time::UNIX_EPOCH,
    )
}

#[test]
fn who_calls_and_what_is_called() {
    let client = "spiffe://td/ns/demo/sa/client";
    for (query, source, identity, to, allowed, note) in [
        ("from=demo/client&to=demo/server:80", "10.0.0.1", client, "10.0.0.5:80", true, ""),
        ("from=demo/client&to=10.0.0.5:80", "10.0.0.1", client, "10.0.0.5:80", true, ""),
        ("from=demo/client&to=[fd00::5]:80", "fd00::1", client, "[fd00::5]:80", true, ""),
        ("from=demo/six&to=demo/server:80", "fd00::6", "spiffe://td/ns/demo/sa/six", "[fd00::5]:80", false, ""),
        ("from=demo/outsider&to=demo/server:80", "10.0.0.9", "", "10.0.0.5:80", false, "calls in plaintext"),
        ("ip=10.0.0.1&to=demo/server:80", "10.0.0.1", "", "10.0.0.5:80", false, "ask with --from demo/client"),
        ("ip=::ffff:10.9.9.9&to=demo/server:80", "10.9.9.9", "", "10.0.0.5:80", false, ""),
        ("ip=fd00::1&to=demo/server:80", "fd00::1", "", "[fd00::5]:80", true, "ask with --from"),
        ("sa=demo/client&to=demo/server:80", "10.0.0.1", client, "10.0.0.5:80", true, "2 pods have this"),
        (
            "sa=demo/new&ip=10.9.9.9&to=demo/server:80",
            "10.9.9.9",
            "spiffe://td/ns/demo/sa/new",
            "10.0.0.5:80",
            false,
            "",
        ),
        ("from=demo/client&to=demo/server:15008", "10.0.0.1", client, "10.0.0.5:15008", false, ""),
        ("from=demo/client&to=demo/outsider:80", "10.0.0.1", client, "10.0.0.9:80", true, ""),
        ("from=demo/client&to=192.0.2.1:80", "10.0.0.1", client, "192.0.2.1:80", true, ""),
        ("from=demo/client&to=demo/behind:80", "10.0.0.1", client, "10.0.0.6:80", true, "through its waypoint"),
    ] {
        let answer = ask(query).unwrap_or_else(|error| panic!("{query}: {error}"));
        let found = (answer.source.address.as_str(), answer.source.identity.as_deref().unwrap_or_default());
        assert_eq!(found, (source, identity), "{query}");
        assert_eq!((answer.destination.address.as_str(), answer.report.allowed), (to, allowed), "{query}");
        assert_eq!(answer.notes.is_empty(), note.is_empty(), "{query}: {:?}", answer.notes);
        assert!(answer.notes.iter().all(|told| told.contains(note)), "{query}: {:?}", answer.notes);
    }
}

#[test]
fn where_no_policy_is_asked() {
    for (query, reason, in_mesh) in [
        ("from=demo/client&to=demo/server:15008", "loop", true),
        ("from=demo/client&to=demo/outsider:15008", "outside_the_mesh", false),
        ("from=demo/client&to=192.0.2.1:80", "outside_the_mesh", false),
        ("from=demo/client&to=demo/server:80", "allowed", true),
    ] {
        let answer = ask(query).unwrap();
        assert_eq!((answer.report.reason.as_str(), answer.destination.in_mesh), (reason, in_mesh), "{query}");
    }
}

#[test]
fn what_is_unknown_is_named_with_what_is_near() {
    for (query, flaw, parts) in [
        ("from=demo/clinet&to=demo/server:80", Flaw::Unknown, ["demo/clinet", "the nearest pods are demo/client, "]),
        ("from=demo/client&to=demo/sever:80", Flaw::Unknown, ["demo/sever", "the nearest pods are demo/server, "]),
        (
            "sa=demo/clent&to=demo/server:80",
            Flaw::Unknown,
            ["add --ip", "the nearest service accounts are demo/client, "],
        ),
        ("from=demo/client&to=10.96.0.1:80", Flaw::Vague, ["the Service demo/shop", "--to NAMESPACE/POD:PORT"]),
        ("from=demo/six&to=10.0.0.5:80", Flaw::Vague, ["10.0.0.5:80", "one family"]),
        ("ip=fd00::9&to=demo/outsider:80", Flaw::Vague, ["demo/outsider:80", "one family"]),
        (
            "from=a/b-name-that-is-like-no-other-name-of-the-mesh&to=demo/server:80",
            Flaw::Unknown,
            ["no pod", "/workloads"],
        ),
    ] {
        let error = ask(query).expect_err(query);
        assert_eq!(error.flaw, flaw, "{query}");
        assert!(parts.iter().all(|part| error.to_string().contains(part)), "{query}: {error}");
    }
}

#[test]
fn an_answer_survives_the_page() {
    let answer = ask("from=demo/client&to=demo/server:80").unwrap();
    let value = serde_json::to_value(&answer).unwrap();
    assert_eq!((&value["allowed"], &value["policies"][0]["standing"]), (&true.into(), &"decided".into()), "{value:#}");
    assert_eq!(serde_json::from_value::<Answer>(value).unwrap(), answer);
}
