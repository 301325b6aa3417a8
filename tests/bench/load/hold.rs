//! Connections that are open and do nothing.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context as _;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::requests::{connect, exchange, request};

/// Dialled at the same time; more would overrun an accept queue and wait a second for a second SYN.
const DIALLING: u32 = 32;

/// Opens `connections`, each proven by a request and its answer, and keeps them until this process is killed.
pub(super) fn hold(to: SocketAddr, connections: u32) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut dialling = JoinSet::new();
        for dialler in 0..DIALLING {
            let count = connections / DIALLING + u32::from(dialler < connections % DIALLING);
            dialling.spawn(async move {
                let mut open = Vec::new();
                for _ in 0..count {
                    let mut stream = connect(to).await?;
                    exchange(&mut stream, &request(false)).await?;
                    open.push(stream);
                }
                std::io::Result::Ok(open)
            });
        }
        let opened = timeout(Duration::from_secs(30), dialling.join_all()).await;
        let opened = opened.with_context(|| format!("{connections} connections to {to} are not open after 30 s"))?;
        let open = opened.into_iter().collect::<std::io::Result<Vec<_>>>();
        let open = open.with_context(|| format!("a connection to {to} failed"))?;
        super::say(super::HELD)?;
        tokio::time::sleep(Duration::from_secs(600)).await;
        drop(open);
        Ok(())
    })
}
