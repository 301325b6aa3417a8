//! Turns: owners of tasks share a pool evenly, however many tasks each of them has.
//!
//! A pool runs what is ready in the order in which it became so. An owner with a thousand ready tasks has then a thousand times the
//! share of one with a single task, which waits for all of them. So each owner has a [`SLICE`] of time a round; when it is used up its
//! tasks queue, first come first served, until everybody else who was ready has run. An owner that is alone in its pool waits
//! for nobody, and pays for one yield a slice.
//!
//! A task is never interrupted: what can go on for long asks [`rest`] between two pieces of its work.

use std::cell::Cell;
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::Instant;

/// Time of one thread that an owner has a round, 100 µs: some ten small messages or 64 KiB of TLS. Others wait for it at every hop of
/// their own messages; an owner that is alone gives up some 2 µs for each.
const SLICE: Duration = Duration::from_micros(100);
/// An owner that used up no slice in so many slices of time begins anew: it takes less than its share.
const ROUND: u32 = 4;

/// An owner's part in the pool. Clones are the same owner's; the default one is nobody's and always runs.
#[derive(Clone, Debug, Default)]
pub struct Turn(Option<Arc<Owner>>);

#[derive(Debug)]
struct Owner {
    pool: Handle,
    slice: Duration,
    round: Mutex<Round>,
}

#[derive(Debug)]
struct Round {
    began: Instant,
    spent: Duration,
    /// Who waits, in order. A task that has ended meanwhile is woken in vain.
    waiting: VecDeque<Waker>,
    /// The ticket of the first in the queue; tickets below it may run.
    first: u64,
    /// A task calls the next round.
    is_called: bool,
}

/// A future that takes its turns.
pub struct Taken<F> {
    turn: Turn,
    /// Where it stands in the queue.
    ticket: Option<u64>,
    work: Pin<Box<F>>,
}

/// One poll: measured until it is dropped, so also when it panics.
struct Slice<'a> {
    owner: &'a Owner,
    began: Instant,
    outer: Option<Instant>,
}

thread_local! {
    /// When the slice of what runs on this thread is over.
    static END: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// Lets others run if the slice is used up. To be called between two pieces of work of which many may follow each other.
pub async fn rest() {
    poll_fn(poll_rest).await;
}

/// As [`rest`]: pending when the slice is used up, and then woken at the owner's next turn.
pub fn poll_rest(cx: &mut Context<'_>) -> Poll<()> {
    match END.get() {
        Some(end) if Instant::now() >= end => {
            cx.waker().wake_by_ref();
            Poll::Pending
        }
        _ => Poll::Ready(()),
    }
}

// === impl Turn ===

impl Turn {
    /// The part of a new owner in `pool`.
    pub fn new(pool: Handle) -> Self {
        let threads = u32::try_from(pool.metrics().num_workers()).unwrap_or(u32::MAX);
        let round = Round {
            began: Instant::now(),
            spent: Duration::ZERO,
            waiting: VecDeque::new(),
            first: 0,
            is_called: false,
        };
        Self(Some(Arc::new(Owner { pool, slice: SLICE.saturating_mul(threads.max(1)), round: Mutex::new(round) })))
    }

    /// `work` in the turns of this owner. Whoever spawns it spawns the whole.
    pub fn taken<F: Future>(&self, work: F) -> Taken<F> {
        Taken { turn: self.clone(), ticket: None, work: Box::pin(work) }
    }
}

// === impl Owner ===

impl Owner {
    fn lock(&self) -> MutexGuard<'_, Round> {
        self.round.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a poll, or queues.
    fn begin(self: &Arc<Self>, ticket: &mut Option<u64>, cx: &Context<'_>) -> Option<Slice<'_>> {
        let now = Instant::now();
        let mut round = self.lock();
        match *ticket {
            Some(own) if own >= round.first => return None,
            Some(_) => *ticket = None,
            None => {
                if round.waiting.is_empty() && now.saturating_duration_since(round.began) >= self.slice * ROUND {
                    (round.began, round.spent) = (now, Duration::ZERO);
                }
                if round.spent >= self.slice || !round.waiting.is_empty() {
                    *ticket = Some(round.first + round.waiting.len() as u64);
                    round.waiting.push_back(cx.waker().clone());
                    if !std::mem::replace(&mut round.is_called, true) {
                        drop(round);
                        // Ends with the queue. A pool that is shut down takes the tasks that wait with it.
                        drop(self.pool.spawn(Arc::clone(self).call()));
                    }
                    return None;
                }
            }
        }
        // Whoever is let in comes a step further, also when the others were slower than it looked.
        let left = self.slice.saturating_sub(round.spent).max(SLICE / 4);
        drop(round);
        Some(Slice { owner: self, began: now, outer: END.replace(Some(now + left)) })
    }

    /// Begins one round after the other, each when everybody who was ready has run, until nobody waits.
    async fn call(self: Arc<Self>) {
        loop {
            // The pool runs what is ready, looks for what became ready outside of it, and only then comes back to here.
            tokio::task::yield_now().await;
            let mut round = self.lock();
            (round.began, round.spent) = (Instant::now(), Duration::ZERO);
            let Some(next) = round.next() else {
                round.is_called = false;
                return;
            };
            drop(round);
            next.wake();
        }
    }
}

// === impl Round ===

impl Round {
    /// Lets the first of the queue run.
    fn next(&mut self) -> Option<Waker> {
        let next = self.waiting.pop_front()?;
        self.first += 1;
        if self.waiting.is_empty() {
            // What a flood took is not kept.
            self.waiting = VecDeque::new();
        }
        Some(next)
    }
}

impl Drop for Slice<'_> {
    fn drop(&mut self) {
        END.set(self.outer);
        let mut round = self.owner.lock();
        round.spent += self.began.elapsed();
        let next = if round.spent < self.owner.slice { round.next() } else { None };
        drop(round);
        if let Some(next) = next {
            next.wake();
        }
    }
}

impl<F: Future> Future for Taken<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let Self { turn, ticket, work } = self.get_mut();
        let Some(owner) = &turn.0 else { return work.as_mut().poll(cx) };
        let Some(_slice) = owner.begin(ticket, cx) else { return Poll::Pending };
        work.as_mut().poll(cx)
    }
}

#[cfg(test)]
mod tests;
