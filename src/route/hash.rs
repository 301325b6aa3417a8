//! Choices by number: weighted chance, and the same answer for the same client on every node (pure).

use std::net::IpAddr;

/// One of `among`, each as often as its weight says of `total`, which is the sum of them. `None` when that is 0.
pub(super) fn weighted<T>(
    random: u64,
    total: u64,
    mut among: impl Iterator<Item = T>,
    weight: impl Fn(&T) -> u64,
) -> Option<T> {
    // The high half of a product is an even share of 0..total (Lemire 2019).
    let mut left = u64::try_from((u128::from(random) * u128::from(total)) >> 64).ok()?;
    among.find(|one| {
        let weight = weight(one);
        let found = left < weight;
        left = left.saturating_sub(weight);
        found
    })
}

/// The endpoint that `client` keeps to: rendezvous hashing (Thaler and Ravishankar 1998). Each pair of client and
/// endpoint has a score of its own, and the highest wins, so an endpoint that goes moves only its own clients, and
/// every node gives the same answer with nothing to remember or to agree on.
pub(super) fn nearest<'a, T: 'a>(
    client: IpAddr,
    among: impl Iterator<Item = T>,
    of: impl for<'b> Fn(&'b T) -> (&'b str, u32),
) -> Option<T> {
    let mut best: Option<(f64, T)> = None;
    for one in among {
        let (name, weight) = of(&one);
        let score = score(client, name, weight);
        // Of two equal ones the first, and the list's order is the same everywhere.
        if best.as_ref().is_none_or(|(held, _)| score > *held) {
            best = Some((score, one));
        }
    }
    best.map(|(_, one)| one)
}

/// Weighted rendezvous: −w / ln(u), with u evenly in (0, 1), is the highest with the chance w / Σw.
fn score(client: IpAddr, name: &str, weight: u32) -> f64 {
    let mut hash = Fnv(0xcbf2_9ce4_8422_2325);
    match client.to_canonical() {
        IpAddr::V4(ip) => hash.write(&ip.octets()),
        IpAddr::V6(ip) => hash.write(&ip.octets()),
    }
    hash.write(name.as_bytes());
    // 53 bits are what a float holds; the half keeps it off 0 and 1.
    let unit = ((mix(hash.0) >> 11) as f64 + 0.5) / (1u64 << 53) as f64;
    -f64::from(weight) / unit.ln()
}

/// FNV-1a, written down here: the answer must not change with a compiler or a library.
struct Fnv(u64);

// === impl Fnv ===

impl Fnv {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
}

/// Spreads a number over all bits; also makes a second random number of a first (SplitMix64).
pub(super) const fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
