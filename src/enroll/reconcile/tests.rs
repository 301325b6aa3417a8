use super::*;
use crate::model::name::NamespacedName;

fn pod(uid: &str, account: &str) -> Arc<Pod> {
    Arc::new(Pod {
        key: NamespacedName::new("shop", uid),
        uid: uid.into(),
        service_account: account.into(),
        node: "a".into(),
        addresses: vec!["10.0.0.1".parse().unwrap()],
        host_network: false,
        finished: false,
        dataplane_mode: None,
        has_sidecar: false,
        dns_capture: None,
        netns: Some("/run/netns/x".into()),
    })
}

fn check(wanted: Option<Arc<Pod>>, held: Option<(Arc<Pod>, Phase)>, expect: &[Action]) {
    let uid: Arc<str> = "p".into();
    let wanted = wanted.map(|pod| (Arc::clone(&uid), pod)).into_iter().collect();
    let held = held.map(|entry| (Arc::clone(&uid), entry)).into_iter().collect();
    assert_eq!(reconcile(&wanted, &held), expect, "wanted {wanted:?}, held {held:?}");
}

#[test]
fn every_pair_of_wish_and_state_has_its_step() {
    use Phase::{Busy, Enrolled, Failed, Withdrawing};
    let (old, new) = (pod("p", "one"), pod("p", "two"));
    let uid: Arc<str> = "p".into();
    let enrol = |pod: &Arc<Pod>| vec![Action::Enrol(Arc::clone(pod))];
    check(None, None, &[]);
    check(Some(old.clone()), None, &enrol(&old));
    for (phase, unwanted, same, changed) in [
        (Busy, vec![], vec![], vec![]),
        (Enrolled, vec![Action::Withdraw(uid.clone())], vec![], vec![Action::WithdrawNow(uid.clone())]),
        (Withdrawing, vec![], vec![Action::Resume(uid.clone())], vec![Action::WithdrawNow(uid.clone())]),
        (Failed { due: false }, vec![Action::Forget(uid.clone())], vec![], enrol(&new)),
        (Failed { due: true }, vec![Action::Forget(uid.clone())], enrol(&old), enrol(&new)),
    ] {
        check(None, Some((old.clone(), phase)), &unwanted);
        check(Some(old.clone()), Some((old.clone(), phase)), &same);
        check(Some(new.clone()), Some((old.clone(), phase)), &changed);
    }
}

#[test]
fn labels_and_the_order_of_addresses_change_nothing() {
    let two = ["10.0.0.1".parse().unwrap(), "fd00::1".parse().unwrap()];
    let held = Pod { addresses: two.to_vec(), ..(*pod("p", "one")).clone() };
    let mut wanted = Pod { dataplane_mode: Some("ambient".into()), ..held.clone() };
    wanted.addresses.reverse();
    check(Some(Arc::new(wanted)), Some((Arc::new(held), Phase::Enrolled)), &[]);
}
