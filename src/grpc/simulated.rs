//! A control plane in memory, with real TLS and HTTP/2, for tests with a paused clock.

use std::convert::Infallible;
use std::future::{Future, pending};
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncWriteExt as _, DuplexStream, duplex};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tonic::body::Body;

use super::network::{Dial, DialError, Dialled, Transport};
use super::{Endpoint, RootSource, Settings};
use crate::tls::fixture::TestServer;

pub(crate) type Answer = Pin<Box<dyn Future<Output = http::Response<Body>> + Send>>;
type Handler = Arc<dyn Fn(http::Request<Incoming>) -> Answer + Send + Sync>;

/// What meets a dial.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Door {
    /// No answer to a SYN.
    Dead,
    /// Bytes that are no TLS.
    Noise,
    Open,
    /// A RST.
    Shut,
    /// A connection and then nothing.
    Silent,
}

/// The far side. Clones are the same one.
#[derive(Clone)]
pub(crate) struct Plane(Arc<State>);

struct State {
    connections: Mutex<JoinSet<()>>,
    dials: AtomicUsize,
    door: Mutex<Door>,
    frozen: CancellationToken,
    handler: Handler,
    server: Mutex<TestServer>,
}

impl Plane {
    pub(crate) fn new(
        server: TestServer,
        handler: impl Fn(http::Request<Incoming>) -> Answer + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(State {
            connections: Mutex::default(),
            dials: AtomicUsize::new(0),
            door: Mutex::new(Door::Open),
            frozen: CancellationToken::new(),
            handler: Arc::new(handler),
            server: Mutex::new(server),
        }))
    }

    /// Settings for `https://istiod.test:15012`, to be changed and given to [`Self::endpoint`].
    pub(crate) fn settings(roots: RootSource) -> Settings {
        Settings::new("https://istiod.test:15012", roots)
    }

    pub(crate) fn endpoint(&self, settings: &Settings) -> Endpoint {
        Endpoint::through(settings, Arc::new(self.clone())).unwrap()
    }

    pub(crate) fn door(&self, door: Door) {
        *self.0.door.lock().unwrap() = door;
    }

    pub(crate) fn certificate(&self, server: TestServer) {
        *self.0.server.lock().unwrap() = server;
    }

    pub(crate) fn dials(&self) -> usize {
        self.0.dials.load(Ordering::Relaxed)
    }

    /// Ends all connections without a word.
    pub(crate) fn cut(&self) {
        self.0.connections.lock().unwrap().abort_all();
    }

    /// The path dies under all connections, those to come as well.
    pub(crate) fn freeze(&self) {
        self.0.frozen.cancel();
    }

    /// Serves a connection that came from elsewhere.
    pub(crate) fn serve(&self, stream: impl Transport + 'static) {
        let (server, handler) = (self.0.server.lock().unwrap().clone(), Arc::clone(&self.0.handler));
        let frozen = self.0.frozen.clone();
        self.0.connections.lock().unwrap().spawn(async move {
            let Ok(stream) = server.accept(stream).await else { return };
            let service = service_fn(move |request| {
                let answer = handler(request);
                async { Ok::<_, Infallible>(answer.await) }
            });
            let http = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            let mut served = std::pin::pin!(http.serve_connection(TokioIo::new(stream), service));
            tokio::select! {
                _ = &mut served => {}
                // The connection stays, and nobody reads it.
                () = frozen.cancelled() => pending().await,
            }
        });
    }

    fn meet(&self, door: Door, mut far: DuplexStream) {
        match door {
            Door::Dead | Door::Shut => {}
            Door::Noise => drop(self.0.connections.lock().unwrap().spawn(async move {
                far.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
            })),
            Door::Open => self.serve(far),
            Door::Silent => drop(self.0.connections.lock().unwrap().spawn(async move {
                let _far = far;
                pending::<()>().await;
            })),
        }
    }
}

impl Dial for Plane {
    fn dial<'a>(&'a self, host: &'a str, port: u16) -> Dialled<'a> {
        assert_eq!((host, port), ("istiod.test", 15012));
        self.0.dials.fetch_add(1, Ordering::Relaxed);
        let door = *self.0.door.lock().unwrap();
        Box::pin(async move {
            match door {
                Door::Dead => pending::<()>().await,
                Door::Shut => {
                    let source = io::ErrorKind::ConnectionRefused.into();
                    return Err(DialError::Connect { to: ([192, 0, 2, 1], port).into(), source });
                }
                Door::Noise | Door::Open | Door::Silent => {}
            }
            let (near, far) = duplex(64 << 10);
            self.meet(door, far);
            Ok(Box::new(near) as Box<dyn Transport>)
        })
    }
}
