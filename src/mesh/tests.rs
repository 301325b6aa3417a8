use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::model::name::NamespacedName;
use crate::model::policy::{Action, Policy, Scope};
use crate::model::service::{Balancing, Service, VirtualAddress};
use crate::model::workload::{ServiceMembership, Tunnel, Workload};

mod steps;
mod weight;

const LIMIT: Duration = Duration::from_secs(2);

fn workload(uid: &str, address: &str) -> Workload {
    Workload {
        uid: uid.into(),
        namespace: "demo".into(),
        addresses: vec![address.parse().unwrap()],
        tunnel: Tunnel::Hbone,
        ..Workload::default()
    }
}

fn policy(namespace: &str, name: &str, scope: Scope) -> Policy {
    Policy::new(NamespacedName::new(namespace, name), scope, Action::Deny, Vec::new())
}

fn with(workloads: Vec<Workload>, policies: Vec<Policy>) -> State {
    State { workloads, policies, ..State::default() }
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[track_caller]
fn check_holder(workloads: Vec<Workload>, wanted: Option<&str>) {
    for reversed in [false, true] {
        let (mut writer, reader) = channel();
        let mut list = workloads.clone();
        if reversed {
            list.reverse();
        }
        writer.replace(with(list, Vec::new()));
        let view = reader.view();
        assert_eq!(view.workload_at("", ip("10.0.0.1")).map(|w| &*w.uid), wanted);
    }
}

#[test]
fn an_address_has_one_holder_whatever_the_order() {
    let plain = |uid: &str| Workload { tunnel: Tunnel::None, ..workload(uid, "10.0.0.1") };
    check_holder(vec![workload("c/entry/x", "10.0.0.1"), plain("c//Pod/a/b")], Some("c//Pod/a/b"));
    check_holder(vec![plain("c//Pod/a/a"), workload("c//Pod/a/b", "10.0.0.1")], Some("c//Pod/a/b"));
    check_holder(vec![workload("c//Pod/a/b", "10.0.0.1"), workload("c//Pod/a/a", "10.0.0.1")], Some("c//Pod/a/a"));
    let host = Workload { host_network: true, ..workload("c//Pod/a/h", "10.0.0.1") };
    check_holder(vec![host.clone()], None);
    check_holder(vec![host, plain("x")], Some("x"));
    check_holder(vec![Workload { network: "far".into(), ..workload("x", "10.0.0.1") }], None);
    check_holder(vec![workload("x", "::ffff:10.0.0.1")], Some("x"));
}

#[test]
fn lookups_by_uid_network_and_service_address() {
    let (mut writer, reader) = channel();
    let service = Service {
        name: "s".into(),
        namespace: "demo".into(),
        hostname: "s.demo.svc.cluster.local".into(),
        addresses: vec![VirtualAddress::single("".into(), ip("10.96.0.1"))],
        ..Service::default()
    };
    let far = Workload { network: "far".into(), ..workload("w", "10.0.0.1") };
    writer.replace(State { workloads: vec![far], services: vec![service], policies: Vec::new() });
    let view = reader.view();
    assert!(view.workload_by_uid("w").is_some() && view.workload_by_uid("v").is_none());
    assert!(view.workload_at("far", ip("::ffff:10.0.0.1")).is_some() && view.workload_at("", ip("10.0.0.1")).is_none());
    assert!(
        view.service_at("", ip("10.96.0.1"), None).is_some() && view.service_at("", ip("10.96.0.2"), None).is_none()
    );
    assert_eq!((view.workloads().len(), view.services().len(), view.policies().len()), (1, 1, 0));
}

#[test]
fn policies_come_in_order_once_and_what_is_not_there_is_named() {
    let (mut writer, reader) = channel();
    let named = ["demo/w2", "demo/w1", "demo/n1", "gone/x"].map(|k| {
        let (namespace, name) = k.split_once('/').unwrap();
        NamespacedName::new(namespace, name)
    });
    let target = Workload { policies: named.into(), ..workload("w", "10.0.0.1") };
    let policies = vec![
        policy("demo", "w1", Scope::Workload),
        policy("demo", "w2", Scope::Workload),
        policy("demo", "w3", Scope::Workload),
        policy("demo", "n2", Scope::Namespace),
        policy("demo", "n1", Scope::Namespace),
        policy("other", "n", Scope::Namespace),
        policy("root", "g", Scope::Global),
    ];
    writer.replace(with(vec![target], policies));
    let view = reader.view();
    let found = view.policies_for(view.workload_by_uid("w").unwrap());
    let keys: Vec<_> = found.policies.iter().map(|p| p.key.to_string()).collect();
    assert_eq!(keys, ["root/g", "demo/n1", "demo/n2", "demo/w2", "demo/w1"]);
    assert_eq!(found.missing, [NamespacedName::new("gone", "x")]);
}

#[tokio::test]
async fn a_view_does_not_change_and_readers_are_told() {
    let (mut writer, reader) = channel();
    let mut changes = reader.changes();
    let old = reader.view();
    assert_eq!(old.version(), 0);
    writer.replace(with(vec![workload("w", "10.0.0.1")], Vec::new()));
    changes.changed().await.unwrap();
    assert_eq!((*changes.borrow(), reader.view().version(), old.version()), (1, 1, 0));
    assert!(old.workload_by_uid("w").is_none() && reader.view().workload_by_uid("w").is_some());
    drop(writer);
    assert!(changes.changed().await.is_err());
    assert!(reader.view().workload_by_uid("w").is_some(), "the last state stays");
}

fn waiting() -> (Writer, Reader, Workload) {
    let (mut writer, reader) = channel();
    let target = Workload { policies: vec![NamespacedName::new("demo", "late")], ..workload("w", "10.0.0.1") };
    writer.replace(with(vec![target.clone()], Vec::new()));
    (writer, reader, target)
}

/// Waits for the policies of `w`; whether they are there afterwards, and how long it took.
async fn wait(reader: &Reader) -> (bool, Duration) {
    let here = |view: &View| view.workload_by_uid("w").is_some_and(|w| view.policies_for(w).missing.is_empty());
    let start = tokio::time::Instant::now();
    let view = reader.wait_for(LIMIT, here).await;
    (here(&view), start.elapsed())
}

#[tokio::test(start_paused = true)]
async fn a_policy_that_arrives_ends_the_wait() {
    let (mut writer, reader, target) = waiting();
    let write = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        writer.replace(with(vec![target], vec![policy("demo", "late", Scope::Workload)]));
        writer
    };
    let (arrived, _writer) = tokio::join!(wait(&reader), write);
    assert_eq!(arrived, (true, Duration::from_secs(1)));
}

#[tokio::test(start_paused = true)]
async fn a_policy_that_never_arrives_ends_the_wait_at_its_limit() {
    let (mut writer, reader, target) = waiting();
    let write = async {
        for _ in 0..10 {
            tokio::time::sleep(Duration::from_millis(300)).await;
            writer.replace(with(vec![target.clone()], vec![policy("demo", "another", Scope::Workload)]));
        }
    };
    let (arrived, ()) = tokio::join!(wait(&reader), write);
    assert_eq!(arrived, (false, LIMIT));
}

#[tokio::test(start_paused = true)]
async fn a_writer_that_goes_ends_the_wait() {
    let (writer, reader, _) = waiting();
    drop(writer);
    assert_eq!(wait(&reader).await, (false, Duration::ZERO));
}

fn of_service(uid: &str, address: &str, healthy: bool) -> Workload {
    let member = ServiceMembership { service: key(), ports: vec![(80, 8080)] };
    Workload { services: vec![member], healthy, ..workload(uid, address) }
}

fn key() -> NamespacedName {
    NamespacedName::new("demo", "s.test")
}

fn service(accept_unhealthy: bool) -> Service {
    let balancing = Balancing { accept_unhealthy, ..Balancing::default() };
    Service { name: "s".into(), namespace: "demo".into(), hostname: "s.test".into(), balancing, ..Service::default() }
}

/// UIDs of the service's endpoints, and of those that wait for it.
fn endpoints(reader: &Reader) -> (Vec<String>, Vec<String>) {
    let view = reader.view();
    let uids = |endpoints: &[Endpoint]| endpoints.iter().map(|e| e.workload().uid.to_string()).collect::<Vec<_>>();
    let staged = view.staged().flat_map(|(of, endpoints)| {
        assert_eq!(*of, key());
        uids(endpoints)
    });
    (uids(view.endpoints(&key())), staged.collect())
}

#[track_caller]
fn check_endpoints(reader: &Reader, here: &[&str], staged: &[&str]) {
    let strings = |all: &[&str]| all.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(endpoints(reader), (strings(here), strings(staged)));
}

#[test]
fn what_is_staged_is_shown_by_the_next_step_and_what_is_discarded_never() {
    let (mut writer, reader) = channel();
    let changes = |uid, address| Changes { workloads: vec![of_service(uid, address, true)], ..Changes::default() };
    writer.stage(changes("a", "10.0.0.1"));
    writer.discard();
    writer.stage(changes("b", "10.0.0.2"));
    assert_eq!(reader.view().workloads().count(), 0);
    writer.apply(Changes::default());
    let uids: Vec<_> = reader.view().workloads().map(|held| held.uid.to_string()).collect();
    assert_eq!(uids, ["b"]);
}

#[test]
fn endpoints_wait_for_their_service_and_stay_when_it_goes_or_its_health_policy_changes() {
    let (mut writer, reader) = channel();
    let workloads = vec![of_service("b", "10.0.0.2", false), of_service("a", "10.0.0.1", true)];
    writer.apply(Changes { workloads, ..Changes::default() });
    check_endpoints(&reader, &[], &["a", "b"]);
    // The sick one is there whatever the policy says; who chooses looks at its health.
    for accept in [false, true, false] {
        writer.apply(Changes { services: vec![service(accept)], ..Changes::default() });
        check_endpoints(&reader, &["a", "b"], &[]);
        assert_eq!(reader.view().service(&key()).unwrap().balancing.accept_unhealthy, accept);
    }
    writer.apply(Changes { removed: vec![Removed::Service(key())], ..Changes::default() });
    check_endpoints(&reader, &[], &["a", "b"]);
    writer.apply(Changes { removed: vec![Removed::Workload("a".into())], ..Changes::default() });
    check_endpoints(&reader, &[], &["b"]);
    writer.apply(Changes { services: vec![service(false)], ..Changes::default() });
    check_endpoints(&reader, &["b"], &[]);
}

#[tokio::test]
async fn what_does_not_change_keeps_its_record_and_wakes_nobody() {
    let (mut writer, reader) = channel();
    let state = || State {
        workloads: vec![of_service("a", "10.0.0.1", true), of_service("b", "10.0.0.2", true)],
        services: vec![service(false)],
        policies: vec![policy("demo", "p", Scope::Namespace)],
    };
    writer.replace(state());
    let (before, changes) = (reader.view(), reader.changes());
    writer.replace(state());
    let State { workloads, services, policies } = state();
    writer.apply(Changes { workloads, services, policies, removed: vec![Removed::Workload("none".into())] });
    assert!(!changes.has_changed().unwrap() && Arc::ptr_eq(&before, &reader.view()));

    let mut sick = state();
    sick.workloads[1].healthy = false;
    writer.replace(sick);
    let after = reader.view();
    let of = |view: &Arc<View>, uid: &str| Arc::clone(view.workload_by_uid(uid).unwrap());
    assert!(Arc::ptr_eq(&of(&before, "a"), &of(&after, "a")) && !Arc::ptr_eq(&of(&before, "b"), &of(&after, "b")));
    assert_eq!((after.version(), after.policies_version()), (2, 1));
    writer.apply(Changes { policies: vec![policy("demo", "q", Scope::Global)], ..Changes::default() });
    assert_eq!((reader.view().version(), reader.view().policies_version()), (3, 3));
}

#[test]
fn of_a_key_that_is_removed_and_given_the_record_counts() {
    let (mut writer, reader) = channel();
    writer.stage(Changes { workloads: vec![workload("a", "10.0.0.1")], ..Changes::default() });
    let removed = vec![Removed::Workload("a".into())];
    writer.apply(Changes { workloads: vec![workload("a", "10.0.0.2")], removed, ..Changes::default() });
    let view = reader.view();
    assert!(view.workload_at("", ip("10.0.0.1")).is_none() && view.workload_at("", ip("10.0.0.2")).is_some());
    // A part that comes later counts.
    writer.stage(Changes { workloads: vec![workload("a", "10.0.0.3")], ..Changes::default() });
    writer.apply(Changes { removed: vec![Removed::Workload("a".into())], ..Changes::default() });
    assert_eq!(reader.view().workloads().len(), 0);
}

#[test]
fn what_is_told_shows_nothing_that_was_staged() {
    let (mut writer, reader) = channel();
    writer.stage(Changes { workloads: vec![workload("a", "10.0.0.1")], ..Changes::default() });
    writer.whole();
    writer.policies_synced();
    assert_eq!((reader.view().is_whole(), reader.view().workloads().len()), (true, 0));
    writer.apply(Changes { workloads: vec![workload("b", "10.0.0.2")], ..Changes::default() });
    assert_eq!(reader.view().workloads().len(), 2);
}

#[test]
fn a_mesh_is_whole_when_it_is_told_or_replaced() {
    let (mut writer, reader) = channel();
    writer.apply(Changes { workloads: vec![workload("w", "10.0.0.1")], ..Changes::default() });
    assert!(!reader.view().has_policies());
    writer.policies_synced();
    assert!(reader.view().has_policies());
    assert!(!reader.view().is_whole(), "there may be more to come");
    let (mut changes, version) = (reader.changes(), reader.view().version());
    writer.whole();
    assert!(reader.view().is_whole() && changes.has_changed().unwrap(), "who waits is woken");
    changes.mark_unchanged();
    writer.whole();
    writer.apply(Changes::default());
    assert!(reader.view().is_whole() && !changes.has_changed().unwrap(), "once");
    assert_eq!(reader.view().version(), version + 1);
    let (mut writer, reader) = channel();
    writer.replace(State::default());
    assert!(reader.view().is_whole() && reader.view().has_policies(), "an empty mesh is one");
}

#[test]
fn a_converted_peer_authentication_that_never_came_is_told_apart_from_what_is_missing() {
    let (mut writer, reader) = channel();
    let converted = NamespacedName::new("demo", "converted_peer_authentication_x");
    let late = NamespacedName::new("demo", "late");
    let target = Workload { policies: vec![converted.clone(), late.clone()], ..workload("w", "10.0.0.1") };
    writer.replace(with(vec![target], Vec::new()));
    let of = || {
        let view = reader.view();
        let found = view.policies_for(view.workload_by_uid("w").unwrap());
        (found.missing, found.unsent, view.policies_version())
    };
    assert_eq!(of(), (vec![converted.clone(), late.clone()], vec![], 0));
    writer.policies_synced();
    assert_eq!(of(), (vec![late.clone()], vec![converted.clone()], 2));
    // Once.
    writer.policies_synced();
    assert_eq!(of().2, 2);
    writer.apply(Changes { policies: vec![policy("demo", &converted.name, Scope::Workload)], ..Changes::default() });
    assert_eq!(of(), (vec![late], vec![], 3));
}
