//! Where each pod stands, for people.

use std::sync::Arc;

use crate::model::membership::Membership;
use crate::model::pod::Pod;

/// Where a pod stands, for people.
#[derive(Clone, Debug)]
pub struct PodStatus {
    pub pod: Arc<Pod>,
    pub membership: Membership,
    pub state: State,
    /// Verifications that found and mended a difference.
    pub healed: u64,
}

/// A pod's state as people see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    Enrolled,
    Enrolling,
    /// The newest error; it is tried again.
    Failed(Arc<str>),
    Out,
    Withdrawing,
}
