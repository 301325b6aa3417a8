use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::*;

/// Work that takes a thread for as long.
fn burn(time: Duration) {
    let began = Instant::now();
    while began.elapsed() < time {
        std::hint::spin_loop();
    }
}

/// A task of many pieces that stops when told.
async fn busy(stop: Arc<AtomicBool>, pieces: Arc<AtomicUsize>) {
    while !stop.load(Ordering::Relaxed) {
        burn(SLICE / 4);
        pieces.fetch_add(1, Ordering::Relaxed);
        // As a task whose socket is always ready.
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn one_of_many_tasks_and_one_alone_have_the_same_share() {
    let (loud, quiet) = (Turn::new(Handle::current()), Turn::new(Handle::current()));
    let stop = Arc::new(AtomicBool::new(false));
    let done: [Arc<AtomicUsize>; 2] = Default::default();
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..100 {
        tasks.spawn(loud.taken(busy(Arc::clone(&stop), Arc::clone(&done[0]))));
    }
    tasks.spawn(quiet.taken(busy(Arc::clone(&stop), Arc::clone(&done[1]))));
    while done[0].load(Ordering::Relaxed) < 2000 {
        tokio::task::yield_now().await;
    }
    stop.store(true, Ordering::Relaxed);
    while tasks.join_next().await.is_some() {}
    let [loud, quiet] = done.map(|done| done.load(Ordering::Relaxed));
    // In the order of readiness it would be a hundredth. A single task runs once a round and the others a slice, which is four
    // pieces here, or fewer where the machine takes the thread away.
    assert!(quiet * 8 >= loud, "{quiet} of {loud}");
}

#[tokio::test]
async fn nobody_in_the_queue_is_forgotten() {
    let turn = Turn::new(Handle::current());
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..500 {
        let task = tasks.spawn(turn.taken(async move {
            for _ in 0..3 {
                burn(SLICE / 10);
                tokio::task::yield_now().await;
            }
        }));
        // Those that are cut while they wait do not hold up who stands behind them.
        if number % 3 == 0 {
            tokio::task::yield_now().await;
            task.abort();
        }
    }
    let ended = tokio::time::timeout(Duration::from_secs(30), async { while tasks.join_next().await.is_some() {} });
    ended.await.expect("every task comes to its end");
    let round = turn.0.as_ref().unwrap().lock();
    assert!(round.waiting.is_empty() && round.waiting.capacity() == 0);
}

#[tokio::test]
async fn a_long_piece_of_work_rests() {
    let turn = Turn::new(Handle::current());
    let others = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&others);
    let long = tokio::task::JoinSet::from_iter([turn.taken(async move {
        for _ in 0..20 {
            burn(SLICE);
            rest().await;
        }
        seen.load(Ordering::Relaxed)
    })]);
    let mut long = long;
    let seen = loop {
        if let Some(ended) = long.try_join_next() {
            break ended.unwrap();
        }
        others.fetch_add(1, Ordering::Relaxed);
        tokio::task::yield_now().await;
    };
    assert!(seen >= 10, "others ran {seen} times in between");
}

#[tokio::test]
async fn nobodys_turn_is_always() {
    let free = Turn::default();
    free.taken(async {
        burn(SLICE * 3);
        assert!(END.get().is_none());
        rest().await;
    })
    .await;
}
