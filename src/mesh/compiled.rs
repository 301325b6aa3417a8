//! A policy with what makes judging it quick: worked out once, when the policy arrives.

use std::net::{IpAddr, SocketAddr};
use std::ops::Deref;
use std::sync::Arc;

use crate::model::policy::Policy;
use crate::model::spiffe::Identity;

mod index;

use index::Index;

/// A policy and its index. The policy is its own authority: the index only leaves out groups that cannot fire.
#[derive(Debug)]
pub struct Compiled {
    policy: Arc<Policy>,
    /// `None` for a policy of few groups, where a look at each is quicker.
    index: Option<Index>,
    timed: bool,
    /// Minutes of the day at which a time condition may change, in order.
    edges: Vec<u16>,
}

/// What an index is asked. Addresses are in the form in which they are compared: IPv4 as IPv4.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    pub peer: Option<&'a Identity>,
    pub source: IpAddr,
    pub destination: SocketAddr,
}

/// A policy with more groups has an index.
const FEW: usize = 32;

// === impl Compiled ===

impl Compiled {
    pub fn new(policy: Arc<Policy>) -> Self {
        let index = (policy.groups.len() > FEW).then(|| Index::build(&policy.groups));
        let mut edges = Vec::new();
        for m in policy.matches() {
            edges.extend(m.times.iter().chain(&m.not_times).flat_map(|range| [range.from(), range.to()]));
            if !m.days.is_empty() || !m.not_days.is_empty() {
                edges.push(0);
            }
        }
        edges.sort_unstable();
        edges.dedup();
        Self { index, timed: policy.is_timed(), edges, policy }
    }

    pub const fn policy(&self) -> &Arc<Policy> {
        &self.policy
    }

    /// True when what it says depends on the time.
    pub const fn is_timed(&self) -> bool {
        self.timed
    }

    /// Minutes of the day, in its zone, at which what it says may change.
    pub fn edges(&self) -> &[u16] {
        &self.edges
    }

    /// The first group, by its place, for which `fires` answers true. Groups of which the index knows that they
    /// cannot fire for `asked` are not tried; nothing is allocated.
    pub fn first(&self, asked: &Asked<'_>, fires: impl Fn(usize) -> bool) -> Option<usize> {
        match &self.index {
            Some(index) => index.first(asked, fires),
            None => (0..self.policy.groups.len()).find(|group| fires(*group)),
        }
    }
}

impl Deref for Compiled {
    type Target = Policy;

    fn deref(&self) -> &Policy {
        &self.policy
    }
}

impl From<Policy> for Compiled {
    fn from(policy: Policy) -> Self {
        Self::new(Arc::new(policy))
    }
}
