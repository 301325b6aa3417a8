//! The client's end of a connection.

use std::any::Any;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, header};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::authority::Authority;
use super::drive::{Event, Pacer};
use super::error::{ConnectionError, TunnelError};
use super::headers::{Baggage, Forwarded, TraceParent};
use super::settings::{self, ANSWER, CLIENT_STREAMS, DEAD, SETTINGS};
use super::tunnel::{Hold, TunnelStream};
use super::window::{Budget, Windows};
use crate::model::spiffe::Identity;

pub(super) const BAGGAGE: HeaderName = HeaderName::from_static("baggage");
pub(super) const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
pub(super) const FORWARDED_NETWORK: HeaderName = HeaderName::from_static("x-forwarded-network");

/// What a CONNECT asks for.
#[derive(Clone, Debug)]
pub struct Request {
    pub authority: Authority,
    /// The source workload.
    pub baggage: Option<Baggage>,
    pub forwarded: Forwarded,
    pub trace: Option<TraceParent>,
    /// The client's network; only on the inner request of a tunnel through a network gateway.
    pub network: Option<Arc<str>>,
}

/// What came with a 200.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The destination workload, as the far side describes it.
    pub baggage: Option<Baggage>,
    /// Who the far side has proven to be.
    pub peer: Option<Identity>,
    /// Cancelled just before the connection is cut because its peer may no longer be talked to.
    pub cut: CancellationToken,
}

/// A connection to open tunnels on. Cheap to clone; the connection ends when every clone and every stream is gone.
#[derive(Clone)]
pub struct Tunnel {
    requests: h2::client::SendRequest<Bytes>,
    /// The peer's settings have come.
    settled: Arc<AtomicBool>,
    windows: Arc<Windows>,
    peer: Option<Arc<Identity>>,
    cut: CancellationToken,
}

/// Moves the frames of a [`Tunnel`].
#[must_use = "nothing moves unless this runs"]
pub struct Driver<S> {
    connection: h2::client::Connection<S, Bytes>,
    pacer: Pacer,
    settled: Arc<AtomicBool>,
}

// === impl Tunnel ===

impl Tunnel {
    /// Begins HTTP/2 on a verified stream. The peer's settings are not waited for: that would cost a round trip. One
    /// stream can be opened before they come.
    ///
    /// # Errors
    /// The stream broke.
    pub async fn open<S>(stream: S, budget: &Budget) -> Result<(Self, Driver<S>), ConnectionError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let opened = settings::client(budget.sizes()).handshake::<_, Bytes>(stream).await;
        let (requests, mut connection) = opened.map_err(|error| ConnectionError::Protocol((&error).into()))?;
        let windows = Windows::new(budget.clone());
        let pacer = Pacer::new(connection.ping_pong(), Arc::clone(&windows));
        let settled = Arc::new(AtomicBool::new(false));
        let driver = Driver { connection, pacer, settled: Arc::clone(&settled) };
        Ok((Self { requests, settled, windows, peer: None, cut: CancellationToken::new() }, driver))
    }

    /// Says who the peer has proven to be, for [`Answer::peer`].
    pub fn with_peer(self, peer: Option<Identity>) -> Self {
        Self { peer: peer.map(Arc::new), ..self }
    }

    /// Whoever cuts the connection cancels this first, so that its streams know why.
    pub(super) const fn cut(&self) -> &CancellationToken {
        &self.cut
    }

    /// Streams at once that may be opened now: 100, or the peer's limit when that is lower; 1 until that is known. It
    /// changes with the peer's settings.
    pub fn limit(&self) -> usize {
        self.requests.current_max_send_streams().min(CLIENT_STREAMS)
    }

    /// The peer's settings have come.
    pub fn is_settled(&self) -> bool {
        self.settled.load(Ordering::Relaxed)
    }

    /// The peer's limit, when it is known, or 100.
    pub fn expected_limit(&self) -> usize {
        if self.is_settled() { self.limit().max(1) } else { CLIENT_STREAMS }
    }

    /// False after GOAWAY or an error: open streams may go on, new ones are for another connection.
    pub fn is_usable(&self) -> bool {
        let ready = self.requests.clone().poll_ready(&mut Context::from_waker(Waker::noop()));
        !matches!(ready, Poll::Ready(Err(_)))
    }

    /// Opens a tunnel, waiting at most [`ANSWER`] for the far side's word. `lease` lives as long as the stream.
    ///
    /// # Errors
    /// See [`TunnelError`]. Dropped, the request is cancelled.
    pub async fn connect(
        &self,
        request: &Request,
        lease: Option<Box<dyn Any + Send + Sync>>,
    ) -> Result<(TunnelStream, Answer), TunnelError> {
        let request = request.to_http()?;
        let mut requests = self.requests.clone();
        // With a fresh clone this is ready at once and says whether the connection still takes streams at all.
        if poll_fn(|cx| requests.poll_ready(cx)).await.is_err() {
            return Err(TunnelError::NotTaken);
        }
        let hold = Hold { charge: self.windows.open(), _lease: lease };
        let (response, mut send) =
            requests.send_request(request, false).map_err(|error| TunnelError::from_h2(&error))?;
        let response = match tokio::time::timeout(ANSWER, response).await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => return Err(TunnelError::from_h2(&error)),
            Err(_) => {
                send.send_reset(h2::Reason::CANCEL);
                return Err(TunnelError::Timeout { limit: ANSWER });
            }
        };
        // SETTINGS is the first frame that a server sends (RFC 9113 section 3.4), so it came before this.
        self.settled.store(true, Ordering::Relaxed);
        let (head, recv) = response.into_parts();
        if head.status != http::StatusCode::OK {
            send.send_reset(h2::Reason::CANCEL);
            return Err(TunnelError::from_status(head.status.as_u16()));
        }
        let answer =
            Answer { baggage: baggage(&head.headers), peer: self.peer.as_deref().cloned(), cut: self.cut.clone() };
        Ok((TunnelStream::new(send, recv, hold), answer))
    }
}

// === impl Driver ===

impl<S: AsyncRead + AsyncWrite + Unpin> Driver<S> {
    /// Runs until the connection has ended; to be spawned by the caller. Dropped, the connection ends abruptly.
    /// `on_limit` is called when [`Tunnel::limit`] has changed, as it does once the peer's settings come.
    ///
    /// # Errors
    /// See [`ConnectionError`]; every open stream sees [`ResetKind::Lost`](super::tunnel::ResetKind).
    pub async fn run(self, mut on_limit: impl FnMut()) -> Result<(), ConnectionError> {
        let Self { mut connection, mut pacer, settled } = self;
        let mut limit = connection.max_concurrent_send_streams();
        let silence = sleep(SETTINGS);
        tokio::pin!(silence);
        let mut waiting = true;
        loop {
            let moved = poll_fn(|cx| {
                let ended = Pin::new(&mut connection).poll(cx);
                let now = connection.max_concurrent_send_streams();
                if ended.is_pending() && now != limit {
                    limit = now;
                    settled.store(true, Ordering::Relaxed);
                    on_limit();
                }
                ended
            });
            let event = tokio::select! {
                biased;
                ended = moved => return ended.map_err(|error| ConnectionError::Protocol((&error).into())),
                event = pacer.next() => event,
                () = &mut silence, if waiting => {
                    waiting = false;
                    if settled.load(Ordering::Relaxed) {
                        continue;
                    }
                    return Err(ConnectionError::Idle { what: "HTTP/2 settings", limit: SETTINGS });
                }
            };
            match event {
                Event::Dead => return Err(ConnectionError::Dead { limit: DEAD }),
                Event::Resize(to) => pacer.resize(to, |to| connection.set_initial_window_size(to)),
            }
        }
    }
}

// === impl Request ===

impl Request {
    /// Headers in the order that HBONE has them.
    fn to_http(&self) -> Result<http::Request<()>, TunnelError> {
        let mut headers = HeaderMap::with_capacity(4);
        let mut add = |name: HeaderName, value: String| -> Result<(), TunnelError> {
            if !value.is_empty() {
                headers.append(name, HeaderValue::try_from(value).map_err(|_| TunnelError::Unsendable)?);
            }
            Ok(())
        };
        add(BAGGAGE, self.baggage.as_ref().map(Baggage::format).unwrap_or_default())?;
        add(header::FORWARDED, self.forwarded.format().unwrap_or_default())?;
        add(TRACEPARENT, self.trace.as_ref().map(TraceParent::format).unwrap_or_default())?;
        add(FORWARDED_NETWORK, self.network.as_deref().unwrap_or_default().to_owned())?;
        let uri = Uri::try_from(self.authority.to_string()).map_err(|_| TunnelError::Unsendable)?;
        let mut request = http::Request::new(());
        *request.method_mut() = Method::CONNECT;
        *request.version_mut() = http::Version::HTTP_2;
        *request.uri_mut() = uri;
        *request.headers_mut() = headers;
        Ok(request)
    }
}

pub(super) fn baggage(headers: &HeaderMap) -> Option<Baggage> {
    let mut values = headers.get_all(BAGGAGE).iter().peekable();
    values.peek()?;
    Some(Baggage::parse(values.map(HeaderValue::as_bytes)))
}
