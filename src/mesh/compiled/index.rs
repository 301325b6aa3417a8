//! Groups of a policy by what must be true for them to fire.
//!
//! A group is filed under the values of one of its clauses: of each match of that clause, one positive field. It
//! can only fire when the connection has one of these values. Of several clauses and fields, those whose values
//! the fewest other groups have are taken. What cannot be filed is always tried.

use std::collections::HashMap;

use crate::model::policy::{Clause, Group, Match, StringMatch};

mod key;

use key::{Key, Lengths, Text};

use super::Asked;

#[derive(Debug, Default)]
pub(super) struct Index {
    /// Places of groups, in order.
    filed: HashMap<Key, Vec<u32>>,
    lengths: Lengths,
    /// Groups that cannot be filed, in order.
    rest: Vec<u32>,
}

/// How many matches have a value.
type Counts = HashMap<Key, usize>;

// === impl Index ===

impl Index {
    pub(super) fn build(groups: &[Group]) -> Self {
        let mut counts = Counts::new();
        for m in groups.iter().flat_map(|group| &group.clauses).flat_map(|clause| &clause.matches) {
            for key in fields(m).into_iter().flatten().flatten() {
                *counts.entry(key).or_default() += 1;
            }
        }
        let mut index = Self::default();
        for (place, group) in (0..).zip(groups) {
            let choices = group.clauses.iter().filter_map(|clause| choice(clause, &counts));
            match choices.min_by_key(|(cost, _)| *cost) {
                Some((_, keys)) => index.file(place, keys),
                None => index.rest.push(place),
            }
        }
        index
    }

    fn file(&mut self, place: u32, keys: Vec<Key>) {
        for key in keys {
            self.lengths.add(&key);
            let places = self.filed.entry(key).or_default();
            // Places come in order, so a repeated one is the last.
            if places.last() != Some(&place) {
                places.push(place);
            }
        }
    }

    pub(super) fn first(&self, asked: &Asked<'_>, fires: impl Fn(usize) -> bool) -> Option<usize> {
        let mut best = None;
        let mut look = |places: &[u32]| {
            let before = places.iter().take_while(|place| best.is_none_or(|best| **place < best));
            best = before.copied().find(|place| fires(*place as usize)).or(best);
        };
        look(&self.rest);
        self.lengths.keys(asked, |key| {
            if let Some(places) = self.filed.get(&key) {
                look(places);
            }
        });
        best.map(|place| place as usize)
    }
}

/// The values under which a clause can be filed, and how many matches share them. `None` when it holds for
/// connections of other values too.
fn choice(clause: &Clause, counts: &Counts) -> Option<(usize, Vec<Key>)> {
    if clause.matches.is_empty() {
        return None;
    }
    let mut all = (0, Vec::new());
    // A match without a field never fires.
    for m in clause.matches.iter().filter(|m| !m.is_empty()) {
        let cost = |keys: &Vec<Key>| keys.iter().map(|key| counts.get(key).copied().unwrap_or_default()).sum::<usize>();
        let (cost, keys) =
            fields(m).into_iter().flatten().map(|keys| (cost(&keys), keys)).min_by_key(|(cost, _)| *cost)?;
        all.0 += cost;
        all.1.extend(keys);
    }
    Some(all)
}

/// The values of each positive field; `None` for a field that is absent or holds for any value. Whoever excepts every identity asks
/// for nobody.
fn fields(m: &Match) -> [Option<Vec<Key>>; 7] {
    let texts = |list: &[StringMatch], text: fn(Text) -> Key| {
        list.iter().map(|wanted| Text::of(wanted).map(text)).collect::<Option<Vec<_>>>()
    };
    let accounts = m.service_accounts.iter().map(|a| Key::account(&a.namespace, &a.service_account));
    [
        texts(&m.principals, Key::Principal),
        Some(accounts.collect()),
        texts(&m.namespaces, Key::Namespace),
        Some(m.source_ips.iter().map(|net| Key::Source(net.trunc())).collect()),
        Some(m.destination_ips.iter().map(|net| Key::Destination(net.trunc())).collect()),
        Some(m.destination_ports.iter().map(|port| Key::Port(*port)).collect()),
        m.not_principals.contains(&StringMatch::Presence).then(|| vec![Key::Nobody]),
    ]
    .map(|keys| keys.filter(|keys| !keys.is_empty()))
}

#[cfg(test)]
mod tests;
