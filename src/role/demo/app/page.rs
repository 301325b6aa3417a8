//! One page of a daemon, read from inside its namespace.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::client::connect;
use crate::sys::netns::Netns;

/// A page that could not be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read http://{at}{path}: {what}")]
pub struct PageError {
    at: SocketAddr,
    path: String,
    what: String,
}

/// Status and body of `path` at `at`, asked from inside `from`. The server must close after its answer.
pub async fn page(from: &Netns, at: SocketAddr, path: &str, patience: Duration) -> Result<(u16, String), PageError> {
    let failed = |what: String| PageError { at, path: path.into(), what };
    let exchange = async {
        let mut stream = connect(from, at).await.map_err(|(refusal, cause)| failed(format!("{refusal} ({cause})")))?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: {at}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.map_err(|e| failed(e.to_string()))?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.map_err(|e| failed(e.to_string()))?;
        let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(|| failed("no answer".into()))?;
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
        Ok((status.ok_or_else(|| failed("no status".into()))?, body.to_owned()))
    };
    timeout(patience, exchange).await.unwrap_or_else(|_| Err(failed(format!("no answer within {patience:?}"))))
}
