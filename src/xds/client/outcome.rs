//! What comes out of the state machine.

use super::complaints::Complaints;
use super::demand::Answer;
use super::kind::Kind;
use super::requests::Request;
use super::update::Update;

/// What a response came to.
#[derive(Debug)]
pub(super) struct Taken<T> {
    pub(super) kind: Option<Kind>,
    /// All of it was taken, or a part, or there was nothing to take.
    pub(super) accepted: bool,
    pub(super) update: Update,
    /// For after the update.
    pub(super) answers: Vec<(T, Answer)>,
    pub(super) refused: Complaints,
    pub(super) left_out: Complaints,
    pub(super) requests: Vec<Request>,
}

/// What the time has brought.
#[derive(Debug)]
pub(super) struct Tick<T> {
    pub(super) update: Update,
    pub(super) expired: Vec<T>,
    pub(super) requests: Vec<Request>,
}

/// What became of a demand.
#[derive(Debug, PartialEq)]
pub(super) enum Asked<T> {
    /// It is held.
    Held(T),
    TooMany(T),
    /// The ticket is kept; requests go out if this is the first for its key and there is a stream.
    Waits(Vec<Request>),
}

/// A change of what is held, for whoever keeps it. Without a value it is a removal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Record<'a> {
    pub(super) kind: Kind,
    pub(super) name: &'a str,
    pub(super) version: &'a str,
    pub(super) value: Option<&'a [u8]>,
}

pub(super) type Keeping<'a> = &'a mut (dyn FnMut(Record<'_>) + Send);
