//! A response, and its bytes.
//!
//! Written field by field: a resource's own bytes are copied once into the frame, and not first into a message of
//! their own for each client.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::buf::Chain;
use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use prost::encoding::{WireType, decode_varint, encode_key, encode_varint, encoded_len_varint, key_len};

use super::entry::{Entry, Type};
use super::snapshot::Snapshot;

/// What is sent in one go.
#[derive(Clone, Debug)]
pub struct Response {
    pub kind: Type,
    /// Number of the snapshot.
    pub version: u64,
    pub nonce: String,
    pub entries: Vec<Arc<Entry>>,
    pub removed: Vec<Arc<str>>,
    /// Write what entries are also called: to who asks on demand.
    pub(super) aliases: bool,
    pub(super) asked: Arc<Asked>,
}

/// Bytes of one client alone, and such as may be shared.
pub(super) type Marshalled = Chain<Bytes, Bytes>;

/// Addresses inside of a block of a service that were asked for, by the name of the service.
pub(super) type Asked = HashMap<Arc<str>, Vec<String>>;

// Fields of DeltaDiscoveryResponse, Resource and Any: see `proto::discovery` and `proto::google`.
const SYSTEM_VERSION: u32 = 1;
const RESOURCES: u32 = 2;
const TYPE_URL: u32 = 4;
const NONCE: u32 = 5;
const REMOVED: u32 = 6;
const VERSION: u32 = 1;
const RESOURCE: u32 = 2;
const NAME: u32 = 3;
const ALIASES: u32 = 4;
const ANY_URL: u32 = 1;
const ANY_VALUE: u32 = 2;

// === impl Response ===

impl Response {
    /// The marshalled `DeltaDiscoveryResponse`. What every client of `now` is sent alike, all policies, is marshalled once
    /// and shared: it may be large, and many begin at once.
    pub(super) fn encode(&self, now: &Snapshot) -> Marshalled {
        let mut own = BytesMut::new();
        put(&mut own, SYSTEM_VERSION, self.version.to_string().as_bytes());
        put(&mut own, TYPE_URL, self.kind.url().as_bytes());
        put(&mut own, NONCE, self.nonce.as_bytes());
        for name in &self.removed {
            put(&mut own, REMOVED, name.as_bytes());
        }
        let all = now.of(self.kind);
        let same = |(a, b): (&Arc<Entry>, &Arc<Entry>)| Arc::ptr_eq(a, b);
        let alike = self.kind == Type::Authorization
            && !self.aliases
            && self.entries.len() == all.len()
            && self.entries.iter().zip(all).all(same);
        let resources = if alike { now.marshalled_policies(|| self.resources()) } else { self.resources() };
        own.freeze().chain(resources)
    }

    fn resources(&self) -> Bytes {
        let mut out = BytesMut::new();
        for entry in &self.entries {
            self.put_resource(&mut out, entry);
        }
        out.freeze()
    }

    fn put_resource(&self, out: &mut BytesMut, entry: &Entry) {
        let url = self.kind.url().as_bytes();
        let value = value(self.kind, &entry.value);
        let aliases = || {
            let asked = self.asked.get(&entry.name).into_iter().flatten().map(String::as_str);
            let own = entry.aliases.iter().map(|alias| &**alias);
            own.chain(asked).filter(|_| self.aliases)
        };
        let any = length(ANY_URL, url.len()) + length(ANY_VALUE, value.len());
        let version = entry.version();
        let all = length(VERSION, version.len())
            + length(RESOURCE, any)
            + length(NAME, entry.name.len())
            + aliases().map(|alias| length(ALIASES, alias.len())).sum::<usize>();
        out.reserve(length(RESOURCES, all));
        head(out, RESOURCES, all);
        put(out, VERSION, version.as_bytes());
        head(out, RESOURCE, any);
        put(out, ANY_URL, url);
        put(out, ANY_VALUE, value);
        put(out, NAME, entry.name.as_bytes());
        aliases().for_each(|alias| put(out, ALIASES, alias.as_bytes()));
    }
}

/// About how much an entry adds to a response.
pub(super) fn weight(entry: &Entry, asked: &Asked) -> usize {
    let asked = asked.get(&entry.name).into_iter().flatten().map(String::as_str);
    let aliases = entry.aliases.iter().map(|alias| &**alias).chain(asked);
    // The type's URL, the version and the heads of fields.
    entry.value.len() + entry.name.len() + aliases.map(|alias| alias.len() + 2).sum::<usize>() + 80
}

/// What is inside of the resource: all of it, or of an `Address` the workload, its only field.
fn value(kind: Type, marshalled: &[u8]) -> &[u8] {
    if kind != Type::Workload {
        return marshalled;
    }
    let mut rest = marshalled;
    // Key and length; we have written them ourselves.
    let skipped = decode_varint(&mut rest).and_then(|_| decode_varint(&mut rest));
    if skipped.is_ok() { rest } else { marshalled }
}

fn length(field: u32, bytes: usize) -> usize {
    key_len(field) + encoded_len_varint(bytes as u64) + bytes
}

fn head(out: &mut BytesMut, field: u32, bytes: usize) {
    encode_key(field, WireType::LengthDelimited, out);
    encode_varint(bytes as u64, out);
}

fn put(out: &mut BytesMut, field: u32, bytes: &[u8]) {
    head(out, field, bytes.len());
    out.put_slice(bytes);
}
