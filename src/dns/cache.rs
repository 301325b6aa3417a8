//! What name servers said, for as long as they said that it holds. Pure: the time is an argument.
//!
//! A pod has its own. What came into the namespace of a pod is only as true as that pod: it can read its own wire, send in
//! a server's name, and give the server's address to itself. Another pod must never be told what was learnt there.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::message::{HEADER, Message, OPT, Query, Record, SOA, Section};

/// The longest that anything is kept, whatever its TTL: a server that is corrected is heard within five minutes.
const LONGEST: Duration = Duration::from_secs(300);
/// The same for "there is none", which is what a client sees that asks a moment too early.
const LONGEST_NEGATIVE: Duration = Duration::from_secs(30);
/// Bytes that an entry costs beside its key and its answer: the places in both maps, and the allocator's.
const OVERHEAD: usize = 200;
const NO_ERROR: u8 = 0;
const NO_SUCH_NAME: u8 = 3;

/// Bounded in bytes; the oldest entries go first.
#[derive(Debug)]
pub(super) struct Cache {
    budget: usize,
    used: usize,
    /// Counts insertions up.
    next: u64,
    entries: HashMap<Key, Entry>,
    /// By age.
    order: BTreeMap<u64, Key>,
}

/// Who was asked, and what, in every byte but the id and the letters' case.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    servers: Arc<[SocketAddr]>,
    query: Arc<[u8]>,
}

#[derive(Debug)]
struct Entry {
    answer: Box<[u8]>,
    stored: Instant,
    expires: Instant,
    order: u64,
}

// === impl Key ===

impl Key {
    /// `None` for a query whose answer is not for keeping: one with anything behind its question (EDNS options, a
    /// signature), or of a type that is no record's (RFC 6895, section 3.1).
    pub(super) fn of(query: &Query<'_>, servers: &Arc<[SocketAddr]>) -> Option<Self> {
        if !query.plain || matches!(query.question.kind, 128..=254) {
            return None;
        }
        let mut bytes = query.message.bytes().to_vec();
        bytes[..2].fill(0);
        bytes[HEADER..HEADER + query.question.name.len()].make_ascii_lowercase();
        Some(Self { servers: Arc::clone(servers), query: bytes.into() })
    }

    fn cost(&self, answer: usize) -> usize {
        self.query.len() + size_of_val(&*self.servers) + answer + OVERHEAD
    }
}

// === impl Cache ===

impl Cache {
    /// Of `budget` bytes; 0 keeps nothing.
    pub(super) fn new(budget: usize) -> Self {
        Self { budget, used: 0, next: 0, entries: HashMap::new(), order: BTreeMap::new() }
    }

    /// The answer to `query`, with its id and its letters, every TTL lower by what has passed; `None` also for one of
    /// more than `limit` bytes.
    pub(super) fn get(&mut self, key: &Key, query: &Query<'_>, limit: usize, now: Instant) -> Option<Vec<u8>> {
        let entry = self.entries.get(key)?;
        if entry.expires <= now {
            self.remove(key);
            return None;
        }
        if entry.answer.len() > limit {
            return None;
        }
        let mut answer = entry.answer.to_vec();
        let passed = u32::try_from(now.saturating_duration_since(entry.stored).as_secs()).unwrap_or(u32::MAX);
        let (records, _) = Message::new(&entry.answer)?.records()?;
        for record in records.iter().filter(|record| record.kind != OPT) {
            let left = record.ttl.saturating_sub(passed).to_be_bytes();
            answer.get_mut(record.ttl_at..record.ttl_at + 4)?.copy_from_slice(&left);
        }
        answer[..2].copy_from_slice(&query.message.id().to_be_bytes());
        let name = HEADER..HEADER + query.question.name.len();
        answer.get_mut(name)?.copy_from_slice(query.question.name);
        Some(answer)
    }

    /// Keeps `answer`, if it is for keeping. It must have been found to answer the key's query.
    pub(super) fn put(&mut self, key: Key, answer: &[u8], now: Instant) {
        let cost = key.cost(answer.len());
        let Some(lifetime) = lifetime(answer).filter(|_| cost <= self.budget) else { return };
        self.remove(&key);
        while self.used + cost > self.budget {
            let Some((_, oldest)) = self.order.pop_first() else { break };
            self.forget(&oldest);
        }
        let order = self.next;
        self.next += 1;
        self.used += cost;
        self.order.insert(order, key.clone());
        let entry = Entry { answer: answer.into(), stored: now, expires: now + lifetime, order };
        self.entries.insert(key, entry);
    }

    fn remove(&mut self, key: &Key) {
        if let Some(entry) = self.entries.get(key) {
            self.order.remove(&entry.order);
            self.forget(key);
        }
    }

    /// Takes out what `order` does not hold any more.
    fn forget(&mut self, key: &Key) {
        if let Some(entry) = self.entries.remove(key) {
            self.used = self.used.saturating_sub(key.cost(entry.answer.len()));
        }
    }
}

/// How long an answer holds. `None`: not at all, or it is none to keep (an error, a part).
fn lifetime(answer: &[u8]) -> Option<Duration> {
    let message = Message::new(answer)?;
    let (records, end) = message.records()?;
    if message.is_truncated() || end != answer.len() || message.counts()[0] != 1 {
        return None;
    }
    let positive = message.rcode() == NO_ERROR && message.counts()[1] > 0;
    if !positive && !matches!(message.rcode(), NO_ERROR | NO_SUCH_NAME) {
        return None;
    }
    let shortest = records.iter().filter(|record| record.kind != OPT).map(|record| record.ttl).min()?;
    let seconds = if positive { shortest } else { shortest.min(records.iter().find_map(negative)?) };
    let longest = if positive { LONGEST } else { LONGEST_NEGATIVE };
    (seconds > 0).then(|| Duration::from_secs(seconds.into()).min(longest))
}

/// The last number of an SOA: how long "there is none" holds, with its own TTL (RFC 2308, section 5).
fn negative(record: &Record<'_>) -> Option<u32> {
    let soa = record.section == Section::Authority && record.kind == SOA;
    record.data.last_chunk().filter(|_| soa).map(|minimum| u32::from_be_bytes(*minimum))
}

#[cfg(test)]
mod tests;
