//! Two ends over a pipe in memory, for tests with paused time.

use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, ReadHalf, WriteHalf, duplex, split};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::client::{Request, Tunnel};
use super::error::ConnectionError;
use super::headers::Forwarded;
use super::server::{Connection, Incoming};
use super::tunnel::{RecvHalf, TunnelStream};
use super::window::Budget;

#[expect(clippy::disallowed_methods, reason = "a test's tasks end with its runtime")]
pub(super) fn spawn<T: Send + 'static>(task: impl Future<Output = T> + Send + 'static) -> JoinHandle<T> {
    tokio::spawn(task)
}

pub(super) fn address() -> SocketAddr {
    "10.0.0.2:80".parse().unwrap()
}

pub(super) fn request() -> Request {
    Request { authority: address().into(), baggage: None, forwarded: Forwarded::default(), trace: None, network: None }
}

pub(super) fn pipe() -> (DuplexStream, DuplexStream) {
    duplex(256 << 10)
}

/// A pipe with a delay each way, as a wire has.
pub(super) fn lagging(delay: Duration) -> (DuplexStream, DuplexStream) {
    let ((near, left), (right, far)) = (duplex(16 << 20), duplex(16 << 20));
    let ((left_read, left_write), (right_read, right_write)) = (split(left), split(right));
    lag(left_read, right_write, delay);
    lag(right_read, left_write, delay);
    (near, far)
}

fn lag(mut from: ReadHalf<DuplexStream>, mut to: WriteHalf<DuplexStream>, delay: Duration) {
    let (sender, mut receiver) = mpsc::unbounded_channel();
    spawn(async move {
        let mut bytes = vec![0; 64 << 10];
        while let Ok(n @ 1..) = from.read(&mut bytes).await {
            drop(sender.send((Instant::now() + delay, bytes[..n].to_vec())));
        }
    });
    spawn(async move {
        while let Some((at, bytes)) = receiver.recv().await {
            sleep_until(at).await;
            if to.write_all(&bytes).await.is_err() {
                return;
            }
        }
    });
}

/// A client and a server on one connection.
pub(super) struct Pair {
    pub(super) tunnel: Tunnel,
    pub(super) incoming: mpsc::UnboundedReceiver<Incoming>,
    pub(super) drain: CancellationToken,
    pub(super) client: JoinHandle<Result<(), ConnectionError>>,
    pub(super) server: JoinHandle<Result<(), ConnectionError>>,
}

pub(super) async fn pair(client_budget: &Budget, server_budget: &Budget) -> Pair {
    pair_over(pipe(), client_budget, server_budget).await
}

pub(super) async fn pair_over(
    (near, far): (DuplexStream, DuplexStream),
    client_budget: &Budget,
    server_budget: &Budget,
) -> Pair {
    let drain = CancellationToken::new();
    let (sender, incoming) = mpsc::unbounded_channel();
    let (budget, token) = (server_budget.clone(), drain.clone());
    let server = spawn(async move {
        let connection = Connection::open(far, &budget).await?;
        connection.run(token, move |incoming| drop(sender.send(incoming))).await
    });
    let (tunnel, driver) = Tunnel::open(near, client_budget).await.unwrap();
    Pair { tunnel, incoming, drain, client: spawn(driver.run(|| {})), server }
}

pub(super) fn plenty() -> Budget {
    Budget::new(1 << 30)
}

/// Two tunnels to a peer whose connection, as those of some proxies, has room for 65,535 bytes, and who never reads.
pub(crate) async fn narrow() -> [TunnelStream; 2] {
    let (near, far) = pipe();
    spawn(async move {
        let mut builder = h2::server::Builder::new();
        builder.initial_window_size(1 << 20).initial_connection_window_size(65_535);
        let connection = builder.handshake::<_, Bytes>(far).await.unwrap();
        let mut held = Vec::new();
        let hold = move |incoming: Incoming| held.push(incoming.accept(None));
        drop(Connection::new(connection, &plenty()).run(CancellationToken::new(), hold).await);
    });
    let (tunnel, driver) = Tunnel::open(near, &plenty()).await.unwrap();
    spawn(driver.run(|| {}));
    let (one, _) = tunnel.connect(&request(), None).await.unwrap();
    let (two, _) = tunnel.connect(&request(), None).await.unwrap();
    [one, two]
}

impl Pair {
    /// A tunnel, as both ends see it: client, server.
    pub(super) async fn stream(&mut self) -> (TunnelStream, TunnelStream) {
        let request = request();
        let connect = self.tunnel.connect(&request, None);
        let accept = async { self.incoming.recv().await.unwrap().accept(None).unwrap() };
        let (connected, accepted) = tokio::join!(connect, accept);
        (connected.unwrap().0, accepted)
    }
}

/// Reads and gives back until `bytes` have come.
pub(super) async fn drain_bytes(recv: &mut RecvHalf, bytes: usize) {
    let mut seen = 0;
    while seen < bytes {
        // A stall fails the test instead of hanging it.
        let next = tokio::time::timeout(Duration::from_secs(60), recv.recv()).await;
        let chunk: Bytes = next.expect("bytes within a minute").unwrap();
        seen += chunk.len();
        recv.release(chunk.len());
    }
    assert_eq!(seen, bytes);
}
