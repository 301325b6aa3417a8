//! What is known of the first answers on one stream. Pure.

use std::collections::HashSet;
use std::ops::{Index, IndexMut};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::kind::Kind;

/// What the first request had no room for and no response named is removed after 10 s without a response of that type,
/// 60 s after the last one that named some of it at the latest, and not before both types were answered: one piece of a first
/// answer may be on a thin line for longer than that, and policies come behind all of them. The protocol does not say where
/// the first answer ends, and to remove too early is worse than too late.
pub(super) const QUIET: Duration = Duration::from_secs(10);
pub(super) const SETTLED: Duration = Duration::from_secs(60);
/// Refused names that are remembered, and the bytes of one. With more, or a longer one, only a new stream tells.
const REFUSED: usize = 16_384;
const LONGEST: usize = 1024;

/// Both types on this stream.
#[derive(Debug)]
pub(super) struct Firsts {
    of: [First; 2],
    /// Addresses are asked for one by one.
    on_demand: bool,
}

/// One type on this stream.
#[derive(Debug, Default)]
pub(super) struct First {
    /// Names that are held and that the server was not told of.
    pub(super) unconfirmed: HashSet<Arc<str>>,
    /// When what is unconfirmed goes: then, or somewhat later if another response comes, but not after the second.
    settle: Option<(Instant, Instant)>,
    /// The response that is being taken names something that was unconfirmed.
    confirms: bool,
    /// Something came whose name cannot be read. It may have been an unconfirmed one, so all of them stay.
    nameless: bool,
    /// What was refused and of which no earlier version is held.
    missing: HashSet<Arc<str>>,
    /// Something was refused that is not in `missing`.
    more_missing: bool,
    is_answered: bool,
}

// === impl Firsts ===

impl Firsts {
    pub(super) fn new(on_demand: bool) -> Self {
        Self { of: <[First; 2]>::default(), on_demand }
    }

    /// Whether there was a response of each type that is not asked for one by one.
    pub(super) fn are_answered(&self) -> bool {
        self.of[Kind::Authorization.index()].is_answered
            && (self.on_demand || self.of[Kind::Address.index()].is_answered)
    }

    /// A response of this type has been taken.
    pub(super) fn answered(&mut self, kind: Kind, now: Instant) {
        let before = self.are_answered();
        self[kind].answered(now);
        if !before && self.are_answered() {
            self.of.iter_mut().for_each(|of_type| of_type.put_off(now));
        }
    }

    /// When [`Self::gone`] has something to say.
    pub(super) fn next_at(&self) -> Option<Instant> {
        let settle = self.of.iter().filter_map(|of_type| Some(of_type.settle?.0)).min();
        settle.filter(|_| self.are_answered())
    }

    /// The names that the server did not name in time, once.
    pub(super) fn gone(&mut self, kind: Kind, now: Instant) -> HashSet<Arc<str>> {
        if self.are_answered() { self[kind].gone(now) } else { HashSet::new() }
    }

    /// Whether the stream has brought all that there is of a type, and all of it is held. The protocol does not say where
    /// a first answer ends. Policies come in one response; addresses may come in pieces, with policies behind them.
    pub(super) fn is_complete(&self, kind: Kind) -> bool {
        let ended = match kind {
            Kind::Address => self.are_answered(),
            Kind::Authorization => true,
        };
        let of_type = &self.of[kind.index()];
        ended && of_type.is_answered && of_type.missing() == 0
    }
}

impl Index<Kind> for Firsts {
    type Output = First;

    fn index(&self, kind: Kind) -> &First {
        &self.of[kind.index()]
    }
}

impl IndexMut<Kind> for Firsts {
    fn index_mut(&mut self, kind: Kind) -> &mut First {
        &mut self.of[kind.index()]
    }
}

// === impl First ===

impl First {
    /// The server has this name, or says that it has not.
    pub(super) fn told(&mut self, name: &str) {
        self.confirms |= self.unconfirmed.remove(name);
        self.missing.remove(name);
    }

    /// A resource was refused. The first of its names is its own; none can be read when there is none.
    pub(super) fn refused(&mut self, names: &[String], is_held: bool) {
        for name in names {
            self.confirms |= self.unconfirmed.remove(&**name);
        }
        self.nameless |= names.is_empty();
        match names.first() {
            Some(_) if is_held => {}
            Some(name) if name.len() <= LONGEST && self.missing.len() < REFUSED => {
                self.missing.insert(name.as_str().into());
            }
            _ => self.more_missing = true,
        }
    }

    fn answered(&mut self, now: Instant) {
        self.is_answered = true;
        if !self.unconfirmed.is_empty() && !self.nameless {
            let latest = self.settle.filter(|_| !self.confirms).map_or(now + SETTLED, |(_, latest)| latest);
            self.settle = Some(((now + QUIET).min(latest), latest));
        }
        self.confirms = false;
    }

    /// Resources that were refused and of which nothing is held.
    pub(super) fn missing(&self) -> usize {
        self.missing.len() + usize::from(self.more_missing)
    }

    /// Both times count from now at the earliest.
    fn put_off(&mut self, now: Instant) {
        if self.settle.is_some() {
            self.settle = Some((now + QUIET, now + SETTLED));
        }
    }

    fn gone(&mut self, now: Instant) -> HashSet<Arc<str>> {
        if self.settle.is_none_or(|(at, _)| at > now) {
            return HashSet::new();
        }
        self.settle = None;
        let unconfirmed = std::mem::take(&mut self.unconfirmed);
        if std::mem::take(&mut self.nameless) { HashSet::new() } else { unconfirmed }
    }
}
