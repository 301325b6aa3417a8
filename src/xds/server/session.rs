//! One client's stream: requests in, responses out. Pure; it has no clock.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use super::entry::{Entry, Rank, Type};
use super::response::{Asked, Response};
use super::snapshot::Snapshot;
use super::subscription::{Batch, Names, Subscription, Wants};
use crate::proto::discovery::DeltaDiscoveryRequest;

/// What a client may make us keep.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Names that one client is subscribed to on demand, one type.
    pub names: usize,
    /// Their bytes together.
    pub name_bytes: usize,
    /// Bytes of a response; a resource that is larger goes alone, and the first policies are not divided.
    pub response: usize,
}

impl Limits {
    pub(super) const fn exceeded(self) -> Refusal {
        Refusal::TooManyNames { names: self.names, bytes: self.name_bytes }
    }
}

/// What a request was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// The last response was taken.
    Acknowledged,
    /// It is of a type that nobody here has; it is never answered.
    Foreign(String),
    /// A response was refused, or a part of it; with the client's words. Nothing is sent again until it changes.
    Refused { kind: Type, message: String },
    /// It answers a response that was not the last one. Its names count all the same.
    Stale,
    /// The first one of its type, or one that changes the names.
    Subscribed,
}

/// Why a stream ends. The peer's fault unless said otherwise.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// What it lacks is no longer known (nobody's fault): it comes back and says what it has.
    #[error(
        "too far behind: what was removed meanwhile is no longer known; connect again with initial_resource_versions"
    )]
    Behind,
    #[error("subscribed to more than {names} names or {bytes} bytes of names: use the wildcard")]
    TooManyNames { names: usize, bytes: usize },
}

const WILDCARD: &str = "*";
/// Bytes of the first response of policies, 128 MiB: all of them. A client is ready at the first response of each type,
/// and with a part of its policies it would let in whom the rest denies. Clients take 200 MiB.
const WHOLE: usize = 128 << 20;
/// What one request may be looked up and lead to, in names and resources together: eight times the names that may be
/// subscribed to. More than any mesh of that size has, and at most a second or two.
const WORK: usize = 8;

/// The state of one stream.
#[derive(Debug)]
pub struct Session {
    limits: Limits,
    /// The client's node; empty when it has none.
    node: Arc<str>,
    subscriptions: [Option<Subscription>; Type::ALL.len()],
    /// Responses so far.
    responses: u64,
}

// === impl Session ===

impl Session {
    pub fn new(limits: Limits, node: Arc<str>) -> Self {
        Self { limits, node, subscriptions: Default::default(), responses: 0 }
    }

    /// Whether a response has not been answered.
    pub fn is_waiting(&self) -> bool {
        self.subscriptions.iter().flatten().any(|subscription| subscription.unanswered)
    }

    /// How many names are subscribed to on demand; nothing for a wildcard client, or one that has not asked.
    pub fn names(&self, kind: Type) -> Option<usize> {
        match &self.subscriptions[kind as usize].as_ref()?.wants {
            Wants::Everything => None,
            Wants::Named(names) => Some(names.len()),
        }
    }

    /// Takes a request. Ask [`Self::next`] for what it leads to before the next one is read: that bounds what is kept.
    ///
    /// # Errors
    /// The stream must end.
    pub fn request(&mut self, request: DeltaDiscoveryRequest, now: &Snapshot) -> Result<Heard, Refusal> {
        let Some(kind) = Type::of_url(&request.type_url) else {
            return Ok(Heard::Foreign(request.type_url));
        };
        if self.subscriptions[kind as usize].is_none() {
            // A nonce is of an earlier stream then, and means nothing here.
            self.first(kind, request, now)?;
            return Ok(Heard::Subscribed);
        }
        self.later(kind, request, now)
    }

    fn first(&mut self, kind: Type, request: DeltaDiscoveryRequest, now: &Snapshot) -> Result<(), Refusal> {
        let DeltaDiscoveryRequest {
            resource_names_subscribe: subscribe,
            resource_names_unsubscribe: unsubscribe,
            initial_resource_versions: retained,
            ..
        } = request;
        let has = |list: &[String]| list.iter().any(|name| name == WILDCARD);
        if subscribe.is_empty() || (has(&subscribe) && !has(&unsubscribe)) {
            let mut subscription = Subscription::new(Wants::Everything, now.number());
            subscription.push = Some(everything(kind, &retained, now));
            self.subscriptions[kind as usize] = Some(subscription);
            return Ok(());
        }
        self.subscriptions[kind as usize] = Some(Subscription::new(Wants::Named(Names::default()), now.number()));
        let left: HashSet<&String> = unsubscribe.iter().collect();
        let asked = subscribe.iter().filter(|name| *name != WILDCARD && !left.contains(name)).cloned();
        let asked: Vec<_> = asked.chain(retained.keys().filter(|name| !left.contains(name)).cloned()).collect();
        self.answer(kind, &asked, &retained, true, now)
    }

    fn later(&mut self, kind: Type, request: DeltaDiscoveryRequest, now: &Snapshot) -> Result<Heard, Refusal> {
        let DeltaDiscoveryRequest {
            resource_names_subscribe: subscribe,
            resource_names_unsubscribe: unsubscribe,
            response_nonce,
            error_detail,
            ..
        } = request;
        let mut heard = Heard::Subscribed;
        if let Some(subscription) = &mut self.subscriptions[kind as usize] {
            if !response_nonce.is_empty() {
                let last = response_nonce == subscription.nonce;
                if last {
                    subscription.unanswered = false;
                }
                heard = if last { Heard::Acknowledged } else { Heard::Stale };
            }
            if let Wants::Named(names) = &mut subscription.wants {
                unsubscribe.iter().for_each(|name| names.remove(name));
            }
        }
        if let Some(error) = error_detail {
            heard = Heard::Refused { kind, message: error.message };
        }
        let left: HashSet<&String> = unsubscribe.iter().collect();
        let asked: Vec<_> = subscribe.into_iter().filter(|name| name != WILDCARD && !left.contains(name)).collect();
        if !asked.is_empty() {
            self.answer(kind, &asked, &BTreeMap::new(), false, now)?;
        }
        Ok(heard)
    }

    /// Prepares an answer to names that were asked for, and subscribes to them and to what they stand for, unless the
    /// client has everything anyway.
    fn answer(
        &mut self,
        kind: Type,
        asked: &[String],
        retained: &BTreeMap<String, String>,
        with_own_node: bool,
        now: &Snapshot,
    ) -> Result<(), Refusal> {
        let limits = self.limits;
        let own = if with_own_node && kind != Type::Authorization && !self.node.is_empty() {
            now.lookup().on_node(&self.node)
        } else {
            &[]
        };
        let Some(subscription) = &mut self.subscriptions[kind as usize] else { return Ok(()) };
        let mut found: BTreeMap<(Rank, Arc<str>), Arc<Entry>> = BTreeMap::new();
        let (mut removed, mut by_address) = (Vec::new(), Asked::new());
        // A name counts once, and so do the workloads of a service, whatever it is called by.
        let (mut seen, mut expanded, mut work) = (HashSet::new(), HashSet::new(), 0_usize);
        let mut insert = |name: &Arc<str>| match &mut subscription.wants {
            Wants::Everything => Ok(()),
            Wants::Named(names) => names.insert(name, limits),
        };
        // A resource that the client has as it is need not come again, unless it is asked for right now.
        let lacks = |name: &str, entry: &Entry| match retained.get(name) {
            Some(version) if !version.is_empty() => {
                !retained.get(&*entry.name).is_some_and(|version| entry.has_version(version))
            }
            _ => true,
        };
        for name in asked {
            if !seen.insert(name.as_str()) {
                continue;
            }
            let name: Arc<str> = name.as_str().into();
            insert(&name)?;
            let hits = resolve(kind, &name, now, &mut expanded);
            work += 1 + hits.len();
            if work > limits.names.saturating_mul(WORK) {
                return Err(limits.exceeded());
            }
            if hits.is_empty() {
                removed.push(Arc::clone(&name));
            }
            for entry in hits {
                insert(&entry.name)?;
                if *entry.name != *name && !entry.aliases.contains(&name) && entry.rank == Rank::Service {
                    by_address.entry(Arc::clone(&entry.name)).or_default().push(name.to_string());
                }
                if lacks(&name, &entry) {
                    found.insert((entry.rank, Arc::clone(&entry.name)), entry);
                }
            }
        }
        for entry in own.iter().filter(|entry| kind.has(entry.rank)) {
            insert(&entry.name)?;
            if !retained.get(&*entry.name).is_some_and(|version| entry.has_version(version)) {
                found.insert((entry.rank, Arc::clone(&entry.name)), Arc::clone(entry));
            }
        }
        let mut batch = Batch::new(found.into_values().collect(), removed);
        batch.asked = Arc::new(by_address);
        match &mut subscription.answer {
            // Not reached by who obeys `request`: nothing is lost all the same.
            Some(earlier) => earlier.append(batch),
            answer => *answer = Some(batch),
        }
        Ok(())
    }

    /// What is to be sent now, if anything. Ask again after it was sent, after each request, and after each change.
    ///
    /// # Errors
    /// The stream must end.
    pub fn next(&mut self, now: &Snapshot) -> Result<Option<Response>, Refusal> {
        for kind in Type::ALL {
            if self.subscriptions[kind as usize].as_ref().is_some_and(|subscription| subscription.answer.is_some()) {
                return Ok(self.send(kind, true, now));
            }
        }
        if self.is_waiting() {
            return Ok(None);
        }
        for kind in Type::ALL {
            self.catch_up(kind, now)?;
            if self.subscriptions[kind as usize].as_ref().is_some_and(|subscription| subscription.push.is_some()) {
                return Ok(self.send(kind, false, now));
            }
        }
        Ok(None)
    }

    /// Makes a push of what has changed since the last one.
    fn catch_up(&mut self, kind: Type, now: &Snapshot) -> Result<(), Refusal> {
        let (limits, node) = (self.limits, Arc::clone(&self.node));
        let Some(subscription) = &mut self.subscriptions[kind as usize] else { return Ok(()) };
        if subscription.push.is_some() || subscription.seen >= now.number() {
            return Ok(());
        }
        let changes = now.changes(kind, subscription.seen).ok_or(Refusal::Behind)?;
        subscription.seen = now.number();
        let batch = match &mut subscription.wants {
            Wants::Everything => Batch::new(changes.entries, changes.removed),
            Wants::Named(names) => {
                let mut wanted = Vec::new();
                for entry in changes.entries.iter() {
                    let here = entry.rank == Rank::Workload && !node.is_empty() && entry.node == node;
                    let named = names.contains(&entry.name)
                        || entry.aliases.iter().chain(&entry.services).any(|name| names.contains(name));
                    if here || named {
                        names.insert(&entry.name, limits)?;
                        wanted.push(Arc::clone(entry));
                    }
                }
                let removed = changes.removed.into_iter().filter(|name| names.contains(name)).collect();
                Batch::new(wanted.into(), removed)
            }
        };
        if !batch.is_empty() {
            subscription.push = Some(batch);
        }
        Ok(())
    }

    fn send(&mut self, kind: Type, answer: bool, now: &Snapshot) -> Option<Response> {
        let limits = self.limits;
        let subscription = self.subscriptions[kind as usize].as_mut()?;
        let slot = if answer { &mut subscription.answer } else { &mut subscription.push };
        let batch = slot.as_mut()?;
        let whole = kind == Type::Authorization && !subscription.begun;
        let (entries, removed) = batch.take(if whole { WHOLE } else { limits.response });
        let asked = Arc::clone(&batch.asked);
        if batch.is_empty() {
            *slot = None;
            subscription.begun = true;
        }
        self.responses += 1;
        let nonce = format!("{}.{}", now.number(), self.responses);
        subscription.nonce.clone_from(&nonce);
        subscription.unanswered = true;
        let aliases = answer || matches!(subscription.wants, Wants::Named(_));
        Some(Response { kind, version: now.number(), nonce, entries, removed, aliases, asked })
    }
}

/// What a client lacks that has `retained` and wants everything.
fn everything(kind: Type, retained: &BTreeMap<String, String>, now: &Snapshot) -> Batch {
    if retained.is_empty() {
        return Batch::part(Arc::clone(now.entries()), now.range(kind));
    }
    let lacks = |entry: &&Arc<Entry>| !retained.get(&*entry.name).is_some_and(|version| entry.has_version(version));
    let gone = retained.keys().filter(|name| now.get(kind, name).is_none());
    Batch::new(now.of(kind).iter().filter(lacks).cloned().collect(), gone.map(|name| name.as_str().into()).collect())
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
