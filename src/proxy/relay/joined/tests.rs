use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::*;

/// Ends of a joined pair: what the client holds, what the server holds, the relay's result.
struct Joined {
    client: TcpStream,
    server: TcpStream,
    meter: Arc<Meter>,
    pipes: PipePool,
    relay: tokio::task::JoinHandle<Result<(), Early>>,
}

async fn pair() -> (TcpStream, TcpStream) {
    let listener = crate::sys::socket::listen("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = listener.local_addr().unwrap();
    let listener = tokio::net::TcpListener::from_std(listener).unwrap();
    let near = crate::sys::socket::unconnected(false, 0).unwrap();
    let near = near.start(address, None).unwrap().connected().await.unwrap();
    (near, listener.accept().await.unwrap().0)
}

async fn joined() -> Joined {
    joined_until(None).await
}

async fn joined_until(half_open: Option<Duration>) -> Joined {
    let (client, a) = pair().await;
    let (b, server) = pair().await;
    let meter = Arc::new(Meter::default());
    let pipes = PipePool::new();
    let (counts, pool) = (Arc::clone(&meter), pipes.clone());
    #[expect(clippy::disallowed_methods, reason = "a test owns its task")]
    let relay = tokio::spawn(async move { join(&a, &b, &pool, &counts, half_open).await });
    Joined { client, server, meter, pipes, relay }
}

const SOON: Duration = Duration::from_secs(20);

#[tokio::test]
async fn a_request_and_its_answer_pass_and_are_counted() {
    let mut j = joined().await;
    j.client.write_all(b"hello").await.unwrap();
    let mut seen = [0; 5];
    j.server.read_exact(&mut seen).await.unwrap();
    j.server.write_all(b"hello yourself").await.unwrap();
    let mut seen = [0; 14];
    j.client.read_exact(&mut seen).await.unwrap();
    assert_eq!(&seen, b"hello yourself");
    assert_eq!(j.meter.read(), (5, 14));
}

#[tokio::test]
async fn the_end_of_one_direction_leaves_the_other_alive() {
    let mut j = joined().await;
    j.client.write_all(b"question").await.unwrap();
    j.client.shutdown().await.unwrap();
    let mut question = Vec::new();
    timeout(SOON, j.server.read_to_end(&mut question)).await.unwrap().unwrap();
    assert_eq!(question, b"question");
    j.server.write_all(b"a late answer").await.unwrap();
    drop(j.server);
    let mut answer = Vec::new();
    timeout(SOON, j.client.read_to_end(&mut answer)).await.unwrap().unwrap();
    assert_eq!(answer, b"a late answer");
    timeout(SOON, j.relay).await.unwrap().unwrap().unwrap();
    assert_eq!(j.meter.read(), (8, 13));
}

#[tokio::test]
async fn bulk_passes_both_ways_unchanged_with_a_reader_that_stalls() {
    let j = joined().await;
    const TOTAL: usize = 24 << 20;
    let pattern: Arc<Vec<u8>> = Arc::new((0..TOTAL).map(|i| (i * 31 + i / 4093) as u8).collect());
    let (client_read, client_write) = j.client.into_split();
    let (server_read, server_write) = j.server.into_split();
    let send = |mut to: tokio::net::tcp::OwnedWriteHalf, data: Arc<Vec<u8>>| async move {
        to.write_all(&data).await.unwrap();
        to.shutdown().await.unwrap();
    };
    let receive = |mut from: tokio::net::tcp::OwnedReadHalf| async move {
        let mut got = vec![0; 100_000];
        from.read_exact(&mut got).await.unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await; // the pipe and both buffers fill up
        from.read_to_end(&mut got).await.unwrap();
        got
    };
    let all = async {
        tokio::join!(
            send(client_write, Arc::clone(&pattern)),
            send(server_write, Arc::clone(&pattern)),
            receive(client_read),
            receive(server_read)
        )
    };
    let ((), (), down, up) = timeout(SOON, all).await.unwrap();
    assert!(up == *pattern && down == *pattern);
    timeout(SOON, j.relay).await.unwrap().unwrap().unwrap();
    assert_eq!(j.meter.read(), (TOTAL as u64, TOTAL as u64));
    assert_eq!(j.pipes.lease().unwrap().held(), 0);
}

#[tokio::test]
async fn a_reset_stays_a_reset_in_both_directions() {
    for client_resets in [true, false] {
        let j = joined().await;
        let (broken, mut other) = if client_resets { (j.client, j.server) } else { (j.server, j.client) };
        reset_on_close(&broken);
        drop(broken);
        let error = timeout(SOON, other.read_to_end(&mut Vec::new())).await.unwrap().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        let broken = timeout(SOON, j.relay).await.unwrap().unwrap().unwrap_err();
        let side = if client_resets { Side::Client } else { Side::Server };
        assert!(matches!(&broken, Early::Broken(broken) if broken.side == side), "{broken:?}");
    }
}

#[tokio::test]
async fn a_reset_is_seen_while_the_other_side_takes_nothing() {
    let j = joined().await;
    let (mut client, server) = (j.client, j.server);
    // Write until nothing more goes: the relay is now stuck on the server's socket.
    let chunk = vec![7; 1 << 20];
    while timeout(Duration::from_millis(300), client.write_all(&chunk)).await.is_ok() {}
    reset_on_close(&client);
    drop(client);
    let broken = timeout(SOON, j.relay).await.unwrap().unwrap().unwrap_err();
    assert!(matches!(&broken, Early::Broken(broken) if broken.side == Side::Client), "{broken:?}");
    drop(server);
}

#[tokio::test]
async fn a_joined_pair_costs_little_memory() {
    let (a, _client) = pair().await;
    let (b, _server) = pair().await;
    let (meter, pipes) = (Meter::default(), PipePool::new());
    let relay = join(&a, &b, &pipes, &meter, Some(SOON));
    // Both directions and both watches; it lives as long as the connection does.
    assert!(size_of_val(&relay) <= 1312, "{} bytes", size_of_val(&relay));
}

#[tokio::test]
async fn what_is_cut_does_not_look_complete() {
    let mut j = joined().await;
    j.server.write_all(b"half of an ans").await.unwrap();
    let mut seen = [0; 14];
    j.client.read_exact(&mut seen).await.unwrap();
    j.relay.abort();
    let error = timeout(SOON, j.client.read(&mut seen)).await.unwrap().unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    let error = timeout(SOON, j.server.read(&mut seen)).await.unwrap().unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
}

/// Short, since the sockets are real.
const LIMIT: Duration = Duration::from_millis(600);

#[tokio::test]
async fn a_half_open_connection_that_is_silent_is_ended_and_every_byte_gives_it_more() {
    let mut j = joined_until(Some(LIMIT)).await;
    // Silent in both directions it is only idle.
    assert!(timeout(LIMIT * 2, &mut j.relay).await.is_err(), "an idle connection was ended");
    j.client.shutdown().await.unwrap();
    let mut answer = [0; 1];
    for _ in 0..6 {
        tokio::time::sleep(LIMIT / 3).await;
        j.server.write_all(b"x").await.unwrap();
        timeout(SOON, j.client.read_exact(&mut answer)).await.unwrap().unwrap();
    }
    let last = tokio::time::Instant::now();
    let ended = timeout(SOON, j.relay).await.unwrap().unwrap().unwrap_err();
    assert!(matches!(ended, Early::HalfOpen { limit: LIMIT }), "{ended:?}");
    assert!(last.elapsed() >= LIMIT * 9 / 10, "the last byte did not count: {:?}", last.elapsed());
    let error = timeout(SOON, j.client.read_to_end(&mut Vec::new())).await.unwrap().unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset, "what is cut must not look complete");
    // It has read the end of the other direction before; that its own is cut it hears as it writes.
    j.server.write_all(b"x").await.unwrap_err();
}

#[tokio::test]
async fn without_a_limit_a_half_open_connection_waits() {
    let mut j = joined().await;
    j.server.shutdown().await.unwrap();
    assert!(timeout(LIMIT, &mut j.relay).await.is_err());
}
