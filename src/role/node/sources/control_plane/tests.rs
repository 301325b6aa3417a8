use std::time::Duration;

use super::*;
use crate::mesh;
use crate::model::name::NamespacedName;
use crate::model::policy::{Action, Policy, Scope};
use crate::model::service::Service;
use crate::model::workload::Workload;
use crate::runtime::ready::Readiness;

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
    let (mut writer, reader) = mesh::channel();
    writer.apply(changes(update));
    let view = reader.view();
    let uids: Vec<_> = view.workloads().map(|workload| workload.uid.to_string()).collect();
    assert_eq!(uids, ["b"]);
    let hosts: Vec<_> = view.services().map(|service| service.hostname.to_string()).collect();
    assert_eq!(hosts, ["b"]);
    assert!(view.policy(&NamespacedName::new("shop", "a")).is_none());
    assert!(view.policy(&NamespacedName::new("shop", "b")).is_some());
}

/// What the mesh knows while the client is as `status` says.
async fn followed(status: Status) -> Arc<mesh::View> {
    let (mut writer, reader) = mesh::channel();
    let names = vec![NamespacedName::new("shop", "converted_peer_authentication_x")];
    let workload = Workload { uid: "w".into(), namespace: "shop".into(), policies: names, ..Workload::default() };
    writer.apply(Changes { workloads: vec![workload], ..Changes::default() });
    let mesh = ToMesh { held: Held::new(writer), large: Arc::default() };
    let (sender, receiver) = watch::channel(status);
    let readiness = Readiness::default();
    let follow = follow(receiver, mesh, readiness.condition("state manager"), CancellationToken::new());
    tokio::select! {
        () = follow => panic!("nobody stopped it"),
        () = tokio::time::sleep(Duration::from_secs(1)) => {}
    }
    drop(sender);
    assert_eq!(readiness.is_ready(), reader.view().is_whole());
    reader.view()
}

#[tokio::test(start_paused = true)]
async fn policies_are_known_from_disk_or_from_the_control_plane() {
    let known = async |change: fn(&mut Status)| {
        let mut status = Status::default();
        change(&mut status);
        let view = followed(status).await;
        // With a state from disk as well as with a control plane's it may never come, and peers with identity need not wait.
        let applicable = view.policies_for(view.workload_by_uid("w").unwrap());
        assert_eq!((applicable.is_complete(true), applicable.is_complete(false)), (view.has_policies(), false));
        (view.has_policies(), view.is_whole())
    };
    assert_eq!(known(|_| {}).await, (false, false));
    assert_eq!(known(|status| status.address.synced = true).await, (false, false));
    // One of the first sync cannot be read.
    let hole: fn(&mut Status) = |status| (status.address.synced, status.authorization.missing) = (true, 1);
    assert_eq!(known(hole).await, (false, false));
    // That an address cannot has no part in who is let in.
    let hole: fn(&mut Status) = |status| (status.authorization.synced, status.address.missing) = (true, 1);
    assert_eq!(known(hole).await, (true, false));
    let both: fn(&mut Status) = |status| (status.address.synced, status.authorization.synced) = (true, true);
    assert_eq!(known(both).await, (true, true));
    assert_eq!(known(|status| status.on_demand = true).await, (false, false));
    let asked: fn(&mut Status) = |status| (status.on_demand, status.authorization.synced) = (true, true);
    assert_eq!(known(asked).await, (true, true));
    assert_eq!(known(|status| status.restored = true).await, (true, true));
    let hole: fn(&mut Status) = |status| (status.restored, status.lost) = (true, 1);
    assert_eq!(known(hole).await, (true, false));
}
