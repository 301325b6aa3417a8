//! What the task has beside its stream: the machine, and everyone whom it tells.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::{Duration, SystemTime};

use prost::Message;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};

use super::ask::{Ask, DemandError, Ticket};
use super::complaints::Complaints;
use super::demand::Answer;
use super::envelope::Envelope;
use super::keep::Pieces;
use super::kind::Kind;
use super::observe::Observer;
use super::outcome::{Asked, Taken, Tick};
use super::protocol::Protocol;
use super::requests::Request;
use super::status::Status;
use super::update::Sink;
use crate::runtime::rate::Rate;

/// Resources that are read before other tasks have their turn: about a millisecond.
const SLICE: usize = 256;
/// How often it is noted that the state is still the control plane's.
const MARK: Duration = Duration::from_secs(60);
/// Lines about refused resources: that many at once, then one each ten seconds.
const LINES: (u32, Duration) = (10, Duration::from_secs(10));

pub(super) struct Engine<S> {
    pub(super) protocol: Protocol<Ticket>,
    pub(super) sink: S,
    pub(super) observer: Box<dyn Observer>,
    pub(super) status: watch::Sender<Status>,
    pub(super) asks: mpsc::Receiver<Ask>,
    pub(super) pieces: Pieces,
    pub(super) traces: Traces,
}

/// What is remembered of the stream.
#[derive(Debug)]
pub(super) struct Traces {
    /// Requests that are to be sent.
    pub(super) outbox: VecDeque<Request>,
    /// It has brought something that was taken.
    pub(super) delivered: bool,
    /// A response is half taken.
    taking: bool,
    next_mark: Option<Instant>,
    lines: Rate,
    left_unsaid: usize,
}

// === impl Traces ===

impl Default for Traces {
    fn default() -> Self {
        let lines = Rate::new(LINES.0, LINES.1);
        Self { outbox: VecDeque::new(), delivered: false, taking: false, next_mark: None, lines, left_unsaid: 0 }
    }
}

// === impl Engine ===

impl<S: Sink> Engine<S> {
    /// A stream is about to open.
    pub(super) fn open(&mut self) {
        self.traces.delivered = false;
        self.traces.outbox = self.protocol.open().into();
    }

    /// The stream has ended.
    pub(super) fn closed(&mut self) {
        self.mark();
        self.protocol.closed();
        self.traces.outbox = VecDeque::new();
        self.traces.next_mark = None;
        self.status.send_if_modified(|status| {
            status.answered = false;
            status.connected_since.take().is_some()
        });
    }

    /// Takes a response, wakes those who waited for it, and leaves the answer in the outbox.
    pub(super) async fn receive(&mut self, response: Envelope) {
        let bytes = response.encoded_len();
        self.observer.message(Kind::of(&response.type_url).map_or("unknown", Kind::url), bytes);
        self.traces.taking = true;
        let (mut intake, mut staged) = (self.protocol.begin(response), false);
        while self.protocol.take(&mut intake, SLICE, &mut |record| self.pieces.record(record)) {
            if let Some(part) = self.protocol.part(&mut intake) {
                self.sink.stage(part);
                staged = true;
            }
            tokio::task::yield_now().await;
        }
        let now = Instant::now();
        let taken = self.protocol.finish(intake, now, &mut |record| self.pieces.record(record));
        self.traces.taking = false;
        self.pieces.flush();
        let Taken { kind, accepted, update, answers, refused, left_out, requests } = taken;
        if staged || !update.is_empty() {
            self.sink.apply(update);
        }
        for (ticket, answer) in answers {
            tell(ticket, Ok(answer));
        }
        self.traces.outbox.extend(requests);
        self.complain(kind, now, &refused, &left_out);
        let Some(kind) = kind else { return };
        self.pend(kind, now);
        self.observer.refused(kind, refused.count());
        let at = SystemTime::now();
        let (held, firsts) = (self.protocol.held(kind), self.protocol.firsts());
        self.status.send_modify(|status| {
            status.connected_since.get_or_insert(at);
            status.answered = firsts.are_answered();
            let of_type = status.of_mut(kind);
            (of_type.held, of_type.missing) = (held, firsts[kind].missing());
            if accepted {
                of_type.last_accepted = Some(at);
                for kind in Kind::ALL {
                    status.of_mut(kind).synced |= firsts.is_complete(kind);
                }
                if status.synced() {
                    (status.restored, status.lost) = (false, 0);
                }
            }
        });
        if accepted {
            self.traces.delivered = true;
            self.mark();
        }
    }

    /// Does what does not come from the stream, and never ends.
    pub(super) async fn tend(&mut self) -> Infallible {
        loop {
            self.attend().await;
        }
    }

    /// Waits for a demand or a deadline, and does it.
    pub(super) async fn attend(&mut self) {
        let next = [self.protocol.next_at(), self.traces.next_mark].into_iter().flatten().min();
        let due = async {
            match next {
                Some(at) => sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            // The client keeps a sender, so there is always one.
            Some(ask) = self.asks.recv() => self.ask(ask),
            () = due => self.tick(),
        }
    }

    /// Notes on disk and in the status that the state is the control plane's now, if it is.
    pub(super) fn mark(&mut self) {
        let complete = {
            let status = self.status.borrow();
            status.answered && status.synced()
        };
        if complete && self.traces.delivered && !self.traces.taking {
            let now = SystemTime::now();
            self.pieces.mark(now);
            self.status.send_modify(|status| status.as_of = Some(now));
            self.traces.next_mark = Some(Instant::now() + MARK);
        }
    }

    fn ask(&mut self, ask: Ask) {
        let Ask { key, deadline, ticket } = ask;
        match self.protocol.demand(&key, deadline, ticket) {
            Asked::Held(ticket) => tell(ticket, Ok(Answer::Found)),
            Asked::TooMany(ticket) => tell(ticket, Err(DemandError::TooMany)),
            Asked::Waits(requests) => self.traces.outbox.extend(requests),
        }
    }

    fn tick(&mut self) {
        let now = Instant::now();
        let Tick { update, expired, requests } = self.protocol.tick(now, &mut |record| self.pieces.record(record));
        self.pieces.flush();
        if !update.is_empty() {
            self.sink.apply(update);
        }
        for ticket in expired {
            tell(ticket, Err(DemandError::Deadline));
        }
        self.traces.outbox.extend(requests);
        if self.traces.next_mark.is_some_and(|at| at <= now) {
            self.traces.next_mark = None;
            self.mark();
        }
    }

    fn complain(&mut self, kind: Option<Kind>, now: Instant, refused: &Complaints, left_out: &Complaints) {
        let resources = kind.map_or("unknown", Kind::url);
        let Traces { lines, left_unsaid, .. } = &mut self.traces;
        if !left_out.is_empty() {
            if lines.take(now) {
                tracing::warn!(resources, %left_out, "parts of what the control plane sent cannot be read and are left out");
            } else {
                *left_unsaid += 1;
            }
        }
        if !refused.is_empty() {
            if lines.take(now) {
                let left_unsaid = std::mem::take(left_unsaid);
                tracing::warn!(resources, count = refused.count(), %refused, left_unsaid, "resources of the control plane are refused; what was held before stays");
            } else {
                *left_unsaid += 1;
            }
        }
    }

    /// Tells what keeps a node from being ready.
    fn pend(&mut self, kind: Kind, now: Instant) {
        let missing = self.protocol.firsts()[kind].missing();
        let waits = missing > 0 && {
            let status = self.status.borrow();
            let one_by_one = status.on_demand && kind == Kind::Address;
            !(status.of(kind).synced || one_by_one)
        };
        if waits && self.traces.lines.take(now) {
            let resources = kind.url();
            tracing::warn!(
                resources,
                missing,
                "the mesh is not whole: resources of the first sync are refused and nothing is held in their place; \
                 they must be mended or removed at the control plane"
            );
        }
    }
}

/// Whoever has gone needs no answer.
fn tell(ticket: Ticket, answer: Result<Answer, DemandError>) {
    let _gone: bool = ticket.send(answer).is_err();
}
