//! The server's end of a connection.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::authority::Authority;
use super::client::{BAGGAGE, FORWARDED_NETWORK, TRACEPARENT, baggage};
use super::drive::{Event, Pacer};
use super::error::ConnectionError;
use super::headers::{Baggage, Forwarded, MAX_VALUE, TraceParent};
use super::settings::{self, ABANDONED, DEAD, FIRST_REQUEST, LATE, SERVER_IDLE, UNACCEPTED};
use super::tunnel::{Hold, ResetKind, TunnelStream};
use super::window::{Budget, Charge, Windows};

/// A connection whose preface has come.
#[must_use = "nothing moves unless this runs"]
pub struct Connection<S> {
    connection: h2::server::Connection<S, Bytes>,
    pacer: Pacer,
    windows: Arc<Windows>,
}

/// What a client says of itself and of where it comes from. Labels only, never ground for a decision.
#[derive(Clone, Debug, Default)]
pub struct Headers {
    pub baggage: Option<Baggage>,
    pub forwarded: Forwarded,
    pub trace: Option<TraceParent>,
    pub network: Option<Arc<str>>,
}

/// A CONNECT that waits for its answer. Dropped, it is reset as one that was never looked at, and counts against the peer.
pub struct Incoming {
    pub authority: Authority,
    pub headers: Headers,
    waiting: Waiting,
}

struct Waiting {
    answer: Answer,
    recv: h2::RecvStream,
    charge: Charge,
}

/// What is owed to a CONNECT.
struct Answer {
    respond: h2::server::SendResponse<Bytes>,
    patience: Arc<Patience>,
    /// It is known, and noted, what the peer did before the answer.
    noted: bool,
}

/// How a CONNECT is turned down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// 400: the destination is not ours.
    BadRequest,
    /// 401: policy.
    Refused,
    /// 503: the app or we cannot serve it now.
    Unavailable,
}

/// What became of a connection's streams. Counts those that the peer gave up before we answered, each of which has cost us a
/// look-up and perhaps a dial, and those that found no room: a peer at its pod's limit could send them for ever.
#[derive(Debug, Default)]
struct Patience {
    abandoned: AtomicU32,
    over: CancellationToken,
    /// One was answered with 200.
    accepted: AtomicBool,
}

/// After an abrupt end, the time that GOAWAY may take to leave.
const LINGER: Duration = Duration::from_secs(1);

// === impl Connection ===

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    /// The server's side of the HTTP/2 preface on a verified stream, within [`FIRST_REQUEST`].
    ///
    /// # Errors
    /// No preface in time, or another protocol.
    pub async fn open(stream: S, budget: &Budget) -> Result<Self, ConnectionError> {
        let handshake = settings::server(budget.sizes()).handshake::<_, Bytes>(stream);
        let connection = timeout(FIRST_REQUEST, handshake)
            .await
            .map_err(|_| ConnectionError::Idle { what: "HTTP/2 preface", limit: FIRST_REQUEST })?
            .map_err(|error| ConnectionError::Protocol((&error).into()))?;
        Ok(Self::new(connection, budget))
    }

    pub(super) fn new(mut connection: h2::server::Connection<S, Bytes>, budget: &Budget) -> Self {
        let windows = Windows::new(budget.clone());
        let pacer = Pacer::new(connection.ping_pong(), Arc::clone(&windows));
        Self { connection, pacer, windows }
    }

    /// Hands every good CONNECT to `on_stream`, which must not block (it puts the stream's work on a task of the
    /// caller's), until the connection has ended. When `drain` is cancelled the peer is told (GOAWAY) and open streams go
    /// on. So do those that were on their way: a peer need not try again what it sent before it could know. What comes
    /// [`LATE`] is refused. Dropped, it ends abruptly.
    ///
    /// # Errors
    /// See [`ConnectionError`]; every open stream sees [`ResetKind::Lost`].
    pub async fn run(
        self,
        drain: CancellationToken,
        mut on_stream: impl FnMut(Incoming),
    ) -> Result<(), ConnectionError> {
        let Self { mut connection, mut pacer, windows } = self;
        let patience = Arc::new(Patience::default());
        let mut draining: Option<Instant> = None;
        let mut idle = IdleWatch::new();
        loop {
            let why = tokio::select! {
                biased;
                () = patience.over.cancelled() => ConnectionError::Flood,
                next = connection.accept() => match next {
                    None => return Ok(()),
                    Some(Err(error)) => return Err(ConnectionError::Protocol((&error).into())),
                    Some(Ok((_, mut respond))) if draining.is_some_and(|since| since.elapsed() >= LATE) => {
                        respond.send_reset(h2::Reason::REFUSED_STREAM);
                        continue;
                    }
                    Some(Ok((request, respond))) => {
                        idle.was_idle = false;
                        if let Some(incoming) = Incoming::read(request, respond, windows.open(), &patience) {
                            on_stream(incoming);
                        }
                        continue;
                    }
                },
                event = pacer.next() => match event {
                    Event::Dead => return Err(ConnectionError::Dead { limit: DEAD }),
                    Event::Resize(to) => {
                        pacer.resize(to, |to| connection.set_initial_window_size(to));
                        continue;
                    }
                },
                () = drain.cancelled(), if draining.is_none() => {
                    draining = Some(Instant::now());
                    connection.graceful_shutdown();
                    continue;
                }
                () = sleep_until(idle.at) => match idle.expired(windows.streams(), patience.accepted.load(Ordering::Relaxed)) {
                    Some(error) => error,
                    None => continue,
                },
            };
            let reason = match why {
                ConnectionError::Flood => h2::Reason::ENHANCE_YOUR_CALM,
                _ => h2::Reason::NO_ERROR,
            };
            connection.abrupt_shutdown(reason);
            // The outcome is decided; this only lets GOAWAY leave.
            drop(timeout(LINGER, poll_fn(|cx| connection.poll_closed(cx))).await);
            return Err(why);
        }
    }
}

/// When a connection without streams is over. Looks twice, half the limit apart, so that nothing has to happen when
/// a stream ends. One that was never granted a stream has [`FIRST_REQUEST`], and while one is looked at [`UNACCEPTED`] at
/// most: it holds a place of its pod, which a peer that policy refuses must not have for long.
struct IdleWatch {
    begun: Instant,
    at: Instant,
    was_idle: bool,
}

// === impl IdleWatch ===

impl IdleWatch {
    fn new() -> Self {
        let begun = Instant::now();
        Self { begun, at: begun + FIRST_REQUEST, was_idle: false }
    }

    /// `accepted`: a stream of it was, at some time.
    fn expired(&mut self, streams: usize, accepted: bool) -> Option<ConnectionError> {
        if !accepted {
            let what = "accepted CONNECT";
            if self.begun.elapsed() >= UNACCEPTED {
                return Some(ConnectionError::Idle { what, limit: UNACCEPTED });
            }
            // The first may still be judged, or its application be dialled.
            self.at = (Instant::now() + FIRST_REQUEST).min(self.begun + UNACCEPTED);
            return (streams == 0).then_some(ConnectionError::Idle { what, limit: FIRST_REQUEST });
        }
        if streams == 0 && self.was_idle {
            return Some(ConnectionError::Idle { what: "further CONNECT", limit: SERVER_IDLE });
        }
        self.was_idle = streams == 0;
        self.at = Instant::now() + SERVER_IDLE / 2;
        None
    }
}

// === impl Patience ===

impl Patience {
    fn note(&self, abandoned: bool) {
        if !abandoned {
            let less = |count: u32| count.checked_sub(1);
            // An error means that the count is zero already.
            self.abandoned.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).ok();
        } else if self.abandoned.fetch_add(1, Ordering::Relaxed) >= ABANDONED {
            self.over.cancel();
        }
    }
}

// === impl Incoming ===

impl Incoming {
    /// Reads a request; one that is no CONNECT to a well-formed authority is answered with 400 here.
    fn read(
        request: http::Request<h2::RecvStream>,
        respond: h2::server::SendResponse<Bytes>,
        charge: Charge,
        patience: &Arc<Patience>,
    ) -> Option<Self> {
        let (head, recv) = request.into_parts();
        let answer = Answer { respond, patience: Arc::clone(patience), noted: false };
        let mut waiting = Waiting { answer, recv, charge };
        let authority = head.uri.authority().and_then(|authority| authority.as_str().parse().ok());
        match authority {
            Some(authority) if head.method == Method::CONNECT => {
                Some(Self { authority, headers: Headers::read(&head.headers), waiting })
            }
            _ => {
                waiting.answer.refuse(Refusal::BadRequest);
                None
            }
        }
    }

    /// 200: opens the tunnel. `baggage` describes the destination workload.
    ///
    /// # Errors
    /// The client has given up meanwhile.
    pub fn accept(mut self, baggage: Option<&Baggage>) -> Result<TunnelStream, ResetKind> {
        let mut response = Response::new(());
        let text = baggage.map(Baggage::format).unwrap_or_default();
        // What `format` makes is always a header value; were it not, the answer goes without.
        if let (false, Ok(value)) = (text.is_empty(), HeaderValue::try_from(text)) {
            response.headers_mut().insert(BAGGAGE, value);
        }
        let answer = &mut self.waiting.answer;
        let abandoned = answer.was_abandoned();
        answer.note(abandoned.is_some());
        match (abandoned, answer.respond.send_response(response, false)) {
            (None, Ok(send)) => {
                answer.patience.accepted.store(true, Ordering::Relaxed);
                let Waiting { recv, charge, .. } = self.waiting;
                Ok(TunnelStream::new(send, recv, Hold { charge, _lease: None }))
            }
            (kind, _) => Err(kind.unwrap_or(ResetKind::Lost)),
        }
    }

    /// Answers with a status and no headers.
    pub fn refuse(mut self, refusal: Refusal) {
        self.waiting.answer.refuse(refusal);
    }

    /// Resets it as one that was never looked at, so that the client may try it elsewhere.
    pub fn turn_away(mut self) {
        self.waiting.answer.note(false);
        self.waiting.answer.respond.send_reset(h2::Reason::REFUSED_STREAM);
    }

    /// Returns when the client has given up, so that a dial for it can be given up too.
    pub async fn abandoned(&mut self) -> ResetKind {
        let kind = poll_fn(|cx| self.waiting.answer.poll_abandoned(cx)).await;
        // Who hears of it gives no answer any more.
        self.waiting.answer.note(true);
        kind
    }
}

// === impl Answer ===

impl Answer {
    fn poll_abandoned(&mut self, cx: &mut Context<'_>) -> Poll<ResetKind> {
        self.respond.poll_reset(cx).map(|reset| reset.map_or(ResetKind::Lost, ResetKind::from_reason))
    }

    fn was_abandoned(&mut self) -> Option<ResetKind> {
        match self.poll_abandoned(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(kind) => Some(kind),
            Poll::Pending => None,
        }
    }

    fn note(&mut self, abandoned: bool) {
        if !std::mem::replace(&mut self.noted, true) {
            self.patience.note(abandoned);
        }
    }

    fn refuse(&mut self, refusal: Refusal) {
        let abandoned = self.was_abandoned();
        self.note(abandoned.is_some());
        let mut response = Response::new(());
        *response.status_mut() = match refusal {
            Refusal::BadRequest => StatusCode::BAD_REQUEST,
            Refusal::Refused => StatusCode::UNAUTHORIZED,
            Refusal::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        };
        if let Err(error) = self.respond.send_response(response, true) {
            tracing::trace!(%error, "the client did not wait for its refusal");
        }
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        if !self.noted {
            self.note(true);
            self.respond.send_reset(h2::Reason::REFUSED_STREAM);
        }
    }
}

// === impl Headers ===

impl Headers {
    fn read(headers: &HeaderMap) -> Self {
        let network = headers.get(FORWARDED_NETWORK).and_then(|value| value.to_str().ok());
        Self {
            baggage: baggage(headers),
            forwarded: headers
                .get(header::FORWARDED)
                .map_or_else(Forwarded::default, |v| Forwarded::parse(v.as_bytes())),
            trace: headers.get(TRACEPARENT).and_then(|value| TraceParent::parse(value.as_bytes())),
            network: network.filter(|name| (1..=MAX_VALUE).contains(&name.len())).map(Into::into),
        }
    }
}

#[cfg(test)]
mod tests;
