//! A restart with what was kept.

use std::path::Path;

use super::super::super::outcome::Record;
use super::*;

fn keep(directory: &Path) -> Option<Keep> {
    let settings = KeepSettings {
        directory: directory.to_owned(),
        greatest_age: Duration::from_secs(3600),
        source: "plane".into(),
        interval: Keep::INTERVAL,
    };
    Some(Keep::open(settings, SystemTime::now()))
}

#[tokio::test(start_paused = true)]
async fn a_restart_serves_at_once_and_with_no_control_plane() {
    let root = tempfile::tempdir().unwrap();
    let Scene { client, mut streams, status, .. } = scene(false, keep(root.path()));
    assert!(!status.borrow().ready());
    play(client, async {
        let (mut stream, _) = greet(&mut streams).await;
        let gone = of_workload(&workload("uid-2", "10.0.0.2"), "1");
        stream.send(response(ADDRESS, "1", vec![gone, of_service(&service("web", "10.9.0.1"), "5")], &[])).await;
        stream.request().await;
        stream.send(response(ADDRESS, "2", vec![broken(ADDRESS, "uid-1")], &["uid-2"])).await;
        stream.request().await;
        // No interval has passed: what is written is written at the end.
    })
    .await;

    let Scene { client, mesh, plane, streams: mut next, status, .. } = scene(false, keep(root.path()));
    plane.down.store(true, Ordering::Relaxed);
    assert_eq!(mesh.names(), ["uid-1", "shop/web", "shop/p"], "before it has run");
    let now = status.borrow().clone();
    assert!(now.ready() && now.restored && !now.synced() && now.connected_since.is_none());
    assert_eq!((now.address.held, now.authorization.held), (2, 1));
    assert!(now.age(SystemTime::now() + Duration::from_secs(100)).unwrap() >= Duration::from_secs(99));
    play(client, async {
        tokio::time::sleep(Duration::from_secs(600)).await;
        plane.down.store(false, Ordering::Relaxed);
        let (_stream, first) = greet(&mut next).await;
        let versions: Vec<_> = first[0].initial_resource_versions.iter().collect();
        assert_eq!(
            versions.iter().map(|(name, version)| format!("{name}={version}")).collect::<Vec<_>>(),
            ["shop/web=5", "uid-1=1"]
        );
        assert_eq!(first[1].initial_resource_versions.len(), 1);
        assert!(!status.borrow().restored && status.borrow().synced());
        assert_eq!(status.borrow().age(SystemTime::now()), Some(Duration::ZERO));
    })
    .await;
    assert_eq!(scene(false, keep(root.path())).mesh.names().len(), 3, "and the next one as well");
}

/// An older version could read it.
#[tokio::test(start_paused = true)]
async fn a_state_with_an_address_that_cannot_be_read_is_not_the_whole_mesh() {
    let root = tempfile::tempdir().unwrap();
    let (mut pieces, keeper) = Keeper::new(keep(root.path()).unwrap());
    let good = of_workload(&workload("uid-1", "10.0.0.1"), "1").resource.unwrap().value;
    let of_policy = of_policy(&policy("p")).resource.unwrap().value;
    let records = [(ADDRESS, "uid-1", &good[..]), (ADDRESS, "uid-2", &[0xff]), (AUTHORIZATION, "shop/p", &of_policy)];
    for (kind, name, value) in records {
        pieces.record(Record { kind, name, version: "1", value: Some(value) });
    }
    pieces.mark(SystemTime::now());
    drop(pieces);
    keeper.run().await;

    let Scene { mesh, status, .. } = scene(true, keep(root.path()));
    assert_eq!((mesh.names().len(), status.borrow().ready()), (2, true), "on demand it is asked for");
    let Scene { client, mesh, mut streams, status, .. } = scene(false, keep(root.path()));
    let now = status.borrow().clone();
    assert_eq!((mesh.names().len(), now.missing()), (2, 1), "what can be read serves");
    assert!(now.restored && !now.ready(), "who is at uid-2 would be called in clear");
    play(client, async {
        let mut stream = streams.recv().await.unwrap();
        let held = stream.request().await.initial_resource_versions;
        assert!(held.contains_key("uid-1") && !held.contains_key("uid-2"));
        stream.send(response(ADDRESS, "1", vec![of_workload(&workload("uid-2", "10.0.0.2"), "2")], &[])).await;
        stream.send(response(AUTHORIZATION, "2", vec![], &[])).await;
        for _ in 0..3 {
            stream.request().await;
        }
        let now = status.borrow().clone();
        assert!(now.ready() && !now.restored, "{now:?}");
        assert_eq!((mesh.names().len(), now.missing()), (3, 0));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_large_state_comes_back_in_parts_and_is_shown_when_it_is_whole() {
    let root = tempfile::tempdir().unwrap();
    let Scene { client, mut streams, .. } = scene(false, keep(root.path()));
    play(client, async {
        let (mut stream, _) = greet(&mut streams).await;
        let uids: Vec<_> = (0..PART + 5).map(|n| workload(&format!("uid-{n}"), "10.0.0.2")).collect();
        let resources = uids.iter().map(|workload| of_workload(workload, "1")).collect();
        stream.send(response(ADDRESS, "1", resources, &[])).await;
        stream.request().await;
    })
    .await;
    let Scene { mesh, .. } = scene(false, keep(root.path()));
    let world = mesh.0.lock().unwrap();
    assert_eq!((world.updates, world.workloads.len(), world.staged.len()), (2, PART + 5, 0));
}

#[tokio::test(start_paused = true)]
async fn a_first_sync_that_was_not_finished_is_not_used() {
    let root = tempfile::tempdir().unwrap();
    let Scene { client, mut streams, .. } = scene(false, keep(root.path()));
    play(client, async {
        let mut stream = streams.recv().await.unwrap();
        let resources = vec![of_workload(&workload("uid-1", "10.0.0.1"), "1")];
        stream.send(response(ADDRESS, "1", resources, &[])).await;
        for _ in 0..3 {
            stream.request().await;
        }
        tokio::time::sleep(Duration::from_secs(30)).await;
    })
    .await;
    let Scene { mesh, status, .. } = scene(false, keep(root.path()));
    assert_eq!(mesh.names(), [""; 0], "its policies are missing");
    assert!(!status.borrow().ready());
}

/// Addresses in pieces, with policies behind them. One of the second piece cannot be read, and who is there would be called
/// in clear.
#[tokio::test(start_paused = true)]
async fn a_hole_in_a_later_piece_counts() {
    let root = tempfile::tempdir().unwrap();
    let Scene { client, mut streams, status, .. } = scene(false, keep(root.path()));
    let piece =
        |nonce: &str, uid: &str| response(ADDRESS, nonce, vec![of_workload(&workload(uid, "10.0.0.1"), "1")], &[]);
    play(client, async {
        // The first stream breaks between the pieces.
        let stream = streams.recv().await.unwrap();
        stream.send(piece("1", "uid-1")).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(!status.borrow().address.synced, "there may be more");
        drop(stream);
        let mut stream = streams.recv().await.unwrap();
        stream.send(piece("2", "uid-2")).await;
        let bad = vec![of_workload(&workload("uid-3", "10.0.0.3"), "1"), broken(ADDRESS, "uid-4")];
        stream.send(response(ADDRESS, "3", bad, &[])).await;
        stream.send(response(AUTHORIZATION, "4", vec![of_policy(&policy("p"))], &[])).await;
        for _ in 0..5 {
            stream.request().await;
        }
        tokio::time::sleep(Duration::from_secs(300)).await;
        let now = status.borrow().clone();
        assert!(now.authorization.synced && !now.address.synced && !now.ready(), "{now:?}");
        assert_eq!(now.address.missing, 1);
        assert!(!scene(false, keep(root.path())).status.borrow().ready(), "the file was never marked");
        stream.send(piece("5", "uid-4")).await;
        stream.request().await;
        assert!(status.borrow().ready() && status.borrow().synced());
    })
    .await;
    assert_eq!(scene(false, keep(root.path())).mesh.names().len(), 5);
}

/// A policy that nobody can read may be one that denies: neither ready nor marked, until it is mended or gone.
#[tokio::test(start_paused = true)]
async fn a_first_sync_with_a_hole_is_none() {
    let root = tempfile::tempdir().unwrap();
    let Scene { client, mut streams, status, .. } = scene(false, keep(root.path()));
    play(client, async {
        let mut stream = streams.recv().await.unwrap();
        stream.send(response(ADDRESS, "1", vec![of_workload(&workload("uid-1", "10.0.0.1"), "1")], &[])).await;
        let policies = vec![of_policy(&policy("p")), broken(AUTHORIZATION, "shop/bad")];
        stream.send(response(AUTHORIZATION, "2", policies, &[])).await;
        for _ in 0..4 {
            stream.request().await;
        }
        // It stays connected: what is missing comes with the change that mends it.
        tokio::time::sleep(Duration::from_secs(300)).await;
        let now = status.borrow().clone();
        assert!(!now.ready() && !now.authorization.synced);
        assert_eq!(now.authorization.missing, 1);
        let Scene { mesh, status: other, .. } = scene(false, keep(root.path()));
        assert!(mesh.names().is_empty() && !other.borrow().ready(), "the file was never marked");
        // A push that has nothing to do with it changes nothing.
        stream.send(response(AUTHORIZATION, "3", vec![of_policy(&policy("q"))], &[])).await;
        stream.request().await;
        assert!(!status.borrow().ready());
        stream.send(response(AUTHORIZATION, "4", vec![of_policy(&policy("bad"))], &[])).await;
        stream.request().await;
        assert!(status.borrow().ready() && status.borrow().synced());
        // Once synced, a policy that is refused is told and does no more.
        stream.send(response(AUTHORIZATION, "5", vec![broken(AUTHORIZATION, "shop/new")], &[])).await;
        stream.request().await;
        assert!(status.borrow().ready());
    })
    .await;
    assert_eq!(scene(false, keep(root.path())).mesh.names(), ["uid-1", "shop/bad", "shop/p", "shop/q"]);
}

#[tokio::test(start_paused = true)]
async fn a_connected_client_keeps_its_state_young() {
    let root = tempfile::tempdir().unwrap();
    let Scene { client, mut streams, status, .. } = scene(false, keep(root.path()));
    play(client, async {
        let (_stream, _) = greet(&mut streams).await;
        let mut changes = status.clone();
        changes.mark_unchanged();
        let marked = async {
            for _ in 0..5 {
                changes.changed().await.unwrap();
            }
        };
        let began = Instant::now();
        timeout(Duration::from_secs(3600), marked).await.unwrap();
        assert_eq!(began.elapsed(), Duration::from_secs(300), "once a minute");
    })
    .await;
}
