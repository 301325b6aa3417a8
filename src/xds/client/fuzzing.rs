//! A door for the fuzzer to the state machine; the program does not use it (`docs/fuzzing.md`).

use bytes::Bytes;
use prost::Message;
use tokio::time::Instant;

use super::envelope::Envelope;
use super::kind::Kind;
use super::protocol::Protocol;
use super::update::Update;
use crate::proto::discovery::{DeltaDiscoveryRequest, Node};

/// A client with a stream and nobody who waits.
#[derive(Debug)]
pub struct Machine(Protocol<()>);

// === impl Machine ===

impl Machine {
    pub fn new(on_demand: bool) -> Self {
        let mut machine = Self(Protocol::new(Node { id: "node".into(), metadata: None }, on_demand));
        machine.open();
        machine
    }

    /// A stream opens: what it asks first.
    pub fn open(&mut self) -> Vec<DeltaDiscoveryRequest> {
        self.0.open()
    }

    /// Takes a response from its bytes: what changes, and what is sent back. `None` when it is no message.
    pub fn take(&mut self, response: Bytes, now: Instant) -> Option<(Update, Vec<DeltaDiscoveryRequest>)> {
        let mut intake = self.0.begin(Envelope::decode(response).ok()?);
        while self.0.take(&mut intake, 16, &mut |_| {}) {}
        let taken = self.0.finish(intake, now, &mut |_| {});
        Some((taken.update, taken.requests))
    }

    /// How many resources it holds.
    pub fn held(&self) -> usize {
        Kind::ALL.iter().map(|kind| self.0.held(*kind)).sum()
    }
}
