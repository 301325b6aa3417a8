use super::*;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::hbone::client::Request;
use crate::hbone::error::TunnelError;
use crate::hbone::headers::WorkloadKind;
use crate::hbone::settings::{ANSWER, SERVER_STREAMS};
use crate::hbone::simulated::{address, lagging, pair, pair_over, pipe, plenty, request, spawn};
use crate::hbone::tunnel::End;

type Serving = JoinHandle<Result<(), ConnectionError>>;

fn serve(far: DuplexStream) -> (Serving, mpsc::UnboundedReceiver<Incoming>) {
    let (sender, incoming) = mpsc::unbounded_channel();
    let serving = spawn(async move {
        let connection = Connection::open(far, &plenty()).await?;
        connection.run(CancellationToken::new(), move |incoming| drop(sender.send(incoming))).await
    });
    (serving, incoming)
}

/// A client of the library itself, to do what ours never would.
async fn stranger(near: DuplexStream) -> h2::client::SendRequest<Bytes> {
    let (requests, connection) =
        h2::client::Builder::new().initial_max_send_streams(100_000).handshake::<_, Bytes>(near).await.unwrap();
    spawn(connection);
    requests
}

fn connect(uri: &str) -> http::Request<()> {
    http::Request::builder().method(Method::CONNECT).uri(uri).body(()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn what_the_client_says_arrives_and_so_does_the_answer() {
    let mut pair = pair(&plenty(), &plenty()).await;
    let baggage = Baggage {
        namespace: "shop,x=y".into(),
        workload: Some((WorkloadKind::Deployment, "cart".into())),
        ..Baggage::default()
    };
    let request = Request {
        authority: "server.shop.svc:80".parse().unwrap(),
        baggage: Some(baggage.clone()),
        forwarded: Forwarded { client: Some(address()), host: Some("server.shop.svc".into()) },
        trace: Some(TraceParent::new([1; 16], [2; 8])),
        network: Some("n1".into()),
    };
    let far = async {
        let incoming = pair.incoming.recv().await.unwrap();
        assert_eq!(incoming.authority, request.authority);
        let Headers { baggage, forwarded, trace, network } = &incoming.headers.clone();
        assert_eq!(&*baggage.as_ref().unwrap().namespace, "shop_x_y");
        assert_eq!((forwarded, trace), (&request.forwarded, &request.trace));
        assert_eq!(network.as_deref(), Some("n1"));
        incoming.accept(baggage.clone().as_ref()).unwrap()
    };
    let (connected, _accepted) = tokio::join!(pair.tunnel.connect(&request, None), far);
    let (_stream, answer) = connected.unwrap();
    assert_eq!(answer.baggage.unwrap().workload, baggage.workload);
}

#[tokio::test(start_paused = true)]
async fn each_refusal_is_its_own_error() {
    let mut pair = pair(&plenty(), &plenty()).await;
    for (refusal, expected) in
        [(Refusal::BadRequest, "BadRequest"), (Refusal::Refused, "Refused"), (Refusal::Unavailable, "Unavailable")]
    {
        let request = request();
        let far = async { pair.incoming.recv().await.unwrap().refuse(refusal) };
        let (connected, ()) = tokio::join!(pair.tunnel.connect(&request, None), far);
        assert_eq!(format!("{:?}", connected.unwrap_err()), expected);
    }
    let request = request();
    let far = async { drop(pair.incoming.recv().await.unwrap()) };
    let (connected, ()) = tokio::join!(pair.tunnel.connect(&request, None), far);
    assert!(matches!(connected, Err(TunnelError::NotTaken)), "{connected:?}");
}

#[tokio::test(start_paused = true)]
async fn a_connect_that_is_never_answered_ends_for_both() {
    let mut pair = pair(&plenty(), &plenty()).await;
    let begun = Instant::now();
    let error = pair.tunnel.connect(&request(), None).await.unwrap_err();
    assert!(matches!(error, TunnelError::Timeout { .. }), "{error:?}");
    assert_eq!(begun.elapsed(), ANSWER);
    let mut incoming = pair.incoming.recv().await.unwrap();
    assert_eq!(incoming.abandoned().await, ResetKind::Cancel);
    assert_eq!(incoming.accept(None).unwrap_err(), ResetKind::Cancel);
    pair.stream().await;
}

#[tokio::test(start_paused = true)]
async fn only_connect_to_an_authority_is_taken() {
    let (near, far) = pipe();
    let (_serving, mut incoming) = serve(far);
    let mut requests = stranger(near).await;
    for request in [
        http::Request::builder().method(Method::GET).uri("http://10.0.0.2:80/").body(()).unwrap(),
        connect("10.0.0.2:0"),
        connect("user@host:80"),
        connect("127.1:80"),
    ] {
        let (response, _send) = requests.send_request(request, false).unwrap();
        assert_eq!(response.await.unwrap().status(), StatusCode::BAD_REQUEST);
    }
    assert!(incoming.try_recv().is_err());
    let (_response, _send) = requests.send_request(connect("10.0.0.2:80"), false).unwrap();
    assert!(incoming.recv().await.is_some());
}

#[tokio::test(start_paused = true)]
async fn silence_and_garbage_end_the_connection() {
    let (near, far) = pipe();
    let begun = Instant::now();
    let (serving, _incoming) = serve(far);
    assert!(matches!(serving.await.unwrap(), Err(ConnectionError::Idle { what: "HTTP/2 preface", .. })));
    assert_eq!(begun.elapsed(), FIRST_REQUEST);
    drop(near);

    let (mut near, far) = pipe();
    let (serving, _incoming) = serve(far);
    near.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    assert!(matches!(serving.await.unwrap(), Err(ConnectionError::Protocol(_))));

    let (near, far) = pipe();
    let (serving, _incoming) = serve(far);
    let _requests = stranger(near).await;
    assert!(matches!(serving.await.unwrap(), Err(ConnectionError::Idle { what: "accepted CONNECT", .. })));
}

#[tokio::test(start_paused = true)]
async fn who_is_refused_keeps_no_tunnel_and_who_waits_for_an_answer_does() {
    let mut refused = pair(&plenty(), &plenty()).await;
    let request = request();
    let begun = Instant::now();
    while !refused.server.is_finished() && begun.elapsed() < SERVER_IDLE {
        let far = async {
            if let Some(incoming) = refused.incoming.recv().await {
                incoming.refuse(Refusal::Refused);
            }
        };
        drop(tokio::join!(timeout(Duration::from_secs(1), refused.tunnel.connect(&request, None)), far));
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert!(begun.elapsed() < FIRST_REQUEST * 2, "{:?}", begun.elapsed());

    let mut slow = pair(&plenty(), &plenty()).await;
    let far = async {
        let incoming = slow.incoming.recv().await.unwrap();
        tokio::time::sleep(FIRST_REQUEST - Duration::from_millis(1)).await;
        incoming.accept(None).unwrap()
    };
    tokio::time::sleep(Duration::from_secs(5)).await;
    let (connected, accepted) = tokio::join!(slow.tunnel.connect(&request, None), far);
    drop((connected.unwrap(), accepted));
    tokio::time::sleep(SERVER_IDLE / 3).await;
    assert!(!slow.server.is_finished());
}

#[tokio::test(start_paused = true)]
async fn a_refused_peer_with_a_stream_always_in_the_air_keeps_no_tunnel() {
    let (near, far) = pipe();
    let (serving, mut incoming) = serve(far);
    let mut requests = stranger(near).await;
    let begun = Instant::now();
    let mut before = None;
    while !serving.is_finished() && begun.elapsed() < SERVER_IDLE {
        let Ok(sent) = requests.send_request(connect("10.0.0.2:80"), false) else { break };
        let Some(next) = incoming.recv().await else { break };
        // The last one is refused once there is another.
        if let Some((_, last)) = before.replace((sent, next)) {
            Incoming::refuse(last, Refusal::Refused);
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert!(begun.elapsed() < UNACCEPTED + Duration::from_secs(2), "{:?}", begun.elapsed());
    assert!(matches!(serving.await.unwrap(), Err(ConnectionError::Idle { limit: UNACCEPTED, .. })));
}

#[tokio::test(start_paused = true)]
async fn a_connection_without_streams_is_given_up_after_a_while_and_one_with_a_stream_never() {
    let mut pair = pair(&plenty(), &plenty()).await;
    let streams = pair.stream().await;
    tokio::time::sleep(SERVER_IDLE * 3).await;
    assert!(!pair.server.is_finished());
    drop(streams);
    tokio::time::sleep(SERVER_IDLE * 2).await;
    assert!(pair.server.is_finished() && !pair.tunnel.is_usable());
}

#[tokio::test(start_paused = true)]
async fn a_drain_lets_streams_go_on_and_those_that_were_on_their_way() {
    let mut pair = pair_over(lagging(Duration::from_millis(50)), &plenty(), &plenty()).await;
    let (mut client, mut server) = pair.stream().await;
    let drain = pair.drain.clone();
    let leave = async {
        tokio::time::sleep(Duration::from_millis(10)).await;
        drain.cancel();
    };
    // In flight when GOAWAY is sent: the client does not know yet, and not every client tries again.
    drop(timeout(Duration::from_secs(5), async { tokio::join!(pair.stream(), leave) }).await.unwrap());
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(!pair.tunnel.is_usable());
    assert!(pair.tunnel.connect(&request(), None).await.unwrap_err().is_retryable());
    client.send.send(&mut Bytes::from_static(b"still here")).await.unwrap();
    assert_eq!(server.recv.recv().await, Ok(Bytes::from_static(b"still here")));
    client.send.finish().unwrap();
    server.send.finish().unwrap();
    assert_eq!(client.recv.recv().await, Err(End::Finished));
    assert_eq!(server.recv.recv().await, Err(End::Finished));
    drop((client, server));
    assert!(pair.server.await.unwrap().is_ok());
}

/// A client by hand that answers no PING.
async fn mute(near: &mut DuplexStream) {
    near.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
    near.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await.unwrap();
}

/// CONNECT as frames: literals with names 2 (`:method`) and 1 (`:authority`) of the static table (RFC 7541).
async fn connect_by_hand(near: &mut DuplexStream, stream: u8) {
    let mut block = vec![2, 7];
    block.extend(b"CONNECT");
    block.extend([1, 11]);
    block.extend(b"10.0.0.2:80");
    let mut frame = vec![0, 0, u8::try_from(block.len()).unwrap(), 1, 4, 0, 0, 0, stream];
    frame.extend(block);
    near.write_all(&frame).await.unwrap();
}

/// The payload of the next frame of a kind on a stream.
async fn frame(near: &mut DuplexStream, kind: u8, stream: u8) -> Vec<u8> {
    loop {
        let mut head = [0; 9];
        near.read_exact(&mut head).await.unwrap();
        let mut payload = vec![0; usize::from(head[1]) << 8 | usize::from(head[2])];
        near.read_exact(&mut payload).await.unwrap();
        if (head[3], head[8]) == (kind, stream) {
            return payload;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_answers_no_ping_is_served_for_a_second_of_a_drain_and_then_refused() {
    let (mut near, far) = pipe();
    let drain = CancellationToken::new();
    let (sender, mut incoming) = mpsc::unbounded_channel();
    let token = drain.clone();
    let _serving = spawn(async move {
        let connection = Connection::open(far, &plenty()).await?;
        connection.run(token, move |incoming| drop(sender.send(incoming))).await
    });
    mute(&mut near).await;
    connect_by_hand(&mut near, 1).await;
    let _first = incoming.recv().await.unwrap().accept(None).unwrap();
    drain.cancel();
    // GOAWAY: any stream, NO_ERROR.
    assert_eq!(frame(&mut near, 7, 0).await, [0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0]);
    connect_by_hand(&mut near, 3).await;
    let _second = incoming.recv().await.unwrap().accept(None).unwrap();
    // 8 of the static table: `:status: 200`.
    assert_eq!(frame(&mut near, 1, 3).await.first(), Some(&0x88));
    tokio::time::sleep(LATE).await;
    connect_by_hand(&mut near, 5).await;
    assert_eq!(frame(&mut near, 3, 5).await, [0, 0, 0, 7], "REFUSED_STREAM");
    assert!(incoming.try_recv().is_err());
}

#[tokio::test(start_paused = true)]
async fn no_more_streams_than_the_limit_are_open_at_once() {
    let (near, far) = pipe();
    let (serving, mut incoming) = serve(far);
    let mut requests = stranger(near).await;
    let limit = SERVER_STREAMS as usize;
    let sent: Vec<_> = (0..limit + 50).map(|_| requests.send_request(connect("10.0.0.2:80"), false).unwrap()).collect();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let mut taken = Vec::new();
    while let Ok(incoming) = incoming.try_recv() {
        taken.push(incoming.accept(None).unwrap());
    }
    assert_eq!(taken.len(), limit);
    // Each that ends lets one more in.
    drop(taken.drain(..30));
    tokio::time::sleep(Duration::from_secs(1)).await;
    while let Ok(incoming) = incoming.try_recv() {
        taken.push(incoming.accept(None).unwrap());
    }
    assert_eq!(taken.len(), limit);
    assert!(!serving.is_finished());
    drop(sent);
}

/// Opens streams that `reset` resets, until the server ends the connection for it.
async fn flood(mut reset: impl AsyncFnMut(u32, Incoming, h2::SendStream<Bytes>)) {
    let (near, far) = pipe();
    let (serving, mut incoming) = serve(far);
    let mut requests = stranger(near).await;
    let mut opened = 0;
    while !serving.is_finished() && opened < 10_000 {
        let Ok((_response, send)) = requests.send_request(connect("10.0.0.2:80"), false) else { break };
        opened += 1;
        // Each stream is taken up before it is reset, which is what the library's own limits do not see.
        let Some(incoming) = incoming.recv().await else { break };
        reset(opened, incoming, send).await;
    }
    assert!((ABANDONED..ABANDONED + 5).contains(&opened), "{opened}");
    assert!(matches!(serving.await.unwrap(), Err(ConnectionError::Flood)));
}

#[tokio::test(start_paused = true)]
async fn a_rapid_reset_ends_the_attacker_s_connection() {
    flood(async |_, incoming, mut send| {
        send.send_reset(h2::Reason::CANCEL);
        tokio::time::sleep(Duration::from_millis(1)).await;
        drop(incoming.accept(None));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_reset_while_a_stream_is_looked_at_counts_and_counts_once() {
    flood(async |opened, mut incoming, mut send| {
        // Its policy, or its application, takes its time: nobody comes to answer it.
        let (kind, ()) = tokio::join!(incoming.abandoned(), async { send.send_reset(h2::Reason::CANCEL) });
        assert_eq!(kind, ResetKind::Cancel);
        if opened % 2 == 0 {
            drop(incoming.accept(None));
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn streams_that_find_no_room_count() {
    let (near, far) = pipe();
    let (serving, mut incoming) = serve(far);
    let mut requests = stranger(near).await;
    let mut opened = 0;
    while !serving.is_finished() && opened < 10_000 {
        let Ok((_response, _send)) = requests.send_request(connect("10.0.0.2:80"), false) else { break };
        opened += 1;
        // As a pod without room has it.
        drop(incoming.recv().await);
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!((ABANDONED..ABANDONED + 5).contains(&opened), "{opened}");
    assert!(matches!(serving.await.unwrap(), Err(ConnectionError::Flood)));
}

#[tokio::test(start_paused = true)]
async fn a_header_flood_is_not_read() {
    let (near, far) = pipe();
    let (serving, mut incoming) = serve(far);
    let mut requests = stranger(near).await;
    let mut request = connect("10.0.0.2:80");
    for i in 0..64 {
        let name = http::HeaderName::try_from(format!("x-flood-{i}")).unwrap();
        request.headers_mut().insert(name, HeaderValue::try_from("x".repeat(4096)).unwrap());
    }
    if let Ok((response, _send)) = requests.send_request(request, false) {
        let answered = timeout(Duration::from_secs(5), response).await;
        let good = matches!(&answered, Ok(Ok(response)) if response.status() == StatusCode::OK);
        assert!(!good, "{answered:?}");
    }
    assert!(incoming.try_recv().is_err(), "nobody above saw it");
    drop((requests, serving));
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_tiny_frames_that_nobody_reads_ends_the_connection() {
    let (near, far) = pipe();
    let (serving, mut incoming) = serve(far);
    let mut requests = stranger(near).await;
    let (_response, mut send) = requests.send_request(connect("10.0.0.2:80"), false).unwrap();
    let _unread = incoming.recv().await.unwrap().accept(None).unwrap();
    let frames = settings::SMALL_FRAMES / 255 + 2000;
    assert!(frames < settings::STREAM_WINDOW as usize, "flow control must not be what stops it");
    for sent in 0..frames {
        if send.send_data(Bytes::from_static(b"x"), false).is_err() {
            break;
        }
        if sent % 1000 == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    let ended = timeout(Duration::from_secs(1), serving).await.unwrap().unwrap();
    assert!(matches!(ended, Err(ConnectionError::Protocol(_))), "{ended:?}");
}
