//! The task: connects, again and again, and brings what the control plane says to the mesh.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status as GrpcStatus};

use crate::proto::discovery::Node;
use crate::proto::google::{Struct, Value};
use crate::runtime::rate::Rate;
use crate::telemetry::cause::chain;

use super::ask::Demander;
use super::backoff::Backoff;
use super::engine::{Engine, Traces};
use super::keep::{Keep, Keeper, Pieces};
use super::kind::Kind;
use super::observe::{Observer, Termination};
use super::protocol::{PART, Protocol};
use super::requests::Request;
use super::status::Status;
use super::stream::{Connect, ConnectError, Inbound, termination};
use super::update::{Sink, Update};

/// What a connection may take, tokens and handshakes and all.
const DIAL: Duration = Duration::from_secs(20);
/// What a stream may be silent for while something is still missing: 60 s, doubled after each time up to 10 min. A large
/// mesh over a thin line needs its time.
const PATIENCE: Duration = Duration::from_secs(60);
const MOST_PATIENCE: Duration = Duration::from_secs(600);
/// Requests on their way to the stream. More wait: twice as many as all demands at once lead to. With more than that no
/// response is read.
const REQUESTS: usize = 256;
const WAITING: usize = 4096;
/// How long requests wait while the stream takes none, 30 s: then its server does not read.
const STUCK: Duration = Duration::from_secs(30);
/// Lines about failed attempts: that many at once, then one a minute.
const LINES: (u32, Duration) = (5, Duration::from_secs(60));

/// Who asks, and for what.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `ztunnel~<ip>~<pod>.<namespace>~<namespace>.svc.<domain>`.
    pub node_id: String,
    pub metadata: BTreeMap<String, serde_json::Value>,
    /// Addresses are asked for one by one, by [`Demander`]; policies never are.
    pub on_demand: bool,
    /// A number in 0.0..1.0, for jitter.
    pub random: fn() -> f64,
}

/// The client of one control plane.
pub struct Client<C, S> {
    connect: C,
    engine: Engine<S>,
    demander: Demander,
    on_demand: bool,
    random: fn() -> f64,
    keeper: Option<Keeper>,
}

/// How an attempt ended.
#[derive(Debug)]
enum End {
    NotConnected(ConnectError),
    NoConnectionInTime,
    ByStatus {
        status: GrpcStatus,
        opened: bool,
    },
    Complete,
    Silent,
    /// It takes no requests.
    Stuck,
}

// === impl Client ===

impl<C: Connect, S: Sink> Client<C, S> {
    /// A client that has not connected yet. With a kept state, that state is in `sink` when this returns; reading it
    /// blocks. Nothing of it fails: a state that cannot be used is left out with a line.
    pub fn new(
        settings: Settings,
        connect: C,
        mut sink: S,
        observer: impl Observer + 'static,
        mut keep: Option<Keep>,
    ) -> Self {
        let Settings { node_id, metadata, on_demand, random } = settings;
        let fields = metadata.iter().map(|(key, value)| (key.clone(), Value::from(value))).collect();
        let node = Node { id: node_id, metadata: Some(Struct { fields }) };
        let mut status = Status { on_demand, ..Status::default() };
        let mut protocol = Protocol::new(node.clone(), on_demand);
        if let Some(keep) = &mut keep {
            match restore(&mut protocol, &mut sink, keep) {
                Some((as_of, lost)) => {
                    (status.restored, status.lost) = (true, lost);
                    status.as_of = Some(as_of);
                    Kind::ALL.into_iter().for_each(|kind| status.of_mut(kind).held = protocol.held(kind));
                }
                None => {
                    sink.discard();
                    // Neither here nor in the file that is begun from it.
                    keep.loaded = None;
                    protocol = Protocol::new(node, on_demand);
                }
            }
        }
        let (pieces, keeper) = match keep.map(Keeper::new) {
            Some((pieces, keeper)) => (pieces, Some(keeper)),
            None => (Pieces::none(), None),
        };
        let (demander, asks) = Demander::new();
        let (status, _) = watch::channel(status);
        let traces = Traces::default();
        let engine = Engine { protocol, sink, observer: Box::new(observer), status, asks, pieces, traces };
        Self { connect, engine, demander, on_demand, random, keeper }
    }

    /// Changes with every response and connection.
    pub fn status(&self) -> watch::Receiver<Status> {
        self.engine.status.subscribe()
    }

    /// `None` unless addresses are asked for one by one: else the mesh has all there are.
    pub fn demander(&self) -> Option<Demander> {
        self.on_demand.then(|| self.demander.clone())
    }

    /// Runs until `stop`. What is kept on disk is written before this returns.
    pub async fn run(mut self, stop: CancellationToken) {
        let keeper = self.keeper.take();
        let driving = async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = self.drive() => {}
            }
            self.engine.closed();
        };
        let keeping = async move {
            if let Some(keeper) = keeper {
                keeper.run().await;
            }
        };
        tokio::join!(Box::pin(driving), Box::pin(keeping));
    }

    async fn drive(&mut self) {
        let mut backoff = Backoff::default();
        let mut lines = Rate::new(LINES.0, LINES.1);
        let mut silences = 0_u32;
        loop {
            let began = Instant::now();
            let end = self.attempt(silences).await;
            let delivered = self.engine.traces.delivered;
            if matches!(&end, End::ByStatus { status, .. } if status.code() == Code::Unauthenticated) {
                self.connect.refused();
            }
            self.engine.closed();
            silences = if matches!(end, End::Silent) { silences.saturating_add(1) } else { 0 };
            let wait = backoff.ended(delivered, began.elapsed(), (self.random)());
            let why = end.termination();
            self.engine.observer.terminated(why);
            let (reason, wait_text) = (why.as_str(), format!("{wait:.3?}"));
            if matches!(end, End::Complete) {
                tracing::info!(wait = wait_text, "the control plane closed the stream");
            } else if lines.take(Instant::now()) {
                let error = end.explain();
                tracing::warn!(
                    error,
                    reason,
                    wait = wait_text,
                    "no stream to the control plane; what is known is served"
                );
            }
            // Nothing but the time ends this, and that it was too short for the rest is what is wanted.
            drop(timeout(wait, self.engine.tend()).await);
        }
    }

    /// One connection, and its one stream.
    async fn attempt(&mut self, silences: u32) -> End {
        let Self { connect, engine, .. } = self;
        engine.traces.delivered = false;
        let dialled = tokio::select! {
            dialled = timeout(DIAL, connect.connect()) => dialled,
            never = engine.tend() => match never {},
        };
        let dialled = match dialled {
            Ok(Ok(dialled)) => dialled,
            Ok(Err(error)) => return End::NotConnected(error),
            Err(_) => return End::NoConnectionInTime,
        };
        let (requests, receiver) = mpsc::channel(REQUESTS);
        engine.open();
        converse(engine, Inbound::new(dialled, receiver), &requests, silences).await
    }
}

async fn converse<S: Sink>(
    engine: &mut Engine<S>,
    mut inbound: Inbound,
    requests: &mpsc::Sender<Request>,
    silences: u32,
) -> End {
    let patience = PATIENCE.saturating_mul(1 << silences.min(8)).min(MOST_PATIENCE);
    let (mut heard, mut written) = (Instant::now(), Instant::now());
    loop {
        let outbox = &mut engine.traces.outbox;
        while let Some(request) = outbox.pop_front() {
            // A burst of answers is more than there is room for, and nobody's fault.
            if let Err(mpsc::error::TrySendError::Full(request)) = requests.try_send(request) {
                outbox.push_front(request);
                break;
            }
            // A closed one is told by the other direction.
            written = Instant::now();
        }
        if outbox.is_empty() {
            written = Instant::now();
        }
        let (waits, reads) = (!outbox.is_empty(), outbox.len() < WAITING);
        let settled = engine.protocol.firsts().are_answered();
        tokio::select! {
            response = inbound.next(), if reads => match response {
                Ok(Some(response)) => {
                    engine.receive(response).await;
                    heard = Instant::now();
                    // So that the answers can leave before the next one of a burst.
                    tokio::task::yield_now().await;
                }
                Ok(None) => return End::Complete,
                Err(status) => return End::ByStatus { status, opened: inbound.is_open() },
            },
            () = engine.attend() => {}
            // There is room again; or the stream has ended, which the other direction tells.
            _ = requests.reserve(), if waits => {}
            () = sleep_until(written + STUCK), if waits => return End::Stuck,
            () = sleep_until(heard + patience), if !settled => return End::Silent,
        }
    }
}

/// Reads the kept state; `None` when there is none to use, else its time and how many addresses cannot be read and are left
/// out. A policy that cannot be read is a reason not to use it: who it denies would be let in.
fn restore<T>(protocol: &mut Protocol<T>, sink: &mut impl Sink, keep: &Keep) -> Option<(SystemTime, usize)> {
    let loaded = keep.loaded.as_ref()?;
    let (mut update, mut lost, mut unreadable) = (Update::default(), 0_usize, None);
    let read = loaded.each(|record| {
        if let Err(refused) = protocol.restore(record, &mut update) {
            match record.kind {
                Kind::Address => lost += 1,
                Kind::Authorization => unreadable = Some(refused),
            }
        }
        if update.incoming() >= PART {
            sink.stage(std::mem::take(&mut update));
        }
    });
    if let Err(error) = read {
        tracing::warn!(error = chain(&error), "the kept state of the mesh cannot be read and is not used");
        return None;
    }
    if let Some(refused) = unreadable {
        tracing::warn!(%refused, "the kept state of the mesh has a policy that cannot be read, and is not used");
        return None;
    }
    if lost > 0 {
        tracing::warn!(
            lost,
            "some addresses of the kept state cannot be read and are left out; unless addresses are asked for one by one, \
             what is not known is not called before the control plane has answered"
        );
    }
    let as_of = loaded.as_of?;
    sink.apply(update);
    Some((as_of, lost))
}

// === impl End ===

impl End {
    fn termination(&self) -> Termination {
        match self {
            Self::NotConnected(_) | Self::NoConnectionInTime => Termination::ConnectionError,
            Self::ByStatus { status, opened } => termination(status, *opened),
            Self::Complete => Termination::Complete,
            Self::Silent | Self::Stuck => Termination::Error,
        }
    }

    fn explain(&self) -> String {
        match self {
            Self::NotConnected(error) => chain(&**error),
            Self::NoConnectionInTime => format!("no connection within {DIAL:?}"),
            Self::ByStatus { status, .. } => chain(status),
            Self::Complete => "closed by its server".to_owned(),
            Self::Silent => "it does not answer: its fault, or that of something between".to_owned(),
            Self::Stuck => "it does not read what it is asked".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests;
