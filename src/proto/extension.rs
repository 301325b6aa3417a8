//! Messages of `extension.proto`, package `culvert.v1`.

use super::security::{Group, Match};

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

/// An AUDIT policy's groups.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Audit {
    #[prost(message, repeated, tag = "1")]
    pub groups: Vec<Group>,
}

/// The zone of conditions of time.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct TimeZone {
    #[prost(string, tag = "1")]
    pub name: String,
}

/// A match with conditions of time.
#[derive(Clone, PartialEq, prost::Message)]
pub struct TimedMatch {
    #[prost(message, optional, tag = "1")]
    pub conditions: Option<Match>,
    #[prost(message, repeated, tag = "2")]
    pub times: Vec<TimeSpan>,
    #[prost(message, repeated, tag = "3")]
    pub not_times: Vec<TimeSpan>,
    #[prost(uint32, repeated, tag = "4")]
    pub days: Vec<u32>,
    #[prost(uint32, repeated, tag = "5")]
    pub not_days: Vec<u32>,
}

/// A span of the day.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct TimeSpan {
    #[prost(uint32, tag = "1")]
    pub first: u32,
    #[prost(uint32, tag = "2")]
    pub last: u32,
}
