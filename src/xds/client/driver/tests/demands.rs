//! Addresses that are asked for one by one.

use super::*;

const LIMIT: Duration = Duration::from_secs(5);

/// The first three messages of a stream that knows no address.
async fn greet_empty(streams: &mut Streams) -> Stream {
    let mut stream = streams.recv().await.unwrap();
    let first = stream.request().await;
    assert_eq!(
        (first.resource_names_subscribe, first.resource_names_unsubscribe),
        (vec!["*".to_owned()], vec!["*".to_owned()])
    );
    assert!(stream.request().await.resource_names_subscribe.is_empty());
    stream.send(response(ADDRESS, "a0", vec![], &[])).await;
    stream.send(response(AUTHORIZATION, "p0", vec![], &[])).await;
    stream
}

async fn replies(stream: &mut Stream, nonces: &[&str]) {
    for nonce in nonces {
        assert_eq!(stream.request().await.response_nonce, *nonce);
    }
}

#[tokio::test(start_paused = true)]
async fn all_who_wait_get_the_answer_and_find_it_in_the_mesh() {
    let Scene { client, mesh, mut streams, .. } = scene(true, None);
    let demander = client.demander().unwrap();
    play(client, async {
        let mut stream = greet_empty(&mut streams).await;
        replies(&mut stream, &["a0", "p0"]).await;
        let address = Key::address("net", "10.0.0.1".parse().unwrap()).unwrap();
        let host = Key::host("web.shop.svc.cluster.local", "cluster.local", "other").unwrap();
        let wait = |key: &Key| {
            let (demander, mesh, key) = (demander.clone(), mesh.clone(), key.clone());
            async move { (demander.demand(key, LIMIT).await, mesh.names()) }
        };
        let server = async {
            let (first, second) = (stream.request().await, stream.request().await);
            assert_eq!(first.resource_names_subscribe, ["net/10.0.0.1"]);
            assert_eq!(second.resource_names_subscribe, ["shop/web.shop.svc.cluster.local"]);
            let mut found = of_workload(&workload("uid-1", "10.0.0.1"), "1");
            found.aliases = vec!["net/10.0.0.1".into()];
            stream.send(response(ADDRESS, "1", vec![found], &[])).await;
            replies(&mut stream, &["1"]).await;
            // By its name, as DNS asks.
            let web = service("web.shop.svc.cluster.local", "10.9.0.1");
            stream.send(response(ADDRESS, "2", vec![of_service(&web, "1")], &[])).await;
            replies(&mut stream, &["2"]).await;
        };
        let (one, two, three, named, ()) =
            tokio::join!(wait(&address), wait(&address), wait(&address), wait(&host), server);
        for (answer, names) in [one, two, three] {
            assert_eq!(answer, Ok(Answer::Found));
            assert!(names.contains(&"uid-1".to_owned()), "it is there when they are woken");
        }
        assert_eq!(named.0, Ok(Answer::Found));
        // A second question about what is known is not sent.
        assert_eq!(demander.demand(Key::uid("uid-1").unwrap(), LIMIT).await, Ok(Answer::Found));
        assert!(stream.request_within(Duration::from_secs(1)).await.is_none());
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_removal_is_an_answer_and_silence_is_none() {
    let Scene { client, mut streams, .. } = scene(true, None);
    let demander = client.demander().unwrap();
    play(client, async {
        let mut stream = greet_empty(&mut streams).await;
        replies(&mut stream, &["a0", "p0"]).await;
        let key = |text| Key::uid(text).unwrap();
        let server = async {
            for _ in 0..3 {
                stream.request().await;
            }
            stream.send(response(ADDRESS, "1", vec![broken(ADDRESS, "bad")], &["gone"])).await;
            assert!(stream.request().await.error_detail.is_some());
            let began = Instant::now();
            assert_eq!(stream.request().await.resource_names_unsubscribe, ["silent"]);
            assert_eq!(began.elapsed(), LIMIT);
        };
        let demand = |text| demander.demand(key(text), LIMIT);
        let (gone, bad, silent, ()) = tokio::join!(demand("gone"), demand("bad"), demand("silent"), server);
        assert_eq!(gone, Ok(Answer::Missing));
        assert_eq!(bad, Ok(Answer::Refused));
        assert_eq!(silent, Err(super::super::super::DemandError::Deadline));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn after_a_reconnection_it_is_asked_again() {
    let Scene { client, mut streams, .. } = scene(true, None);
    let demander = client.demander().unwrap();
    play(client, async {
        let mut stream = greet_empty(&mut streams).await;
        replies(&mut stream, &["a0", "p0"]).await;
        let server = async {
            assert_eq!(stream.request().await.resource_names_subscribe, ["uid-1"]);
            drop(stream);
            let mut stream = streams.recv().await.unwrap();
            stream.request().await;
            assert_eq!(stream.request().await.resource_names_subscribe, ["uid-1"]);
            stream.send(response(ADDRESS, "1", vec![of_workload(&workload("uid-1", "10.0.0.1"), "1")], &[])).await;
            stream
        };
        let (answer, _stream) = tokio::join!(demander.demand(Key::uid("uid-1").unwrap(), LIMIT), server);
        assert_eq!(answer, Ok(Answer::Found));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn without_a_control_plane_it_ends_in_time() {
    let Scene { client, plane, .. } = scene(true, None);
    plane.down.store(true, Ordering::Relaxed);
    let demander = client.demander().unwrap();
    let late = client.demander().unwrap();
    play(client, async {
        let began = Instant::now();
        // More than wait at once, and more than there is room for on the way.
        let mut all = tokio::task::JoinSet::new();
        for n in 0..3000 {
            let demander = demander.clone();
            all.spawn(async move { demander.demand(Key::uid(&n.to_string()).unwrap(), LIMIT).await });
        }
        let answers = all.join_all().await;
        let many = answers.iter().filter(|answer| **answer == Err(super::super::super::DemandError::TooMany)).count();
        let waited =
            answers.iter().filter(|answer| **answer == Err(super::super::super::DemandError::Deadline)).count();
        assert_eq!((many + waited, began.elapsed()), (3000, LIMIT));
        assert!(waited <= 1024 && waited > 900, "{waited}");
    })
    .await;
    assert_eq!(late.demand(Key::uid("a").unwrap(), LIMIT).await, Err(super::super::super::DemandError::Ended));
    assert!(scene(false, None).client.demander().is_none());
}

/// "There is nothing" ends with the push: whoever calls the address next finds it in the mesh.
#[tokio::test(start_paused = true)]
async fn what_appears_after_the_answer_is_there_at_once() {
    let Scene { client, mesh, mut streams, .. } = scene(true, None);
    let demander = client.demander().unwrap();
    play(client, async {
        let mut stream = greet_empty(&mut streams).await;
        replies(&mut stream, &["a0", "p0"]).await;
        let key = Key::address("net", "10.0.0.1".parse().unwrap()).unwrap();
        let server = async {
            assert_eq!(stream.request().await.resource_names_subscribe, ["net/10.0.0.1"]);
            stream.send(response(ADDRESS, "1", vec![], &["net/10.0.0.1"])).await;
            replies(&mut stream, &["1"]).await;
        };
        let (answer, ()) = tokio::join!(demander.demand(key, LIMIT), server);
        assert_eq!((answer, mesh.names().len()), (Ok(Answer::Missing), 0));
        let mut found = of_workload(&workload("uid-1", "10.0.0.1"), "1");
        found.aliases = vec!["net/10.0.0.1".into()];
        stream.send(response(ADDRESS, "2", vec![found], &[])).await;
        replies(&mut stream, &["2"]).await;
        assert_eq!(mesh.names(), ["uid-1"]);
    })
    .await;
}
