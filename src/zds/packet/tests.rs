use std::fs::File;

use proptest::prelude::*;

use super::*;
use crate::proto::zds::{AddWorkload, DelWorkload, KeepWorkload, SnapshotSent};

fn descriptors(count: usize) -> Vec<OwnedFd> {
    (0..count).map(|_| File::open("/dev/null").unwrap().into()).collect()
}

fn encoded(payload: WorkloadRequestPayload) -> Vec<u8> {
    WorkloadRequest { payload: Some(payload) }.encode_to_vec()
}

fn add(uid: &str, info: Option<[&str; 3]>) -> Vec<u8> {
    let workload_info = info.map(|[namespace, name, service_account]| WorkloadInfo {
        name: name.into(),
        namespace: namespace.into(),
        service_account: service_account.into(),
    });
    encoded(WorkloadRequestPayload::Add(AddWorkload { uid: uid.into(), workload_info }))
}

#[test]
fn a_pod_is_added_with_one_descriptor_and_nothing_else_brings_any() {
    let whole = add("u", Some(["shop", "cart", "cart"]));
    let Ok(Request::Add { uid, who: Ok(who), .. }) = request(&whole, descriptors(1)) else { panic!("an Add") };
    assert_eq!((&*uid, &*who.namespace, &*who.name, &*who.service_account), ("u", "shop", "cart", "cart"));
    for found in [0, 2, 4] {
        assert_eq!(request(&whole, descriptors(found)).unwrap_err(), BadPacket::NoSingleNamespace { found });
    }
    for payload in [
        WorkloadRequestPayload::Del(DelWorkload { uid: "u".into() }),
        WorkloadRequestPayload::Keep(KeepWorkload { uid: "u".into() }),
        WorkloadRequestPayload::SnapshotSent(SnapshotSent {}),
    ] {
        let bytes = encoded(payload);
        assert!(request(&bytes, Vec::new()).is_ok());
        assert_eq!(request(&bytes, descriptors(1)).unwrap_err(), BadPacket::Descriptors { found: 1 });
    }
    assert_eq!(request(&[], Vec::new()).unwrap_err(), BadPacket::Empty);
    assert!(matches!(request(&[0xff], Vec::new()), Err(BadPacket::Undecodable(_))));
}

#[test]
fn a_pod_whose_words_are_bad_is_refused_alone() {
    let long = "x".repeat(254);
    for uid in ["", &long, "a b", "a\nb", "ä"] {
        assert_eq!(request(&add(uid, Some(["shop", "cart", "cart"])), descriptors(1)).unwrap_err(), BadPacket::Uid);
        let del = encoded(WorkloadRequestPayload::Del(DelWorkload { uid: uid.into() }));
        assert_eq!(request(&del, Vec::new()).unwrap_err(), BadPacket::Uid);
    }
    for (uid, info, bad) in [
        ("u", None, BadPod::Nobody),
        ("u", Some(["", "cart", "cart"]), BadPod::Part("namespace")),
        ("u", Some(["shop/sa/root", "cart", "cart"]), BadPod::Part("namespace")),
        ("u", Some(["shop", "c\nart", "cart"]), BadPod::Part("name")),
        ("u", Some(["shop", "cart", ""]), BadPod::Part("service account")),
        ("u", Some(["shop", "cart", "a/b"]), BadPod::Part("service account")),
    ] {
        match request(&add(uid, info), descriptors(1)) {
            Ok(Request::Add { who, .. }) => assert_eq!(who, Err(bad), "{uid} {info:?}"),
            other => panic!("{uid} {info:?}: {other:?}"),
        }
    }
}

fn error_of(answer: &[u8]) -> String {
    let Some(WorkloadResponsePayload::Ack(ack)) = WorkloadResponse::decode(answer).unwrap().payload else {
        panic!("an ack")
    };
    ack.error
}

#[test]
fn answers_and_the_greeting_are_as_the_agent_reads_them() {
    // Field 1, varint, 1.
    assert_eq!(hello(), [0x08, 0x01]);
    assert_eq!(answer(Ok(())), [0x0a, 0x00]);
    assert_eq!(error_of(&answer(Err("no"))), "no");
    assert!(!error_of(&answer(Err(""))).is_empty(), "a refusal never reads as done");
}

proptest! {
    #[test]
    fn no_bytes_are_too_strange(bytes in proptest::collection::vec(any::<u8>(), 0..200), count in 0usize..4) {
        drop(request(&bytes, descriptors(count)));
    }

    #[test]
    fn what_was_cut_short_never_panics(cut in 0usize..60, uid in "[a-z0-9-]{1,36}") {
        let whole = add(&uid, Some(["shop", "cart", "cart"]));
        drop(request(&whole[..cut.min(whole.len())], descriptors(1)));
    }

    #[test]
    fn any_good_name_comes_through(
        uid in "[a-z0-9-]{1,36}", namespace in "[a-z0-9.-]{1,63}", name in "[a-z0-9.-]{1,253}", account in "[a-z0-9.-]{1,253}",
    ) {
        let Ok(Request::Add { uid: read, who: Ok(who), .. }) = request(&add(&uid, Some([&namespace, &name, &account])), descriptors(1))
        else { panic!("an Add") };
        prop_assert_eq!((&*read, &*who.namespace, &*who.name, &*who.service_account), (&*uid, &*namespace, &*name, &*account));
    }

    #[test]
    fn an_answer_fits_the_agents_buffer(text in "\\PC{0,2000}") {
        let packet = answer(Err(&text));
        prop_assert!(packet.len() <= 1024);
        prop_assert!(text.is_empty() || text.starts_with(&error_of(&packet)));
    }
}
