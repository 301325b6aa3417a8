//! Answers that are written here: addresses of the mesh, and errors. Pure.

use std::net::IpAddr;

use super::answer::Found;
use super::message::{A, AAAA, CNAME, HEADER, IN, Message, OPT, Query};

/// Seconds that an answer of the mesh may be kept: Istio's, and short enough for a service that moves.
pub(super) const TTL: u32 = 30;
/// Names the question's name from anywhere in the message (RFC 1035, section 4.1.4).
const POINTER_TO_QUESTION: u16 = 0xc000 | HEADER as u16;
/// Bytes of the OPT record that is echoed: without options.
const OPTION: usize = 11;
/// Flags: response, authoritative, truncated; then recursion available.
const RESPONSE: u8 = 0x80;
const AUTHORITATIVE: u8 = 0x04;
const TRUNCATED: u8 = 0x02;
const AVAILABLE: u8 = 0x80;
/// The opcode and "recursion desired" are the query's; so is "checking disabled".
const COPIED: [u8; 2] = [0x79, 0x10];

/// Errors (RFC 1035, section 4.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Code {
    FormErr = 1,
    ServFail = 2,
}

/// The answer to `query`, of at most `limit` bytes: what does not fit is left out, and the client told so (TC).
pub(super) fn found(query: &Query<'_>, found: &Found, limit: usize) -> Vec<u8> {
    let mut bytes = begun(query.message, query.question.end);
    bytes[2] |= AUTHORITATIVE;
    let option = query.edns.map_or(0, |_| OPTION);
    let limit = limit.min(usize::from(u16::MAX)).saturating_sub(option);
    // RFC 6891, section 6.1.3: BADVERS, whose upper bits stand in the OPT record.
    let bad_version = query.edns.is_some_and(|edns| edns.version > 0);
    let mut answers = 0u16;
    if !bad_version {
        let mut owner = POINTER_TO_QUESTION;
        let target = found.stripped.as_deref().and_then(wire);
        if let Some(target) = target.filter(|target| bytes.len() + HEADER + target.len() <= limit) {
            let at = bytes.len() + HEADER;
            record(&mut bytes, owner, CNAME, &target);
            answers += 1;
            // The question is 270 bytes at most, so the offset fits its fourteen bits.
            owner = 0xc000 | u16::try_from(at).unwrap_or(0);
        }
        for ip in &found.addresses {
            let (kind, data) = match ip {
                IpAddr::V4(ip) => (A, ip.octets().to_vec()),
                IpAddr::V6(ip) => (AAAA, ip.octets().to_vec()),
            };
            if bytes.len() + HEADER + data.len() > limit {
                bytes[2] |= TRUNCATED;
                break;
            }
            record(&mut bytes, owner, kind, &data);
            answers += 1;
        }
    }
    bytes[6..8].copy_from_slice(&answers.to_be_bytes());
    if let Some(edns) = query.edns {
        bytes.push(0);
        bytes.extend_from_slice(&OPT.to_be_bytes());
        bytes.extend_from_slice(&edns.payload.max(512).to_be_bytes());
        bytes.extend_from_slice(&[u8::from(bad_version), 0, if edns.dnssec_ok { 0x80 } else { 0 }, 0, 0, 0]);
        bytes[10..12].copy_from_slice(&1u16.to_be_bytes());
    }
    bytes
}

/// An error to whatever `message` is, with its question where that can be read.
pub(super) fn error(message: Message<'_>, code: Code) -> Vec<u8> {
    let end = if message.counts()[0] == 1 { message.question().map(|question| question.end) } else { None };
    let mut bytes = begun(message, end.unwrap_or(HEADER));
    bytes[3] |= code as u8;
    bytes
}

/// Header and question of an answer; `end` is the question's, or the header's for none.
fn begun(message: Message<'_>, end: usize) -> Vec<u8> {
    let mut bytes = message.bytes().get(..end).unwrap_or_default().to_vec();
    bytes.resize(end.max(HEADER), 0);
    bytes[2] = (bytes[2] & COPIED[0]) | RESPONSE;
    bytes[3] = (bytes[3] & COPIED[1]) | AVAILABLE;
    bytes[4..HEADER].fill(0);
    bytes[5] = u8::from(end > HEADER);
    bytes
}

/// Twelve bytes and the data.
fn record(bytes: &mut Vec<u8>, owner: u16, kind: u16, data: &[u8]) {
    for half in [owner, kind, IN] {
        bytes.extend_from_slice(&half.to_be_bytes());
    }
    bytes.extend_from_slice(&TTL.to_be_bytes());
    bytes.extend_from_slice(&u16::try_from(data.len()).unwrap_or(0).to_be_bytes());
    bytes.extend_from_slice(data);
}

/// A name on the wire. `None` for a label that is empty or too long: the asked name had neither.
fn wire(name: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(name.len() + 2);
    for label in name.split('.') {
        let length = u8::try_from(label.len()).ok().filter(|length| (1..=63).contains(length))?;
        bytes.push(length);
        bytes.extend_from_slice(label.as_bytes());
    }
    bytes.push(0);
    Some(bytes)
}

#[cfg(test)]
mod tests;
