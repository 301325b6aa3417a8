//! A name server's message, behind two bytes with the length of the query and the query: what is remembered of it is the
//! asker's, ages, and is forgotten.

use std::time::Duration;

use culvert::dns::fuzzing::{is_answer, remembered, ttls};
use tokio::time::Instant;

/// The kind of a record whose TTL is none.
const OPT: u16 = 41;
/// Nothing is remembered for longer.
const LONGEST: u64 = 300;

pub fn feed(data: &[u8]) -> bool {
    let Some((length, rest)) = data.split_first_chunk() else { return false };
    let (query, answer) = rest.split_at(rest.len().min(u16::from_be_bytes(*length).into()));
    if !is_answer(query, answer) {
        return false;
    }
    assert!(answer[..2] == query[..2] && answer[2] & 0x80 != 0);
    let now = Instant::now();
    let after = |seconds| remembered(query, answer, Duration::from_secs(seconds), now);
    assert_eq!(after(LONGEST), None);
    let mut youngest = u32::MAX;
    for seconds in [0, 1, 29, 30, LONGEST - 1] {
        let Some(told) = after(seconds) else { continue };
        assert_eq!((told.len(), &told[..2]), (answer.len(), &query[..2]));
        assert!(is_answer(query, &told), "it answers the second asker");
        let ages = ttls(&told).expect("what is remembered is whole");
        let shortest = ages.iter().filter(|(kind, _)| *kind != OPT).map(|(_, ttl)| *ttl).min();
        let shortest = shortest.expect("what has no TTL is not remembered");
        assert!(shortest < youngest, "it gets older");
        youngest = shortest;
    }
    youngest < u32::MAX
}
