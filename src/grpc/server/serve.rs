//! Accepting connections, and the life of one.

use std::convert::Infallible;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::crowd::{Crowd, Held};
use super::router::{Answering, Body, Closing, Router, refuse};
use crate::runtime::tasks::Tasks;
use crate::sys::socket::prepare_accepted;
use crate::telemetry::cause::chain;
use crate::telemetry::metrics::{Metrics, table};
use crate::tls::{HANDSHAKE_LIMIT, Hello, NamedAcceptor, random_unit};

/// Handshakes that compute at once. Each is some 300 µs, so all places are through in a second, and other processors have
/// the streams. It is for computing alone: nobody waits for a client's bytes with a turn in hand.
const HANDSHAKES: usize = 2;
/// From the handshake to the first good token, 10 s: strangers do not keep places for longer.
const PROVEN_WITHIN: Duration = Duration::from_secs(10);
/// What streams may take to end when a connection has reached its age, 10 s: they only finish a response.
const GRACE: Duration = Duration::from_secs(10);
/// Pings of HTTP/2, as often as Istio's clients send theirs; an answer has 10 s.
const PING: Duration = Duration::from_secs(30);
const PONG: Duration = Duration::from_secs(10);
/// Streams of one connection: one of discovery, and certificates for the pods of a node that start together.
const STREAMS: u32 = 128;
/// Header bytes of a request: a token and a dozen short headers.
const HEADERS: u32 = 24 << 10;
/// Bytes that a client may have on the way: requests are small, but for the first one.
const STREAM_WINDOW: u32 = 256 << 10;
const CONNECTION_WINDOW: u32 = 1 << 20;
/// Bytes of responses that wait in a stream.
const SEND_BUFFER: usize = 256 << 10;
/// The wait after accept(2) failed, for lack of files for example.
const BACKOFF: Duration = Duration::from_millis(100);

/// What may be adjusted.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// A connection's age, give or take a tenth; then its client makes a new one, maybe to another replica.
    pub age: Duration,
}

/// A listener with everything that its connections need.
pub struct Server {
    pub listener: TcpListener,
    /// The certificate of now.
    pub acceptor: watch::Receiver<NamedAcceptor>,
    pub router: Arc<Router>,
    /// Runs the connections: its limit is theirs, its drain asks them to end, its force cuts them.
    pub connections: Tasks,
    /// Runs their streams.
    pub streams: Tasks,
    pub config: Config,
    pub metrics: Metrics,
}

/// What connections share.
struct Shared {
    acceptor: watch::Receiver<NamedAcceptor>,
    router: Arc<Router>,
    streams: Tasks,
    handshakes: Semaphore,
    crowd: Crowd,
    draining: CancellationToken,
    config: Config,
    metrics: Metrics,
}

/// Runs the library's tasks where they are counted. One that finds no place is dropped, which resets its stream.
#[derive(Clone)]
struct Places(Tasks);

impl<F: Future<Output = ()> + Send + 'static> hyper::rt::Executor<F> for Places {
    fn execute(&self, work: F) {
        self.0.spawn(work).ok();
    }
}

// === impl Server ===

impl Server {
    /// Accepts until `connections` drains.
    pub async fn run(self) -> io::Result<()> {
        let Self { listener, acceptor, router, connections, streams, config, metrics } = self;
        listener.set_nonblocking(true)?;
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let draining = connections.draining().clone();
        let handshakes = Semaphore::new(HANDSHAKES);
        let crowd = Crowd::default();
        let shared = Arc::new(Shared { acceptor, router, streams, handshakes, crowd, draining, config, metrics });
        loop {
            let accepted = tokio::select! {
                () = connections.draining().cancelled() => return Ok(()),
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, peer)) => {
                    // Full: the stream is dropped, which closes it.
                    if connections.spawn(Arc::clone(&shared).connection(stream, peer)).is_err() {
                        shared.metrics.counter(table::GRPC_REFUSALS, ["full"]).increment();
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection of a gRPC client");
                    sleep(BACKOFF).await;
                }
            }
        }
    }
}

// === impl Shared ===

impl Shared {
    async fn connection(self: Arc<Self>, stream: TcpStream, peer: SocketAddr) {
        drop(prepare_accepted(&stream));
        let acceptor = self.acceptor.borrow().clone();
        let handshake = async {
            let hello = Hello::read(stream).await?;
            let turn = self.handshakes.acquire().await;
            let answer = acceptor.answer(hello);
            drop(turn);
            answer.await
        };
        let stream = match timeout(HANDSHAKE_LIMIT, handshake).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                self.metrics.counter(table::GRPC_REFUSALS, ["handshake"]).increment();
                tracing::debug!(%peer, error = chain(&error), "a TLS handshake with a gRPC client failed");
                return;
            }
            Err(_) => {
                self.metrics.counter(table::GRPC_REFUSALS, ["handshake"]).increment();
                return;
            }
        };
        let closing = self.draining.child_token();
        let proven = Arc::new(OnceLock::new());
        let (shared, token, held) = (Arc::clone(&self), closing.clone(), Arc::clone(&proven));
        let service = service_fn(move |request: http::Request<Incoming>| {
            let answering = shared.answer(request.map(Body::new), peer, &held, &token);
            async move { Ok::<_, Infallible>(answering.await) }
        });
        let mut connection = Box::pin(
            http2::Builder::new(Places(self.streams.clone()))
                .timer(TokioTimer::new())
                .keep_alive_interval(PING)
                .keep_alive_timeout(PONG)
                .max_concurrent_streams(STREAMS)
                .max_header_list_size(HEADERS)
                .initial_stream_window_size(STREAM_WINDOW)
                .initial_connection_window_size(CONNECTION_WINDOW)
                .max_send_buf_size(SEND_BUFFER)
                .serve_connection(TokioIo::new(stream), service),
        );
        let born = Instant::now();
        tokio::select! {
            // How a connection ends is its client's matter; streams have told what there is to tell.
            _ = connection.as_mut() => return,
            () = closing.cancelled() => {}
            () = sleep(PROVEN_WITHIN) => {
                if proven.get().is_none() {
                    self.metrics.counter(table::GRPC_REFUSALS, ["silent"]).increment();
                    return;
                }
            }
        }
        tokio::select! {
            _ = connection.as_mut() => return,
            () = closing.cancelled() => {}
            () = sleep_until(born + self.config.age.mul_f64(0.9 + 0.2 * random_unit())) => {}
        }
        connection.as_mut().graceful_shutdown();
        closing.cancel();
        drop(timeout(GRACE, connection).await);
    }

    /// `held` is the connection's place among its caller's, from the first good token on.
    fn answer(
        &self,
        mut request: http::Request<Body>,
        peer: SocketAddr,
        held: &OnceLock<Held>,
        closing: &CancellationToken,
    ) -> Answering {
        let caller = match self.router.caller(request.headers(), peer) {
            Ok(caller) => caller,
            Err(status) => return refuse(status),
        };
        if held.get().is_none() {
            let Some(place) = self.crowd.join(&caller.name) else {
                // It is not kept for who waits to be one of the others.
                closing.cancel();
                return refuse(self.router.crowded(&caller, peer));
            };
            held.set(place).ok();
        }
        request.extensions_mut().insert(caller);
        request.extensions_mut().insert(Closing(closing.clone()));
        self.router.answer(request)
    }
}
