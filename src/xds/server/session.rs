//! One client's stream: requests in, responses out. Pure; it has no clock.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use super::asking::Asking;
use super::entry::{Entry, Rank, Type};
use super::response::Response;
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
/// The state of one stream.
#[derive(Debug)]
pub struct Session {
    limits: Limits,
    /// The client's node; empty when it has none.
    node: Arc<str>,
    subscriptions: [Option<Subscription>; Type::ALL.len()],
    /// What is being looked up, and whether the client is told of its own node's workloads with it.
    asking: Option<(Asking, bool)>,
    /// Responses so far.
    responses: u64,
}

// === impl Session ===

impl Session {
    pub fn new(limits: Limits, node: Arc<str>) -> Self {
        Self { limits, node, subscriptions: Default::default(), asking: None, responses: 0 }
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

    /// Takes a request. Call [`Self::work`] until there is none, and ask [`Self::next`] for what it leads to before the next
    /// one is read: that bounds what is kept.
    pub fn hear(&mut self, request: DeltaDiscoveryRequest, now: &Snapshot) -> Heard {
        let Some(kind) = Type::of_url(&request.type_url) else {
            return Heard::Foreign(request.type_url);
        };
        if self.subscriptions[kind as usize].is_none() {
            // A nonce is of an earlier stream then, and means nothing here.
            self.first(kind, request, now);
            return Heard::Subscribed;
        }
        self.later(kind, request)
    }

    /// Takes a request with all its work.
    #[cfg(test)]
    pub(super) fn request(&mut self, request: DeltaDiscoveryRequest, now: &Snapshot) -> Result<Heard, Refusal> {
        let heard = self.hear(request, now);
        while self.work(now)?.is_some() {}
        Ok(heard)
    }

    /// Looks up some of what the last request asks for, a few milliseconds long: prepares the answer, and subscribes to the
    /// names and to what they stand for, unless the client has everything anyway. Answers how many resources there were;
    /// nothing when nothing is left. Always with the snapshot of the request.
    ///
    /// # Errors
    /// The stream must end.
    pub fn work(&mut self, now: &Snapshot) -> Result<Option<usize>, Refusal> {
        let Some((mut asking, first)) = self.asking.take() else { return Ok(None) };
        let (kind, limits) = (asking.kind(), self.limits);
        let Some(subscription) = &mut self.subscriptions[kind as usize] else { return Ok(None) };
        let mut resources = asking.step(&mut subscription.wants, limits, now)?;
        if !asking.is_done() {
            self.asking = Some((asking, first));
            return Ok(Some(resources));
        }
        if first && kind != Type::Authorization && !self.node.is_empty() {
            let own = now.lookup().on_node(&self.node);
            asking.add(own, &mut subscription.wants, limits)?;
            resources += own.len();
        }
        let batch = asking.finish();
        match &mut subscription.answer {
            // Not reached by who obeys `hear`: nothing is lost all the same.
            Some(earlier) => earlier.append(batch),
            answer => *answer = Some(batch),
        }
        Ok(Some(resources))
    }

    fn first(&mut self, kind: Type, request: DeltaDiscoveryRequest, now: &Snapshot) {
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
            return;
        }
        self.subscriptions[kind as usize] = Some(Subscription::new(Wants::Named(Names::default()), now.number()));
        let left: HashSet<&String> = unsubscribe.iter().collect();
        let asked = subscribe.iter().filter(|name| *name != WILDCARD && !left.contains(name)).cloned();
        let asked: Vec<_> = asked.chain(retained.keys().filter(|name| !left.contains(name)).cloned()).collect();
        self.asking = Some((Asking::new(kind, asked, retained), true));
    }

    fn later(&mut self, kind: Type, request: DeltaDiscoveryRequest) -> Heard {
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
            self.asking = Some((Asking::new(kind, asked, BTreeMap::new()), false));
        }
        heard
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
