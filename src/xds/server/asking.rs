//! Names that a client asks for, looked up a slice at a time: one request may have half a million. Pure.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::vec;

use super::entry::{Entry, Rank, Type};
use super::response::Asked;
use super::session::{Limits, Refusal};
use super::snapshot::Snapshot;
use super::subscription::{Batch, Wants};

/// What one request may be looked up and lead to, in names and resources together: eight times the names that may be
/// subscribed to. More than any mesh of that size has.
const WORK: usize = 8;
/// Names and resources of one slice: a few milliseconds.
const SLICE: usize = 4096;

/// An answer that is being prepared.
#[derive(Debug)]
pub(super) struct Asking {
    kind: Type,
    names: vec::IntoIter<String>,
    /// What the client has, by name.
    retained: BTreeMap<String, String>,
    found: BTreeMap<(Rank, Arc<str>), Arc<Entry>>,
    removed: Vec<Arc<str>>,
    by_address: Asked,
    /// A name counts once, and so do the workloads of a service, whatever it is called by.
    seen: HashSet<Arc<str>>,
    expanded: HashSet<Arc<str>>,
    work: usize,
}

// === impl Asking ===

impl Asking {
    pub(super) fn new(kind: Type, names: Vec<String>, retained: BTreeMap<String, String>) -> Self {
        Self {
            kind,
            names: names.into_iter(),
            retained,
            found: BTreeMap::new(),
            removed: Vec::new(),
            by_address: Asked::new(),
            seen: HashSet::new(),
            expanded: HashSet::new(),
            work: 0,
        }
    }

    pub(super) fn kind(&self) -> Type {
        self.kind
    }

    pub(super) fn is_done(&self) -> bool {
        self.names.as_slice().is_empty()
    }

    /// Looks up a slice, and subscribes to what was asked for and to what it stands for. Answers how many resources there
    /// were.
    pub(super) fn step(&mut self, wants: &mut Wants, limits: Limits, now: &Snapshot) -> Result<usize, Refusal> {
        let (start, mut resources) = (self.work, 0);
        // A name that was said before costs next to nothing, and counts in a slice all the same.
        let mut repeated = 0;
        while self.work - start + repeated < SLICE {
            let Some(name) = self.names.next() else { break };
            let name: Arc<str> = name.into();
            if !self.seen.insert(Arc::clone(&name)) {
                repeated += 1;
                continue;
            }
            subscribe(wants, &name, limits)?;
            let hits = resolve(self.kind, &name, now, &mut self.expanded);
            self.work += 1 + hits.len();
            resources += hits.len();
            if self.work > limits.names.saturating_mul(WORK) {
                return Err(limits.exceeded());
            }
            if hits.is_empty() {
                self.removed.push(Arc::clone(&name));
            }
            for entry in hits {
                subscribe(wants, &entry.name, limits)?;
                if *entry.name != *name && !entry.aliases.contains(&name) && entry.rank == Rank::Service {
                    self.by_address.entry(Arc::clone(&entry.name)).or_default().push(name.to_string());
                }
                if self.lacks(&name, &entry) {
                    self.found.insert((entry.rank, Arc::clone(&entry.name)), entry);
                }
            }
        }
        Ok(resources)
    }

    /// Adds what a client is told of without having asked.
    pub(super) fn add(&mut self, own: &[Arc<Entry>], wants: &mut Wants, limits: Limits) -> Result<(), Refusal> {
        for entry in own.iter().filter(|entry| self.kind.has(entry.rank)) {
            subscribe(wants, &entry.name, limits)?;
            if !self.has(entry) {
                self.found.insert((entry.rank, Arc::clone(&entry.name)), Arc::clone(entry));
            }
        }
        Ok(())
    }

    pub(super) fn finish(self) -> Batch {
        let mut batch = Batch::new(self.found.into_values().collect(), self.removed);
        batch.asked = Arc::new(self.by_address);
        batch
    }

    /// A resource that the client has as it is need not come again, unless it is asked for right now.
    fn lacks(&self, name: &str, entry: &Entry) -> bool {
        match self.retained.get(name) {
            Some(version) if !version.is_empty() => !self.has(entry),
            _ => true,
        }
    }

    fn has(&self, entry: &Entry) -> bool {
        self.retained.get(&*entry.name).is_some_and(|version| entry.has_version(version))
    }
}

/// A client that has everything anyway is subscribed to every name.
fn subscribe(wants: &mut Wants, name: &Arc<str>, limits: Limits) -> Result<(), Refusal> {
    match wants {
        Wants::Everything => Ok(()),
        Wants::Named(names) => names.insert(name, limits),
    }
}

/// What a name that is asked for stands for: a workload by its uid or address; a service by its name or address, with
/// its workloads unless it is `expanded`; a policy by its name.
fn resolve(kind: Type, name: &str, now: &Snapshot, expanded: &mut HashSet<Arc<str>>) -> Vec<Arc<Entry>> {
    let mut hits: Vec<_> = now.get(kind, name).cloned().into_iter().collect();
    if hits.is_empty() && kind != Type::Authorization && name.contains('/') {
        hits = now.lookup().at(name);
        hits.retain(|entry| kind.has(entry.rank));
    }
    let mut new = |entry: &&Arc<Entry>| entry.rank == Rank::Service && expanded.insert(Arc::clone(&entry.name));
    let services: Vec<_> = hits.iter().filter(|entry| new(entry)).cloned().collect();
    for service in services {
        hits.extend(now.lookup().of_service(&service.name).iter().cloned());
    }
    hits
}
