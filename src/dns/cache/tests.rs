use proptest::prelude::*;

use super::*;
use crate::dns::message::tests::{query, read, reply};
use crate::dns::message::{A, AXFR};

const IP: &[u8] = &[1, 2, 3, 4];

fn server(last: u8) -> Arc<[SocketAddr]> {
    Arc::from([SocketAddr::from(([10, 96, 0, last], 53))])
}

fn key(bytes: &[u8]) -> Option<Key> {
    Key::of(&read(bytes), &server(10))
}

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// An SOA's data: two names of the root, four numbers, and the last.
fn soa(minimum: u32) -> Vec<u8> {
    let mut data = vec![0; 18];
    data.extend(minimum.to_be_bytes());
    data
}

/// How many seconds an answer is served for: it is asked for at every full one.
async fn kept(rcode: u8, records: &[(Section, u16, u32, &[u8])]) -> u64 {
    let mut cache = Cache::new(10_000);
    let bytes = query("a.b", A, None);
    cache.put(key(&bytes).unwrap(), &reply(&bytes, rcode, records), Instant::now());
    let mut passed = 0;
    while cache.get(&key(&bytes).unwrap(), &read(&bytes), 512, Instant::now()).is_some() {
        passed += 1;
        tokio::time::advance(seconds(1)).await;
        assert!(passed < 100_000);
    }
    assert_eq!((cache.entries.len(), cache.order.len(), cache.used), (0, 0, 0), "what has expired is gone");
    passed
}

#[tokio::test(start_paused = true)]
async fn an_answer_is_kept_as_long_as_its_shortest_ttl() {
    use Section::{Additional, Answer, Authority};
    let negative = soa(20);
    assert_eq!(kept(0, &[(Answer, A, 7, IP)]).await, 7);
    assert_eq!(kept(0, &[(Answer, A, 60, IP), (Answer, A, 5, IP), (Additional, A, 9, IP)]).await, 5);
    assert_eq!(kept(0, &[(Answer, A, 90_000, IP)]).await, 300, "not for ever");
    assert_eq!(kept(0, &[(Answer, A, 0, IP)]).await, 0);
    assert_eq!(kept(0, &[(Answer, A, u32::MAX, IP)]).await, 0, "RFC 2181, section 8");
    assert_eq!(kept(3, &[(Authority, SOA, 60, &negative)]).await, 20, "no such name");
    assert_eq!(kept(0, &[(Authority, SOA, 6, &negative)]).await, 6, "no such type");
    assert_eq!(kept(3, &[(Authority, SOA, 900, &soa(900))]).await, 30);
    assert_eq!(kept(3, &[]).await, 0, "nobody said how long");
    assert_eq!(kept(3, &[(Answer, A, 60, IP)]).await, 0);
    assert_eq!(kept(2, &[(Answer, A, 60, IP)]).await, 0, "an error");
}

#[tokio::test(start_paused = true)]
async fn a_hit_is_the_askers_and_older() {
    let mut cache = Cache::new(10_000);
    let asked = query("A.b", A, None);
    let answer = reply(&asked, 0, &[(Section::Answer, A, 60, IP), (Section::Additional, A, 8, IP)]);
    cache.put(key(&asked).unwrap(), &answer, Instant::now());
    tokio::time::advance(Duration::from_millis(3900)).await;
    let mut again = query("a.B", A, None);
    again[..2].copy_from_slice(&[7, 7]);
    let hit = cache.get(&key(&again).unwrap(), &read(&again), 512, Instant::now()).unwrap();
    let mut expect = reply(&again, 0, &[(Section::Answer, A, 57, IP), (Section::Additional, A, 5, IP)]);
    assert_eq!(hit, expect);
    expect.truncate(12);
    assert_eq!(cache.get(&key(&again).unwrap(), &read(&again), expect.len(), Instant::now()), None, "too long");
}

#[test]
fn only_the_same_question_to_the_same_server_hits() {
    let plain = query("a.b", A, None);
    let of = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = plain.clone();
        change(&mut bytes);
        Key::of(&read(&bytes), &server(10)).unwrap()
    };
    let same = of(&|_| ());
    assert_eq!(of(&|bytes| bytes[0] = 9), same, "the id is not of the question");
    assert_eq!(of(&|bytes| bytes[13] = b'A'), same);
    let last = plain.len() - 1;
    for (what, other) in [
        ("recursion desired", of(&|bytes| bytes[2] = 0)),
        ("checking disabled", of(&|bytes| bytes[3] = 0x10)),
        ("name", of(&|bytes| bytes[13] = b'c')),
        ("class", of(&|bytes| bytes[last] = 3)),
        ("type", of(&|bytes| bytes[last - 2] = 16)),
        ("server", Key::of(&read(&plain), &server(11)).unwrap()),
        ("EDNS, DO", key(&query("a.b", A, Some((1232, &[])))).unwrap()),
        ("payload", key(&query("a.b", A, Some((4096, &[])))).unwrap()),
    ] {
        assert_ne!(other, same, "{what}");
    }
    assert_eq!(key(&query("a.b", A, Some((1232, &[0, 10, 0, 0])))), None, "an option");
    assert_eq!(key(&query("a.b", AXFR, None)), None);
}

#[test]
fn a_part_is_not_kept() {
    let bytes = query("a.b", A, None);
    let good = reply(&bytes, 0, &[(Section::Answer, A, 60, IP)]);
    assert!(lifetime(&good).is_some());
    let mut truncated = good.clone();
    truncated[2] |= 2;
    let mut trailing = good.clone();
    trailing.push(0);
    let mut cut = good.clone();
    cut.pop();
    let mut unasked = good;
    unasked[5] = 0;
    for bytes in [truncated, trailing, cut, unasked] {
        assert_eq!(lifetime(&bytes), None, "{bytes:x?}");
    }
}

proptest! {
    /// Never beyond its budget, and its books agree.
    #[test]
    fn bounded(puts in proptest::collection::vec((0u16..40, 1usize..30), 0..120), budget in 0usize..6000) {
        let mut cache = Cache::new(budget);
        let now = Instant::now();
        for (name, records) in puts {
            let bytes = query(&format!("n{name}.test"), A, None);
            let records = vec![(Section::Answer, A, 60, IP); records];
            cache.put(key(&bytes).unwrap(), &reply(&bytes, 0, &records), now);
            prop_assert!(cache.used <= budget);
            prop_assert_eq!(cache.entries.len(), cache.order.len());
            let cost: usize = cache.entries.iter().map(|(key, entry)| key.cost(entry.answer.len())).sum();
            prop_assert_eq!(cost, cache.used);
        }
    }

    #[test]
    fn any_answer(bytes in proptest::collection::vec(any::<u8>(), 0..200), spoil in any::<prop::sample::Index>(), value in any::<u8>()) {
        lifetime(&bytes);
        let asked = query("a.b", A, None);
        let mut answer = reply(&asked, 0, &[(Section::Answer, A, 60, IP), (Section::Authority, SOA, 60, IP)]);
        let at = spoil.index(answer.len());
        answer[at] = value;
        let mut cache = Cache::new(10_000);
        cache.put(key(&asked).unwrap(), &answer, Instant::now());
        cache.get(&key(&asked).unwrap(), &read(&asked), 512, Instant::now());
    }
}
