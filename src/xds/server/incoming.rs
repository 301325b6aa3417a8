//! Reading requests: bounded by what they become in memory, and not by their bytes alone. An empty name has two bytes on
//! the wire and some fifty here.

use bytes::{Buf as _, Bytes};
use prost::Message;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};
use tonic::Status;
use tonic::codec::{DecodeBuf, Decoder};

use crate::proto::discovery::DeltaDiscoveryRequest;

/// Names of one request, of all kinds: as many as may be subscribed to, with as many versions.
const NAMES: usize = 500_000;
/// Bytes of everything else together, 64 KiB: the node with its metadata, the reasons of a refusal. Not of each: a field
/// that comes twice is merged, and two bytes of a node's metadata are some hundred here.
const OTHER: usize = 64 << 10;

/// Decodes requests.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Bounded;

impl Decoder for Bounded {
    type Item = DeltaDiscoveryRequest;
    type Error = Status;

    fn decode(&mut self, bytes: &mut DecodeBuf<'_>) -> Result<Option<Self::Item>, Status> {
        decode(bytes.copy_to_bytes(bytes.remaining())).map(Some)
    }
}

fn decode(bytes: Bytes) -> Result<DeltaDiscoveryRequest, Status> {
    check(&bytes)?;
    DeltaDiscoveryRequest::decode(bytes).map_err(|error| Status::invalid_argument(error.to_string()))
}

/// Looks at the fields of a request and at nothing inside of them. What is no message is left to the decoder.
fn check(mut bytes: &[u8]) -> Result<(), Status> {
    let (mut names, mut others) = (0_usize, 0_usize);
    while !bytes.is_empty() {
        let Ok((field, wire)) = decode_key(&mut bytes) else { return Ok(()) };
        if wire != WireType::LengthDelimited {
            // None that is known; the decoder leaves it out.
            if skip_field(wire, field, &mut bytes, DecodeContext::default()).is_err() {
                return Ok(());
            }
            continue;
        }
        let Some(length) = decode_varint(&mut bytes).ok().and_then(|length| usize::try_from(length).ok()) else {
            return Ok(());
        };
        let Some((_, rest)) = bytes.split_at_checked(length) else { return Ok(()) };
        bytes = rest;
        match field {
            // To subscribe to, to unsubscribe from, held with its version.
            3..=5 => names += 1,
            _ => others = others.saturating_add(length),
        }
        if others > OTHER {
            let text = "more than 64 KiB of node, of a refusal's reasons and of what is not known, together: say less";
            return Err(Status::resource_exhausted(text));
        }
        if names > NAMES {
            return Err(Status::resource_exhausted("more than 500,000 names in one request: use the wildcard"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tonic::Code;

    use super::*;
    use crate::proto::discovery::Node;
    use crate::proto::google::{Struct, Value};

    fn code(request: &DeltaDiscoveryRequest) -> Option<Code> {
        let read = decode(request.encode_to_vec().into());
        assert!(read.as_ref().ok().is_none_or(|read| read == request));
        read.err().map(|status| status.code())
    }

    #[test]
    fn a_request_is_bounded_by_what_it_becomes() {
        let names = |count| vec![String::new(); count];
        let subscribe = |count| DeltaDiscoveryRequest { resource_names_subscribe: names(count), ..Default::default() };
        assert_eq!(code(&subscribe(NAMES)), None);
        assert_eq!(code(&subscribe(NAMES + 1)), Some(Code::ResourceExhausted));
        let half = NAMES / 2;
        let versions = (0..=half).map(|n| (n.to_string(), "v".to_owned())).collect();
        let mut both = DeltaDiscoveryRequest { initial_resource_versions: versions, ..subscribe(half) };
        assert_eq!(code(&both), Some(Code::ResourceExhausted));
        both.resource_names_subscribe.pop();
        assert_eq!(code(&both), None);
        let fields = (0..2000).map(|n| (n.to_string(), Value::from("x".repeat(40)))).collect();
        let node = Node { id: "n".into(), metadata: Some(Struct { fields }) };
        assert_eq!(code(&DeltaDiscoveryRequest { node: Some(node), ..subscribe(1) }), Some(Code::ResourceExhausted));
    }

    /// Protobuf merges what comes twice: many small nodes become one large one.
    #[test]
    fn what_is_merged_is_bounded_in_all() {
        let part = |from: usize| {
            let fields = (from..from + 1000).map(|n| (n.to_string(), Value::from("x".repeat(10)))).collect();
            let node = Node { id: "n".into(), metadata: Some(Struct { fields }) };
            DeltaDiscoveryRequest { node: Some(node), ..Default::default() }.encode_to_vec()
        };
        assert!(part(0).len() < OTHER / 2);
        assert!(decode([part(0), part(1000)].concat().into()).is_ok());
        let many = (0..4).flat_map(|n| part(n * 1000)).collect::<Vec<_>>();
        assert_eq!(decode(many.into()).unwrap_err().code(), Code::ResourceExhausted);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
            decode(bytes.into()).ok();
        }
    }
}
