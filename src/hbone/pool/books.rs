//! Who has which connection: plain bookkeeping, no waiting, no clock of its own.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::{Key, Waiter};
use crate::hbone::client::Tunnel;

/// `L` is what a waiter is given, `E` why it is not.
pub(super) struct Books<L, E> {
    connections: HashMap<u64, Connection>,
    dials: usize,
    groups: HashMap<Arc<Key>, Group<L, E>>,
    limits: Limits,
    next_id: u64,
    sweep_at: Option<Instant>,
}

/// Bounds, as [`Config`](super::Config) says them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) connections: usize,
    pub(super) waiters: usize,
    pub(super) streams: usize,
    pub(super) fresh: Option<Duration>,
}

/// An idle connection beside another one of its key goes after this, 20 s: a burst leaves many behind, each with buffers as large as
/// its largest frame.
const SURPLUS: Duration = Duration::from_secs(20);

struct Connection {
    /// From then on it takes no new streams.
    stale_at: Option<Instant>,
    idle_since: Option<Instant>,
    key: Arc<Key>,
    streams: usize,
    tunnel: Tunnel,
}

struct Group<L, E> {
    connections: Vec<u64>,
    dials: usize,
    waiters: VecDeque<Waiter<L, E>>,
}

/// A place for one stream; the caller makes it something that gives the place back.
pub(super) struct Place {
    pub(super) connection: u64,
    pub(super) ordinal: usize,
    pub(super) tunnel: Tunnel,
}

pub(super) enum Taken<L, E> {
    Full {
        limit: usize,
    },
    Given(Place),
    /// Wait for `answer`, after ordering `dials` dials.
    Wait {
        answer: oneshot::Receiver<Result<L, E>>,
        dials: usize,
    },
}

/// What a new connection brings.
pub(super) struct Handed<L, E> {
    /// More dials are needed for those who still wait.
    pub(super) dials: usize,
    pub(super) places: Vec<(Waiter<L, E>, Place)>,
}

// === impl Group ===

impl<L, E> Default for Group<L, E> {
    fn default() -> Self {
        Self { connections: Vec::new(), dials: 0, waiters: VecDeque::new() }
    }
}

impl<L, E> Group<L, E> {
    fn is_empty(&self) -> bool {
        self.connections.is_empty() && self.dials == 0 && self.waiters.is_empty()
    }
}

// === impl Books ===

impl<L, E> Books<L, E> {
    pub(super) fn new(limits: Limits) -> Self {
        Self { connections: HashMap::new(), dials: 0, groups: HashMap::new(), limits, next_id: 0, sweep_at: None }
    }

    pub(super) fn connections(&self) -> usize {
        self.connections.len()
    }

    pub(super) const fn sweep_at(&self) -> Option<Instant> {
        self.sweep_at
    }

    /// A place now, or a seat in the queue.
    pub(super) fn take(&mut self, key: &Arc<Key>, now: Instant) -> Taken<L, E> {
        self.drop_unusable(key, now);
        if let Some(place) = self.place(key) {
            return Taken::Given(place);
        }
        let (sender, answer) = oneshot::channel();
        let group = self.groups.entry(Arc::clone(key)).or_default();
        group.waiters.retain(|waiter| !waiter.is_closed());
        if group.waiters.len() >= self.limits.waiters {
            return Taken::Full { limit: self.limits.waiters };
        }
        group.waiters.push_back(sender);
        let dials = self.wanted_dials(key);
        let stuck = self.groups.get(key).is_some_and(|group| group.dials == 0 && group.connections.is_empty());
        if stuck {
            // Nothing is coming that this waiter could wait for.
            self.groups.remove(key);
            return Taken::Full { limit: self.limits.connections };
        }
        Taken::Wait { answer, dials }
    }

    /// Enters a new connection and serves those who wait for one.
    pub(super) fn dialled(
        &mut self,
        key: &Arc<Key>,
        tunnel: Tunnel,
        now: Instant,
        idle: Duration,
    ) -> (u64, Handed<L, E>) {
        let id = self.next_id;
        self.next_id += 1;
        self.dials = self.dials.saturating_sub(1);
        let stale_at = self.limits.fresh.map(|fresh| now + fresh);
        let connection = Connection { stale_at, idle_since: None, key: Arc::clone(key), streams: 0, tunnel };
        self.connections.insert(id, connection);
        let group = self.groups.entry(Arc::clone(key)).or_default();
        group.dials = group.dials.saturating_sub(1);
        group.connections.push(id);
        let handed = self.serve(key, id);
        if handed.places.is_empty() {
            self.now_idle(id, now, idle);
        }
        (id, handed)
    }

    /// Gives the room of a connection to those who wait, when it is new or its limit has changed.
    pub(super) fn serve(&mut self, key: &Arc<Key>, id: u64) -> Handed<L, E> {
        let mut places = Vec::new();
        while let Some(pair) = self.next_waiter(id) {
            places.push(pair);
        }
        Handed { dials: self.wanted_dials(key), places }
    }

    /// Those who must be told that a dial failed: nobody while another dial for the key goes on.
    pub(super) fn failed(&mut self, key: &Arc<Key>) -> Vec<Waiter<L, E>> {
        self.dials = self.dials.saturating_sub(1);
        if let Some(group) = self.groups.get_mut(key) {
            group.dials = group.dials.saturating_sub(1);
        }
        self.give_up(key)
    }

    /// Those who wait for `key`, unless a dial for it goes on.
    pub(super) fn give_up(&mut self, key: &Arc<Key>) -> Vec<Waiter<L, E>> {
        let Some(group) = self.groups.get_mut(key) else { return Vec::new() };
        let waiters = if group.dials == 0 { group.waiters.drain(..).collect() } else { Vec::new() };
        if group.is_empty() {
            self.groups.remove(key);
        }
        waiters
    }

    /// A stream has ended. True when a sweep is to be planned.
    pub(super) fn release(&mut self, id: u64, now: Instant, idle: Duration) -> bool {
        let Some(connection) = self.connections.get_mut(&id) else { return false };
        connection.streams = connection.streams.saturating_sub(1);
        connection.streams == 0 && self.now_idle(id, now, idle)
    }

    /// The next live waiter for this connection, with a place on it when there is room.
    pub(super) fn next_waiter(&mut self, id: u64) -> Option<(Waiter<L, E>, Place)> {
        let limit = self.limits.streams;
        let connection = self.connections.get_mut(&id)?;
        let group = self.groups.get_mut(&connection.key)?;
        while group.waiters.front().is_some_and(oneshot::Sender::is_closed) {
            group.waiters.pop_front();
        }
        if group.waiters.is_empty() || !connection.has_room(limit) {
            return None;
        }
        let waiter = group.waiters.pop_front()?;
        Some((waiter, connection.give(id)))
    }

    /// Dials that those who wait for `key` need now that a connection of it has gone or stopped taking streams, and
    /// those for whom nothing can come any more.
    pub(super) fn rebalance(&mut self, key: &Arc<Key>, now: Instant) -> (usize, Vec<Waiter<L, E>>) {
        self.drop_unusable(key, now);
        let dials = self.wanted_dials(key);
        let Some(group) = self.groups.get_mut(key) else { return (dials, Vec::new()) };
        if group.dials > 0 || !group.connections.is_empty() {
            return (dials, Vec::new());
        }
        let stuck = group.waiters.drain(..).collect();
        self.groups.remove(key);
        (dials, stuck)
    }

    /// A connection's driver has ended.
    pub(super) fn remove(&mut self, id: u64) {
        let Some(connection) = self.connections.remove(&id) else { return };
        if let Some(group) = self.groups.get_mut(&connection.key) {
            group.connections.retain(|other| *other != id);
            if group.is_empty() {
                self.groups.remove(&connection.key);
            }
        }
    }

    /// Takes out what was idle for long enough and plans the next sweep. The caller drops what comes back.
    pub(super) fn sweep(&mut self, now: Instant, idle: Duration) -> Vec<Tunnel> {
        let mut idlers: Vec<_> = self.connections.iter().filter_map(|(id, c)| Some((c.idle_since?, *id))).collect();
        idlers.sort_unstable();
        let mut tunnels = Vec::new();
        for (_, id) in idlers {
            // One after the other: the last one of its key is not one too many any more.
            if self.due(id, idle).is_some_and(|due| due <= now) {
                tunnels.extend(self.take_out(id));
            }
        }
        self.sweep_at = self.connections.keys().filter_map(|id| self.due(*id, idle)).min();
        tunnels
    }

    /// When an idle connection goes: sooner when there is another one to the same place.
    fn due(&self, id: u64, idle: Duration) -> Option<Instant> {
        let connection = self.connections.get(&id)?;
        let is_surplus = self.groups.get(&connection.key).is_some_and(|group| group.connections.len() > 1);
        let idle = if is_surplus { idle.min(SURPLUS) } else { idle };
        Some(connection.idle_since? + idle)
    }

    /// Ends everything; the waiters are to be told.
    pub(super) fn close(&mut self) -> Vec<Waiter<L, E>> {
        self.connections.clear();
        self.sweep_at = None;
        self.groups.drain().flat_map(|(_, group)| group.waiters).collect()
    }

    fn take_out(&mut self, id: u64) -> Option<Tunnel> {
        let tunnel = self.connections.get(&id)?.tunnel.clone();
        self.remove(id);
        Some(tunnel)
    }

    /// True when this plans a sweep, or an earlier one.
    fn now_idle(&mut self, id: u64, now: Instant, idle: Duration) -> bool {
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.idle_since = Some(now);
        }
        let Some(due) = self.due(id, idle) else { return false };
        let plan = self.sweep_at.is_none_or(|at| due < at);
        if plan {
            self.sweep_at = Some(due);
        }
        plan
    }

    /// Leaves out connections after GOAWAY, and those that have served for long enough; their streams go on.
    fn drop_unusable(&mut self, key: &Arc<Key>, now: Instant) {
        let Some(group) = self.groups.get(key) else { return };
        let fresh = |c: &Connection| c.stale_at.is_none_or(|at| now < at);
        let usable = |id: &&u64| self.connections.get(id).is_some_and(|c| fresh(c) && c.tunnel.is_usable());
        let gone: Vec<_> = group.connections.iter().filter(|id| !usable(id)).copied().collect();
        for id in gone {
            self.remove(id);
        }
    }

    /// A place on the fullest connection that has room, so that the emptiest become idle.
    fn place(&mut self, key: &Arc<Key>) -> Option<Place> {
        let group = self.groups.get(key)?;
        let with_room = group.connections.iter().filter_map(|id| {
            let connection = self.connections.get(id)?;
            connection.has_room(self.limits.streams).then_some((connection.streams, *id))
        });
        let (_, id) = with_room.max()?;
        Some(self.connections.get_mut(&id)?.give(id))
    }

    /// Counts the dials that the queue of `key` still needs, and books them.
    fn wanted_dials(&mut self, key: &Arc<Key>) -> usize {
        let Some(group) = self.groups.get(key) else { return 0 };
        // What a connection of this key takes: what its peer said, once it has said it. A connection whose peer has not
        // yet said so counts as a dial: its room is about to be known.
        let known = group.connections.iter().filter_map(|id| self.connections.get(id));
        let (mut each, mut coming) = (self.limits.streams, group.dials);
        for connection in known {
            each = each.min(connection.tunnel.expected_limit());
            coming += usize::from(!connection.tunnel.is_settled() && connection.tunnel.is_usable());
        }
        let wanted = group.waiters.len().div_ceil(each).saturating_sub(coming);
        let mut booked = 0;
        while booked < wanted && (self.connections.len() + self.dials < self.limits.connections || self.evict()) {
            self.dials += 1;
            booked += 1;
        }
        if let Some(group) = self.groups.get_mut(key) {
            group.dials += booked;
        }
        booked
    }

    /// Makes room by ending the connection that has been idle for longest.
    fn evict(&mut self) -> bool {
        let idle = self.connections.iter().filter_map(|(id, c)| c.idle_since.map(|since| (since, *id)));
        let Some((_, id)) = idle.min() else { return false };
        self.remove(id);
        true
    }
}

// === impl Connection ===

impl Connection {
    fn has_room(&self, limit: usize) -> bool {
        self.streams < self.tunnel.limit().min(limit) && self.tunnel.is_usable()
    }

    fn give(&mut self, id: u64) -> Place {
        self.streams += 1;
        self.idle_since = None;
        Place { connection: id, ordinal: self.streams, tunnel: self.tunnel.clone() }
    }
}
