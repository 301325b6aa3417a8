//! Messages of `extension.proto`, package `culvert.v1`.

/// How long one client keeps its endpoint.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct SessionAffinity {
    #[prost(uint64, tag = "1")]
    pub seconds: u64,
    #[prost(uint32, tag = "2")]
    pub nanoseconds: u32,
}

/// The written rule from which each group came.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct RuleNumbers {
    #[prost(uint32, repeated, tag = "1")]
    pub rules: Vec<u32>,
}
