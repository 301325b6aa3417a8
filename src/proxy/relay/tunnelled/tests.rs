use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::hbone::Budget;
use crate::hbone::client::{Request, Tunnel};
use crate::hbone::headers::Forwarded;
use crate::hbone::server::Connection;

const SOON: Duration = Duration::from_secs(20);

async fn pair() -> (TcpStream, TcpStream) {
    let listener = crate::sys::socket::listen("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = listener.local_addr().unwrap();
    let listener = tokio::net::TcpListener::from_std(listener).unwrap();
    let dial = crate::sys::socket::unconnected(false, 0).unwrap().start(address, None);
    let near = dial.unwrap().connected().await.unwrap();
    (near, listener.accept().await.unwrap().0)
}

/// A tunnel as both of its ends see it. Its connection is driven in the background.
async fn tunnel() -> (TunnelStream, TunnelStream) {
    let (near, far) = tokio::io::duplex(256 << 10);
    let budget = Budget::new(1 << 30);
    let (sender, mut incoming) = tokio::sync::mpsc::unbounded_channel();
    let server = budget.clone();
    #[expect(clippy::disallowed_methods, reason = "a test's tasks end with its runtime")]
    tokio::spawn(async move {
        let connection = Connection::open(far, &server).await.unwrap();
        drop(connection.run(CancellationToken::new(), move |one| drop(sender.send(one))).await);
    });
    let (tunnel, driver) = Tunnel::open(near, &budget).await.unwrap();
    #[expect(clippy::disallowed_methods, reason = "a test's tasks end with its runtime")]
    tokio::spawn(driver.run(|| {}));
    let authority = crate::hbone::authority::Authority::from("10.0.0.2:80".parse::<std::net::SocketAddr>().unwrap());
    let request = Request { authority, baggage: None, forwarded: Forwarded::default(), trace: None, network: None };
    let connect = tunnel.connect(&request, None);
    let accept = async { incoming.recv().await.unwrap().accept(None).unwrap() };
    let (connected, accepted) = tokio::join!(connect, accept);
    (connected.unwrap().0, accepted)
}

#[tokio::test]
async fn what_is_cut_does_not_look_complete() {
    let (mut app, socket) = pair().await;
    let (near, far) = tunnel().await;
    #[expect(clippy::disallowed_methods, reason = "a test owns its task")]
    let relay =
        tokio::spawn(async move { join(&socket, Side::Server, far, Resets::Tell, &Meter::default(), None).await });
    let (mut recv, _send) = near.split();
    app.write_all(b"half of an ans").await.unwrap();
    let mut seen = 0;
    while seen < 14 {
        seen += timeout(recv.recv()).await.unwrap().len();
    }
    relay.abort();
    assert_eq!(timeout(recv.recv()).await, Err(End::Reset(ResetKind::Connect)));
    let error = timeout(app.read(&mut [0; 1])).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn a_reset_does_not_wait_for_an_application_that_never_reads() {
    let (app, socket) = pair().await;
    let (near, far) = tunnel().await;
    let meter = Meter::default();
    let relay = join(&socket, Side::Server, far, Resets::Tell, &meter, None);
    let mut relay = std::pin::pin!(relay);
    let (_recv, mut send) = near.split();
    // More than the two sockets hold: the relay waits for the application.
    let stuff = async {
        while let Ok(room) = tokio::time::timeout(Duration::from_millis(500), send.ready(64 << 10)).await {
            let mut bytes = Bytes::from(vec![1; room.unwrap().min(64 << 10)]);
            send.send(&mut bytes).await.unwrap();
        }
    };
    tokio::select! {
        _ = &mut relay => panic!("nothing has ended yet"),
        () = stuff => {}
    }
    send.reset(ResetKind::Connect);
    let ended = timeout(relay).await;
    assert!(is_reset(&ended.unwrap_err()));
    drop(app);
}

/// How long a relay whose application does not read goes on after a reset, and with `sips` of the application in between.
async fn after_a_reset(app_ends: bool, sips: u32) -> Duration {
    let (mut app, socket) = pair().await;
    // So that most of what came waits in the relay, and moves in several steps.
    SockRef::from(&socket).set_send_buffer_size(4096).unwrap();
    SockRef::from(&app).set_recv_buffer_size(4096).unwrap();
    let (near, far) = tunnel().await;
    let meter = Meter::default();
    let mut relay = std::pin::pin!(join(&socket, Side::Server, far, Resets::Tell, &meter, None));
    let (_recv, mut send) = near.split();
    let prepare = async {
        if app_ends {
            app.shutdown().await.unwrap();
        }
        while let Ok(room) = tokio::time::timeout(Duration::from_millis(500), send.ready(64 << 10)).await {
            let mut bytes = Bytes::from(vec![1; room.unwrap().min(64 << 10)]);
            send.send(&mut bytes).await.unwrap();
        }
        send.reset(ResetKind::Connect);
        // Until it has arrived.
        sleep(Duration::from_millis(200)).await;
    };
    tokio::select! {
        ended = &mut relay => panic!("{ended:?}"),
        () = prepare => {}
    }
    let started = tokio::time::Instant::now();
    let reading = async {
        for _ in 0..sips {
            // Nothing else is under way while this sleeps, so the clock may go on by itself.
            tokio::time::pause();
            sleep(LAST_WORDS * 3 / 4).await;
            tokio::time::resume();
            let before = meter.read().0;
            let mut sip = vec![0; 4096];
            while meter.read().0 == before {
                assert_ne!(app.read(&mut sip).await.unwrap(), 0);
                sleep(Duration::from_millis(5)).await;
            }
        }
        tokio::time::pause();
        std::future::pending::<()>().await;
    };
    let ended = tokio::select! {
        ended = tokio::time::timeout(LAST_WORDS * 6, relay) => ended.unwrap(),
        () = reading => unreachable!("it reads no further"),
    };
    assert!(is_reset(&ended.unwrap_err()));
    started.elapsed()
}

#[tokio::test]
async fn a_reset_after_the_applications_end_waits_no_longer_for_one_that_never_reads() {
    let took = after_a_reset(true, 0).await;
    assert!((LAST_WORDS / 2..LAST_WORDS * 2).contains(&took), "{took:?}");
}

#[tokio::test]
async fn an_application_that_reads_slowly_gets_what_came_before_a_reset() {
    let took = after_a_reset(false, 2).await;
    assert!(took > LAST_WORDS * 2, "{took:?}");
}

#[tokio::test]
async fn a_waypoints_reset_is_a_close_after_all_data() {
    for (resets, is_close) in [(Resets::Close, true), (Resets::Tell, false)] {
        for kind in [ResetKind::Connect, ResetKind::Other, ResetKind::Cancel, ResetKind::Refused] {
            let (mut app, socket) = pair().await;
            let (near, far) = tunnel().await;
            let (_recv, mut send) = far.split();
            let meter = Meter::default();
            let relay = async {
                let ended = join(&socket, Side::Client, near, resets, &meter, None).await.is_ok();
                drop(socket);
                ended
            };
            let peer = async {
                let mut answer = Bytes::from(vec![7; 200_000]);
                timeout(send.send(&mut answer)).await.unwrap();
                // The library drops what is queued when it resets; wait until all of it has left.
                while meter.read().1 < 200_000 {
                    sleep(Duration::from_millis(1)).await;
                }
                send.reset(kind);
                let mut got = Vec::new();
                let end = timeout(app.read_to_end(&mut got)).await;
                (got.len(), end.is_ok())
            };
            let (ended, (got, clean)) = tokio::join!(relay, peer);
            assert_eq!(got, 200_000, "{resets:?} {kind:?}");
            let plain = is_close || kind == ResetKind::Cancel;
            assert_eq!((ended, clean), (plain, plain), "{resets:?} {kind:?}");
        }
    }
}

#[tokio::test]
async fn an_idle_stream_leaves_the_connections_room_to_the_others() {
    let (mut app, socket) = pair().await;
    let [one, two] = crate::hbone::simulated::narrow().await;
    let meter = Meter::default();
    let relay = async { join(&socket, Side::Client, one, Resets::Tell, &meter, None).await };
    let (_recv, mut send) = two.split();
    let other = async {
        app.write_all(b"x").await.unwrap();
        while meter.read().0 < 1 {
            sleep(Duration::from_millis(1)).await;
        }
        // All but that byte.
        while timeout(send.ready(1 << 20)).await != Ok(65_534) {
            send.give_up_room();
            sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        ended = relay => panic!("{ended:?}"),
        () = timeout(other) => {}
    }
}

/// Short, since the sockets are real.
const LIMIT: Duration = Duration::from_millis(600);

#[tokio::test]
async fn a_half_open_stream_that_is_silent_is_ended_and_every_byte_gives_it_more() {
    for app_ends in [true, false] {
        let (mut app, socket) = pair().await;
        let (near, far) = tunnel().await;
        let meter = Meter::default();
        let mut relay = std::pin::pin!(async {
            let ended = join(&socket, Side::Server, far, Resets::Tell, &meter, Some(LIMIT)).await;
            drop(socket);
            (ended, tokio::time::Instant::now())
        });
        let (mut recv, mut send) = near.split();
        let idle = tokio::time::timeout(LIMIT * 2, &mut relay).await;
        assert!(idle.is_err(), "an idle stream was ended");
        let talk = async {
            if app_ends {
                app.shutdown().await.unwrap()
            } else {
                send.finish().unwrap()
            }
            for _ in 0..6 {
                sleep(LIMIT / 3).await;
                if app_ends {
                    send.send(&mut Bytes::from_static(b"x")).await.unwrap();
                    app.read_exact(&mut [0]).await.unwrap();
                } else {
                    app.write_all(b"x").await.unwrap();
                    recv.recv().await.unwrap();
                }
            }
            tokio::time::Instant::now()
        };
        let ((ended, at), last) = timeout(async { tokio::join!(relay, talk) }).await;
        assert!(matches!(ended, Err(Early::HalfOpen { limit: LIMIT })), "{ended:?}");
        assert!(at - last >= LIMIT * 9 / 10, "the last byte did not count: {:?}", at - last);
        if app_ends {
            let error = timeout(app.read_to_end(&mut Vec::new())).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::ConnectionReset, "what is cut must not look complete");
        }
        let end = if app_ends {
            timeout(recv.recv()).await.unwrap_err()
        } else {
            End::Reset(timeout(send.was_reset()).await)
        };
        // After its END_STREAM the far side hears of it at once; a stream that is over hears nothing.
        assert!(matches!(end, End::Reset(ResetKind::Connect) | End::Finished), "{end:?}");
    }
}

fn is_reset(early: &Early) -> bool {
    matches!(early, Early::Broken(broken) if broken.source.kind() == io::ErrorKind::ConnectionReset)
}

async fn timeout<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(SOON, work).await.unwrap()
}
