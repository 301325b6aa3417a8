use proptest::prelude::*;

use super::*;
use crate::dns::message::A;
use crate::dns::message::tests::query;

/// A server that takes everything and says nothing, and the asker beside it.
fn silent() -> Option<(std::net::UdpSocket, SocketAddr, Upstream)> {
    crate::sys::kernel_tests::may_run("questions to name servers").then(|| {
        let netns = Netns::fresh().unwrap();
        let server = netns.run(|| socket::listen_datagrams("127.0.0.1:53".parse().unwrap())).unwrap().unwrap();
        let address = server.local_addr().unwrap();
        (server, address, Upstream { netns, mark: 0 })
    })
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_ever() {
    let Some((_server, address, upstream)) = silent() else { return };
    let bytes = query("a.b", A, None);
    let message = Message::new(&bytes).unwrap();
    for (servers, changes) in [(vec![address], false), (vec![address; 3], false), (vec![address], true)] {
        let started = Instant::now();
        let answer = upstream.datagram(message, &servers, changes).await;
        assert!(matches!(answer, Err(Unanswered::Timeout)), "{answer:?}");
        assert!(started.elapsed().abs_diff(LIMIT) < Duration::from_millis(20), "{:?}", started.elapsed());
    }
    let none = upstream.datagram(message, &[], false).await;
    assert!(matches!(none, Err(Unanswered::NoServers)), "{none:?}");
    let none = upstream.stream(message, &[]).await;
    assert!(matches!(none, Err(Unanswered::NoServers)), "{none:?}");
}

#[tokio::test]
async fn where_nobody_listens_it_is_told_at_once() {
    let Some((server, address, upstream)) = silent() else { return };
    drop(server);
    let bytes = query("a.b", A, None);
    let message = Message::new(&bytes).unwrap();
    let answer = upstream.datagram(message, &[address], false).await;
    assert!(matches!(answer, Err(Unanswered::Unreachable(_))), "{answer:?}");
    let answer = upstream.stream(message, &[address]).await;
    assert!(matches!(answer, Err(Unanswered::Unreachable(_))), "{answer:?}");
}

#[tokio::test]
async fn frames_come_back() {
    for length in [0, 1, 300, 65_535] {
        let (mut one, mut other) = tokio::io::duplex(200_000);
        let message = vec![7; length];
        write_frame(&mut one, &message).await.unwrap();
        drop(one);
        assert_eq!(read_frame(&mut other).await.unwrap(), Some(message));
        assert_eq!(read_frame(&mut other).await.unwrap(), None);
    }
    let (mut one, _other) = tokio::io::duplex(10);
    assert!(write_frame(&mut one, &[0; 65_536]).await.is_err());
}

proptest! {
    #[test]
    fn any_stream(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let mut rest = bytes.as_slice();
            while let Ok(Some(message)) = read_frame(&mut rest).await {
                assert!(message.len() <= bytes.len());
            }
        });
    }
}
