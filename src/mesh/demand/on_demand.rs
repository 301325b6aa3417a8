//! Asks for what the mesh lacks.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::time::Instant;

use crate::mesh::Reader;

use super::recent::Recent;
use super::share::Share;
use super::sought::{Demand, Silence, Sought, Unanswered};

/// How long "there is nothing" is believed without asking again. A control plane that pushes by address tells at once of what
/// comes there; where it does not, a workload that comes to such an address is called past the mesh for as long.
const FRESH: Duration = Duration::from_secs(30);
/// Answers that are remembered: a few hundred bytes each.
const ANSWERS: usize = 4096;
/// What was asked for in passing is not asked for again within this time.
const HINTED: Duration = Duration::from_secs(30);
const HINTS: usize = 4096;
/// Nobody waits for what is asked in passing: 64 a second that take a second at most, so that a thousand others find room.
const HINTS_PER_SECOND: u32 = 64;
const PASSING: Duration = Duration::from_secs(1);
/// After a demand that was not answered, the control plane counts as silent for this long, or until it answers.
const SILENT: Duration = Duration::from_secs(5);

/// Whoever needs something that the mesh may not have been asked for asks here.
pub struct OnDemand {
    source: Arc<dyn Demand>,
    mesh: Reader,
    state: Mutex<State>,
}

struct State {
    /// What was answered and the mesh still lacks: there is nothing, or nothing that is found there.
    answered: Recent,
    hinted: Recent,
    /// Since when hints are counted, and how many there were.
    hints: (Instant, u32),
    silent: Option<Instant>,
}

// === impl OnDemand ===

impl OnDemand {
    /// What `source` answers is in `mesh` then.
    pub fn new(source: Arc<dyn Demand>, mesh: Reader) -> Self {
        let (answered, hinted) = (Recent::new(ANSWERS), Recent::new(HINTS));
        let state = State { answered, hinted, hints: (Instant::now(), 0), silent: None };
        Self { source, mesh, state: Mutex::new(state) }
    }

    /// Ends when all of `sought` was answered, now or within the last 30 s, at most after `limit`. Then what the newest
    /// view lacks is not in the mesh.
    ///
    /// An answer that is older is asked for again, and stands while the control plane says nothing: what is known is
    /// served, as everywhere.
    ///
    /// # Errors
    /// The first without an answer. It is not known whether the mesh has it.
    pub async fn ask(&self, share: &Share, sought: Vec<Sought>, limit: Duration) -> Result<(), Unanswered> {
        let mut asking: Vec<_> = sought.into_iter().map(|sought| Box::pin(self.one(share, sought, limit))).collect();
        // All at once: each asks with its first poll.
        poll_fn(|context| {
            let mut failed = None;
            asking.retain_mut(|one| match one.as_mut().poll(context) {
                Poll::Pending => true,
                Poll::Ready(answer) => {
                    failed = failed.take().or_else(|| answer.err());
                    false
                }
            });
            match failed {
                Some(unanswered) => Poll::Ready(Err(unanswered)),
                None if asking.is_empty() => Poll::Ready(Ok(())),
                None => Poll::Pending,
            }
        })
        .await
    }

    async fn one(&self, share: &Share, sought: Sought, limit: Duration) -> Result<(), Unanswered> {
        let age = self.state().answered.age(&sought, Instant::now());
        if age.is_some_and(|age| age < FRESH) {
            return Ok(());
        }
        let Some(_place) = share.enter(&sought) else { return Err(Unanswered { sought, why: Silence::TooMany }) };
        // It may also come by another way: as an endpoint, or by another name.
        let arrived = async {
            let view = self.mesh.wait_for(limit, |view| sought.is_held(view)).await;
            if sought.is_held(&view) { Ok(()) } else { Err(Silence::Deadline) }
        };
        let answer = tokio::select! {
            biased;
            answer = self.source.demand(sought.clone(), limit) => answer,
            answer = arrived => answer,
        };
        self.heard(sought, answer, age.is_some())
    }

    fn heard(&self, sought: Sought, answer: Result<(), Silence>, known: bool) -> Result<(), Unanswered> {
        let held = sought.is_held(&self.mesh.view());
        let now = Instant::now();
        let mut state = self.state();
        match answer {
            Ok(()) => state.silent = None,
            Err(Silence::Deadline) => state.silent = Some(now),
            Err(_) => {}
        }
        if held {
            state.answered.remove(&sought);
            return Ok(());
        }
        match answer {
            Ok(()) => state.answered.put(sought, now),
            // Not when too many ask: who floods must not keep an old answer alive.
            Err(Silence::Deadline | Silence::Ended) if known => state.answered.put(sought, now),
            Err(why) => return Err(Unanswered { sought, why }),
        }
        Ok(())
    }

    /// Asks in passing for what is good to know and worth no wait: within bounds, and not twice in half a minute.
    pub fn hint(&self, sought: Sought) {
        let now = Instant::now();
        {
            let mut state = self.state();
            let known = |age: Option<Duration>, limit| age.is_some_and(|age| age < limit);
            if known(state.hinted.age(&sought, now), HINTED) || known(state.answered.age(&sought, now), FRESH) {
                return;
            }
            let (since, count) = &mut state.hints;
            if now.duration_since(*since) >= PASSING {
                (*since, *count) = (now, 0);
            }
            if *count >= HINTS_PER_SECOND {
                return;
            }
            *count += 1;
            state.hinted.put(sought.clone(), now);
        }
        self.nudge(sought, PASSING);
    }

    /// Asks, and waits for nothing: what there is will be in the mesh. Given up after `limit`.
    pub fn nudge(&self, sought: Sought, limit: Duration) {
        let mut asking = self.source.demand(sought, limit);
        // The first poll asks, and the drop takes nothing back.
        let mut context = Context::from_waker(Waker::noop());
        let _answer = Pin::new(&mut asking).poll(&mut context);
    }

    /// Whether the last demand that waited was not answered, a moment ago.
    pub fn is_silent(&self) -> bool {
        self.state().silent.is_some_and(|at| at.elapsed() < SILENT)
    }

    /// Forgets that there was nothing where the mesh has something now, so that it is asked for again when that goes.
    pub fn forget_held(&self) {
        let view = self.mesh.view();
        self.state().answered.retain(|sought| !sought.is_held(&view));
    }

    /// Held for a look or a change, never across a wait.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
