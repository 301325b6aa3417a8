//! Servers that misbehave, fast or for long.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_server_that_sends_what_is_refused_again_and_again() {
    let Scene { client, mesh, mut streams, .. } = scene(false, None);
    play(client, async {
        let (mut stream, _) = greet(&mut streams).await;
        let began = Instant::now();
        let mut rounds = 0_u32;
        while began.elapsed() < Duration::from_secs(60) {
            rounds += 1;
            let good = of_workload(&workload(&format!("good-{rounds:02}"), "10.0.0.2"), "1");
            stream.send(response(ADDRESS, &rounds.to_string(), vec![broken(ADDRESS, "bad"), good], &[])).await;
            let reply = stream.request().await;
            assert_eq!(reply.response_nonce, rounds.to_string());
            assert!(reply.error_detail.is_some());
        }
        assert!((60..75).contains(&rounds), "{rounds} rounds in a minute");
        assert_eq!(mesh.names().len(), rounds as usize + 2, "the good part is applied each time");
        // In order again, and at once.
        let began = Instant::now();
        stream.send(response(ADDRESS, "good", vec![], &[])).await;
        assert_eq!(stream.request().await.error_detail, None);
        assert_eq!(began.elapsed(), Duration::ZERO);
    })
    .await;
}

/// The waits between the attempts of an hour.
async fn waits(scene: Scene, act: impl AsyncFnOnce(Streams)) -> Vec<Duration> {
    let Scene { client, plane, streams, .. } = scene;
    play(client, act(streams)).await;
    let attempts = plane.attempts.lock().unwrap();
    attempts.windows(2).map(|pair| pair[1] - pair[0]).collect()
}

fn grows(waits: &[Duration]) {
    let steps = waits.windows(2).take(9);
    assert!(steps.clone().all(|pair| pair[1] > pair[0]), "{waits:?}");
    assert!(waits.iter().all(|wait| *wait <= Duration::from_millis(15_100)), "{waits:?}");
    // With a jitter of one half, 11.25 s each.
    assert!((300..340).contains(&waits.len()), "{} attempts in an hour", waits.len());
}

#[tokio::test(start_paused = true)]
async fn a_server_that_hangs_up_at_once() {
    let hang_up = async |mut streams: Streams| {
        let hour = Instant::now() + Duration::from_secs(3600);
        while let Ok(stream) = tokio::time::timeout_at(hour, streams.recv()).await {
            drop(stream);
        }
    };
    grows(&Box::pin(waits(scene(false, None), hang_up)).await);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_answers_and_hangs_up() {
    let answer = async |mut streams: Streams| {
        let hour = Instant::now() + Duration::from_secs(3600);
        while let Ok(Some(stream)) = tokio::time::timeout_at(hour, streams.recv()).await {
            stream.send(response(ADDRESS, "n", vec![], &[])).await;
            tokio::time::sleep(Duration::from_millis(1)).await;
            drop(stream);
        }
    };
    grows(&Box::pin(waits(scene(false, None), answer)).await);
}

#[tokio::test(start_paused = true)]
async fn away_for_hours_and_back() {
    let Scene { client, mesh, plane, mut streams, counts, status } = scene(false, None);
    play(client, async {
        let (stream, _) = greet(&mut streams).await;
        plane.down.store(true, Ordering::Relaxed);
        stream.fail(GrpcStatus::internal("the control plane dies")).await;
        tokio::time::sleep(Duration::from_secs(5 * 3600)).await;
        assert_eq!(mesh.names(), ["uid-1", "shop/p"], "what was known is served");
        let now = status.borrow().clone();
        assert!(now.ready() && now.connected_since.is_none() && now.as_of.is_some());
        plane.down.store(false, Ordering::Relaxed);
        let down = Instant::now();
        let (_stream, first) = greet(&mut streams).await;
        assert!(down.elapsed() < Duration::from_secs(15));
        assert_eq!(first[0].initial_resource_versions.len(), 1);
        assert!(status.borrow().connected_since.is_some());
    })
    .await;
    let counts = counts.0.lock().unwrap();
    assert_eq!(counts.iter().filter(|what| *what == "Error").count(), 1);
    let failed = counts.iter().filter(|what| *what == "ConnectionError").count();
    assert!((1500..1700).contains(&failed), "{failed}");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_says_nothing_is_given_up() {
    let silent = async |mut streams: Streams| {
        let hour = Instant::now() + Duration::from_secs(3600);
        let mut open = Vec::new();
        while let Ok(stream) = tokio::time::timeout_at(hour, streams.recv()).await {
            open.push(stream);
        }
    };
    let waits = Box::pin(waits(scene(false, None), silent)).await;
    let seconds: Vec<_> = waits.iter().map(Duration::as_secs).collect();
    assert_eq!(seconds, [60, 120, 240, 480, 600, 600, 600, 600]);
}

/// On a later stream neither: its policies are as old as they were.
#[tokio::test(start_paused = true)]
async fn a_later_stream_that_stalls_before_policies_is_given_up_and_is_not_of_now() {
    let Scene { client, mut streams, status, .. } = scene(false, None);
    play(client, async {
        let (stream, _) = greet(&mut streams).await;
        tokio::time::sleep(Duration::from_secs(1800)).await;
        drop(stream);
        let mut stream = streams.recv().await.unwrap();
        stream.send(response(ADDRESS, "n", vec![], &[])).await;
        for _ in 0..3 {
            stream.request().await;
        }
        let (began, as_of) = (Instant::now(), status.borrow().as_of);
        let now = status.borrow().clone();
        assert!(now.connected_since.is_some() && now.synced() && now.ready());
        let later = SystemTime::now() + Duration::from_secs(60);
        assert!(now.age(later).unwrap() >= Duration::from_secs(59), "what it would say of policies is not known");
        let (_stream, _) = timeout(Duration::from_secs(3600), greet(&mut streams)).await.expect("a third stream");
        assert_eq!(began.elapsed().as_secs(), 60);
        assert!(status.borrow().as_of > as_of, "and now it is");
        assert_eq!(status.borrow().age(later), Some(Duration::ZERO));
        drop(stream);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_answer_for_one_type_is_not_enough() {
    let Scene { client, mut streams, status, .. } = scene(false, None);
    play(client, async {
        let stream = streams.recv().await.unwrap();
        stream.send(response(ADDRESS, "n", vec![], &[])).await;
        let began = Instant::now();
        let (stream, _) = greet(&mut streams).await;
        assert!(began.elapsed() >= Duration::from_secs(60) && status.borrow().synced());
        // What is synced may be silent for as long as it likes.
        tokio::time::sleep(Duration::from_secs(7200)).await;
        assert!(streams.try_recv().is_err());
        drop(stream);
    })
    .await;
}

/// On demand: 500 answers of "none" at once, each of which makes two requests.
#[tokio::test(start_paused = true)]
async fn a_burst_of_answers_cuts_no_stream() {
    let Scene { client, mut streams, plane, .. } = scene(true, None);
    let demander = client.demander().unwrap();
    play(client, async {
        let mut stream = streams.recv().await.unwrap();
        stream.send(response(AUTHORIZATION, "p", vec![], &[])).await;
        for _ in 0..3 {
            stream.request().await;
        }
        let mut all = tokio::task::JoinSet::new();
        for n in 0..500 {
            let demander = demander.clone();
            let key = Key::uid(&format!("none-{n}")).unwrap();
            all.spawn(async move { demander.demand(key, Duration::from_secs(60)).await });
        }
        for _ in 0..500 {
            stream.request().await;
        }
        // It reads nothing until it has written everything.
        for n in 0..500 {
            stream.send(response(ADDRESS, &n.to_string(), vec![], &[&format!("none-{n}")])).await;
        }
        for _ in 0..500 {
            assert!(!stream.request().await.response_nonce.is_empty());
        }
        assert!(all.join_all().await.iter().all(|answer| *answer == Ok(Answer::Missing)));
        assert_eq!(plane.attempts.lock().unwrap().len(), 1);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_server_that_reads_nothing_is_given_up() {
    let Scene { client, mut streams, plane, .. } = scene(false, None);
    play(client, async {
        let stream = streams.recv().await.unwrap();
        let began = Instant::now();
        // As many as it takes.
        let send = async {
            for n in 0..100_000 {
                stream.send_until_gone(response(ADDRESS, &n.to_string(), vec![], &[])).await?;
            }
            Some(())
        };
        assert_eq!(send.await, None);
        assert!(began.elapsed() >= Duration::from_secs(30), "{:?}", began.elapsed());
        assert!(began.elapsed() < Duration::from_secs(61), "{:?}", began.elapsed());
        streams.recv().await.unwrap();
        assert_eq!(plane.attempts.lock().unwrap().len(), 2);
    })
    .await;
}
