use super::*;
use crate::sys::sched::LONG;

const LIMIT: Duration = Duration::from_secs(30);

fn threads(limit: usize) -> Threads {
    Threads::new(Config { limit, busy_poll: Duration::ZERO })
}

fn on(place: &Place) -> String {
    let (say, said) = mpsc::channel();
    drop(place.runtime().spawn(async move { say.send(std::thread::current().name().unwrap().to_owned()) }));
    said.recv_timeout(LIMIT).unwrap()
}

#[test]
fn each_pod_has_a_thread_until_there_are_enough() {
    let threads = threads(2);
    assert!(threads.runtimes().is_empty());
    let places = [(); 5].map(|()| threads.place().unwrap());
    let names = ["culvert-data-0", "culvert-data-1", "culvert-data-0", "culvert-data-1", "culvert-data-0"];
    assert_eq!(places.each_ref().map(on), names);
    assert_eq!(threads.runtimes().len(), 2);
    drop(places);
    threads.shutdown(LIMIT);
}

#[test]
fn a_place_that_is_left_is_taken_before_a_thread_is_started() {
    let threads = threads(10);
    let (first, second) = (threads.place().unwrap(), threads.place().unwrap());
    drop(first);
    let third = threads.place().unwrap();
    assert_eq!([&second, &third].map(on), ["culvert-data-1", "culvert-data-0"]);
    assert_eq!(on(&threads.place().unwrap()), "culvert-data-2");
    threads.shutdown(LIMIT);
}

#[test]
fn a_pod_that_never_yields_keeps_no_other_waiting() {
    let threads = threads(10);
    let (flooded, quiet) = (threads.place().unwrap(), threads.place().unwrap());
    let (release, released) = mpsc::channel::<()>();
    let stuck = flooded.runtime().spawn(async move { released.recv() });
    assert_eq!(on(&quiet), "culvert-data-1");
    assert!(!stuck.is_finished());
    drop(release);
    threads.shutdown(LIMIT);
}

#[test]
fn shutdown_ends_what_still_runs() {
    let threads = threads(1);
    let place = threads.place().unwrap();
    let endless = place.runtime().spawn(std::future::pending::<()>());
    threads.shutdown(LIMIT);
    let runtime = Builder::new_current_thread().build().unwrap();
    assert!(runtime.block_on(endless).unwrap_err().is_cancelled());
    // Without a thread to leave.
    drop(place);
}

/// What [`Threads::watch`] goes by.
#[test]
fn a_sleeping_thread_has_parked_and_not_woken() {
    let threads = threads(1);
    let place = threads.place().unwrap();
    on(&place);
    let count = || place.runtime().metrics().worker_park_unpark_count(0);
    let parked = || !count().is_multiple_of(2);
    let begin = Instant::now();
    while !parked() {
        assert!(begin.elapsed() < LIMIT);
        std::thread::yield_now();
    }
    // Tasks that follow each other without an end. What is counted is seen from time to time.
    let busy = CancellationToken::new();
    let stop = busy.clone();
    drop(place.runtime().spawn(async move {
        while !stop.is_cancelled() {
            tokio::task::yield_now().await;
        }
    }));
    let begin = Instant::now();
    while parked() {
        assert!(begin.elapsed() < LIMIT);
        std::thread::yield_now();
    }
    busy.cancel();
    threads.shutdown(LIMIT);
}

#[test]
fn shutdown_does_not_wait_for_what_never_ends() {
    let threads = threads(1);
    let place = threads.place().unwrap();
    let (release, released) = mpsc::channel::<()>();
    let (say, said) = mpsc::channel();
    drop(place.runtime().spawn(async move {
        say.send(()).unwrap();
        _ = released.recv();
    }));
    said.recv_timeout(LIMIT).unwrap();
    threads.shutdown(Duration::from_millis(20));
    drop(release);
}

#[tokio::test]
async fn a_thread_that_always_works_lets_others_in_until_it_rests() {
    let threads = threads(2);
    let (flooded, _quiet) = (threads.place().unwrap(), threads.place().unwrap());
    let ids: Vec<_> = threads.set.own().into_iter().map(|(_, id, _)| id).collect();
    let turns = || ids.iter().map(|id| id.turns().unwrap()).collect::<Vec<_>>();
    let begin = Instant::now();
    while turns() != [BRIEF; 2] {
        // Kernels before 6.12 have no turns to ask for.
        if begin.elapsed() > Duration::from_secs(2) && turns().iter().all(Duration::is_zero) {
            return;
        }
        assert!(begin.elapsed() < LIMIT, "{:?}", turns());
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let (flood, end) = (CancellationToken::new(), CancellationToken::new());
    let stop = flood.clone();
    drop(flooded.runtime().spawn(async move {
        while !stop.is_cancelled() {
            tokio::task::yield_now().await;
        }
    }));
    let is_seen = async |expected: [Duration; 2]| {
        while turns() != expected {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let seen = async {
        is_seen([LONG, BRIEF]).await;
        flood.cancel();
        is_seen([BRIEF; 2]).await;
        end.cancel();
    };
    let both = async { tokio::join!(threads.clone().watch(end.clone()), seen) };
    tokio::time::timeout(LIMIT, both).await.expect("in time");
    threads.shutdown(LIMIT);
}
