use super::*;

use std::sync::atomic::AtomicBool;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex, split};
use tokio::time::timeout;

use crate::hbone::simulated::{drain_bytes, pair, pair_over, plenty, spawn};
use crate::hbone::tunnel::SendHalf;

/// Sends until nothing more is taken for a second, and says how much was.
async fn fill(send: &mut SendHalf) -> usize {
    let mut sent = 0;
    loop {
        let mut chunk = Bytes::from(vec![7; 16 << 10]);
        let full = match timeout(Duration::from_secs(1), send.send(&mut chunk)).await {
            Ok(taken) => taken.is_err(),
            Err(_) => true,
        };
        sent += (16 << 10) - chunk.len();
        if full {
            return sent;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_written_counts_no_more() {
    let budget = Budget::new(1 << 20);
    let mut pair = pair(&budget, &plenty()).await;
    let (mut client, mut server) = pair.stream().await;
    let writer = spawn(async move {
        for _ in 0..64 {
            client.send.send(&mut Bytes::from(vec![1; 100_000])).await.unwrap();
        }
        client
    });
    drain_bytes(&mut server.recv, 6_400_000).await;
    let _client = writer.await.unwrap();
    assert_eq!((budget.unsent(), budget.times_held_back()), (0, 0));
}

/// A pipe of 16 KiB each way that stops to carry what the near end says once `stopped`.
fn gated(stopped: Arc<AtomicBool>) -> (DuplexStream, DuplexStream) {
    let ((near, left), (right, far)) = (duplex(16 << 10), duplex(16 << 10));
    let ((mut left_read, mut left_write), (mut right_read, mut right_write)) = (split(left), split(right));
    spawn(async move {
        let mut bytes = vec![0; 16 << 10];
        while let Ok(count @ 1..) = left_read.read(&mut bytes).await {
            if stopped.load(Ordering::Relaxed) {
                std::future::pending::<()>().await;
            }
            right_write.write_all(&bytes[..count]).await.unwrap();
        }
    });
    spawn(async move { tokio::io::copy(&mut right_read, &mut left_write).await });
    (near, far)
}

#[tokio::test(start_paused = true)]
async fn streams_that_stall_share_the_budget_and_each_keeps_its_floor() {
    let budget = Budget::new(256 << 10);
    let stopped = Arc::new(AtomicBool::new(false));
    let mut pair = pair_over(gated(Arc::clone(&stopped)), &budget, &plenty()).await;
    let mut streams = Vec::new();
    for _ in 0..8 {
        streams.push(pair.stream().await);
    }
    stopped.store(true, Ordering::Relaxed);
    let mut taken = Vec::new();
    for (client, _) in &mut streams {
        taken.push(fill(&mut client.send).await);
    }
    let held = budget.unsent();
    assert!(held <= (256 << 10) + 8 * FLOOR, "{held} held");
    assert!(held >= 256 << 10, "{held} held: the budget is there to be used");
    assert!(budget.times_held_back() > 0);
    assert!(taken.iter().all(|bytes| *bytes >= FLOOR), "{taken:?}");
    drop(streams);
}

#[test]
fn who_waits_is_woken_when_a_piece_has_gone() {
    let budget = Budget::new(0);
    let unsent = Unsent::new(budget.clone());
    let mut cx = Context::from_waker(Waker::noop());
    let piece = unsent.count(Bytes::from(vec![0; FLOOR]));
    assert!(unsent.poll_room(&mut cx).is_pending());
    let part = piece.slice(..10);
    drop(piece);
    assert!(unsent.poll_room(&mut cx).is_pending(), "a part of it is still held");
    drop(part);
    assert_eq!(unsent.poll_room(&mut cx), Poll::Ready(FLOOR));
    assert_eq!(budget.unsent(), 0);
}
