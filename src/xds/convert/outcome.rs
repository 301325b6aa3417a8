//! What became of a message: a value, a value without some parts, or a refusal.

use std::fmt::{self, Write};

use prost::Message;

/// A message that was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decoded<T> {
    pub value: T,
    /// What could not be read and was left out, because that is the safe side.
    pub left_out: LeftOut,
}

/// A message that was not taken. The fault of who sent it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {fault}", Shown(.resource))]
pub struct Refused {
    /// The resource's name, as its sender calls it.
    pub resource: String,
    pub fault: Fault,
}

/// A field that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// `groups[0].rules[1].matches[0].source_ips[2]`; empty for the message itself.
    pub field: String,
    /// What is there, cut to [`MAX_VALUE`] characters.
    pub value: String,
    /// What is wrong and what would be right.
    pub reason: &'static str,
}

/// The first faults, and how many there were: a sender can make many.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LeftOut {
    pub first: Vec<Fault>,
    pub count: usize,
}

/// Characters of a value that are told.
const MAX_VALUE: usize = 128;
/// Characters of a resource's name that are told: longer than any name of Kubernetes with its namespace.
const MAX_NAME: usize = 512;
/// Faults that are told of one resource.
const MAX_FAULTS: usize = 8;

pub(super) type Checked<T> = Result<T, Fault>;

// === impl Fault ===

impl Fault {
    pub(in crate::xds) fn new(value: impl fmt::Debug, reason: &'static str) -> Self {
        let mut text = Short { text: String::new(), room: MAX_VALUE };
        if write!(text, "{value:?}").is_err() {
            text.text.push('…');
        }
        Self { field: String::new(), value: text.text, reason }
    }

    /// The same one level up.
    pub(in crate::xds) fn within(mut self, field: &str) -> Self {
        self.field = if self.field.is_empty() { field.to_owned() } else { format!("{field}.{}", self.field) };
        self
    }

    pub(super) fn within_item(self, field: &str, index: impl fmt::Display) -> Self {
        self.within(&format!("{field}[{index}]"))
    }

    pub(in crate::xds) fn of(self, resource: &str) -> Refused {
        Refused { resource: resource.to_owned(), fault: self }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { field, value, reason } = self;
        if field.is_empty() { write!(f, "{value}: {reason}") } else { write!(f, "{field} is {value}: {reason}") }
    }
}

// === impl LeftOut ===

impl LeftOut {
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub(super) fn add(&mut self, fault: Fault) {
        self.count += 1;
        if self.first.len() < MAX_FAULTS {
            self.first.push(fault);
        }
    }

    /// Takes over what was left out one level below.
    pub(super) fn append(&mut self, other: Self, place: impl Fn(Fault) -> Fault) {
        let unseen = other.count - other.first.len();
        other.first.into_iter().for_each(|fault| self.add(place(fault)));
        self.count += unseen;
    }
}

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, fault) in self.first.iter().enumerate() {
            write!(f, "{}{fault}", if index == 0 { "" } else { "; " })?;
        }
        match self.count - self.first.len() {
            0 => Ok(()),
            more => write!(f, "; and {more} more"),
        }
    }
}

/// Text up to so many characters; more is an error, so that no more than that of a large value is ever written.
struct Short {
    text: String,
    room: usize,
}

impl Write for Short {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        text.chars().try_for_each(|c| {
            self.room = self.room.checked_sub(1).ok_or(fmt::Error)?;
            self.text.push(c);
            Ok(())
        })
    }
}

/// A name without what a terminal or a log would obey, and not longer than is useful.
struct Shown<'a>(&'a str);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().take(MAX_NAME).try_for_each(|c| write!(f, "{}", c.escape_debug()))
    }
}

/// A message from its bytes. Prost bounds the depth; the caller bounds the length.
pub(super) fn message<M: Message + Default>(resource: &str, bytes: &[u8]) -> Result<M, Refused> {
    let broken = |error: prost::DecodeError| Fault::new(format_args!("{error}"), "not a message of its type");
    M::decode(bytes).map_err(|error| broken(error).of(resource))
}

/// Every item of a list, or the first fault with its place.
pub(super) fn each<T, U>(field: &str, list: Vec<T>, mut read: impl FnMut(T) -> Checked<U>) -> Checked<Vec<U>> {
    let read = |(index, item)| read(item).map_err(|fault: Fault| fault.within_item(field, index));
    list.into_iter().enumerate().map(read).collect()
}

/// A port, or a number that must be one.
pub(super) fn port(number: u32) -> Checked<u16> {
    u16::try_from(number).map_err(|_| Fault::new(number, "a port is at most 65535"))
}
