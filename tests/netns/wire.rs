//! Raw connections of a test: bytes that are checked, half-closes and resets.

use std::io;
use std::net::SocketAddr;

use culvert::role::demo::app::Pattern;
use culvert::sys::netns::Netns;
use culvert::sys::plain_tcp;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::bed::PATIENCE;

/// Connects from inside a namespace.
pub(crate) async fn connect(from: &Netns, to: SocketAddr) -> io::Result<TcpStream> {
    let socket = plain_tcp::unconnected(from, to).await.map_err(io::Error::other)?;
    timeout(PATIENCE, socket.connect(to)).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
}

/// Reads until the end, or the error that came instead of it.
pub(crate) async fn rest(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut all = Vec::new();
    let read = timeout(PATIENCE, stream.read_to_end(&mut all)).await;
    read.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    Ok(all)
}

/// Sends `total` bytes of the pattern, closes that half and checks that all of them come back from an echo.
pub(crate) async fn echo(from: &Netns, to: SocketAddr, total: usize) {
    let mut stream = connect(from, to).await.unwrap();
    let (mut read, mut write) = stream.split();
    let sending = async {
        let mut pattern = Pattern::default();
        while (pattern.offset() as usize) < total {
            let left = total - pattern.offset() as usize;
            write.write_all(&pattern.take(left.min(100_000))).await.unwrap();
        }
        // The half-close: what is on its way back must come all the same.
        write.shutdown().await.unwrap();
    };
    let reading = async {
        let (mut pattern, mut buffer) = (Pattern::default(), vec![0; 64 << 10]);
        loop {
            let length = read.read(&mut buffer).await.unwrap();
            if length == 0 {
                return pattern.offset();
            }
            pattern.verify(&buffer[..length]).unwrap();
        }
    };
    let ((), back) = timeout(PATIENCE * 4, async { tokio::join!(sending, reading) }).await.expect("the echo ends");
    assert_eq!(back, total as u64, "every byte came back");
}

/// Bytes that went over a connection, as the client counts them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Count {
    pub(crate) sent: u64,
    pub(crate) received: u64,
}

/// An HTTP request with a body of `up` bytes of the pattern for an answer of `down` of them, on a connection of its own.
/// Only one of the two is more than a few bytes.
pub(crate) async fn transfer(from: &Netns, to: SocketAddr, up: usize, down: usize) -> Count {
    let mut stream = connect(from, to).await.unwrap();
    let path = if up > 0 { "/upload".to_owned() } else { format!("/bytes?n={down}") };
    let method = if up > 0 { "POST" } else { "GET" };
    let head = format!("{method} {path} HTTP/1.1\r\nhost: x\r\ncontent-length: {up}\r\nconnection: close\r\n\r\n");
    let work = async {
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(&Pattern::default().take(up)).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        answer
    };
    let answer = timeout(PATIENCE * 4, work).await.expect("the transfer ends");
    let split = answer.windows(4).position(|window| window == b"\r\n\r\n").expect("an HTTP answer") + 4;
    let body = &answer[split..];
    if up > 0 {
        let said: serde_json::Value = serde_json::from_slice(body).unwrap();
        assert_eq!((said["received"].as_u64(), said["verified"].as_bool()), (Some(up as u64), Some(true)), "{said}");
    } else {
        assert_eq!(body.len(), down);
        Pattern::default().verify(body).unwrap();
    }
    Count { sent: (head.len() + up) as u64, received: answer.len() as u64 }
}
