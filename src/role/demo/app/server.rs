//! The server in a pod: HTTP that says whom it saw, an echo, and streams whose bytes are checked.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Either, Full};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, Interval, MissedTickBehavior};

use super::pattern::Pattern;
use crate::sys::netns::Netns;
use crate::sys::plain_tcp::{self, PlainTcpError};

/// HTTP/1.1: any path answers an [`Answer`]; `/bytes?n=N` sends N bytes, `/slow?seconds=N` a few at
/// a time for N seconds, `/upload` checks what it is sent.
pub const HTTP_PORT: u16 = 8080;
/// Sends back what it reads, and closes after the client did.
pub const ECHO_PORT: u16 = 8081;
/// See [`super::Trickle`].
pub const STREAM_PORT: u16 = 8082;

/// What the server saw of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    pub pod: String,
    /// The client's address, as the server's socket has it.
    pub source: SocketAddr,
    pub local: SocketAddr,
    pub path: String,
    /// The request's `x-marker`.
    pub marker: Option<String>,
    /// Bytes of the request's body.
    pub received: u64,
    /// Whether they were the pattern's; true of none.
    pub verified: bool,
}

/// Listening sockets of one pod.
pub struct Server {
    name: Arc<str>,
    listeners: Vec<(Service, TcpListener)>,
}

#[derive(Clone, Copy, Debug)]
enum Service {
    Echo,
    Http,
    Stream,
}

/// The pace of trickled bytes: 50 kB/s, slow enough to run for hours, quick enough to notice a cut.
pub(super) const TICK: Duration = Duration::from_millis(10);
pub(super) const TICK_BYTES: usize = 512;
/// A piece of a large download.
const PIECE: usize = 64 << 10;
/// Connections served at once on one listener; the next one waits in the backlog. The bench holds
/// 4,000, and each costs a task of a few KiB.
const MOST_CONNECTIONS: usize = 65_536;
/// `/bytes` and `/slow` give no more, whatever they are asked for.
const MOST_BYTES: u64 = 1 << 40;
const MOST_SECONDS: u64 = 24 * 3600;

// === impl Server ===

impl Server {
    /// Listens in `netns` for HTTP on the ports `http`, and on the ports of the echo and the stream,
    /// in IPv4 and IPv6.
    pub async fn bind(netns: &Netns, name: &str, http: &[u16]) -> Result<Self, PlainTcpError> {
        let mut listeners = Vec::new();
        let raw = [(Service::Echo, ECHO_PORT), (Service::Stream, STREAM_PORT)];
        for (service, port) in http.iter().map(|&port| (Service::Http, port)).chain(raw) {
            for any in [IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)] {
                let address = SocketAddr::new(any, port);
                listeners.push((service, plain_tcp::listen(netns, address).await?));
            }
        }
        Ok(Self { name: name.into(), listeners })
    }

    /// Serves until the future is dropped, which resets nothing but ends every connection.
    pub async fn run(self) {
        let mut services = JoinSet::new();
        for (service, listener) in self.listeners {
            services.spawn(accept(service, listener, Arc::clone(&self.name)));
        }
        while services.join_next().await.is_some() {}
    }
}

async fn accept(service: Service, listener: TcpListener, name: Arc<str>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept(), if connections.len() < MOST_CONNECTIONS => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(serve(service, stream, Arc::clone(&name)));
                }
                // Out of files: those that end give theirs back.
                Err(_) => tokio::time::sleep(TICK).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

/// A failure ends its connection; the client sees it and says so.
async fn serve(service: Service, stream: TcpStream, name: Arc<str>) {
    let (Ok(()), Ok(source), Ok(local)) = (stream.set_nodelay(true), stream.peer_addr(), stream.local_addr()) else {
        return;
    };
    match service {
        Service::Echo => drop(echo(stream).await),
        Service::Http => {
            let respond = move |request| answer(Arc::clone(&name), source, local, request);
            let mut builder = hyper::server::conn::http1::Builder::new();
            // A client may close its half first and still be owed an answer.
            builder.timer(TokioTimer::new()).half_close(true);
            drop(builder.serve_connection(TokioIo::new(stream), service_fn(respond)).await);
        }
        Service::Stream => drop(stream_service(stream).await),
    }
}

async fn answer(
    name: Arc<str>,
    source: SocketAddr,
    local: SocketAddr,
    request: Request<Incoming>,
) -> Result<Response<Either<Full<Bytes>, PatternBody>>, hyper::Error> {
    let (head, mut body) = request.into_parts();
    let query = query(head.uri.query().unwrap_or_default());
    let number = |key: &str, most: u64| query.get(key).and_then(|value| value.parse().ok()).unwrap_or(0u64).min(most);
    match head.uri.path() {
        "/bytes" => return Ok(Response::new(Either::Right(PatternBody::at_once(number("n", MOST_BYTES))))),
        "/slow" => {
            let length = number("seconds", MOST_SECONDS) * 1000 / TICK.as_millis() as u64 * TICK_BYTES as u64;
            return Ok(Response::new(Either::Right(PatternBody::trickled(length))));
        }
        _ => {}
    }
    let (mut pattern, mut received, mut verified) = (Pattern::default(), 0, true);
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else { continue };
        received += data.len() as u64;
        verified = verified && pattern.verify(&data).is_ok();
    }
    let marker = head.headers.get("x-marker").and_then(|value| value.to_str().ok()).map(Into::into);
    let path = head.uri.path().to_string();
    let answer = Answer { pod: name.to_string(), source, local, path, marker, received, verified };
    let mut response = Response::new(Either::Left(Full::from(serde_json::to_vec(&answer).unwrap_or_default())));
    response.headers_mut().insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
    Ok(response)
}

fn query(text: &str) -> BTreeMap<&str, &str> {
    text.split('&').filter_map(|pair| pair.split_once('=')).collect()
}

async fn echo(mut stream: TcpStream) -> io::Result<()> {
    let (mut read, mut write) = stream.split();
    tokio::io::copy(&mut read, &mut write).await?;
    write.shutdown().await
}

/// One byte says which way: `D` the server trickles, `E` it echoes, `U` it verifies what it reads
/// and answers each read with the total so far, eight bytes big-endian.
async fn stream_service(mut stream: TcpStream) -> io::Result<()> {
    match stream.read_u8().await? {
        b'D' => {
            let (mut pattern, mut ticks) = (Pattern::default(), ticks());
            let (mut read, mut write) = stream.split();
            loop {
                tokio::select! {
                    _ = ticks.tick() => write.write_all(&pattern.take(TICK_BYTES)).await?,
                    // The client sends no more: whatever comes is its end.
                    ended = read.read_u8() => return ended.map(drop),
                }
            }
        }
        b'E' => echo(stream).await,
        b'U' => {
            let (mut pattern, mut buffer) = (Pattern::default(), vec![0; PIECE]);
            loop {
                let length = stream.read(&mut buffer).await?;
                if length == 0 {
                    stream.write_u64(pattern.offset()).await?;
                    return stream.shutdown().await;
                }
                if pattern.verify(&buffer[..length]).is_err() {
                    // No answer could be mistaken for a total: the client must see an end.
                    return plain_tcp::reset_on_close(&stream);
                }
                stream.write_u64(pattern.offset()).await?;
            }
        }
        _ => plain_tcp::reset_on_close(&stream),
    }
}

pub(super) fn ticks() -> Interval {
    let mut ticks = tokio::time::interval_at(Instant::now(), TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// A response of the pattern's bytes.
struct PatternBody {
    pattern: Pattern,
    left: u64,
    pace: Option<Interval>,
}

// === impl PatternBody ===

impl PatternBody {
    fn at_once(length: u64) -> Self {
        Self { pattern: Pattern::default(), left: length, pace: None }
    }

    fn trickled(length: u64) -> Self {
        Self { pattern: Pattern::default(), left: length, pace: Some(ticks()) }
    }
}

impl Body for PatternBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let body = self.get_mut();
        if body.left == 0 {
            return Poll::Ready(None);
        }
        let piece = match &mut body.pace {
            Some(pace) => {
                ready!(pace.poll_tick(cx));
                TICK_BYTES
            }
            None => PIECE,
        };
        let length = usize::try_from(body.left).unwrap_or(usize::MAX).min(piece);
        body.left -= length as u64;
        Poll::Ready(Some(Ok(Frame::data(body.pattern.take(length).into()))))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
