//! The connections of a pod that are older than its enrolment: they go past the mesh.

use std::collections::HashSet;

use super::plane::PlaneError;
use crate::model::name::NamespacedName;
use crate::model::ports;
use crate::sys::netlink::{NetlinkSocket, Protocol};
use crate::sys::netns::Netns;
use crate::sys::sock_diag::{self, Connection};

/// What is there just before the rules are laid.
#[derive(Debug, Default)]
pub(super) struct Older {
    connections: Vec<Connection>,
    /// Another process of ours carried some of it: it ended nothing yet, or drains.
    are_shared: bool,
}

// === impl Older ===

impl Older {
    /// Lists them. `carried` is the answer of [`is_carried`]. Blocks.
    pub(super) fn list(netns: &Netns, carried: bool) -> Result<Self, PlaneError> {
        Ok(Self { connections: connections(netns)?, are_shared: carried })
    }

    /// Resets them, with `reset`, or says that they live on; the cookies of those. `is_first`: nothing was redirected in the
    /// namespace until now. Blocks.
    pub(super) fn settle(
        self,
        netns: &Netns,
        pod: &NamespacedName,
        is_first: bool,
        reset: bool,
    ) -> Result<HashSet<u64>, PlaneError> {
        // What was redirected to that process cannot be told from what goes past it, and must not be cut.
        let older = if self.are_shared && !is_first { Vec::new() } else { self.connections };
        if reset {
            let mut socket = NetlinkSocket::open_in(netns, Protocol::SockDiag)?;
            for connection in &older {
                sock_diag::destroy(&mut socket, connection)?;
            }
            return Ok(HashSet::new());
        }
        if !older.is_empty() {
            tracing::warn!(
                %pod, connections = older.len(),
                "connections are older than the enrolment and go on outside of the mesh (setting reset-older-connections ends them)"
            );
        }
        Ok(older.iter().map(|connection| connection.cookie).collect())
    }
}

/// The connections of the namespace that carry bytes. Blocks.
pub(super) fn connections(netns: &Netns) -> Result<Vec<Connection>, PlaneError> {
    let mut socket = NetlinkSocket::open_in(netns, Protocol::SockDiag)?;
    Ok(sock_diag::connections(&mut socket)?)
}

/// Whether a process of ours carries connections of the namespace: its ends there have `mark`, or came to a port of ours.
/// Asked before this process listens there. Blocks.
pub(super) fn is_carried(netns: &Netns, mark: u32) -> Result<bool, PlaneError> {
    let is_marked = |one: &Connection| mark != 0 && one.mark == mark;
    Ok(connections(netns)?.iter().any(|one| is_marked(one) || ports::is_ours(one.local.port())))
}

#[cfg(test)]
mod tests;
