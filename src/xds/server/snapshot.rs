//! All resources at one moment, with what has changed up to it. Pure.

use std::ops::Range;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use prost::Message;

use super::entry::{Entry, Rank, Type};
use super::hash::xxh64;
use super::lookup::Lookup;
use super::publish::Resources;
use crate::model::service::Service;
use crate::model::workload::Workload;
use crate::xds::convert::{self, name};

/// Removals that are remembered for clients that are behind. A client is behind for as long as its answer takes, so
/// this is 65,536 removals within a second or so; 100 bytes each.
const REMEMBERED: usize = 65_536;

/// The resources at one moment. Readers hold it; the next one shares what has not changed.
#[derive(Debug, Default)]
pub struct Snapshot {
    /// Counts snapshots; 0 is empty, and nobody has it.
    number: u64,
    /// In order of rank and name; each name once a rank.
    entries: Arc<[Arc<Entry>]>,
    /// What is new in this snapshot.
    latest: Arc<[Arc<Entry>]>,
    /// In order of time.
    gone: Arc<[Gone]>,
    /// Removals up to this snapshot have been forgotten.
    floor: u64,
    lookup: OnceLock<Lookup>,
    /// All policies as a response has them.
    marshalled_policies: OnceLock<Bytes>,
}

/// A resource that is no more.
#[derive(Clone, Debug)]
struct Gone {
    rank: Rank,
    name: Arc<str>,
    /// The first snapshot without it.
    since: u64,
}

/// What a client that had an older snapshot lacks.
#[derive(Debug)]
pub(super) struct Changes {
    /// In order of rank and name.
    pub(super) entries: Arc<[Arc<Entry>]>,
    pub(super) removed: Vec<Arc<str>>,
}

/// A resource before it is known whether it is new.
struct Candidate<'a> {
    rank: Rank,
    name: Arc<str>,
    source: Source<'a>,
}

enum Source<'a> {
    Plain,
    Service(&'a Service),
    Workload(&'a Workload),
}

// === impl Snapshot ===

impl Snapshot {
    /// The snapshot after this one; nothing when it would be the same. Of two resources with one name the later counts.
    pub fn next(&self, resources: &Resources) -> Option<Self> {
        let number = self.number + 1;
        let Resources { workloads, services, policies } = resources;
        let mut entries = Vec::with_capacity(workloads.len() + services.len() + policies.len());
        let mut buffer = Vec::new();
        for service in services {
            let candidate = Candidate {
                rank: Rank::Service,
                name: name::of_service(service).into(),
                source: Source::Service(service),
            };
            entries.push(self.entry(candidate, &convert::encode_service(service), &mut buffer, number));
        }
        for workload in workloads {
            let candidate =
                Candidate { rank: Rank::Workload, name: Arc::clone(&workload.uid), source: Source::Workload(workload) };
            entries.push(self.entry(candidate, &convert::encode_workload(workload), &mut buffer, number));
        }
        for policy in policies {
            let candidate =
                Candidate { rank: Rank::Policy, name: name::of_policy(policy).into(), source: Source::Plain };
            entries.push(self.entry(candidate, &convert::encode_policy(policy), &mut buffer, number));
        }
        // The sort keeps the order of equals, and of them the last one stays.
        entries.sort_by(|a, b| a.place(b.rank, &b.name));
        entries.reverse();
        entries.dedup_by(|a, b| a.place(b.rank, &b.name).is_eq());
        entries.reverse();
        self.with(entries.into(), number)
    }

    fn with(&self, entries: Arc<[Arc<Entry>]>, number: u64) -> Option<Self> {
        let latest: Arc<[_]> = entries.iter().filter(|entry| entry.since == number).cloned().collect();
        let left = self.entries.iter().filter(|entry| find(&entries, entry.rank, &entry.name).is_none());
        let left: Vec<_> =
            left.map(|entry| Gone { rank: entry.rank, name: Arc::clone(&entry.name), since: number }).collect();
        if latest.is_empty() && left.is_empty() && self.number > 0 {
            return None;
        }
        let back = |gone: &&Gone| find(&entries, gone.rank, &gone.name).is_none();
        let mut gone: Vec<_> = self.gone.iter().filter(back).cloned().chain(left).collect();
        let mut floor = self.floor;
        if let Some(excess) = gone.len().checked_sub(REMEMBERED + 1) {
            floor = gone[excess].since;
            gone.retain(|gone| gone.since > floor);
        }
        Some(Self { number, entries, latest, gone: gone.into(), floor, ..Self::default() })
    }

    fn entry(&self, candidate: Candidate<'_>, message: &impl Message, buffer: &mut Vec<u8>, number: u64) -> Arc<Entry> {
        let Candidate { rank, name, source } = candidate;
        buffer.clear();
        // A vector takes whatever is written.
        message.encode(buffer).ok();
        let version = xxh64(buffer);
        if let Some(same) = find(&self.entries, rank, &name)
            && same.version == version
            && *same.value == **buffer
        {
            return Arc::clone(same);
        }
        let (aliases, node, services) = match source {
            Source::Plain => Default::default(),
            Source::Service(service) => (of_service(service), Arc::default(), Box::default()),
            Source::Workload(workload) => {
                let services = workload.services.iter().map(|place| place.service.to_string().into()).collect();
                (of_workload(workload), Arc::clone(&workload.node), services)
            }
        };
        let value = buffer.as_slice().into();
        Arc::new(Entry { rank, name, version, value, aliases, node, services, since: number })
    }

    pub fn number(&self) -> u64 {
        self.number
    }

    /// How many resources there are of a type.
    pub fn len(&self, kind: Type) -> usize {
        self.of(kind).len()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Every resource, in order of rank and name.
    pub(super) fn entries(&self) -> &Arc<[Arc<Entry>]> {
        &self.entries
    }

    /// Where those of a type stand among all.
    pub(super) fn range(&self, kind: Type) -> Range<usize> {
        let start = self.entries.partition_point(|entry| !kind.has(entry.rank) && entry.rank < Rank::Policy);
        start..start + self.entries[start..].partition_point(|entry| kind.has(entry.rank))
    }

    /// Those of a type.
    pub(super) fn of(&self, kind: Type) -> &[Arc<Entry>] {
        &self.entries[self.range(kind)]
    }

    /// The resource of this name.
    pub(super) fn get(&self, kind: Type, name: &str) -> Option<&Arc<Entry>> {
        let ranks = [Rank::Workload, Rank::Service, Rank::Policy].into_iter().filter(|rank| kind.has(*rank));
        ranks.into_iter().find_map(|rank| find(&self.entries, rank, name))
    }

    /// Look-ups by something else than the name; built when the first client asks on demand.
    pub(super) fn lookup(&self) -> &Lookup {
        self.lookup.get_or_init(|| Lookup::build(&self.entries))
    }

    /// What `marshal` made the first time.
    pub(super) fn marshalled_policies(&self, marshal: impl FnOnce() -> Bytes) -> Bytes {
        self.marshalled_policies.get_or_init(marshal).clone()
    }

    /// What has changed since the snapshot of that number; nothing when that is no longer known.
    pub(super) fn changes(&self, kind: Type, seen: u64) -> Option<Changes> {
        if seen < self.floor {
            return None;
        }
        let new = |entry: &&Arc<Entry>| entry.since > seen && kind.has(entry.rank);
        let from = if seen + 1 == self.number { &*self.latest } else { self.of(kind) };
        let gone = self.gone.iter().rev().take_while(|gone| gone.since > seen);
        let gone = gone.filter(|gone| kind.has(gone.rank) && self.get(kind, &gone.name).is_none());
        Some(Changes {
            entries: from.iter().filter(new).cloned().collect(),
            removed: gone.map(|gone| Arc::clone(&gone.name)).collect(),
        })
    }
}

fn find<'a>(entries: &'a [Arc<Entry>], rank: Rank, name: &str) -> Option<&'a Arc<Entry>> {
    entries.binary_search_by(|entry| entry.place(rank, name)).ok().map(|at| &entries[at])
}

/// A workload of the host's network shares its node's addresses and is not found by them.
fn of_workload(workload: &Workload) -> Box<[Arc<str>]> {
    if workload.host_network {
        return Box::default();
    }
    workload.addresses.iter().map(|ip| name::of_address(&workload.network, *ip).into()).collect()
}

fn of_service(service: &Service) -> Box<[Arc<str>]> {
    let alias = |address: &crate::model::service::VirtualAddress| match address.ip() {
        Some(ip) => name::of_address(&address.network, ip).into(),
        None => format!("{}/{}", address.network, address.net.trunc()).into(),
    };
    service.addresses.iter().map(alias).collect()
}
