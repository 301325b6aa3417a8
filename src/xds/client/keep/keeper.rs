//! The task that writes the state file.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio::time::{Instant, timeout_at};

use crate::telemetry::cause::chain;

use super::super::outcome::Record;
use super::frame::Writer;
use super::journal::{Journal, KeepError};
use super::load::Loaded;
use super::{Keep, KeepSettings};

/// Bytes of a piece.
const PIECE: usize = 1 << 20;
/// Pieces on their way to the disk. More are collected in the one that is being made.
const QUEUE: usize = 256;
/// Bytes of records on their way to the disk, 64 MiB: twice a first sync of 100,000 workloads. A disk that stands still costs no
/// more.
pub(super) const WAITING: usize = 64 << 20;
/// Bytes that are collected before the interval is over.
const ENOUGH: usize = 4 << 20;

/// For the file.
#[derive(Debug)]
enum Piece {
    Records(Vec<u8>),
    /// The state is the control plane's as of this time.
    Mark(SystemTime),
}

/// The way to the file.
#[derive(Debug)]
pub(in crate::xds::client) struct Pieces {
    sender: Option<mpsc::Sender<Piece>>,
    writer: Writer,
    /// Bytes that were sent and are not on the disk.
    sent: Arc<AtomicUsize>,
}

/// Writes until the other end is dropped.
pub(in crate::xds::client) struct Keeper {
    pieces: mpsc::Receiver<Piece>,
    sent: Arc<AtomicUsize>,
    settings: KeepSettings,
    state: State,
}

enum State {
    /// Nothing was written yet.
    Waiting(Option<Loaded>),
    Open(Box<Journal>),
    /// It was told why.
    Off,
}

// === impl Pieces ===

impl Pieces {
    /// Goes nowhere.
    pub(in crate::xds::client) fn none() -> Self {
        Self { sender: None, writer: Writer::new(), sent: Arc::default() }
    }

    /// Notes a record. One that cannot be kept ends the keeping: a state with a hole is never marked as complete.
    pub(in crate::xds::client) fn record(&mut self, record: Record<'_>) {
        if self.sender.is_none() {
            return;
        }
        if !self.writer.record(record) {
            self.stop("a resource has more than 16 MiB; make it smaller at the control plane");
        }
        if self.writer.len() >= PIECE {
            self.flush();
        }
    }

    /// Sends on what was noted, without waiting. What has no room goes with the next flush.
    pub(in crate::xds::client) fn flush(&mut self) {
        if self.writer.len() == 0 {
            return;
        }
        let Some(sender) = &self.sender else { return };
        let (length, sent) = (self.writer.len(), self.sent.load(Ordering::Relaxed));
        let is_full = sent + length > WAITING;
        let is_open = match sender.try_reserve() {
            Ok(place) if !is_full => {
                self.sent.fetch_add(length, Ordering::Relaxed);
                return place.send(Piece::Records(self.writer.take()));
            }
            Ok(_) => true,
            Err(error) => matches!(error, TrySendError::Full(())),
        };
        if !is_open {
            *self = Self::none();
        } else if is_full {
            self.stop("the disk does not keep up; give the state directory a faster one");
        }
    }

    /// All that was noted is the control plane's, and all of it, as of `as_of`. Left out when there is no room: the next
    /// mark says as much.
    pub(in crate::xds::client) fn mark(&mut self, as_of: SystemTime) {
        self.flush();
        // Never before records that wait.
        let sender = self.sender.as_ref().filter(|_| self.writer.len() == 0);
        if let Some(Err(TrySendError::Closed(_))) = sender.map(|sender| sender.try_send(Piece::Mark(as_of))) {
            *self = Self::none();
        }
    }

    #[cfg(test)]
    pub(super) fn on_their_way(&self) -> usize {
        self.sent.load(Ordering::Relaxed)
    }

    /// Whether there is still a file.
    #[cfg(test)]
    pub(super) const fn is_on(&self) -> bool {
        self.sender.is_some()
    }

    fn stop(&mut self, reason: &str) {
        tracing::warn!(
            reason,
            "changes of the mesh are not kept on disk any more; a restart begins with the state up to here, or waits for the \
             control plane where that is too old"
        );
        *self = Self::none();
    }
}

// === impl Keeper ===

impl Keeper {
    pub(in crate::xds::client) fn new(keep: Keep) -> (Pieces, Self) {
        let (sender, pieces) = mpsc::channel(QUEUE);
        let Keep { settings, loaded } = keep;
        let sent = Arc::default();
        (
            Pieces { sender: Some(sender), writer: Writer::new(), sent: Arc::clone(&sent) },
            Self { pieces, sent, settings, state: State::Waiting(loaded) },
        )
    }

    /// Ends when every piece is written and no more can come.
    pub(in crate::xds::client) async fn run(mut self) {
        while let Some(first) = self.pieces.recv().await {
            let (records, as_of) = self.collect(first).await;
            let length = records.len();
            let (settings, state) = (self.settings.clone(), std::mem::replace(&mut self.state, State::Off));
            let written = tokio::task::spawn_blocking(move || write(&settings, state, &records, as_of)).await;
            self.state = written.unwrap_or(State::Off);
            self.sent.fetch_sub(length, Ordering::Relaxed);
            if matches!(self.state, State::Off) {
                return;
            }
        }
    }

    /// What comes within the interval. A mark alone also waits for it, which keeps idle meshes quiet.
    async fn collect(&mut self, first: Piece) -> (Vec<u8>, Option<SystemTime>) {
        let until = Instant::now() + self.settings.interval.max(Duration::from_millis(1));
        let (mut records, mut as_of) = (Vec::new(), None);
        let mut piece = Some(first);
        while let Some(next) = piece {
            match next {
                Piece::Records(more) => records.extend(more),
                Piece::Mark(at) => as_of = Some(at),
            }
            if records.len() >= ENOUGH {
                break;
            }
            piece = timeout_at(until, self.pieces.recv()).await.ok().flatten();
        }
        (records, as_of)
    }
}

/// Blocks. Without a mark the last one stays.
fn write(settings: &KeepSettings, state: State, records: &[u8], as_of: Option<SystemTime>) -> State {
    let opened = match state {
        State::Off => return State::Off,
        State::Open(journal) => Ok(journal),
        State::Waiting(loaded) => {
            Journal::begin(&settings.directory, &settings.source, loaded.as_ref(), SystemTime::now()).map(Box::new)
        }
    };
    let written = opened.and_then(|mut journal| match journal.append(records, as_of) {
        Ok(()) => Ok(journal),
        Err(error) => {
            if !matches!(error, KeepError::TakenOver) {
                journal.remove();
            }
            Err(error)
        }
    });
    match written {
        Ok(journal) => State::Open(journal),
        Err(KeepError::TakenOver) => {
            tracing::info!("{}", KeepError::TakenOver);
            State::Off
        }
        Err(error) => {
            tracing::warn!(error = chain(&error), "no state of the mesh on disk");
            State::Off
        }
    }
}
