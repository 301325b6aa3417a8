//! What one client wants of one type, and what of it is still to be sent. Pure.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;

use super::entry::Entry;
use super::response::{Asked, weight};
use super::session::{Limits, Refusal};

/// One type of one client.
#[derive(Debug)]
pub(super) struct Subscription {
    pub(super) wants: Wants,
    /// The snapshot that the client has, or will have when `push` has been sent.
    pub(super) seen: u64,
    /// Of the response that was sent last.
    pub(super) nonce: String,
    /// That response has not been answered.
    pub(super) unanswered: bool,
    /// What the first request led to has been sent.
    pub(super) begun: bool,
    /// What was asked for by name: sent at once.
    pub(super) answer: Option<Batch>,
    /// What has changed: sent when nothing is unanswered.
    pub(super) push: Option<Batch>,
}

/// Decided by the first request.
#[derive(Debug)]
pub(super) enum Wants {
    Everything,
    /// Names, also such that mean nothing yet.
    Named(Names),
}

/// A bounded set of names.
#[derive(Debug, Default)]
pub(super) struct Names {
    names: HashSet<Arc<str>>,
    bytes: usize,
}

/// Resources on their way to a client.
#[derive(Debug, Default)]
pub(super) struct Batch {
    entries: Arc<[Arc<Entry>]>,
    /// Which of them are still to be sent.
    left: Range<usize>,
    removed: Vec<Arc<str>>,
    pub(super) asked: Arc<Asked>,
}

// === impl Subscription ===

impl Subscription {
    pub(super) fn new(wants: Wants, seen: u64) -> Self {
        Self { wants, seen, nonce: String::new(), unanswered: false, begun: false, answer: None, push: None }
    }
}

// === impl Names ===

impl Names {
    /// Adds a name, unless the set is full.
    pub(super) fn insert(&mut self, name: &Arc<str>, limits: Limits) -> Result<(), Refusal> {
        if self.names.contains(name) {
            return Ok(());
        }
        let bytes = self.bytes + name.len();
        if self.names.len() >= limits.names || bytes > limits.name_bytes {
            return Err(limits.exceeded());
        }
        self.bytes = bytes;
        self.names.insert(Arc::clone(name));
        Ok(())
    }

    pub(super) fn remove(&mut self, name: &str) {
        if let Some(name) = self.names.take(name) {
            self.bytes -= name.len();
        }
    }

    pub(super) fn contains(&self, name: &str) -> bool {
        self.names.contains(name)
    }

    pub(super) fn len(&self) -> usize {
        self.names.len()
    }
}

// === impl Batch ===

impl Batch {
    pub(super) fn new(entries: Arc<[Arc<Entry>]>, removed: Vec<Arc<str>>) -> Self {
        Self { left: 0..entries.len(), entries, removed, asked: Arc::default() }
    }

    /// A part of a list that others hold as well: it costs a client no memory of its own.
    pub(super) fn part(entries: Arc<[Arc<Entry>]>, part: Range<usize>) -> Self {
        Self { entries, left: part, removed: Vec::new(), asked: Arc::default() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.left.is_empty() && self.removed.is_empty()
    }

    /// Adds what came later, which counts.
    pub(super) fn append(&mut self, later: Self) {
        let removed: HashSet<_> = later.removed.iter().cloned().collect();
        let found: HashSet<_> = later.entries.iter().map(|entry| Arc::clone(&entry.name)).collect();
        let earlier = self.entries[self.left.clone()].iter().filter(|entry| !removed.contains(&entry.name));
        self.entries = earlier.chain(later.entries.iter()).cloned().collect();
        self.left = 0..self.entries.len();
        self.removed.retain(|name| !found.contains(name));
        self.removed.extend(later.removed);
        let asked = Arc::make_mut(&mut self.asked);
        for (name, aliases) in later.asked.iter() {
            asked.entry(Arc::clone(name)).or_default().extend(aliases.iter().cloned());
        }
    }

    /// As much as one response takes, removals first: a name that is given again was another resource's.
    pub(super) fn take(&mut self, target: usize) -> (Vec<Arc<Entry>>, Vec<Arc<str>>) {
        let mut size = 0;
        let mut fits = |more: usize| {
            let first = size == 0;
            size += more;
            first || size <= target
        };
        let removed = self.removed.iter().take_while(|name| fits(name.len() + 4)).count();
        let removed = self.removed.drain(..removed).collect();
        let left = &self.entries[self.left.clone()];
        let some = if self.removed.is_empty() {
            left.iter().take_while(|entry| fits(weight(entry, &self.asked))).count()
        } else {
            0
        };
        let entries = left[..some].to_vec();
        self.left.start += some;
        (entries, removed)
    }
}
