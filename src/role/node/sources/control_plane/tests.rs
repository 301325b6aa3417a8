use super::*;
use crate::model::name::NamespacedName;
use crate::model::policy::{Action, Policy, Scope};
use crate::model::service::Service;
use crate::model::workload::Workload;

#[test]
fn a_state_that_was_asked_for_one_by_one_is_not_that_of_the_whole_mesh() {
    let all = kept_for("https://plane:15012", "Kubernetes", false);
    let asked = kept_for("https://plane:15012", "Kubernetes", true);
    assert_ne!(all, asked);
    assert_ne!(all, kept_for("https://plane:15012", "Other", false));
}

/// A name among both resources and removals of one response.
#[test]
fn what_is_removed_in_the_update_that_brings_it_is_not_there() {
    let workload =
        |uid: &str| Workload { uid: uid.into(), name: uid.into(), namespace: "shop".into(), ..Workload::default() };
    let service = |host: &str| Service { hostname: host.into(), namespace: "shop".into(), ..Service::default() };
    let policy = |name| Policy::new(NamespacedName::new("shop", name), Scope::Namespace, Action::Deny, Vec::new());
    let update = Update {
        workloads: vec![workload("a"), workload("b")],
        services: vec![service("a"), service("b")],
        policies: vec![policy("a"), policy("b")],
        removed: vec![
            client::Removed::Workload("a".into()),
            client::Removed::Service(NamespacedName::new("shop", "a")),
            client::Removed::Policy(NamespacedName::new("shop", "a")),
        ],
    };
    let (mut writer, reader) = crate::mesh::channel();
    writer.apply(changes(update));
    let view = reader.view();
    let uids: Vec<_> = view.workloads().map(|workload| workload.uid.to_string()).collect();
    assert_eq!(uids, ["b"]);
    let hosts: Vec<_> = view.services().map(|service| service.hostname.to_string()).collect();
    assert_eq!(hosts, ["b"]);
    assert!(view.policy(&NamespacedName::new("shop", "a")).is_none());
    assert!(view.policy(&NamespacedName::new("shop", "b")).is_some());
}
