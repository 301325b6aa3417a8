//! What a command asks of a node that runs: one page of its admin site, as JSON.

use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::Request;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::time::timeout;

use crate::sys::socket;

/// The largest page that is read. A list of 10,000 entries has some 5 MB.
const MOST: usize = 64 << 20;
/// A page is made in milliseconds; a node that is busy reading manifests takes longer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Reads `path`, with its query, from the admin page of the node at `node`.
///
/// # Errors
/// Nobody listens there, or what listens is no node; or the node's own words for what was wrong with the question.
pub(super) fn page(node: SocketAddr, path: &str) -> anyhow::Result<Value> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let answered = runtime.block_on(async { timeout(PATIENCE, exchange(node, path)).await });
    let answered = answered.unwrap_or_else(|_| Err(anyhow!("no answer within {PATIENCE:?}")));
    let (status, body) = answered.with_context(|| {
        format!("cannot ask the node at {node}; name the admin-address of one that runs with --node")
    })?;
    let page: Option<Value> = serde_json::from_slice(&body).ok();
    match (status, page) {
        (200, Some(page)) => Ok(page),
        (_, Some(page)) if page["error"].is_string() => {
            bail!("{}", page["error"].as_str().unwrap_or_default())
        }
        (404, _) => bail!("the node at {node} has no page {path}: is it an older culvert, or another program?"),
        (status, _) => bail!("the node at {node} answered {status}, and no JSON: is that another program's port?"),
    }
}

async fn exchange(node: SocketAddr, path: &str) -> anyhow::Result<(u16, Bytes)> {
    let stream = socket::unconnected(node.is_ipv6(), 0)?.start(node, None)?.connected().await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let request = Request::get(path).header("host", node.to_string()).body(Empty::<Bytes>::new())?;
    let exchange = async {
        let response = sender.send_request(request).await?;
        let status = response.status().as_u16();
        let body = Limited::new(response.into_body(), MOST).collect().await.map_err(|error| anyhow!(error))?;
        anyhow::Ok((status, body.to_bytes()))
    };
    let mut exchange = pin!(exchange);
    tokio::select! {
        biased;
        answered = &mut exchange => answered,
        // The connection has ended: what it still held is in the exchange.
        _ = connection => exchange.await,
    }
}
