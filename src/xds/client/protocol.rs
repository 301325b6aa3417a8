//! Incremental xDS as its client sees it: a state machine. Responses, demands and the time go in; updates of the mesh
//! and requests come out. Pure.
//!
//! After [`Protocol::open`] the requests are sent in the order in which they come out. A response is taken piece by
//! piece, [`Protocol::begin`], [`Protocol::take`], [`Protocol::finish`], so that a large one does not keep a thread.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use crate::proto::discovery::Node;
use crate::proto::google::Status;
use crate::runtime::rate::Rate;
use crate::xds::convert::{Decoded, Fault, Refused};

use super::absent::Absent;
use super::complaints::Complaints;
use super::demand::{Answer, Book, Key};
use super::envelope::Envelope;
use super::first::Firsts;
use super::held::Held;
use super::intake::{self, Fresh, Thing};
use super::kind::Kind;
use super::outcome::{Asked, Keeping, Record, Taken, Tick};
use super::requests::{ROOM, Request, of, subscribe};
use super::sharing::Sharing;
use super::update::Update;
use super::version::Version;

/// The code of a refused answer, `INVALID_ARGUMENT` of gRPC.
const INVALID_ARGUMENT: i32 = 3;
/// Bytes of a nonce or a type URL that are sent back. A longer one is not answered.
const LONGEST_ECHO: usize = 1024;
/// Refusals that are answered at once, and then one a second: a server that answers a refusal by sending the same again
/// is slowed down, and the good part of what it sends is applied all the same.
const REFUSALS: (u32, Duration) = (10, Duration::from_secs(1));
/// Resources that are handed to the mesh together, 16,384: some 10 MB. A smaller response is one update.
pub(super) const PART: usize = 16_384;
/// Names that were given up and may still arrive.
const LET_GO: usize = 1024;
/// The state of one client. `T` is a ticket of those who wait.
#[derive(Debug)]
pub(super) struct Protocol<T> {
    node: Node,
    on_demand: bool,
    connected: bool,
    held: Held,
    sharing: Sharing,
    book: Book<T>,
    firsts: Firsts,
    refusals: Rate,
    /// Answers to refused responses that wait for the budget: by kind, and last that of unknown types.
    delayed: [Option<(Instant, Request)>; 3],
    let_go: VecDeque<Arc<str>>,
    absent: Absent,
}

/// A response that is being taken.
#[derive(Debug)]
pub(super) struct Intake<T> {
    kind: Option<Kind>,
    resources: std::vec::IntoIter<Bytes>,
    removed: Vec<String>,
    type_url: String,
    nonce: String,
    count: usize,
    subscribe: Vec<Arc<str>>,
    /// Names that were answered with a resource of another name.
    other: Vec<Arc<str>>,
    taken: Taken<T>,
}

// === impl Protocol ===

impl<T> Protocol<T> {
    /// `on_demand`: addresses are asked for one by one. Policies are always sent all.
    pub(super) fn new(node: Node, on_demand: bool) -> Self {
        Self {
            node,
            on_demand,
            connected: false,
            held: Held::default(),
            sharing: Sharing::default(),
            book: Book::new(),
            firsts: Firsts::new(on_demand),
            refusals: Rate::new(REFUSALS.0, REFUSALS.1),
            delayed: [None, None, None],
            let_go: VecDeque::new(),
            absent: Absent::default(),
        }
    }

    /// Takes what was held before a restart, without a word to anyone.
    pub(super) fn restore(&mut self, record: Record<'_>, update: &mut Update) -> Result<(), Refused> {
        let Record { kind, name, version, value } = record;
        let Decoded { value, left_out: _ } = intake::thing(kind, name, value.unwrap_or_default())?;
        self.hold(name, version, value, update);
        Ok(())
    }

    /// A stream is about to open: its first requests.
    pub(super) fn open(&mut self) -> Vec<Request> {
        self.closed();
        self.connected = true;
        let mut requests = Vec::new();
        for kind in Kind::ALL {
            let (initial_resource_versions, left) = self.held.versions(kind, ROOM);
            let one_by_one = self.on_demand && kind == Kind::Address;
            // Both at once ask for nothing, which is not the same as asking for nothing in particular.
            let all = || if one_by_one { vec!["*".to_owned()] } else { Vec::new() };
            requests.push(Request {
                node: Some(self.node.clone()),
                resource_names_subscribe: all(),
                resource_names_unsubscribe: all(),
                initial_resource_versions,
                ..of(kind)
            });
            if one_by_one {
                requests.extend(subscribe(left.iter().chain(self.book.keys()).chain(self.absent.iter())));
            } else {
                self.firsts[kind].unconfirmed = left.into_iter().collect();
            }
        }
        requests
    }

    /// The stream has ended. What is held stays, and who waits goes on waiting.
    pub(super) fn closed(&mut self) {
        self.connected = false;
        self.firsts = Firsts::new(self.on_demand);
        self.delayed = [None, None, None];
        self.let_go.clear();
    }

    pub(super) fn begin(&mut self, response: Envelope) -> Intake<T> {
        let Envelope { resources, type_url, nonce, removed_resources } = response;
        let kind = Kind::of(&type_url);
        let taken = Taken {
            kind,
            accepted: false,
            update: Update::default(),
            answers: Vec::new(),
            refused: Complaints::default(),
            left_out: Complaints::default(),
            requests: Vec::new(),
        };
        Intake {
            kind,
            count: resources.len(),
            resources: resources.into_iter(),
            removed: removed_resources,
            type_url,
            nonce,
            subscribe: Vec::new(),
            other: Vec::new(),
            taken,
        }
    }

    /// Takes up to `most` resources; answers whether there are more.
    pub(super) fn take(&mut self, intake: &mut Intake<T>, most: usize, keep: Keeping<'_>) -> bool {
        let Some(kind) = intake.kind else { return false };
        for _ in 0..most {
            let Some(resource) = intake.resources.next() else { return false };
            match intake::read(kind, resource) {
                Ok(fresh) => self.accept(kind, fresh, intake, keep),
                Err(bad) => {
                    intake.taken.refused.add(&bad.refused);
                    let is_held = bad.names.first().is_some_and(|name| self.held.contains(kind, name));
                    self.firsts[kind].refused(&bad.names, is_held);
                    for name in &bad.names {
                        self.answer(kind, name, Answer::Refused, &mut intake.taken.answers);
                    }
                }
            }
        }
        intake.resources.len() > 0
    }

    /// What was taken so far, when that is much: a first sync must not be in memory twice.
    pub(super) fn part(&self, intake: &mut Intake<T>) -> Option<Update> {
        let update = &mut intake.taken.update;
        if update.incoming() < PART {
            return None;
        }
        update.removed.retain(|removed| !self.held.holds(removed));
        Some(std::mem::take(update))
    }

    /// Takes the removals and answers the response.
    pub(super) fn finish(&mut self, intake: Intake<T>, now: Instant, keep: Keeping<'_>) -> Taken<T> {
        let Intake { kind, removed, type_url, nonce, count, subscribe: again, other, mut taken, .. } = intake;
        let mut given_up = Vec::new();
        if let Some(kind) = kind {
            for name in &removed {
                self.firsts[kind].told(name);
                self.remove(kind, name, &mut taken.update, keep);
                if self.answer(kind, name, Answer::Missing, &mut taken.answers) && self.on_demand {
                    // It may appear, and then whoever called it wants to know. The oldest must not pile up at the server.
                    given_up.extend(self.absent.put(Arc::from(&**name)));
                }
            }
            // What went and came again in one response is there.
            taken.update.removed.retain(|removed| !self.held.holds(removed));
            self.firsts.answered(kind, now);
        } else {
            let fault = Fault::new(&type_url, "nothing of this type was asked for");
            taken.refused.add(fault.within("type_url"));
        }
        taken.accepted = kind.is_some() && (count == 0 || taken.refused.count() < count);
        self.reply(kind, type_url, nonce, now, &mut taken);
        taken.requests.extend(subscribe(again.iter()));
        taken.requests.extend(self.give_up(given_up));
        taken.requests.extend(self.unsubscribe(&other));
        taken
    }

    /// Someone wants to know of one resource before `deadline`.
    pub(super) fn demand(&mut self, key: &Key, deadline: Instant, ticket: T) -> Asked<T> {
        if self.held.contains(Kind::Address, key.as_str()) {
            return Asked::Held(ticket);
        }
        match self.book.add(key, deadline, ticket) {
            Err(ticket) => Asked::TooMany(ticket),
            Ok(first) => {
                // A server may not answer a name twice: it is left, and then asked for again.
                let again = first && self.absent.remove(key.as_str()) && self.connected;
                let leave = || Request { resource_names_unsubscribe: vec![key.to_string()], ..of(Kind::Address) };
                let name = key.shared();
                let ask = (first && self.connected).then(|| subscribe(std::iter::once(&name)));
                Asked::Waits(again.then(leave).into_iter().chain(ask.into_iter().flatten()).collect())
            }
        }
    }

    /// Does what is due.
    pub(super) fn tick(&mut self, now: Instant, keep: Keeping<'_>) -> Tick<T> {
        let (expired, keys) = self.book.expire(now);
        let mut requests = self.give_up(keys);
        for delayed in &mut self.delayed {
            match delayed.take() {
                Some((at, request)) if at <= now => {
                    if self.refusals.take(now) {
                        requests.push(request);
                    } else {
                        *delayed = Some((self.refusals.next(now), request));
                    }
                }
                other => *delayed = other,
            }
        }
        let mut update = Update::default();
        for kind in Kind::ALL {
            for name in self.firsts.gone(kind, now) {
                self.remove(kind, &name, &mut update, keep);
            }
        }
        Tick { update, expired, requests }
    }

    /// When [`Self::tick`] has something to do.
    pub(super) fn next_at(&self) -> Option<Instant> {
        let delayed = self.delayed.iter().flatten().map(|(at, _)| *at);
        delayed.chain(self.firsts.next_at()).chain(self.book.next_deadline()).min()
    }

    pub(super) fn held(&self, kind: Kind) -> usize {
        self.held.len(kind)
    }

    /// What is known of the first answers on this stream.
    pub(super) const fn firsts(&self) -> &Firsts {
        &self.firsts
    }

    fn accept(&mut self, kind: Kind, fresh: Fresh, intake: &mut Intake<T>, keep: Keeping<'_>) {
        let Fresh { name, version, aliases, bytes, thing, left_out } = fresh;
        keep(Record { kind, name: &name, version: &version, value: Some(&bytes) });
        if !left_out.is_empty() {
            intake.taken.left_out.add(format_args!("{}: {left_out}", name.escape_debug()));
        }
        self.firsts[kind].told(&name);
        if !self.book.is_empty() || !self.absent.is_empty() {
            for key in std::iter::once(&name).chain(&thing.addresses()) {
                self.absent.remove(key);
                self.answer(kind, key, Answer::Found, &mut intake.taken.answers);
            }
            for key in &aliases {
                // An address in a service's block, for example. The resource's own name is subscribed to; of names like
                // this one a pod that scans the block would leave one each.
                let was_absent = self.absent.remove(key);
                let was_asked = self.answer(kind, key, Answer::Found, &mut intake.taken.answers);
                if (was_absent || was_asked) && self.on_demand {
                    intake.other.push(key.as_str().into());
                }
            }
        }
        if let Some(at) = self.let_go.iter().position(|gone| **gone == *name) {
            // It came when nobody waited any more. It is held now, so its changes are wanted.
            intake.subscribe.extend(self.let_go.remove(at));
        }
        self.hold(&name, &version, thing, &mut intake.taken.update);
    }

    fn hold(&mut self, name: &str, version: &str, thing: Thing, update: &mut Update) {
        let what = thing.what();
        let held = self.held.name(what, name);
        let name = match thing {
            Thing::Workload(mut workload) => {
                let name = held.unwrap_or_else(|| Arc::clone(&workload.uid));
                workload.uid = Arc::clone(&name);
                self.sharing.workload(&mut workload);
                update.workloads.push(workload);
                name
            }
            Thing::Service(mut service) => {
                self.sharing.service(&mut service);
                update.services.push(service);
                held.unwrap_or_else(|| name.into())
            }
            Thing::Policy(mut policy) => {
                self.sharing.key(&mut policy.key);
                update.policies.push(policy);
                held.unwrap_or_else(|| name.into())
            }
        };
        update.removed.extend(self.held.insert(what, name, Version::new(version)));
    }

    fn remove(&mut self, kind: Kind, name: &str, update: &mut Update, keep: Keeping<'_>) {
        if let Some(removed) = self.held.remove(kind, name) {
            keep(Record { kind, name, version: "", value: None });
            update.removed.push(removed);
        }
    }

    /// Answers all who wait for a key; whether there were any.
    fn answer(&mut self, kind: Kind, key: &str, answer: Answer, answers: &mut Vec<(T, Answer)>) -> bool {
        if kind != Kind::Address || self.book.is_empty() {
            return false;
        }
        let before = answers.len();
        answers.extend(self.book.answer(key).map(|ticket| (ticket, answer)));
        answers.len() > before
    }

    /// Tells the server to forget names that nobody waits for: what pods ask for must not pile up there.
    fn give_up(&mut self, keys: Vec<Arc<str>>) -> Vec<Request> {
        let requests = self.unsubscribe(&keys);
        if !requests.is_empty() {
            self.let_go.extend(keys);
            self.let_go.drain(..self.let_go.len().saturating_sub(LET_GO));
        }
        requests
    }

    fn unsubscribe(&self, keys: &[Arc<str>]) -> Vec<Request> {
        if keys.is_empty() || !self.connected {
            return Vec::new();
        }
        let resource_names_unsubscribe = keys.iter().map(ToString::to_string).collect();
        vec![Request { resource_names_unsubscribe, ..of(Kind::Address) }]
    }

    fn reply(&mut self, kind: Option<Kind>, type_url: String, nonce: String, now: Instant, taken: &mut Taken<T>) {
        // Without a nonce it would be taken for a new request, and be answered with everything.
        if nonce.is_empty() || nonce.len() > LONGEST_ECHO || type_url.len() > LONGEST_ECHO {
            return;
        }
        let delayed = &mut self.delayed[kind.map_or(Kind::ALL.len(), Kind::index)];
        let mut reply = Request { type_url, response_nonce: nonce, ..Request::default() };
        if taken.refused.is_empty() {
            taken.requests.extend(delayed.take().map(|(_, older)| older));
        } else {
            reply.error_detail = Some(Status { code: INVALID_ARGUMENT, message: taken.refused.to_string() });
            if delayed.is_some() || !self.refusals.take(now) {
                // The newest counts: to the server an older nonce is stale.
                *delayed = Some((self.refusals.next(now), reply));
                return;
            }
        }
        taken.requests.push(reply);
    }
}

#[cfg(test)]
mod tests;
