//! The client in a pod: one request, and how it was answered or refused.

use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

use super::server::Answer;
use crate::sys::netns::Netns;
use crate::sys::plain_tcp;

/// An answered request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    pub answer: Answer,
    /// From the making of the socket to the last byte of the answer.
    pub took: Duration,
}

/// How a request ended without an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Refusal {
    /// An orderly end before a whole answer.
    Closed,
    /// An answer that is not the server's.
    Garbled,
    /// The socket could not be made. Us.
    Local,
    /// ECONNREFUSED: nobody listens.
    Refused,
    /// A reset, or a write after one.
    Reset,
    /// An HTTP status other than 200.
    Status(u16),
    /// No answer in the time given.
    Timeout,
    /// No route, or an ICMP error.
    Unreachable,
}

/// How far a request came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    Connecting,
    /// Connected: the handshake of TCP alone proves nothing, since a proxy may have answered it.
    Waiting,
}

/// A request without an answer.
#[derive(Debug, thiserror::Error)]
#[error("{refusal} while {stage} ({to})")]
pub struct Refused {
    pub refusal: Refusal,
    pub stage: Stage,
    pub to: SocketAddr,
    pub after: Duration,
    #[source]
    pub source: Option<io::Error>,
}

/// The largest answer that is read into memory.
const MOST_ANSWER: usize = 64 << 10;
/// Between two tries of [`await_listening`].
const RETRY: Duration = Duration::from_millis(20);

// === impl Refusal ===

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Closed => "closed",
            Self::Garbled => "garbled",
            Self::Local => "no socket",
            Self::Refused => "refused",
            Self::Reset => "reset",
            Self::Status(code) => return write!(f, "status {code}"),
            Self::Timeout => "timeout",
            Self::Unreachable => "unreachable",
        })
    }
}

impl Refusal {
    /// What an error says, down its chain of causes.
    pub(super) fn of(error: &(dyn Error + 'static)) -> Self {
        let mut cause = Some(error);
        while let Some(error) = cause {
            if let Some(found) = error.downcast_ref::<io::Error>().and_then(Self::of_io) {
                return found;
            }
            if let Some(error) = error.downcast_ref::<hyper::Error>() {
                if error.is_incomplete_message() {
                    return Self::Closed;
                }
                if error.is_parse() {
                    return Self::Garbled;
                }
            }
            cause = error.source();
        }
        Self::Closed
    }

    fn of_io(error: &io::Error) -> Option<Self> {
        match error.kind() {
            io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset => {
                Some(Self::Reset)
            }
            io::ErrorKind::ConnectionRefused => Some(Self::Refused),
            io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => Some(Self::Unreachable),
            io::ErrorKind::InvalidData => Some(Self::Garbled),
            io::ErrorKind::TimedOut => Some(Self::Timeout),
            io::ErrorKind::UnexpectedEof => Some(Self::Closed),
            // A wrapper's own kind says nothing; its cause may.
            _ => None,
        }
    }
}

impl std::fmt::Display for Stage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Connecting => "connecting",
            Self::Waiting => "waiting for the answer",
        })
    }
}

/// Asks the server at `to` for `/` from inside `from`, with `marker` in a header, and waits up to
/// `patience` for the whole of it.
pub async fn get(from: &Netns, to: SocketAddr, marker: &str, patience: Duration) -> Result<Reply, Refused> {
    get_path(from, to, "/", marker, patience).await
}

/// As [`get`], for another path.
pub async fn get_path(
    from: &Netns,
    to: SocketAddr,
    path: &str,
    marker: &str,
    patience: Duration,
) -> Result<Reply, Refused> {
    let (answer, took) = timed(from, to, patience, async |session| session.ask(to, path, marker).await).await?;
    Ok(Reply { answer, took })
}

/// One request with `method`, whatever is answered: its status, headers and body.
pub async fn exchange(
    from: &Netns,
    to: SocketAddr,
    method: Method,
    path: &str,
    patience: Duration,
) -> Result<Response<Bytes>, Refused> {
    let asked = timed(from, to, patience, async |session| session.send(to, method, path, "").await).await?;
    Ok(asked.0)
}

/// Connects, has `exchange` done, and gives the time that all of it took.
async fn timed<T>(
    from: &Netns,
    to: SocketAddr,
    patience: Duration,
    exchange: impl AsyncFnOnce(&mut Session) -> Result<T, Failure>,
) -> Result<(T, Duration), Refused> {
    let start = Instant::now();
    let mut stage = Stage::Connecting;
    let exchange = async {
        let stream = connect(from, to).await?;
        stage = Stage::Waiting;
        exchange(&mut Session::open(stream).await?).await
    };
    let result = timeout(patience, exchange).await;
    let after = start.elapsed();
    match result {
        Ok(Ok(value)) => Ok((value, after)),
        Ok(Err((refusal, source))) => Err(Refused { refusal, stage, to, after, source: Some(source) }),
        Err(_) => Err(Refused { refusal: Refusal::Timeout, stage, to, after, source: None }),
    }
}

/// Waits until something accepts connections at `to`. On a pod that is enrolled this may be the
/// node daemon and not the program.
pub async fn await_listening(from: &Netns, to: SocketAddr, patience: Duration) -> Result<(), Refused> {
    let start = Instant::now();
    // A try that was cut short by the end says less than the one before it.
    let mut last = None;
    loop {
        match timeout(patience.saturating_sub(start.elapsed()), connect(from, to)).await {
            Ok(Ok(_)) => return Ok(()),
            Ok(Err(failure)) => last = Some(failure),
            Err(_) => {}
        }
        let after = start.elapsed();
        if after + RETRY >= patience {
            let (refusal, source) = last.map_or((Refusal::Timeout, None), |(refusal, source)| (refusal, Some(source)));
            return Err(Refused { refusal, stage: Stage::Connecting, to, after, source });
        }
        sleep(RETRY).await;
    }
}

/// A failure on the way, with the cause that a person may want.
pub(super) type Failure = (Refusal, io::Error);

pub(super) async fn connect(from: &Netns, to: SocketAddr) -> Result<TcpStream, Failure> {
    let socket = plain_tcp::unconnected(from, to).await.map_err(|error| (Refusal::Local, io::Error::other(error)))?;
    let stream = socket.connect(to).await.map_err(failure)?;
    stream.set_nodelay(true).map_err(failure)?;
    Ok(stream)
}

pub(super) fn failure(error: io::Error) -> Failure {
    (Refusal::of(&error), error)
}

fn http_failure(error: impl Into<Box<dyn Error + Send + Sync>>) -> Failure {
    let error = error.into();
    (Refusal::of(&*error), io::Error::other(error))
}

/// A connection that carries one request after the other.
pub(super) struct Session {
    sender: http1::SendRequest<Empty<Bytes>>,
    connection: http1::Connection<TokioIo<TcpStream>, Empty<Bytes>>,
}

// === impl Session ===

impl Session {
    pub(super) async fn open(stream: TcpStream) -> Result<Self, Failure> {
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(http_failure)?;
        Ok(Self { sender, connection })
    }

    pub(super) async fn ask(&mut self, to: SocketAddr, path: &str, marker: &str) -> Result<Answer, Failure> {
        let response = self.send(to, Method::GET, path, marker).await?;
        let status = response.status();
        if status != StatusCode::OK {
            return Err((Refusal::Status(status.as_u16()), io::Error::other(format!("the server answered {status}"))));
        }
        serde_json::from_slice(response.body()).map_err(|error| (Refusal::Garbled, io::Error::other(error)))
    }

    /// One request, and the whole of its answer.
    async fn send(
        &mut self,
        to: SocketAddr,
        method: Method,
        path: &str,
        marker: &str,
    ) -> Result<Response<Bytes>, Failure> {
        let request = Request::builder().method(method).uri(path).header("host", to.to_string());
        let request = request.header("x-marker", marker).body(Empty::new());
        let request = request.map_err(|error| (Refusal::Local, io::Error::other(error)))?;
        let sender = &mut self.sender;
        let exchange = async {
            sender.ready().await.map_err(http_failure)?;
            let (head, body) = sender.send_request(request).await.map_err(http_failure)?.into_parts();
            let body = Limited::new(body, MOST_ANSWER).collect().await.map_err(http_failure)?.to_bytes();
            Ok(Response::from_parts(head, body))
        };
        let mut exchange = pin!(exchange);
        tokio::select! {
            biased;
            result = &mut exchange => result,
            // The connection ended: its last words are in the exchange.
            _ended = &mut self.connection => exchange.await,
        }
    }
}
