//! What a pod does that means its neighbours no good. Each goes on until its process is killed, and says so once it
//! has begun.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::requests::{connect, exchange, request};

/// An attempt that takes longer is given up for another.
const PATIENCE: Duration = Duration::from_secs(5);
/// After a failure, so that a refusal that costs nobody anything is no loop of this process alone.
const PAUSE: Duration = Duration::from_millis(1);
/// Buffers are full when nothing has moved for so long.
const STILL: Duration = Duration::from_millis(700);
/// Until they are full.
const FULL: Duration = Duration::from_secs(40);
const DIALLING: usize = 32;
static PIECE: [u8; 64 << 10] = [0x5a; 64 << 10];

/// New connections as fast as they can be had: connect, one request, close.
pub(super) fn connections(to: SocketAddr, at_once: u32) -> anyhow::Result<()> {
    for_ever(at_once, move || async move {
        let mut stream = connect(to).await?;
        exchange(&mut stream, &request(true)).await
    })
}

/// TLS handshakes that are left once the server has done its part, which is the dearer one. Every attempt says the same, which
/// is as good as another: the answer is what costs.
pub(super) fn handshakes(to: SocketAddr, at_once: u32) -> anyhow::Result<()> {
    let hello: Arc<[u8]> = hello().context("cannot make a ClientHello")?.into();
    for_ever(at_once, move || {
        let hello = Arc::clone(&hello);
        async move {
            let mut stream = connect(to).await?;
            stream.write_all(&hello).await?;
            // The server's first flight is more than this, and comes at once.
            stream.read_exact(&mut [0; 512]).await.map(drop)
        }
    })
}

/// Connections whose both ends send and never read, until every buffer on the way is full; then they are kept.
pub(super) fn stuff(to: SocketAddr, connections: u32) -> anyhow::Result<()> {
    runtime()?.block_on(async {
        let written = Arc::new(AtomicU64::new(0));
        let mut stuffing = JoinSet::new();
        let mut dialling = JoinSet::new();
        let mut left = connections;
        while left > 0 || !dialling.is_empty() {
            while left > 0 && dialling.len() < DIALLING {
                dialling.spawn(timeout(PATIENCE, connect(to)));
                left -= 1;
            }
            let Some(dialled) = dialling.join_next().await else { break };
            let mut stream = dialled.context("a task ended")?.context("nobody answers")?.context("cannot connect")?;
            let written = Arc::clone(&written);
            stuffing.spawn(async move {
                while let Ok(count) = stream.write(&PIECE).await {
                    written.fetch_add(count as u64, Ordering::Relaxed);
                }
                // Kept, also when it was refused: what it fills is told by who is filled.
                std::future::pending::<()>().await;
            });
        }
        let (begun, mut before) = (Instant::now(), u64::MAX);
        while before != written.load(Ordering::Relaxed) && begun.elapsed() < FULL {
            before = written.load(Ordering::Relaxed);
            sleep(STILL).await;
        }
        super::say(super::HELD)?;
        std::future::pending::<()>().await;
        drop(stuffing);
        Ok(())
    })
}

/// The other end of [`stuff`].
pub(super) async fn stuffed(mut stream: tokio::net::TcpStream) {
    while stream.write_all(&PIECE).await.is_ok() {}
}

/// Makes attempts in so many tasks, until the process is killed. Says that it floods after the first that went well.
fn for_ever<F>(at_once: u32, attempt: impl Fn() -> F + Clone + Send + 'static) -> anyhow::Result<()>
where
    F: Future<Output = std::io::Result<()>> + Send,
{
    runtime()?.block_on(async {
        timeout(PATIENCE, attempt()).await.context("nobody answers")?.context("the first attempt failed")?;
        super::say(super::HELD)?;
        let mut tasks = JoinSet::new();
        for _ in 0..at_once {
            let attempt = attempt.clone();
            tasks.spawn(async move {
                loop {
                    if !matches!(timeout(PATIENCE, attempt()).await, Ok(Ok(()))) {
                        sleep(PAUSE).await;
                    }
                }
            });
        }
        tasks.join_all().await;
        Ok(())
    })
}

fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

/// What a client says first.
fn hello() -> anyhow::Result<Vec<u8>> {
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
    let builder = builder.with_safe_default_protocol_versions()?.with_root_certificates(RootCertStore::empty());
    let mut config = builder.with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let mut client = ClientConnection::new(Arc::new(config), ServerName::try_from("bench.invalid")?)?;
    let mut hello = Vec::new();
    client.write_tls(&mut hello)?;
    Ok(hello)
}
