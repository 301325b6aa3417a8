use super::*;
use std::time::Duration;

use tokio::time::{Instant, timeout};

use crate::hbone::error::ConnectionError;
use crate::hbone::settings::{DEAD, KEEPALIVE, MAX_STREAM_WINDOW, STREAM_WINDOW, Sizes};
use crate::hbone::simulated::{Pair, drain_bytes, lagging, pair, pair_over, pipe, plenty, request, spawn};
use crate::hbone::window::Budget;

const MIB: usize = 1 << 20;

/// Sends until the far side's window is used up, and says how much that was.
async fn fill(send: &mut SendHalf) -> usize {
    let mut sent = 0;
    loop {
        let mut chunk = Bytes::from(vec![7; 16 << 10]);
        let full = timeout(Duration::from_secs(1), send.send(&mut chunk)).await.is_err();
        sent += (16 << 10) - chunk.len();
        if full {
            return sent;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn bytes_go_both_ways_and_each_direction_ends_by_itself() {
    let mut pair = pair(&plenty(), &plenty()).await;
    let (mut client, mut server) = pair.stream().await;
    client.send.send(&mut Bytes::from_static(b"hello")).await.unwrap();
    assert!(client.recv.try_recv().is_none());
    client.send.finish().unwrap();
    assert_eq!(server.recv.recv().await, Ok(Bytes::from_static(b"hello")));
    server.recv.release(5);
    assert_eq!(server.recv.recv().await, Err(End::Finished));
    assert_eq!(server.recv.recv().await, Err(End::Finished));
    server.send.send(&mut Bytes::from_static(b"good")).await.unwrap();
    server.send.send(&mut Bytes::from_static(b"bye")).await.unwrap();
    server.send.finish().unwrap();
    assert_eq!(client.recv.recv().await, Ok(Bytes::from_static(b"good")));
    assert_eq!(client.recv.try_recv(), Some(Ok(Bytes::from_static(b"bye"))));
    client.recv.release(usize::MAX);
    assert_eq!(client.recv.recv().await, Err(End::Finished));
}

#[tokio::test(start_paused = true)]
async fn a_reset_stays_the_reset_that_it_was() {
    let mut pair = pair(&plenty(), &plenty()).await;
    for (sent, seen) in [
        (ResetKind::Cancel, ResetKind::Cancel),
        (ResetKind::Connect, ResetKind::Connect),
        (ResetKind::Refused, ResetKind::Refused),
        (ResetKind::Other, ResetKind::Other),
    ] {
        let (mut client, mut server) = pair.stream().await;
        server.send.send(&mut Bytes::from_static(b"first")).await.unwrap();
        // Let it leave: a reset drops what is queued.
        assert_eq!(client.recv.recv().await, Ok(Bytes::from_static(b"first")));
        server.send.send(&mut Bytes::from_static(b"last")).await.unwrap();
        tokio::time::sleep(Duration::from_millis(1)).await;
        server.send.reset(sent);
        assert_eq!(client.send.was_reset().await, seen);
        assert_eq!(client.recv.recv().await, Ok(Bytes::from_static(b"last")), "data before a reset is not lost");
        assert_eq!(client.recv.recv().await, Err(End::Reset(seen)));
        assert_eq!(client.send.send(&mut Bytes::from_static(b"x")).await, Err(seen));
        assert_eq!(client.send.finish(), Err(seen));
    }
    let (client, mut server) = pair.stream().await;
    drop(client);
    assert_eq!(server.recv.recv().await, Err(End::Reset(ResetKind::Cancel)));

    let (mut client, _server) = pair.stream().await;
    pair.server.abort();
    assert_eq!(client.recv.recv().await, Err(End::Reset(ResetKind::Lost)));
}

#[tokio::test(start_paused = true)]
async fn the_window_is_given_back_only_for_what_was_released() {
    let mut pair = pair(&plenty(), &plenty()).await;
    let (mut client, mut server) = pair.stream().await;
    let window = STREAM_WINDOW as usize;
    let sending = async move { while client.send.send(&mut Bytes::from(vec![7; 16 << 10])).await.is_ok() {} };
    spawn(sending);
    let mut seen = 0;
    while let Ok(chunk) = timeout(Duration::from_secs(2), server.recv.recv()).await {
        seen += chunk.unwrap().len();
    }
    assert_eq!(seen, window, "received and not released: the sender waits");
    server.recv.release(window);
    assert!(timeout(Duration::from_secs(2), server.recv.recv()).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn eight_streams_that_stall_do_not_hold_up_the_ninth() {
    let mut pair = pair(&plenty(), &plenty()).await;
    let mut stalled = Vec::new();
    for _ in 0..8 {
        let (mut client, server) = pair.stream().await;
        assert!(fill(&mut client.send).await >= STREAM_WINDOW as usize);
        stalled.push((client, server));
    }
    let (mut client, mut server) = pair.stream().await;
    let begun = Instant::now();
    let sender = spawn(async move {
        for _ in 0..64 {
            client.send.send(&mut Bytes::from(vec![9; MIB])).await.unwrap();
        }
        client.send.finish().unwrap();
    });
    drain_bytes(&mut server.recv, 64 * MIB).await;
    assert_eq!(server.recv.recv().await, Err(End::Finished));
    sender.await.unwrap();
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    // They were not closed to make room: each still has its window's worth waiting.
    for (_, server) in &mut stalled {
        assert!(server.recv.try_recv().is_some_and(|chunk| chunk.is_ok()));
    }
}

/// Moves bytes through a stream whose app reads, then stops reading, and says how much comes then.
async fn after_moving(pair: &mut Pair, bytes: usize) -> usize {
    let (mut client, mut server) = pair.stream().await;
    let sender = spawn(async move {
        let mut left = bytes;
        while left > 0 {
            client.send.send(&mut Bytes::from(vec![9; left.min(MIB)])).await.unwrap();
            left -= left.min(MIB);
        }
        fill(&mut client.send).await;
        client
    });
    drain_bytes(&mut server.recv, bytes).await;
    let mut held = 0;
    while let Ok(Ok(chunk)) = timeout(Duration::from_secs(2), server.recv.recv()).await {
        held += chunk.len();
    }
    drop(sender.await);
    held
}

#[tokio::test(start_paused = true)]
async fn a_window_grows_while_the_app_reads_and_the_budget_allows() {
    let (first, last) = (STREAM_WINDOW as usize, MAX_STREAM_WINDOW as usize);
    let (budget, delay) = (Budget::new(64 * MIB), Duration::from_millis(5));
    let mut rich = pair_over(lagging(delay), &plenty(), &budget).await;
    let held = after_moving(&mut rich, 128 * MIB).await;
    assert_eq!(held, last);

    let poor = Budget::new(first);
    let mut pair = pair_over(lagging(delay), &plenty(), &poor).await;
    assert_eq!(after_moving(&mut pair, 128 * MIB).await, first);
    let told = |sizes| Budget::with_sizes(64 * MIB, sizes);
    let half = told(Sizes { stream_window: MIB as u32, ..Sizes::default() });
    let mut pair = pair_over(lagging(delay), &plenty(), &half).await;
    assert_eq!(after_moving(&mut pair, 128 * MIB).await, MIB, "no further than it is told");

    let joint = told(Sizes { connection_window: 100_000, ..Sizes::default() });
    let mut pair = pair_over(lagging(delay), &plenty(), &joint).await;
    assert_eq!(after_moving(&mut pair, 10 * MIB).await, 100_000, "all streams of the connection together");
    tokio::time::sleep(Duration::from_secs(1)).await;
    let left = [&budget, &poor, &half, &joint].map(Budget::charged);
    assert_eq!(left, [0; 4], "streams that ended give back what they had");
}

#[tokio::test(start_paused = true)]
async fn a_silent_peer_is_found_while_streams_are_open_and_only_then() {
    // A server that shakes hands and is then not polled: it answers no PING.
    let (near, far) = pipe();
    let (_tunnel, driver) = crate::hbone::client::Tunnel::open(near, &plenty()).await.unwrap();
    let driver = spawn(driver.run(|| {}));
    let _server = crate::hbone::server::Connection::open(far, &plenty()).await.unwrap();
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert!(!driver.is_finished(), "without a stream nobody asks");

    let mut pair = pair(&plenty(), &plenty()).await;
    let (_client, _server) = pair.stream().await;
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert!(!pair.client.is_finished() && !pair.server.is_finished(), "a peer that answers stays");
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_stops_answering_is_dead_after_twenty_seconds() {
    let (near, far) = pipe();
    // A relay between the ends that stops when it is told.
    let (mut left, right) = pipe();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    spawn(async move {
        let mut near = near;
        tokio::select! {
            _ = tokio::io::copy_bidirectional(&mut near, &mut left) => {}
            _ = stopped => std::future::pending().await,
        }
    });
    let server = spawn(async move {
        let connection = crate::hbone::server::Connection::open(right, &plenty()).await?;
        let mut held = Vec::new();
        connection.run(Default::default(), move |incoming| held.push(incoming.accept(None))).await
    });
    let (tunnel, driver) = crate::hbone::client::Tunnel::open(far, &plenty()).await.unwrap();
    let driver = spawn(driver.run(|| {}));
    let (mut stream, _) = tunnel.connect(&request(), None).await.unwrap();
    let begun = Instant::now();
    stop.send(()).unwrap();
    assert_eq!(stream.recv.recv().await, Err(End::Reset(ResetKind::Lost)));
    assert!(matches!(driver.await.unwrap(), Err(ConnectionError::Dead { .. })));
    assert!(matches!(server.await.unwrap(), Err(ConnectionError::Dead { .. })));
    assert!(begun.elapsed() <= KEEPALIVE + DEAD + Duration::from_secs(1), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn room_that_was_not_used_is_there_for_other_streams() {
    // A peer whose connection has room for one stream's worth.
    let (near, far) = pipe();
    let server = spawn(async move {
        let mut builder = h2::server::Builder::new();
        builder.initial_window_size(1 << 20).initial_connection_window_size(64 << 10);
        let connection = builder.handshake::<_, Bytes>(far).await.unwrap();
        let mut held = Vec::new();
        let hold = move |incoming: crate::hbone::server::Incoming| held.push(incoming.accept(None));
        crate::hbone::server::Connection::new(connection, &plenty()).run(Default::default(), hold).await
    });
    let (tunnel, driver) = crate::hbone::client::Tunnel::open(near, &plenty()).await.unwrap();
    spawn(driver.run(|| {}));
    let (mut one, _) = tunnel.connect(&request(), None).await.unwrap();
    let (mut two, _) = tunnel.connect(&request(), None).await.unwrap();
    let wait = Duration::from_secs(1);
    assert_eq!(one.send.ready(1 << 20).await, Ok((64 << 10) - 1), "HTTP/2 begins with 65,535");
    assert!(timeout(wait, two.send.ready(1)).await.is_err());
    one.send.give_up_room();
    assert_eq!(timeout(wait, two.send.ready(1)).await.unwrap(), Ok(1));
    assert!(!server.is_finished());
}
