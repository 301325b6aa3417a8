//! What is wrong with objects that lose only a part by it: gathered, bounded, then made into statuses.

use std::collections::BTreeMap;
use std::fmt::Display;

use crate::model::name::NamespacedName;

use super::status::{Level, Reason, Status};

/// How many notes on one object are told; the rest is counted.
const MAX_NOTES: usize = 8;
/// How many characters of one are told: it may quote the object.
const MAX_MESSAGE: usize = 600;

pub(super) const SERVICE: &str = "Service";
pub(super) const ENDPOINT_SLICE: &str = "EndpointSlice";
pub(super) const SERVICE_ENTRY: &str = "ServiceEntry";
pub(super) const WORKLOAD_ENTRY: &str = "WorkloadEntry";

/// Kind and key of an object → what there is to say.
#[derive(Default)]
pub(super) struct Notes(BTreeMap<(&'static str, NamespacedName), Noted>);

#[derive(Default)]
struct Noted {
    told: Vec<(Level, Reason, String)>,
    more: usize,
}

// === impl Notes ===

impl Notes {
    /// A part of the object does not count, or does something that was surely not meant.
    pub(super) fn warn(&mut self, kind: &'static str, key: &NamespacedName, reason: Reason, message: impl Display) {
        self.note(kind, key, Level::Warning, reason, &message.to_string());
    }

    /// Something that its author may want to know.
    pub(super) fn tell(&mut self, kind: &'static str, key: &NamespacedName, reason: Reason, message: impl Display) {
        self.note(kind, key, Level::Info, reason, &message.to_string());
    }

    fn note(&mut self, kind: &'static str, key: &NamespacedName, level: Level, reason: Reason, message: &str) {
        let noted = self.0.entry((kind, key.clone())).or_default();
        if noted.told.len() < MAX_NOTES {
            noted.told.push((level, reason, one_line(message)));
        } else {
            noted.more += 1;
        }
    }

    /// The statuses, in order of kind and key.
    pub(super) fn into_statuses(self) -> impl Iterator<Item = Status> {
        self.0.into_iter().flat_map(|((kind, key), noted)| {
            let more = (noted.more > 0)
                .then(|| (Level::Warning, Reason::Invalid, format!("and {} more; mend the others first", noted.more)));
            let status = move |(level, reason, message)| Status { kind, key: key.clone(), level, reason, message };
            noted.told.into_iter().chain(more).map(status)
        })
    }
}

/// No control character of an object reaches a log, and the length is bounded.
fn one_line(message: &str) -> String {
    let mut line = String::with_capacity(message.len().min(MAX_MESSAGE));
    for (i, c) in message.chars().enumerate() {
        match c {
            _ if i == MAX_MESSAGE => {
                line.push('…');
                break;
            }
            _ if c.is_control() => line.extend(c.escape_debug()),
            _ => line.push(c),
        }
    }
    line
}
