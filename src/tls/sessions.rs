//! Session resumption (RFC 8446 section 2.2) that forgets: what is kept for it on both sides, and for how long.
//!
//! The TLS library verifies nobody on resumption, and finds a client's session by the server's name alone, of which
//! HBONE has none. So there is one store for each set of expected identities of each certificate; it goes with the
//! certificate, with every change of what is trusted, and with the first certificate of a peer in it that expires. What
//! is resumed all the same is verified by `handshake` as if it were new.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use rustls::client::{ClientSessionStore, Resumption, Tls12ClientSessionValue, Tls13ClientSessionValue};
use rustls::crypto::GetRandomFailed;
use rustls::crypto::aws_lc_rs::Ticketer;
use rustls::pki_types::ServerName;
use rustls::server::ProducesTickets;
use rustls::{ClientConfig, NamedGroup, TicketRotator};

use super::trust::{Clock, Trust};
use crate::model::spiffe::Identity;

/// Sets of expected identities that one certificate keeps sessions for.
const MAX_SETS: usize = 128;
/// Tickets for one set, of all its servers. About 2 KiB each, so one certificate's take 4 MiB at most.
const MAX_TICKETS: usize = 16;
/// The longest life of a key that seals tickets; a ticket is good for two of them.
const KEY_LIFE: Duration = Duration::from_secs(3600);

/// The configurations of one certificate by what they expect, each with its tickets.
#[derive(Default)]
pub(super) struct Clients {
    held: Mutex<HeldClients>,
}

#[derive(Default)]
struct HeldClients {
    by_expected: HashMap<Arc<[Identity]>, Client>,
    /// In the order in which they came.
    order: VecDeque<Arc<[Identity]>>,
    /// What was trusted when they were made.
    version: u64,
}

/// A client's configuration with its tickets.
#[derive(Clone)]
pub(super) struct Client {
    pub(super) config: Arc<ClientConfig>,
    pub(super) tickets: Arc<Tickets>,
}

/// The tickets for one set of expected identities. Each is used once.
pub(super) struct Tickets {
    clock: Clock,
    held: Mutex<HeldTickets>,
}

#[derive(Default)]
struct HeldTickets {
    tickets: VecDeque<(ServerName<'static>, Tls13ClientSessionValue)>,
    /// When the first of the certificates behind them expires.
    until: Option<SystemTime>,
}

// === impl Clients ===

impl Clients {
    /// The configuration for `expected`, made by `make` when it is not there or older than what is trusted now.
    pub(super) fn get(&self, expected: &Arc<[Identity]>, version: u64, make: impl FnOnce() -> Client) -> Client {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if held.version != version {
            *held = HeldClients { version, ..HeldClients::default() };
        }
        if let Some(client) = held.by_expected.get(expected) {
            return client.clone();
        }
        let oldest = if held.order.len() >= MAX_SETS { held.order.pop_front() } else { None };
        if let Some(oldest) = oldest {
            held.by_expected.remove(&oldest);
        }
        let client = make();
        held.order.push_back(Arc::clone(expected));
        held.by_expected.insert(Arc::clone(expected), client.clone());
        client
    }
}

// === impl Tickets ===

impl Tickets {
    pub(super) fn new(clock: Clock) -> Arc<Self> {
        Arc::new(Self { clock, held: Mutex::default() })
    }

    pub(super) fn resumption(self: &Arc<Self>) -> Resumption {
        Resumption::store(Arc::clone(self) as _).tls12_resumption(rustls::client::Tls12Resumption::Disabled)
    }

    /// A peer whose tickets may be here has a certificate, or we have one, that expires at `at`.
    pub(super) fn expire(&self, at: SystemTime) {
        let mut held = self.lock();
        held.until = Some(held.until.map_or(at, |until| until.min(at)));
    }

    pub(super) fn forget(&self) {
        *self.lock() = HeldTickets::default();
    }

    fn lock(&self) -> MutexGuard<'_, HeldTickets> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Tickets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tickets").field("held", &self.lock().tickets.len()).finish()
    }
}

impl ClientSessionStore for Tickets {
    // The group of the last handshake is not remembered: the hybrid one is always offered first.
    fn set_kx_hint(&self, _: ServerName<'static>, _: NamedGroup) {}

    fn kx_hint(&self, _: &ServerName<'_>) -> Option<NamedGroup> {
        None
    }

    // TLS 1.2 is never negotiated.
    fn set_tls12_session(&self, _: ServerName<'static>, _: Tls12ClientSessionValue) {}

    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        None
    }

    fn remove_tls12_session(&self, _: &ServerName<'static>) {}

    fn insert_tls13_ticket(&self, server: ServerName<'static>, ticket: Tls13ClientSessionValue) {
        let mut held = self.lock();
        if held.tickets.len() >= MAX_TICKETS {
            held.tickets.pop_front();
        }
        held.tickets.push_back((server, ticket));
    }

    fn take_tls13_ticket(&self, server: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        let now = (self.clock)();
        let mut held = self.lock();
        if held.until.is_some_and(|until| until <= now) {
            *held = HeldTickets::default();
        }
        let newest = held.tickets.iter().rposition(|(of, _)| of == server)?;
        held.tickets.remove(newest).map(|(_, ticket)| ticket)
    }
}

/// One key that seals tickets.
#[derive(Debug)]
struct Seal(Arc<dyn ProducesTickets>);

/// Keys that follow each other. A ticket says what was trusted when it was sealed; after a change it is not opened, and
/// the handshake that comes of it tells a peer that is refused why.
#[derive(Debug)]
struct Keys {
    rotator: TicketRotator,
    trust: Trust,
}

/// Keys that seal a server's tickets, which hold the client's chain. They belong to one certificate and are gone with it;
/// a ticket is good for no longer than the certificate has `left`, and for two hours at most. [`None`] without entropy:
/// then there are no tickets.
pub(super) fn ticketer(trust: &Trust, left: Duration) -> Option<Arc<dyn ProducesTickets>> {
    let life = KEY_LIFE.min(left / 2).as_secs();
    let seal = || -> Result<Box<dyn ProducesTickets>, GetRandomFailed> {
        Ok(Box::new(Seal(Ticketer::new().map_err(|_| GetRandomFailed)?)))
    };
    let life = u32::try_from(life).ok().filter(|life| *life > 0)?;
    let rotator = TicketRotator::new(life, seal).ok()?;
    Some(Arc::new(Keys { rotator, trust: trust.clone() }))
}

// === impl Keys ===

impl ProducesTickets for Keys {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        self.rotator.lifetime()
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        let version = self.trust.version().to_be_bytes();
        self.rotator.encrypt(&[&version, plain].concat())
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        let mut plain = self.rotator.decrypt(cipher)?;
        let (version, _) = plain.split_first_chunk()?;
        if u64::from_be_bytes(*version) != self.trust.version() {
            return None;
        }
        plain.drain(..size_of::<u64>());
        Some(plain)
    }
}

// === impl Seal ===

impl ProducesTickets for Seal {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        self.0.lifetime()
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.0.encrypt(plain)
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        self.0.decrypt(cipher)
    }
}

#[cfg(test)]
mod tests;
