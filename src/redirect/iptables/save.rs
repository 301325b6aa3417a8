//! What of ours stands in the output of `iptables-save -c`. Pure.

use std::collections::HashMap;

use super::render::{CHAIN_PREFIX, TAG_PREFIX};
use crate::redirect::backend::Count;

/// Our chains and the jumps into them; everything else is left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::redirect) struct Saved {
    chains: Vec<SavedChain>,
    jumps: Vec<Jump>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SavedChain {
    pub name: String,
    pub rules: Vec<SavedRule>,
    pub table: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SavedRule {
    pub count: Count,
    /// The comment that we gave it; `None` for a rule that is not ours.
    pub tag: Option<String>,
}

/// A rule outside of our chains that leads into one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Jump {
    pub table: String,
    /// The chain that it stands in and all the rest, as `-D` takes it.
    pub text: String,
}

// === impl Saved ===

impl Saved {
    /// Reads the text. Lines that it does not know are left out: newer programs may say more.
    pub(super) fn parse(text: &str) -> Self {
        let mut saved = Self::default();
        let mut table = "";
        for line in text.lines() {
            if let Some(name) = line.strip_prefix('*') {
                table = name.trim();
            } else if let Some(chain) = line.strip_prefix(':') {
                let name = chain.split(' ').next().unwrap_or_default();
                if name.starts_with(CHAIN_PREFIX) {
                    let (name, table) = (name.to_owned(), table.to_owned());
                    saved.chains.push(SavedChain { name, rules: Vec::new(), table });
                }
            } else {
                saved.rule(table, line);
            }
        }
        saved
    }

    fn rule(&mut self, table: &str, line: &str) {
        let (count, rest) = counted(line);
        let Some(text) = rest.strip_prefix("-A ") else { return };
        let chain = text.split(' ').next().unwrap_or_default();
        if let Some(own) = self.chains.iter_mut().find(|own| own.table == table && own.name == chain) {
            own.rules.push(SavedRule { count, tag: tag(text) });
        } else if target(text).is_some_and(|target| target.starts_with(CHAIN_PREFIX)) {
            self.jumps.push(Jump { table: table.to_owned(), text: text.trim_end().to_owned() });
        }
    }

    /// True when nothing of ours is there.
    pub(super) fn is_empty(&self) -> bool {
        self.chains.is_empty() && self.jumps.is_empty()
    }

    pub(super) fn chains(&self) -> impl Iterator<Item = &SavedChain> {
        self.chains.iter()
    }

    pub(super) fn jumps(&self) -> impl Iterator<Item = &Jump> {
        self.jumps.iter()
    }

    /// The tables that hold something of ours, each once.
    pub(super) fn tables(&self) -> Vec<&str> {
        let all = self.chains.iter().map(|chain| &chain.table).chain(self.jumps.iter().map(|jump| &jump.table));
        let mut tables: Vec<_> = all.map(String::as_str).collect();
        tables.sort_unstable();
        tables.dedup();
        tables
    }

    /// What our rules have counted, by their names; rules of one name are added up.
    pub(super) fn counts(&self) -> HashMap<String, Count> {
        let mut counts: HashMap<String, Count> = HashMap::new();
        for rule in self.chains.iter().flat_map(|chain| &chain.rules) {
            let name = rule.tag.as_deref().and_then(|tag| tag.strip_prefix(TAG_PREFIX)?.split(':').next());
            if let Some(name) = name {
                counts.entry(name.to_owned()).or_default().add(rule.count);
            }
        }
        counts
    }
}

// === impl Jump ===

impl Jump {
    pub(super) fn leads_to(&self, chain: &str) -> bool {
        target(&self.text) == Some(chain)
    }
}

/// Splits `[packets:bytes] rule`.
fn counted(line: &str) -> (Count, &str) {
    let read = || {
        let (counts, rest) = line.strip_prefix('[')?.split_once("] ")?;
        let (packets, bytes) = counts.split_once(':')?;
        Some((Count { bytes: bytes.parse().ok()?, packets: packets.parse().ok()? }, rest))
    };
    read().unwrap_or_else(|| (Count::default(), line))
}

/// The chain or target that a rule ends in.
fn target(text: &str) -> Option<&str> {
    let mut words = text.split(' ').skip_while(|word| !matches!(*word, "-j" | "-g")).skip(1);
    words.next()
}

/// Our comment; ours has no blank, so it is printed without quotes by some versions and with by others.
fn tag(text: &str) -> Option<String> {
    let (_, rest) = text.split_once("--comment ")?;
    let word = rest.split(' ').next()?.trim_matches('"');
    word.starts_with(TAG_PREFIX).then(|| word.to_owned())
}

#[cfg(test)]
mod tests;
