use std::future::pending;

use super::*;

struct Owner {
    tasks: Tasks,
    panics: Panics,
    drain: CancellationToken,
    force: CancellationToken,
}

fn owner(limit: usize) -> Owner {
    let (panics, drain, force) = (Panics::default(), CancellationToken::new(), CancellationToken::new());
    let tasks = Tasks::new("web/a", limit, Handle::current(), panics.clone(), &drain, &force);
    Owner { tasks, panics, drain, force }
}

#[tokio::test]
async fn tasks_that_listen_drain_cleanly() {
    let Owner { tasks, drain, .. } = owner(8);
    for _ in 0..8 {
        let stop = tasks.draining().clone();
        tasks.spawn(async move { stop.cancelled().await }).unwrap();
    }
    assert_eq!(tasks.len(), 8);
    assert_eq!(tasks.drain(Duration::from_secs(60)).await, Drained::Clean);
    assert_eq!(tasks.len(), 0);
    assert!(!drain.is_cancelled(), "a set never ends its parent");
}

#[tokio::test]
async fn tasks_that_do_not_listen_are_cut() {
    let Owner { tasks, .. } = owner(8);
    for _ in 0..3 {
        tasks.spawn(pending()).unwrap();
    }
    assert_eq!(tasks.drain(Duration::ZERO).await, Drained::Forced(3));
    assert!(tasks.is_empty());
}

#[tokio::test]
async fn the_parents_force_cuts_before_the_deadline() {
    let Owner { tasks, force, .. } = owner(8);
    tasks.spawn(pending()).unwrap();
    force.cancel();
    // The hour is never waited for: a task that is cut at once may also count as a clean end.
    tasks.drain(Duration::from_secs(3600)).await;
    assert!(tasks.is_empty());
}

#[tokio::test]
async fn the_limit_holds_and_places_come_back() {
    let Owner { tasks, .. } = owner(2);
    let (release, wait) = tokio::sync::oneshot::channel::<()>();
    tasks.spawn(async { drop(wait.await) }).unwrap();
    tasks.spawn(pending()).unwrap();
    assert_eq!(tasks.spawn(pending()), Err(Full { limit: 2 }));
    release.send(()).unwrap();
    while tasks.len() == 2 {
        tokio::task::yield_now().await;
    }
    assert_eq!(tasks.spawn(pending()), Ok(()));
}

#[tokio::test]
async fn a_panic_ends_one_task_and_is_counted() {
    let Owner { tasks, panics, .. } = owner(8);
    let stop = tasks.draining().clone();
    tasks.spawn(async { panic!("a bug") }).unwrap();
    tasks.spawn(async move { stop.cancelled().await }).unwrap();
    while panics.count() == 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(tasks.drain(Duration::from_secs(60)).await, Drained::Clean);
    assert_eq!(panics.count(), 1);
}
