//! The other end of the socket, for tests: listens, and says what a test tells it to.

use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::path::Path;

use prost::Message;

use crate::proto::zds::{
    AddWorkload, DelWorkload, KeepWorkload, SnapshotSent, WorkloadInfo, WorkloadRequest, WorkloadRequestPayload,
    WorkloadResponse, WorkloadResponsePayload,
};
use crate::sys::seqpacket::{Listener, SeqPacket};

/// A listening agent. Dropped, its file stays and refuses, as that of a process that died.
pub(crate) struct FakeAgent(Listener);

/// One proxy's connection.
pub(crate) struct Proxy(SeqPacket);

// === impl FakeAgent ===

impl FakeAgent {
    pub(crate) fn listen(path: &Path) -> Self {
        drop(std::fs::remove_file(path));
        Self(Listener::bind(path).unwrap())
    }

    /// The next proxy, its greeting read and checked.
    pub(crate) async fn accept(&self) -> Proxy {
        let proxy = Proxy(self.0.accept().await.unwrap());
        assert_eq!(proxy.0.receive().await.unwrap().unwrap().bytes, super::packet::hello());
        proxy
    }
}

// === impl Proxy ===

impl Proxy {
    /// Adds `namespace/name`; the answer's error, empty when it was done.
    pub(crate) async fn add(&self, uid: &str, pod: &str, netns: BorrowedFd<'_>) -> String {
        self.tell(&add(uid, pod), &[netns.as_raw_fd()]);
        self.answer().await.expect("an answer")
    }

    pub(crate) async fn keep(&self, uid: &str) -> String {
        self.ask(WorkloadRequestPayload::Keep(KeepWorkload { uid: uid.into() })).await
    }

    pub(crate) async fn del(&self, uid: &str) -> String {
        self.ask(WorkloadRequestPayload::Del(DelWorkload { uid: uid.into() })).await
    }

    pub(crate) async fn snapshot_sent(&self) -> String {
        self.ask(WorkloadRequestPayload::SnapshotSent(SnapshotSent {})).await
    }

    async fn ask(&self, payload: WorkloadRequestPayload) -> String {
        self.tell(&encoded(payload), &[]);
        self.answer().await.expect("an answer")
    }

    /// Sends any packet.
    pub(crate) fn tell(&self, packet: &[u8], descriptors: &[RawFd]) {
        self.0.tell(packet, descriptors);
    }

    /// The next answer's error; `None` when the proxy has left.
    pub(crate) async fn answer(&self) -> Option<String> {
        let packet = self.0.receive().await.ok()??;
        match WorkloadResponse::decode(&*packet.bytes).unwrap().payload {
            Some(WorkloadResponsePayload::Ack(ack)) => Some(ack.error),
            None => panic!("an answer without an ack"),
        }
    }
}

pub(crate) fn encoded(payload: WorkloadRequestPayload) -> Vec<u8> {
    WorkloadRequest { payload: Some(payload) }.encode_to_vec()
}

/// The packet that adds `namespace/name` with an account of the pod's name.
pub(crate) fn add(uid: &str, pod: &str) -> Vec<u8> {
    let (namespace, name) = pod.split_once('/').unwrap();
    let info = WorkloadInfo { name: name.into(), namespace: namespace.into(), service_account: name.into() };
    encoded(WorkloadRequestPayload::Add(AddWorkload { uid: uid.into(), workload_info: Some(info) }))
}
