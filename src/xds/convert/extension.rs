//! Extensions: what Istio's messages have no field for, in messages of our own (`src/proto/extension.proto`).
//!
//! To add one: the message there and in `src/proto/extension.rs`, its [`Own`] below, [`pack`] where its field is
//! encoded and [`find`] where it is decoded. The message around it must err to the safe side for who ignores it: an
//! ALLOW is then a match that never fires, with its conditions in the extension; a DENY keeps its other conditions.

use prost::Message;

use crate::proto::extension::{Audit, RuleNumbers, SessionAffinity, TimeZone, TimedMatch};
use crate::proto::google::Any;
use crate::proto::workload::Extension;

use super::outcome::{Checked, Fault};

/// Before the full name in a type URL.
const AUTHORITY: &str = "type.culvert.dev/";

/// A message of ours that rides in an extension.
pub(super) trait Own: Message + Default {
    /// Package and name in `extension.proto`.
    const FULL_NAME: &'static str;
}

impl Own for Audit {
    const FULL_NAME: &'static str = "culvert.v1.Audit";
}

impl Own for RuleNumbers {
    const FULL_NAME: &'static str = "culvert.v1.RuleNumbers";
}

impl Own for SessionAffinity {
    const FULL_NAME: &'static str = "culvert.v1.SessionAffinity";
}

impl Own for TimeZone {
    const FULL_NAME: &'static str = "culvert.v1.TimeZone";
}

impl Own for TimedMatch {
    const FULL_NAME: &'static str = "culvert.v1.TimedMatch";
}

pub(super) fn pack<T: Own>(message: &T) -> Extension {
    let config = Any { type_url: format!("{AUTHORITY}{}", T::FULL_NAME), value: message.encode_to_vec() };
    Extension { name: T::FULL_NAME.to_owned(), config: Some(config) }
}

/// The first extension of this type.
pub(super) fn find<T: Own>(extensions: &[Extension]) -> Checked<Option<T>> {
    let configs = extensions.iter().enumerate().filter_map(|(index, e)| Some((index, e.config.as_ref()?)));
    let mine = |(_, any): &(usize, &Any)| any.type_url.strip_prefix(AUTHORITY) == Some(T::FULL_NAME);
    let Some((index, any)) = configs.into_iter().find(mine) else { return Ok(None) };
    let unread = |_| Fault::new(&any.value, "not a message of its type").within_item("extensions", index);
    T::decode(any.value.as_slice()).map(Some).map_err(unread)
}

/// The first extension that says something which we would have to know.
pub(super) fn foreign(extensions: &[Extension]) -> Option<Fault> {
    let extension = extensions.first()?;
    let name = extension.config.as_ref().map_or(&extension.name, |any| &any.type_url);
    Some(Fault::new(name, "this condition is not known").within_item("extensions", 0))
}
