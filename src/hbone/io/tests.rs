use super::*;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::hbone::client::Tunnel;
use crate::hbone::server::{Connection, Incoming};
use crate::hbone::simulated::{pair, plenty, request, spawn};

#[tokio::test(start_paused = true)]
async fn bytes_go_through_whole_and_the_window_is_given_back() {
    let mut pair = pair(&plenty(), &plenty()).await;
    let (client, server) = pair.stream().await;
    let (mut client, mut server) = (TunnelIo::new(client), TunnelIo::new(server));
    // More than any window that is given at once.
    let sent: Vec<u8> = (0..9_000_000u32).map(|n| (n >> 3) as u8).collect();
    let expected = sent.clone();
    let writer = spawn(async move {
        client.write_all(&sent).await.unwrap();
        client.shutdown().await.unwrap();
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).await.unwrap();
        answer
    });
    let mut got = Vec::new();
    server.read_to_end(&mut got).await.unwrap();
    assert!(got == expected, "what came is not what was sent");
    server.write_all(b"done").await.unwrap();
    server.shutdown().await.unwrap();
    server.shutdown().await.unwrap();
    assert_eq!(writer.await.unwrap(), b"done");
}

#[tokio::test(start_paused = true)]
async fn a_reset_is_an_error_and_no_end() {
    let mut pair = pair(&plenty(), &plenty()).await;
    for (kind, expected) in [
        (ResetKind::Cancel, io::ErrorKind::BrokenPipe),
        (ResetKind::Connect, io::ErrorKind::ConnectionReset),
        (ResetKind::Refused, io::ErrorKind::ConnectionRefused),
        (ResetKind::Other, io::ErrorKind::ConnectionReset),
    ] {
        let (client, mut server) = pair.stream().await;
        let mut client = TunnelIo::new(client);
        server.send.reset(kind);
        assert_eq!(client.read(&mut [0; 8]).await.unwrap_err().kind(), expected);
    }
    let (client, _server) = pair.stream().await;
    let mut client = TunnelIo::new(client);
    pair.server.abort();
    assert_eq!(client.read(&mut [0; 8]).await.unwrap_err().kind(), io::ErrorKind::ConnectionAborted);
}

/// A tunnel in a tunnel: HTTP/2 with its own windows and PINGs runs over the adapter.
#[tokio::test(start_paused = true)]
async fn a_tunnel_runs_inside_of_a_tunnel() {
    let mut outer = pair(&plenty(), &plenty()).await;
    let (near, far) = outer.stream().await;
    let server = spawn(async move {
        let connection = Connection::open(TunnelIo::new(far), &plenty()).await.unwrap();
        let echo = |incoming: Incoming| {
            spawn(async move {
                let mut io = TunnelIo::new(incoming.accept(None).unwrap());
                let mut bytes = vec![0; 64 << 10];
                while let Ok(count @ 1..) = io.read(&mut bytes).await {
                    io.write_all(&bytes[..count]).await.unwrap();
                }
                io.shutdown().await.unwrap();
            });
        };
        drop(connection.run(tokio_util::sync::CancellationToken::new(), echo).await);
    });
    let (tunnel, driver) = Tunnel::open(TunnelIo::new(near), &plenty()).await.unwrap();
    let driver = spawn(driver.run(|| {}));
    let (one, _) = tunnel.connect(&request(), None).await.unwrap();
    let (mut read, mut write) = tokio::io::split(TunnelIo::new(one));
    let sent = vec![0x5a; 3 << 20];
    let expected = sent.clone();
    let writer = spawn(async move {
        write.write_all(&sent).await.unwrap();
        write.shutdown().await.unwrap();
    });
    let mut got = Vec::new();
    read.read_to_end(&mut got).await.unwrap();
    assert!(got == expected, "what came back is not what was sent");
    writer.await.unwrap();
    server.abort();
    driver.abort();
}
