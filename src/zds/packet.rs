//! Packets of the conversation: what the agent asks, and what is answered (pure).
//!
//! One message a packet, without a length before it; a pod's network namespace comes as the one descriptor of the
//! packet that adds the pod.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use prost::Message;

use crate::proto::zds::{
    Ack, Version, WorkloadInfo, WorkloadRequest, WorkloadRequestPayload, WorkloadResponse, WorkloadResponsePayload,
    ZdsHello,
};

/// What the agent asks for.
#[derive(Debug)]
pub enum Request {
    /// Serve a pod.
    Add {
        uid: Arc<str>,
        /// What is wrong with its words concerns this pod alone.
        who: Result<Who, BadPod>,
        netns: OwnedFd,
    },
    /// The pod is gone.
    Del { uid: Arc<str> },
    /// The pod exists, and the agent cannot supply its namespace.
    Keep { uid: Arc<str> },
    /// Everything that exists has been named.
    SnapshotSent,
}

/// Who a pod is. No part is empty or could break out of a SPIFFE identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Who {
    pub name: Arc<str>,
    pub namespace: Arc<str>,
    pub service_account: Arc<str>,
}

/// A packet that this conversation cannot have: the agent's fault, or it speaks another version.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadPacket {
    #[error("a packet is no request of this protocol")]
    Undecodable(#[from] prost::DecodeError),
    #[error("a packet asks for nothing that this version knows")]
    Empty,
    #[error("a packet that adds a pod brings {found} descriptors, and has to bring its network namespace alone")]
    NoSingleNamespace { found: usize },
    #[error("a packet that adds no pod brings {found} descriptors")]
    Descriptors { found: usize },
    #[error("a packet names a pod by a uid that is empty, longer than {LONGEST_UID} bytes, or not of printable ASCII")]
    Uid,
}

/// A pod that cannot be served for what is said of it: the agent's fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadPod {
    #[error("it is announced without saying who it is (workload_info)")]
    Nobody,
    #[error("its {0} is empty, longer than 253 bytes, or holds a character that Kubernetes does not allow there")]
    Part(&'static str),
}

/// The longest text of an answer, in bytes: the agent reads packets of 1024 bytes and takes a longer one for an error.
const LONGEST_ERROR: usize = 900;
/// RFC 1123 subdomains, of which all three parts of a pod are one.
const LONGEST_NAME: usize = 253;
/// A Kubernetes UID has 36 bytes; others are let be.
const LONGEST_UID: usize = 253;

/// Our first packet.
pub fn hello() -> Vec<u8> {
    ZdsHello { version: Version::V1 as i32 }.encode_to_vec()
}

/// The answer to a request: done, or why not, cut to what the agent can read.
pub fn answer(result: Result<(), &str>) -> Vec<u8> {
    let text = result.err().map_or("", |text| if text.is_empty() { "refused" } else { text });
    let mut end = text.len().min(LONGEST_ERROR);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let ack = Ack { error: text[..end].to_owned() };
    WorkloadResponse { payload: Some(WorkloadResponsePayload::Ack(ack)) }.encode_to_vec()
}

/// Reads a request. Descriptors that it does not hand out are closed.
pub fn request(bytes: &[u8], mut descriptors: Vec<OwnedFd>) -> Result<Request, BadPacket> {
    let payload = WorkloadRequest::decode(bytes)?.payload.ok_or(BadPacket::Empty)?;
    let found = descriptors.len();
    let request = match payload {
        WorkloadRequestPayload::Add(add) => {
            let (Some(netns), true) = (descriptors.pop(), descriptors.is_empty()) else {
                return Err(BadPacket::NoSingleNamespace { found });
            };
            return Ok(Request::Add { uid: uid(add.uid)?, who: who(add.workload_info), netns });
        }
        WorkloadRequestPayload::Del(del) => Request::Del { uid: uid(del.uid)? },
        WorkloadRequestPayload::Keep(keep) => Request::Keep { uid: uid(keep.uid)? },
        WorkloadRequestPayload::SnapshotSent(_) => Request::SnapshotSent,
    };
    if found == 0 { Ok(request) } else { Err(BadPacket::Descriptors { found }) }
}

fn uid(uid: String) -> Result<Arc<str>, BadPacket> {
    let is_good = !uid.is_empty() && uid.len() <= LONGEST_UID && uid.bytes().all(|b| b.is_ascii_graphic());
    if is_good { Ok(uid.into()) } else { Err(BadPacket::Uid) }
}

fn who(info: Option<WorkloadInfo>) -> Result<Who, BadPod> {
    let WorkloadInfo { name, namespace, service_account } = info.ok_or(BadPod::Nobody)?;
    for (what, text) in [("name", &name), ("namespace", &namespace), ("service account", &service_account)] {
        let is_good = text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
        if text.is_empty() || text.len() > LONGEST_NAME || !is_good {
            return Err(BadPod::Part(what));
        }
    }
    Ok(Who { name: name.into(), namespace: namespace.into(), service_account: service_account.into() })
}

#[cfg(test)]
mod tests;
