use std::net::IpAddr;
use std::time::Duration;

use super::*;
use crate::model::name::NamespacedName;
use crate::model::policy::{Action, Policy, Scope};
use crate::model::service::{Service, VirtualAddress};
use crate::model::workload::{Tunnel, Workload};

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
