//! Messages of `zds.proto`, package `istio.workload.zds`.

/// Versions of the conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
#[repr(i32)]
pub enum Version {
    NotUsed = 0,
    V1 = 1,
}

/// The proxy's first packet.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct ZdsHello {
    #[prost(enumeration = "Version", tag = "1")]
    pub version: i32,
}

/// What the agent wants done.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct WorkloadRequest {
    #[prost(oneof = "WorkloadRequestPayload", tags = "1, 2, 3, 5")]
    pub payload: Option<WorkloadRequestPayload>,
}

#[derive(Clone, PartialEq, Eq, prost::Oneof)]
pub enum WorkloadRequestPayload {
    #[prost(message, tag = "1")]
    Add(AddWorkload),
    #[prost(message, tag = "2")]
    Del(DelWorkload),
    #[prost(message, tag = "3")]
    SnapshotSent(SnapshotSent),
    #[prost(message, tag = "5")]
    Keep(KeepWorkload),
}

/// Who a pod is.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct WorkloadInfo {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(string, tag = "2")]
    pub namespace: String,
    #[prost(string, tag = "3")]
    pub service_account: String,
}

/// A pod to serve; its network namespace comes in the same packet as a descriptor.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct AddWorkload {
    /// The Kubernetes UID, not that of xDS.
    #[prost(string, tag = "1")]
    pub uid: String,
    #[prost(message, optional, tag = "2")]
    pub workload_info: Option<WorkloadInfo>,
}

/// A pod that exists and whose namespace the agent cannot supply.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct KeepWorkload {
    #[prost(string, tag = "1")]
    pub uid: String,
}

/// A pod that is gone.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct DelWorkload {
    #[prost(string, tag = "2")]
    pub uid: String,
}

/// Everything that exists has been named.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct SnapshotSent {}

/// The end of one request.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Ack {
    /// Empty when it was done.
    #[prost(string, tag = "1")]
    pub error: String,
}

/// The proxy's answer to one request.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct WorkloadResponse {
    #[prost(oneof = "WorkloadResponsePayload", tags = "1")]
    pub payload: Option<WorkloadResponsePayload>,
}

#[derive(Clone, PartialEq, Eq, prost::Oneof)]
pub enum WorkloadResponsePayload {
    #[prost(message, tag = "1")]
    Ack(Ack),
}
