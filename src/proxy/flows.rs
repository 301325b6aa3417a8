//! Who connects to which port of this node's pods, counted over a sliding window: what `culvert strict-report` reads.
//!
//! Every judged arrival is counted, whatever its road: plaintext by the pod or the address that it came from, mutual TLS
//! and the same-node lane by the identity that was proven.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::authz::Request;
use crate::model::name::NamespacedName;
use crate::model::spiffe::Identity;

/// Bounds of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// A connection counts for this long at least, and for a twenty-fourth of it longer at most.
    pub window: Duration,
    /// Flows that are told apart; with 0 nothing is counted. One takes at most [`FLOW_BYTES`] and the text of its
    /// identity.
    pub limit: usize,
}

/// Who connected.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Client {
    /// In plaintext, from an address that the mesh does not know.
    Address(IpAddr),
    /// With a proven identity.
    Identity(Identity),
    /// In plaintext, from the address of this pod.
    Pod(NamespacedName),
}

/// The flows of a node.
#[derive(Debug)]
pub struct Flows {
    config: Config,
    start: Instant,
    held: Mutex<Held>,
}

/// What was seen, as the admin page tells it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Seen {
    /// The window.
    pub window_seconds: u64,
    /// How much of the window this process has seen.
    pub watched_seconds: u64,
    /// In order of pods, ports and clients.
    pub flows: Vec<Flow>,
    /// Connections of clients that found no room in the table.
    pub others: Others,
}

/// One client of one port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Flow {
    /// `namespace/name` of the pod that was called.
    pub pod: String,
    /// The address and port of the newest connection.
    pub destination: SocketAddr,
    /// `namespace/name` of a pod, or an address for one that the mesh does not know. `None` with an identity.
    pub plaintext_client: Option<String>,
    /// A SPIFFE URI.
    pub identity: Option<String>,
    /// The address of the newest connection.
    pub source: IpAddr,
    /// Within the window, refused ones among them.
    pub connections: u64,
    /// Those that policy refused.
    pub refused: u64,
    pub last_seen_seconds: u64,
}

/// Connections that are counted without their client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Others {
    pub plaintext: u64,
    pub with_identity: u64,
}

/// What one flow may take beside the text of its identity: entry and the room that a hash table keeps free.
pub const FLOW_BYTES: usize = 1024;
/// One for each hour of a day, and the one that is being left.
const BUCKETS: usize = 25;

#[derive(Debug, Default)]
struct Held {
    flows: HashMap<Key, Entry>,
    plaintext: Counts,
    with_identity: Counts,
    /// The bucket in which old flows were last looked for.
    swept: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    pod: NamespacedName,
    port: u16,
    client: Client,
}

#[derive(Debug)]
struct Entry {
    source: IpAddr,
    destination: IpAddr,
    last: Instant,
    counts: Counts,
}

/// Connections by bucket of time, in a ring.
#[derive(Debug, Default)]
struct Counts {
    /// All, and refused ones.
    ring: [[u32; 2]; BUCKETS],
    /// Number of the newest bucket that is in the ring.
    newest: u64,
}

// === impl Flows ===

impl Flows {
    pub fn new(config: Config, now: Instant) -> Self {
        Self { config, start: now, held: Mutex::default() }
    }

    /// Counts one arrival at `pod` that was judged.
    pub fn record(&self, now: Instant, pod: &NamespacedName, request: &Request<'_>, client: Client, allowed: bool) {
        if self.config.limit == 0 {
            return;
        }
        let bucket = self.bucket(now);
        let Request { source, destination, .. } = *request;
        let key = Key { pod: pod.clone(), port: destination.port(), client };
        let mut held = self.lock();
        if let Some(entry) = held.flows.get_mut(&key) {
            (entry.source, entry.destination, entry.last) = (source, destination.ip(), now);
            return entry.counts.add(bucket, allowed);
        }
        // A full table is looked through once a bucket and not once a connection: strangers choose how often they call.
        if held.flows.len() >= self.config.limit && held.swept.replace(bucket) != Some(bucket) {
            held.flows.retain(|_, entry| entry.counts.within(bucket)[0] > 0);
        }
        if held.flows.len() >= self.config.limit {
            let others = match key.client {
                Client::Identity(_) => &mut held.with_identity,
                Client::Address(_) | Client::Pod(_) => &mut held.plaintext,
            };
            return others.add(bucket, allowed);
        }
        let mut counts = Counts::default();
        counts.add(bucket, allowed);
        held.flows.insert(key, Entry { source, destination: destination.ip(), last: now, counts });
    }

    /// All that was seen within the window.
    pub fn seen(&self, now: Instant) -> Seen {
        let bucket = self.bucket(now);
        let (mut listed, others) = {
            let held = self.lock();
            let live = held.flows.iter().filter(|(_, entry)| entry.counts.within(bucket)[0] > 0);
            // Copied, so that no connection waits for the sorting.
            let listed: Vec<_> = live.map(|(key, entry)| (key.clone(), flow(key, entry, bucket, now))).collect();
            let count = |counts: &Counts| counts.within(bucket)[0];
            (listed, Others { plaintext: count(&held.plaintext), with_identity: count(&held.with_identity) })
        };
        listed.sort_by(|(a, _), (b, _)| (&a.pod, a.port, &a.client).cmp(&(&b.pod, b.port, &b.client)));
        Seen {
            window_seconds: self.config.window.as_secs(),
            watched_seconds: now.saturating_duration_since(self.start).min(self.config.window).as_secs(),
            flows: listed.into_iter().map(|(_, flow)| flow).collect(),
            others,
        }
    }

    /// The number of the bucket that `now` is in, from 0.
    fn bucket(&self, now: Instant) -> u64 {
        let width = (self.config.window.as_nanos() / (BUCKETS as u128 - 1)).max(1);
        let passed = now.saturating_duration_since(self.start).as_nanos() / width;
        u64::try_from(passed).unwrap_or(u64::MAX)
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn flow(key: &Key, entry: &Entry, bucket: u64, now: Instant) -> Flow {
    let [connections, refused] = entry.counts.within(bucket);
    let (plaintext_client, identity) = match &key.client {
        Client::Address(ip) => (Some(ip.to_string()), None),
        Client::Identity(identity) => (None, Some(identity.to_string())),
        Client::Pod(pod) => (Some(pod.to_string()), None),
    };
    Flow {
        pod: key.pod.to_string(),
        destination: SocketAddr::new(entry.destination, key.port),
        plaintext_client,
        identity,
        source: entry.source,
        connections,
        refused,
        last_seen_seconds: now.saturating_duration_since(entry.last).as_secs(),
    }
}

// === impl Counts ===

impl Counts {
    fn add(&mut self, bucket: u64, allowed: bool) {
        // Threads come here in any order: a moment that is over already counts as now.
        let bucket = bucket.max(self.newest);
        let new = (bucket - self.newest).min(BUCKETS as u64);
        for empty in 0..new {
            self.ring[place(bucket - empty)] = [0; 2];
        }
        self.newest = bucket;
        let [all, refused] = &mut self.ring[place(bucket)];
        *all = all.saturating_add(1);
        *refused = refused.saturating_add(u32::from(!allowed));
    }

    /// What the window that ends with `bucket` holds.
    fn within(&self, bucket: u64) -> [u64; 2] {
        let oldest = bucket.saturating_sub(BUCKETS as u64 - 1);
        let first = (self.newest + 1).saturating_sub(BUCKETS as u64).max(oldest);
        (first..=self.newest)
            .map(|bucket| self.ring[place(bucket)])
            .fold([0; 2], |[all, refused], [a, r]| [all + u64::from(a), refused + u64::from(r)])
    }
}

const fn place(bucket: u64) -> usize {
    // Smaller than BUCKETS.
    (bucket % BUCKETS as u64) as usize
}

#[cfg(test)]
mod tests;
