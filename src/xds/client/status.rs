//! What others see of the client: whether it may be relied on, and how old its state is.

use std::time::{Duration, SystemTime};

use super::kind::Kind;

/// The client as it is now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// Addresses are asked for one by one.
    pub on_demand: bool,
    /// When the stream that is open now brought its first response; `None` while there is none.
    pub connected_since: Option<SystemTime>,
    /// That stream has brought a response of every type that is not asked for one by one: what is held is the control
    /// plane's of now, and not only what it said on an earlier stream.
    pub answered: bool,
    /// Up to when the state is known to be the control plane's; while connected, now. `None`: there is no state.
    pub as_of: Option<SystemTime>,
    /// The state was read from disk, and no response has been taken since.
    pub restored: bool,
    /// Addresses of that state that this version cannot read. What is there would be called in clear if it were taken for
    /// outside of the mesh.
    pub lost: usize,
    pub address: TypeStatus,
    pub authorization: TypeStatus,
}

/// One type of resource.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TypeStatus {
    /// This process has once held all that was sent: nothing of it was refused, or what was refused has been sent anew
    /// or taken back, or an earlier version of it is held. Addresses may come in pieces, so theirs is not before policies
    /// were answered as well.
    pub synced: bool,
    /// Resources that were refused on the stream that is open, or was last, and of which no earlier version is held.
    pub missing: usize,
    /// When the last response was taken.
    pub last_accepted: Option<SystemTime>,
    /// Resources that are held.
    pub held: usize,
}

// === impl Status ===

impl Status {
    pub const fn of(&self, kind: Kind) -> &TypeStatus {
        match kind {
            Kind::Address => &self.address,
            Kind::Authorization => &self.authorization,
        }
    }

    pub(super) const fn of_mut(&mut self, kind: Kind) -> &mut TypeStatus {
        match kind {
            Kind::Address => &mut self.address,
            Kind::Authorization => &mut self.authorization,
        }
    }

    /// Every type that is not asked for one by one was once held as it was sent: what is not in the mesh is not anywhere.
    pub const fn synced(&self) -> bool {
        (self.on_demand || self.address.synced) && self.authorization.synced
    }

    /// There is a state to serve as the whole mesh: the control plane's, or the one from disk.
    pub const fn ready(&self) -> bool {
        (self.restored && (self.on_demand || self.lost == 0)) || self.synced()
    }

    /// Resources that cannot be read and of which nothing is held.
    pub fn missing(&self) -> usize {
        self.address.missing.max(self.lost) + self.authorization.missing
    }

    /// How long ago the state was last known to be the control plane's; zero while it is told of every change. `None`: there is no state.
    pub fn age(&self, now: SystemTime) -> Option<Duration> {
        let as_of = self.as_of?;
        let current = self.answered && self.synced();
        Some(if current { Duration::ZERO } else { now.duration_since(as_of).unwrap_or_default() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readiness_and_age() {
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let mut status = Status::default();
        assert_eq!((status.ready(), status.age(at(9))), (false, None));
        status.authorization.synced = true;
        assert!(!status.ready());
        status.on_demand = true;
        assert!(status.ready() && status.synced());
        status = Status { restored: true, as_of: Some(at(5)), ..Status::default() };
        assert!(status.ready() && !status.synced());
        assert_eq!(status.age(at(9)), Some(Duration::from_secs(4)));
        let lost = Status { lost: 2, ..status.clone() };
        assert!(!lost.ready() && Status { on_demand: true, ..lost.clone() }.ready());
        assert_eq!((lost.missing(), status.missing()), (2, 0));
        assert_eq!(status.age(at(1)), Some(Duration::ZERO), "the clock went back");
        status.connected_since = Some(at(6));
        assert_eq!(status.age(at(9)), Some(Duration::from_secs(4)), "policies are still those of the disk");
        (status.address.synced, status.authorization.synced) = (true, true);
        assert_eq!(status.age(at(9)), Some(Duration::from_secs(4)), "of an earlier stream");
        status.answered = true;
        assert_eq!(status.age(at(9)), Some(Duration::ZERO));
    }
}
