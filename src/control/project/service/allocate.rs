//! Addresses for ServiceEntry hosts that have none.
//!
//! Istio's controller chooses them and writes them into the entry's status. Here every node chooses for itself, so the
//! choice is a function of the objects alone: a hash of namespace and host, and the next free place when two meet. One
//! place is one address of each family, so that `240.240.18.52` and `2001:2::1234` are always the same host's.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// 240.240.0.0/16 and 2001:2::/48 are Istio's default ranges. The first and the last address of the /16 are left out.
const PLACES: u16 = u16::MAX - 1;
const V4: [u8; 2] = [240, 240];
const V6: [u16; 7] = [0x2001, 2, 0, 0, 0, 0, 0];

/// What is free of the two ranges.
pub(super) struct Allocator {
    /// By place.
    taken: Vec<bool>,
    free: u16,
}

// === impl Allocator ===

impl Default for Allocator {
    /// All of them.
    fn default() -> Self {
        Self { taken: vec![false; usize::from(PLACES) + 1], free: PLACES }
    }
}

impl Allocator {
    /// Keeps an address that somebody wrote from being given to another.
    pub(super) fn reserve(&mut self, ip: IpAddr) {
        let place = match ip {
            IpAddr::V4(ip) => match ip.octets() {
                [a, b, high, low] if [a, b] == V4 => u16::from_be_bytes([high, low]),
                _ => return,
            },
            IpAddr::V6(ip) => match ip.segments() {
                [head @ .., place] if head == V6 => place,
                _ => return,
            },
        };
        if (1..=PLACES).contains(&place) {
            self.take(place);
        }
    }

    fn take(&mut self, place: u16) {
        if let Some(taken) = self.taken.get_mut(usize::from(place))
            && !std::mem::replace(taken, true)
        {
            self.free -= 1;
        }
    }

    /// An address of each family; `None` when all are given away. Whoever asks first keeps its own place, so ask in an
    /// order in which newcomers are last.
    pub(super) fn allocate(&mut self, namespace: &str, host: &str) -> Option<[IpAddr; 2]> {
        if self.free == 0 {
            return None;
        }
        // 0 to PLACES - 1, then counted on and around.
        let start = u16::try_from(hash(namespace, host) % u64::from(PLACES)).ok()?;
        let mut places = (start..PLACES).chain(0..start).map(|place| place + 1);
        let place = places.find(|place| !self.taken[usize::from(*place)])?;
        self.take(place);
        let [high, low] = place.to_be_bytes();
        let [a, b, c, d, e, f, g] = V6;
        Some([Ipv4Addr::new(V4[0], V4[1], high, low).into(), Ipv6Addr::new(a, b, c, d, e, f, g, place).into()])
    }
}

/// FNV-1a, 64 bits, over `namespace/host`, folded. It is fixed here because nodes of different versions must agree.
fn hash(namespace: &str, host: &str) -> u64 {
    let bytes = namespace.bytes().chain([b'/']).chain(host.bytes());
    let hash =
        bytes.fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    hash ^ (hash >> 32)
}
