use std::fs::File;

use proptest::prelude::*;
use prost::Message;

use super::*;
use crate::proto::zds::{
    AddWorkload, DelWorkload, KeepWorkload, SnapshotSent, WorkloadInfo, WorkloadRequest, WorkloadRequestPayload,
};

/// A request in short: `+u` adds, `-u` deletes, `=u` keeps, `.` ends the snapshot.
fn take(session: &mut Session, line: &str) -> Result<Step, Violation> {
    let uid = line[1..].to_owned();
    let info = || WorkloadInfo { name: uid.clone(), namespace: "shop".into(), service_account: "sa".into() };
    let (payload, descriptors) = match line.as_bytes()[0] {
        b'+' => {
            let add = AddWorkload { uid: uid.clone(), workload_info: Some(info()) };
            (WorkloadRequestPayload::Add(add), vec![File::open("/dev/null").unwrap().into()])
        }
        b'-' => (WorkloadRequestPayload::Del(DelWorkload { uid }), Vec::new()),
        b'=' => (WorkloadRequestPayload::Keep(KeepWorkload { uid }), Vec::new()),
        _ => (WorkloadRequestPayload::SnapshotSent(SnapshotSent {}), Vec::new()),
    };
    let bytes = WorkloadRequest { payload: Some(payload) }.encode_to_vec();
    session.take(&bytes, descriptors).map(|(step, owed)| {
        drop(owed.answer(Ok(())));
        step
    })
}

fn snapshot(lines: &[&str]) -> (Session, Vec<String>) {
    let (mut session, _) = Session::begin();
    for line in lines {
        take(&mut session, line).unwrap();
    }
    assert!(!session.is_following());
    let Ok(Step::Snapshot(named)) = take(&mut session, ".") else { panic!("the snapshot's end") };
    (session, named.iter().map(ToString::to_string).collect())
}

#[test]
fn a_snapshot_names_what_was_added_and_kept_and_not_what_was_deleted_meanwhile() {
    let (session, named) = snapshot(&["+a", "=b", "+c", "-a", "-x", "+c"]);
    assert_eq!(named, ["b", "c"]);
    assert!(session.is_following());
    assert_eq!(snapshot(&[]).1, Vec::<String>::new());
}

#[test]
fn after_the_snapshot_pods_come_and_go_and_nothing_else() {
    let (mut session, _) = snapshot(&["+a"]);
    assert!(matches!(take(&mut session, "+b"), Ok(Step::Add { uid, .. }) if &*uid == "b"));
    assert!(matches!(take(&mut session, "-a"), Ok(Step::Del { uid }) if &*uid == "a"));
    assert_eq!(take(&mut session, "=a").unwrap_err(), Violation::LateKeep);
    assert_eq!(take(&mut session, ".").unwrap_err(), Violation::SecondSnapshot);
    assert_eq!(
        session.take(&[0xff], Vec::new()).map(drop),
        Err(Violation::Packet(packet::request(&[0xff], Vec::new()).unwrap_err()))
    );
}

#[test]
fn a_snapshot_without_end_is_refused() {
    let (mut session, _) = Session::begin();
    for n in 0..MOST_PODS {
        take(&mut session, &format!("={n}")).unwrap();
    }
    assert_eq!(take(&mut session, "=more").unwrap_err(), Violation::ManyPods);
}

proptest! {
    /// The names of a snapshot are those of a set to which the same was done.
    #[test]
    fn names_are_those_of_a_set(lines in proptest::collection::vec("[+=-][a-e]", 0..40)) {
        let (mut session, _) = Session::begin();
        let mut model = BTreeSet::new();
        for line in &lines {
            take(&mut session, line).unwrap();
            let uid = line[1..].to_owned();
            if line.starts_with('-') { model.remove(&uid); } else { model.insert(uid); }
        }
        let Ok(Step::Snapshot(named)) = take(&mut session, ".") else { panic!("the snapshot's end") };
        prop_assert!(named.iter().map(|uid| &**uid).eq(model.iter().map(|uid| &**uid)));
    }
}
