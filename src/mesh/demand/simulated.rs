//! A control plane that a test plays: it has a mesh, and is asked for it.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::sought::{Asking, Demand, Silence, Sought};
use crate::mesh::{Changes, Writer};

/// What the control plane does.
pub(crate) struct Plane {
    writer: Mutex<Writer>,
    /// What comes with what. All else does not exist.
    has: Mutex<HashMap<Sought, Changes>>,
    /// How long it takes; `None` never answers.
    pub(crate) takes: Mutex<Option<Duration>>,
    /// What it says instead.
    pub(crate) fails: Mutex<Option<Silence>>,
    /// Demands that came.
    asked: Mutex<Vec<Sought>>,
    waiting: AtomicUsize,
}

/// Demands that may wait at a time.
pub(crate) const ROOM: usize = 1024;

// === impl Plane ===

impl Plane {
    pub(crate) fn new(writer: Writer) -> Self {
        Self {
            writer: Mutex::new(writer),
            has: Mutex::default(),
            takes: Mutex::new(Some(Duration::from_millis(50))),
            fails: Mutex::default(),
            asked: Mutex::default(),
            waiting: AtomicUsize::new(0),
        }
    }

    pub(crate) fn has(&self, sought: Sought, changes: Changes) {
        self.has.lock().unwrap().insert(sought, changes);
    }

    pub(crate) fn apply(&self, changes: Changes) {
        self.writer.lock().unwrap().apply(changes);
    }

    pub(crate) fn is_away(&self, away: bool) {
        *self.takes.lock().unwrap() = (!away).then_some(Duration::from_millis(50));
    }

    /// What it was asked for, each in its turn.
    pub(crate) fn asked(&self) -> Vec<Sought> {
        std::mem::take(&mut *self.asked.lock().unwrap())
    }
}

impl Demand for Plane {
    fn demand(&self, sought: Sought, limit: Duration) -> Asking<'_> {
        Box::pin(async move {
            self.asked.lock().unwrap().push(sought.clone());
            if let Some(silence) = *self.fails.lock().unwrap() {
                return Err(silence);
            }
            if self.waiting.fetch_add(1, Ordering::Relaxed) >= ROOM {
                self.waiting.fetch_sub(1, Ordering::Relaxed);
                return Err(Silence::TooMany);
            }
            let takes = *self.takes.lock().unwrap();
            let work = async {
                match takes {
                    Some(takes) => sleep(takes).await,
                    None => std::future::pending().await,
                }
                let found = self.has.lock().unwrap().get(&sought).cloned();
                if let Some(changes) = found {
                    self.apply(changes);
                }
            };
            let answer = timeout(limit, work).await.map_err(|_| Silence::Deadline);
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            answer
        })
    }
}
