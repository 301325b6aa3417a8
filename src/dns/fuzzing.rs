//! A door for the fuzzer to what is pure and private here; the program does not use it (`docs/fuzzing.md`).

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::answer::{Client, answer};
use super::cache::{Cache, Key};
use super::message::{Asked, Message};
use super::reply::{self, Code};
use crate::mesh::View;

/// What a datagram of a pod comes to before anybody else is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Too short to be answered.
    Nothing,
    /// An error.
    FormErr(Vec<u8>),
    /// The mesh's answer, and the most bytes that the client takes.
    Answer { bytes: Vec<u8>, limit: usize },
    /// It goes to a name server as it is.
    Elsewhere,
}

/// What a pod of namespace `shop` that sends these bytes is answered, as `pod` does it.
pub fn ask(bytes: &[u8], view: &View) -> Outcome {
    let Some(message) = Message::new(bytes) else { return Outcome::Nothing };
    match Asked::read(bytes) {
        Asked::Nothing => Outcome::Nothing,
        Asked::Malformed => Outcome::FormErr(reply::error(message, Code::FormErr)),
        Asked::Opaque => Outcome::Elsewhere,
        Asked::Query(query) => {
            let client = Client { namespace: "shop", network: "", domain: "cluster.local", ipv6: true };
            answer(&query.question, client, view, 7).map_or(Outcome::Elsewhere, |found| {
                let limit = query.largest();
                Outcome::Answer { bytes: reply::found(&query, &found, limit), limit }
            })
        }
    }
}

/// Whether a name server's message is taken for the answer to `query`.
pub fn is_answer(query: &[u8], answer: &[u8]) -> bool {
    let (query, answer) = (Message::new(query), Message::new(answer));
    answer.zip(query).is_some_and(|(answer, query)| answer.answers(query))
}

/// What is said to a second asker, `passed` after the answer came; `None` when the server is asked again.
pub fn remembered(query: &[u8], answer: &[u8], passed: Duration, now: Instant) -> Option<Vec<u8>> {
    let Asked::Query(asked) = Asked::read(query) else { return None };
    let servers: Arc<[SocketAddr]> = Arc::from([SocketAddr::from(([192, 0, 2, 53], 53))]);
    let key = Key::of(&asked, &servers)?;
    let mut cache = Cache::new(1 << 20);
    cache.put(key.clone(), answer, now);
    cache.get(&key, &asked, usize::from(u16::MAX), now + passed)
}

/// Kind and TTL of each record; `None` when the message is not whole.
pub fn ttls(bytes: &[u8]) -> Option<Vec<(u16, u32)>> {
    let (records, _) = Message::new(bytes)?.records()?;
    Some(records.iter().map(|record| (record.kind, record.ttl)).collect())
}
