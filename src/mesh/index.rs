//! Records by key, in shards that are copied when something in them changes.
//!
//! A shard is a sorted list, exactly as long as it must be: no slack, no empty buckets, and records of one key are
//! neighbours. An index that is cloned shares its shards with the one that it was cloned from.

use std::cmp::Ordering;
use std::collections::hash_map::RandomState;
use std::collections::{BTreeMap, HashSet};
use std::hash::{BuildHasher, Hash};
use std::sync::Arc;

/// What is found under what.
pub(super) trait Keys {
    type Record;
    type Key<'k>: Hash;

    /// How many keys a record has at most; they are numbered from 0.
    fn count(record: &Self::Record) -> usize;

    /// A record's key of a number; `None` where it has none.
    fn key(record: &Self::Record, number: u32) -> Option<Self::Key<'_>>;

    /// Whether that is `key`.
    fn is(record: &Self::Record, number: u32, key: &Self::Key<'_>) -> bool;

    /// The order of records under one key, the same on every node.
    fn order(one: &Self::Record, other: &Self::Record) -> Ordering;
}

/// Records under their keys. Two words and a half a record and key.
pub(super) struct Index<K: Keys> {
    shards: Arc<[Shard<K::Record>]>,
    hasher: RandomState,
    /// Records with a key; those with several count as often.
    count: usize,
}

pub(super) type Shard<R> = Arc<[Slot<R>]>;

/// Some of the records.
pub(super) type Records<'a, K> = Vec<&'a Arc<<K as Keys>::Record>>;

pub(super) struct Slot<R> {
    /// The lower half of the key's hash. Slots are in its order.
    hash: u32,
    number: u32,
    record: Arc<R>,
}

/// What one shard loses and gets.
struct Edit<R> {
    /// Where the records are that go.
    out: Vec<*const R>,
    into: Vec<Slot<R>>,
}

/// A change copies the list of shards and one shard: with 100,000 records some 250 pointers and some 400.
const SHARDS: usize = 256;

// === impl Index ===

impl<K: Keys> Index<K> {
    /// The records under a key, in their order, with the number of the key.
    pub(super) fn find<'a>(&'a self, key: K::Key<'_>) -> impl Iterator<Item = (&'a Arc<K::Record>, u32)> {
        let (shard, hash) = self.place(&key);
        let slots = &self.shards[shard];
        let first = slots.partition_point(|slot| slot.hash < hash);
        let same = slots[first..].iter().take_while(move |slot| slot.hash == hash);
        same.filter(move |slot| K::is(&slot.record, slot.number, &key)).map(|slot| (&slot.record, slot.number))
    }

    /// The first record under a key.
    pub(super) fn first(&self, key: K::Key<'_>) -> Option<&Arc<K::Record>> {
        let mut found = self.find(key);
        found.next().map(|(record, _)| record)
    }

    /// All, in no order; a record with several keys as often.
    pub(super) fn all(&self) -> All<'_, K::Record> {
        All { shards: self.shards.iter(), slots: [].iter(), left: self.count }
    }

    /// Takes out and puts in, in one step. What is taken out must be here.
    pub(super) fn change(&mut self, out: &[Arc<K::Record>], into: &[Arc<K::Record>]) {
        let mut edits = BTreeMap::<usize, Edit<K::Record>>::new();
        for record in out {
            for (shard, _) in self.places(record) {
                edits.entry(shard).or_default().out.push(Arc::as_ptr(record));
                self.count -= 1;
            }
        }
        for record in into {
            for (shard, slot) in self.places(record) {
                edits.entry(shard).or_default().into.push(slot);
                self.count += 1;
            }
        }
        if edits.is_empty() {
            return;
        }
        let shards = Arc::make_mut(&mut self.shards);
        for (shard, edit) in edits {
            shards[shard] = edit.of::<K>(&shards[shard]);
        }
    }

    /// What went and what came since `old`, which this was changed from in any number of steps. Costs a comparison a shard,
    /// and the shards that are not shared any more.
    pub(super) fn since<'a>(&'a self, old: &'a Self) -> (Records<'a, K>, Records<'a, K>) {
        let (mut gone, mut came) = (Vec::new(), Vec::new());
        for (new, old) in self.unshared(old) {
            let set =
                |shard: &[Slot<K::Record>]| shard.iter().map(|slot| Arc::as_ptr(&slot.record)).collect::<HashSet<_>>();
            let (was, is) = (set(old), set(new));
            let not_in = |there: HashSet<_>| move |record: &&Arc<K::Record>| !there.contains(&Arc::as_ptr(record));
            gone.extend(old.iter().map(|slot| &slot.record).filter(not_in(is)));
            came.extend(new.iter().map(|slot| &slot.record).filter(not_in(was)));
        }
        (gone, came)
    }

    /// Shards that are not the same as in `old`, each with what it was there.
    pub(super) fn unshared<'a>(
        &'a self,
        old: &'a Self,
    ) -> impl Iterator<Item = (&'a Shard<K::Record>, &'a Shard<K::Record>)> {
        self.shards.iter().zip(&*old.shards).filter(|(new, old)| !Arc::ptr_eq(new, old))
    }

    /// What the lists take.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        let shard = |shard: &Shard<K::Record>| 16 + size_of_val(&**shard) + size_of::<Shard<K::Record>>();
        self.shards.iter().map(shard).sum()
    }

    /// Where a record is or would be, under each of its keys.
    fn places(&self, record: &Arc<K::Record>) -> Vec<(usize, Slot<K::Record>)> {
        let numbers = (0..u32::MAX).take(K::count(record));
        let place = |number| {
            let (shard, hash) = self.place(&K::key(record, number)?);
            Some((shard, Slot { hash, number, record: Arc::clone(record) }))
        };
        numbers.filter_map(place).collect()
    }

    /// A key's shard and the hash within.
    #[expect(clippy::cast_possible_truncation, reason = "each takes its part of the hash")]
    fn place(&self, key: &K::Key<'_>) -> (usize, u32) {
        let hash = self.hasher.hash_one(key);
        ((hash >> 32) as usize % SHARDS, hash as u32)
    }
}

impl<K: Keys> Default for Index<K> {
    fn default() -> Self {
        let empty: Shard<K::Record> = Arc::from([]);
        Self { shards: std::iter::repeat_n(empty, SHARDS).collect(), hasher: RandomState::new(), count: 0 }
    }
}

impl<K: Keys> Clone for Index<K> {
    fn clone(&self) -> Self {
        Self { shards: Arc::clone(&self.shards), hasher: self.hasher.clone(), count: self.count }
    }
}

// === impl Edit ===

impl<R> Edit<R> {
    /// The shard as it is afterwards.
    fn of<K: Keys<Record = R>>(mut self, shard: &[Slot<R>]) -> Shard<R> {
        self.out.sort_unstable();
        let stays = |slot: &&Slot<R>| self.out.binary_search(&Arc::as_ptr(&slot.record)).is_err();
        let mut slots: Vec<_> = shard.iter().filter(stays).cloned().collect();
        slots.append(&mut self.into);
        let order = |a: &Slot<R>, b: &Slot<R>| a.hash.cmp(&b.hash).then_with(|| K::order(&a.record, &b.record));
        slots.sort_by(|a, b| order(a, b).then(a.number.cmp(&b.number)));
        slots.into()
    }
}

impl<R> Default for Edit<R> {
    fn default() -> Self {
        Self { out: Vec::new(), into: Vec::new() }
    }
}

// === impl Slot ===

impl<R> Clone for Slot<R> {
    fn clone(&self) -> Self {
        Self { hash: self.hash, number: self.number, record: Arc::clone(&self.record) }
    }
}

/// Walks through an [`Index`].
pub(super) struct All<'a, R> {
    shards: std::slice::Iter<'a, Shard<R>>,
    slots: std::slice::Iter<'a, Slot<R>>,
    left: usize,
}

// === impl All ===

impl<'a, R> Iterator for All<'a, R> {
    type Item = &'a Arc<R>;

    fn next(&mut self) -> Option<&'a Arc<R>> {
        loop {
            if let Some(slot) = self.slots.next() {
                self.left -= 1;
                return Some(&slot.record);
            }
            self.slots = self.shards.next()?.iter();
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl<R> ExactSizeIterator for All<'_, R> {}
