//! Requests of HTTP/1.1 with fixed bytes both ways: the path is measured, not a parser. One thread with epoll, as
//! common servers and load generators work.

use std::net::SocketAddr;

use anyhow::Context as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::{Load, Report};

/// Bytes of each request and of each response.
pub(super) const SIZE: usize = 256;
/// What tells the server that this request is the connection's last.
pub(super) const LAST: u8 = b'o';
/// Where it stands in a request.
pub(super) const LAST_AT: usize = 5;

/// What one connection saw.
#[derive(Default)]
struct Seen {
    nanos: Vec<u64>,
}

pub(super) fn request(once: bool) -> [u8; SIZE] {
    let (path, connection) = if once { ("once", "close") } else { ("keep", "keep-alive") };
    padded(&format!("GET /{path} HTTP/1.1\r\nhost: bench\r\nconnection: {connection}\r\nx-pad: "), "\r\n\r\n")
}

pub(super) fn response() -> [u8; SIZE] {
    // 128 bytes of body; the header is filled up to the other half.
    let body = "x".repeat(SIZE / 2);
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nx-pad: ", body.len());
    padded(&head, &format!("\r\n\r\n{body}"))
}

fn padded(start: &str, end: &str) -> [u8; SIZE] {
    let mut bytes = [b'p'; SIZE];
    bytes[..start.len()].copy_from_slice(start.as_bytes());
    bytes[SIZE - end.len()..].copy_from_slice(end.as_bytes());
    bytes
}

/// A connection of this process's own namespace.
pub(super) async fn connect(to: SocketAddr) -> std::io::Result<TcpStream> {
    let stream = TcpSocket::new_v4()?.connect(to).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// One request and its whole response.
pub(super) async fn exchange(stream: &mut TcpStream, request: &[u8; SIZE]) -> std::io::Result<()> {
    let mut answer = [0; SIZE];
    stream.write_all(request).await?;
    stream.read_exact(&mut answer).await?;
    let good = answer.starts_with(b"HTTP/1.1 200");
    if good { Ok(()) } else { Err(std::io::Error::other("this is no answer of the bench's own server")) }
}

/// The client of all connections of one measurement.
pub(super) fn requests(to: SocketAddr, once: bool, load: Load) -> anyhow::Result<Report> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let patience = load.patience();
    let seen = runtime.block_on(async {
        let mut tasks = JoinSet::new();
        let begun = Instant::now();
        for _ in 0..load.connections {
            if once {
                tasks.spawn(each_its_own(to, begun, load));
            } else {
                tasks.spawn(all_on_one(to, begun, load));
            }
        }
        let all = timeout(patience, tasks.join_all()).await.with_context(|| format!("{to} does not answer"))?;
        all.into_iter().collect::<std::io::Result<Vec<_>>>().with_context(|| format!("a request to {to} failed"))
    })?;
    let mut nanos: Vec<u64> = seen.into_iter().flat_map(|one| one.nanos).collect();
    nanos.sort_unstable();
    let at = |share: f64| {
        let place = ((nanos.len() as f64 * share) as usize).min(nanos.len().saturating_sub(1));
        nanos.get(place).copied().unwrap_or_default() as f64 / 1000.0
    };
    let per_second = nanos.len() as f64 / load.span().as_secs_f64();
    Ok(Report { per_second, p50_us: at(0.5), p99_us: at(0.99), ..Report::default() })
}

async fn all_on_one(to: SocketAddr, begun: Instant, load: Load) -> std::io::Result<Seen> {
    let mut stream = connect(to).await?;
    let request = request(false);
    let mut seen = Seen::default();
    loop {
        let asked = Instant::now();
        exchange(&mut stream, &request).await?;
        if seen.note(begun, asked, load) {
            return Ok(seen);
        }
    }
}

/// The server closes: the side that closes first keeps the pair of ports for a minute, and a client
/// that did would run out of them.
async fn each_its_own(to: SocketAddr, begun: Instant, load: Load) -> std::io::Result<Seen> {
    let request = request(true);
    let mut seen = Seen::default();
    loop {
        let asked = Instant::now();
        let mut stream = connect(to).await?;
        exchange(&mut stream, &request).await?;
        let rest = stream.read(&mut [0]).await?;
        if rest != 0 {
            return Err(std::io::Error::other("there are bytes after the response"));
        }
        drop(stream);
        if seen.note(begun, asked, load) {
            return Ok(seen);
        }
    }
}

// === impl Seen ===

impl Seen {
    /// Counts what ended within the span; true when the span is over.
    fn note(&mut self, begun: Instant, asked: Instant, load: Load) -> bool {
        let now = Instant::now();
        let over = now - begun >= load.warm() + load.span();
        if !over && now - begun >= load.warm() {
            self.nanos.push(u64::try_from((now - asked).as_nanos()).unwrap_or(u64::MAX));
        }
        over
    }
}
