//! A response whose resources are still bytes.
//!
//! `proto::discovery` has the same messages. Here a resource is a slice of the response's one buffer until its turn
//! comes: a first sync of a large mesh is in memory once and not three times, and a resource that is no message at all
//! is refused alone instead of ending the stream. A message within a message is written as its bytes, so the field can
//! be read either way.

use bytes::Bytes;

/// `envoy.service.discovery.v3.DeltaDiscoveryResponse`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Envelope {
    #[prost(bytes = "bytes", repeated, tag = "2")]
    pub(super) resources: Vec<Bytes>,
    #[prost(string, tag = "4")]
    pub(super) type_url: String,
    #[prost(string, tag = "5")]
    pub(super) nonce: String,
    #[prost(string, repeated, tag = "6")]
    pub(super) removed_resources: Vec<String>,
}

/// `envoy.service.discovery.v3.Resource`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Wrapped {
    #[prost(string, tag = "1")]
    pub(super) version: String,
    #[prost(message, optional, tag = "2")]
    pub(super) resource: Option<Body>,
    #[prost(string, tag = "3")]
    pub(super) name: String,
    #[prost(string, repeated, tag = "4")]
    pub(super) aliases: Vec<String>,
}

/// `google.protobuf.Any`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Body {
    #[prost(string, tag = "1")]
    pub(super) type_url: String,
    #[prost(bytes = "bytes", tag = "2")]
    pub(super) value: Bytes,
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;
    use crate::proto::discovery::{DeltaDiscoveryResponse, Resource};
    use crate::proto::google::Any;

    #[test]
    fn they_read_what_the_messages_write() {
        let resource = Resource {
            version: "v".into(),
            resource: Some(Any { type_url: "t".into(), value: vec![1, 2, 3] }),
            name: "n".into(),
            aliases: vec!["a".into(), "b".into()],
        };
        let response = DeltaDiscoveryResponse {
            system_version_info: "s".into(),
            resources: vec![resource.clone(), Resource::default()],
            type_url: "t".into(),
            nonce: "o".into(),
            removed_resources: vec!["r".into()],
        };
        let Envelope { resources, type_url, nonce, removed_resources } =
            Envelope::decode(response.encode_to_vec().as_slice()).unwrap();
        assert_eq!((type_url, nonce, removed_resources), ("t".into(), "o".into(), vec!["r".into()]));
        assert_eq!(resources.len(), 2);
        let Wrapped { version, resource, name, aliases } = Wrapped::decode(resources[0].clone()).unwrap();
        assert_eq!((version, name, aliases), ("v".into(), "n".into(), vec!["a".into(), "b".into()]));
        assert_eq!(resource, Some(Body { type_url: "t".into(), value: Bytes::from_static(&[1, 2, 3]) }));
        assert_eq!(Wrapped::decode(resources[1].clone()).unwrap(), Wrapped::default());
    }
}
