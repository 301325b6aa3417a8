//! Values by which groups are filed, and those that a connection has.
//!
//! Texts are filed by a hash, so that a principal is looked up without writing it down. Two texts of one hash are
//! filed together, which costs a look and is never wrong: the groups that are found are judged.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::model::policy::StringMatch;
use crate::model::spiffe::Identity;

use super::Asked;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Key {
    /// A hash of namespace and name.
    Account(u64),
    /// Truncated.
    Destination(IpNet),
    Namespace(Text),
    /// A peer without an identity.
    Nobody,
    Port(u16),
    Principal(Text),
    /// Truncated.
    Source(IpNet),
}

/// The end of a text that is looked at, its hash and its length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Text {
    end: End,
    length: usize,
    hash: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum End {
    Both,
    Head,
    /// Hashed from the last byte to the first.
    Tail,
}

/// Which lengths of patterns and networks are filed: no other needs a look. Each list is in order.
#[derive(Debug, Default)]
pub(super) struct Lengths {
    principals: Patterns,
    namespaces: Patterns,
    sources: Nets,
    destinations: Nets,
}

#[derive(Debug, Default)]
struct Patterns {
    heads: Vec<usize>,
    tails: Vec<usize>,
}

#[derive(Debug, Default)]
struct Nets {
    v4: Vec<u8>,
    v6: Vec<u8>,
}

/// FNV-1a, one byte after another, so that a text may come in parts. Its 64 bits need not resist anybody.
#[derive(Clone, Copy)]
struct Fnv(u64);

// === impl Key ===

impl Key {
    pub(super) fn account(namespace: &str, name: &str) -> Self {
        Self::Account(Fnv::NEW.text(namespace).byte(b'/').text(name).0)
    }
}

// === impl Text ===

impl Text {
    /// `None` for a pattern of any value.
    pub(super) fn of(wanted: &StringMatch) -> Option<Self> {
        Some(match wanted {
            StringMatch::Exact(text) => Self { end: End::Both, length: text.len(), hash: Fnv::NEW.text(text).0 },
            StringMatch::Prefix(text) => Self { end: End::Head, length: text.len(), hash: Fnv::NEW.text(text).0 },
            StringMatch::Presence => return None,
            StringMatch::Suffix(text) => {
                let hash = text.bytes().rev().fold(Fnv::NEW, Fnv::byte).0;
                Self { end: End::Tail, length: text.len(), hash }
            }
        })
    }
}

// === impl Lengths ===

impl Lengths {
    pub(super) fn add(&mut self, key: &Key) {
        match key {
            Key::Account(_) | Key::Nobody | Key::Port(_) => {}
            Key::Destination(net) => self.destinations.add(net),
            Key::Namespace(text) => self.namespaces.add(text),
            Key::Principal(text) => self.principals.add(text),
            Key::Source(net) => self.sources.add(net),
        }
    }

    /// Every value of a connection under which something may be filed.
    pub(super) fn keys(&self, asked: &Asked<'_>, mut look: impl FnMut(Key)) {
        look(Key::Port(asked.destination.port()));
        if let Some(Identity { trust_domain, namespace, service_account }) = asked.peer {
            look(Key::account(namespace, service_account));
            self.namespaces.keys(&[namespace], |text| look(Key::Namespace(text)));
            let parts = [&**trust_domain, "/ns/", &**namespace, "/sa/", &**service_account];
            self.principals.keys(&parts, |text| look(Key::Principal(text)));
        } else {
            look(Key::Nobody);
        }
        self.sources.keys(asked.source, |net| look(Key::Source(net)));
        self.destinations.keys(asked.destination.ip(), |net| look(Key::Destination(net)));
    }
}

// === impl Patterns ===

impl Patterns {
    fn add(&mut self, text: &Text) {
        match text.end {
            End::Both => {}
            End::Head => insert(&mut self.heads, text.length),
            End::Tail => insert(&mut self.tails, text.length),
        }
    }

    /// The text of `parts`, one after another, and its heads and tails of the lengths that are there.
    fn keys(&self, parts: &[&str], mut look: impl FnMut(Text)) {
        let forward = || parts.iter().flat_map(|part| part.bytes());
        let whole = ends(forward(), &self.heads, |length, hash| look(Text { end: End::Head, length, hash }));
        look(Text { end: End::Both, length: whole.0, hash: whole.1 });
        if !self.tails.is_empty() {
            let backward = parts.iter().rev().flat_map(|part| part.bytes().rev());
            ends(backward, &self.tails, |length, hash| look(Text { end: End::Tail, length, hash }));
        }
    }
}

/// Calls `look` with the hash of the first bytes, for each of `lengths` that there are. Answers length and hash of
/// all of them.
fn ends(bytes: impl Iterator<Item = u8>, lengths: &[usize], mut look: impl FnMut(usize, u64)) -> (usize, u64) {
    let mut hash = Fnv::NEW;
    let mut wanted = lengths.iter().peekable();
    let mut length = 0;
    for byte in bytes {
        if wanted.next_if_eq(&&length).is_some() {
            look(length, hash.0);
        }
        hash = hash.byte(byte);
        length += 1;
    }
    if wanted.next_if_eq(&&length).is_some() {
        look(length, hash.0);
    }
    (length, hash.0)
}

// === impl Nets ===

impl Nets {
    fn add(&mut self, net: &IpNet) {
        match net {
            IpNet::V4(net) => insert(&mut self.v4, net.prefix_len()),
            IpNet::V6(net) => insert(&mut self.v6, net.prefix_len()),
        }
    }

    fn keys(&self, address: IpAddr, mut look: impl FnMut(IpNet)) {
        let lengths = if address.is_ipv4() { &self.v4 } else { &self.v6 };
        for length in lengths {
            // A length that was filed fits the family.
            if let Ok(net) = IpNet::new(address, *length) {
                look(net.trunc());
            }
        }
    }
}

fn insert<T: Ord>(list: &mut Vec<T>, value: T) {
    if let Err(place) = list.binary_search(&value) {
        list.insert(place, value);
    }
}

// === impl Fnv ===

impl Fnv {
    const NEW: Self = Self(0xcbf2_9ce4_8422_2325);

    const fn byte(self, byte: u8) -> Self {
        Self((self.0 ^ byte as u64).wrapping_mul(0x0100_0000_01b3))
    }

    fn text(self, text: &str) -> Self {
        text.bytes().fold(self, Self::byte)
    }
}
