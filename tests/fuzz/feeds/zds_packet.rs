//! A packet of the node agent, behind a byte that says how many descriptors came along: only an Add keeps one, names are
//! those of Kubernetes, and an answer fits what the agent can read.

use std::fs::File;
use std::os::fd::OwnedFd;

use culvert::model::spiffe::Identity;
use culvert::proto::zds::{WorkloadResponse, WorkloadResponsePayload};
use culvert::zds::packet::{Request, answer, request};
use prost::Message;

/// The agent's buffer.
const READ_AT_ONCE: usize = 1024;

pub fn feed(data: &[u8]) -> bool {
    let Some((count, packet)) = data.split_first() else { return false };
    let count = usize::from(count % 4);
    let descriptors: Vec<OwnedFd> =
        (0..count).map(|_| File::open("/dev/null").expect("a descriptor can be had").into()).collect();
    let read = request(packet, descriptors);
    let taken = read.is_ok();
    match read {
        Ok(Request::Add { uid, who, netns: _ }) => {
            assert_eq!(count, 1);
            named(&uid);
            if let Ok(who) = who {
                let identity = Identity::new("cluster.local", who.namespace, who.service_account);
                assert_eq!(identity.to_string().parse::<Identity>(), Ok(identity));
                named(&who.name);
            }
        }
        Ok(Request::Del { uid } | Request::Keep { uid }) => {
            assert_eq!(count, 0);
            named(&uid);
        }
        Ok(Request::SnapshotSent) => assert_eq!(count, 0),
        Err(bad) => assert!(bad.to_string().len() < READ_AT_ONCE),
    }
    refusal(&String::from_utf8_lossy(packet));
    taken
}

fn named(text: &str) {
    assert!((1..=253).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic()), "{text:?}");
}

/// Whatever the reason is, the agent reads its beginning and knows that it is a refusal.
fn refusal(reason: &str) {
    let bytes = answer(Err(reason));
    assert!(bytes.len() <= READ_AT_ONCE);
    let Ok(Some(WorkloadResponsePayload::Ack(ack))) = WorkloadResponse::decode(&*bytes).map(|answer| answer.payload)
    else {
        panic!("an answer is an ack")
    };
    assert!(!ack.error.is_empty() && (reason.is_empty() || reason.starts_with(&ack.error)));
}
