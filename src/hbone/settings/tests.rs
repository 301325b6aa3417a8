//! What goes over the wire, read without the library.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};

use super::*;
use crate::hbone::client::Tunnel;
use crate::hbone::server::Connection;
use crate::hbone::simulated::{pipe, spawn};
use crate::hbone::window::Budget;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Frame types and settings (RFC 9113 sections 6.5, 6.9 and 6.5.2).
const SETTINGS_FRAME: u8 = 4;
const WINDOW_UPDATE: u8 = 8;
const INITIAL_WINDOW_SIZE: u16 = 4;
const MAX_FRAME_SIZE: u16 = 5;

/// Bytes of the window of a stream, of the connection, and of the largest frame, as an end tells them.
async fn told(stream: &mut DuplexStream) -> (u32, u32, u32) {
    let (mut window, mut frame, mut connection) = (65_535, 16_384, 65_535);
    let mut settings = false;
    loop {
        let mut head = [0; 9];
        // Nothing more comes: what was told is told.
        let read = tokio::time::timeout(Duration::from_secs(1), stream.read_exact(&mut head)).await;
        let Ok(read) = read else { break };
        read.unwrap();
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let mut payload = vec![0; length];
        stream.read_exact(&mut payload).await.unwrap();
        match head[3] {
            SETTINGS_FRAME if head[4] == 0 => {
                settings = true;
                for one in payload.chunks(6) {
                    let value = u32::from_be_bytes(one[2..].try_into().unwrap());
                    match u16::from_be_bytes([one[0], one[1]]) {
                        INITIAL_WINDOW_SIZE => window = value,
                        MAX_FRAME_SIZE => frame = value,
                        _ => {}
                    }
                }
            }
            WINDOW_UPDATE => connection += u32::from_be_bytes(payload[..].try_into().unwrap()),
            _ => {}
        }
    }
    assert!(settings, "every connection begins with its settings");
    (window, connection, frame)
}

async fn by_client(sizes: Sizes) -> (u32, u32, u32) {
    let (near, mut far) = pipe();
    let (_tunnel, driver) = Tunnel::open(near, &Budget::with_sizes(1 << 30, sizes)).await.unwrap();
    spawn(driver.run(|| {}));
    let mut preface = [0; PREFACE.len()];
    far.read_exact(&mut preface).await.unwrap();
    assert_eq!(preface, PREFACE);
    told(&mut far).await
}

async fn by_server(sizes: Sizes) -> (u32, u32, u32) {
    let (near, mut far) = pipe();
    spawn(async move {
        let connection = Connection::open(near, &Budget::with_sizes(1 << 30, sizes)).await.unwrap();
        connection.run(Default::default(), |_| {}).await
    });
    far.write_all(PREFACE).await.unwrap();
    far.write_all(&[0, 0, 0, SETTINGS_FRAME, 0, 0, 0, 0, 0]).await.unwrap();
    told(&mut far).await
}

#[tokio::test(start_paused = true)]
async fn both_ends_tell_their_peers_the_sizes_that_were_set() {
    let sizes = |stream_window, connection_window, frame| Sizes { stream_window, connection_window, frame };
    let most = Sizes::MOST_WINDOW;
    for (told, expected) in [
        (Sizes::default(), (STREAM_WINDOW, CONNECTION_WINDOW, MAX_FRAME)),
        // A window that may grow further begins where all do.
        (sizes(8 << 20, 16 << 20, 1 << 20), (STREAM_WINDOW, 16 << 20, 1 << 20)),
        (sizes(100_000, 65_535, 16_384), (100_000, 65_535, 16_384)),
        (sizes(1, most, 16_777_215), (1, most, 16_777_215)),
        // What the protocol does not have.
        (sizes(0, 0, 0), (1, 65_535, 16_384)),
        (sizes(u32::MAX, u32::MAX, u32::MAX), (STREAM_WINDOW, most, 16_777_215)),
    ] {
        assert_eq!(by_client(told).await, expected, "client, {told:?}");
        assert_eq!(by_server(told).await, expected, "server, {told:?}");
    }
}
