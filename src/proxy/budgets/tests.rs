use super::*;

#[test]
fn handshakes_are_evened_out_and_a_second_is_saved_up() {
    let (rate, start) = (Handshakes::new(10), Instant::now());
    // A second's worth at once, then one each tenth of a second, and none that would wait for more than two.
    let waits: Vec<_> = (0..40).map(|_| rate.take(start)).collect();
    assert!(waits[..10].iter().all(|wait| *wait == Some(Duration::ZERO)), "{waits:?}");
    assert_eq!(waits[10], Some(Duration::from_millis(100)));
    assert_eq!(waits[29], Some(Duration::from_secs(2)));
    assert!(waits[30..].iter().all(Option::is_none));
    // What was refused was not booked.
    assert_eq!(rate.take(start + Duration::from_secs(1)), Some(Duration::from_millis(1100)));
    // A long rest saves up no more than a second.
    let later = start + Duration::from_secs(3600);
    assert_eq!((0..40).filter(|_| rate.take(later) == Some(Duration::ZERO)).count(), 10);
}

#[test]
fn a_pod_that_takes_everything_leaves_the_others_their_share() {
    let all = Descriptors::new(1000); // room for 225 connections
    let (mut greedy, mut held) = (0, Vec::new());
    while let Some(place) = all.take(greedy, 3) {
        held.push(place);
        greedy += 1;
    }
    assert_eq!((all.connections(), greedy), (225, 168), "three quarters");
    let mut modest = 0;
    while let Some(place) = all.take(modest, 3) {
        held.push(place);
        modest += 1;
    }
    assert_eq!(modest, 57, "all that is left is below its even share");
    drop(held.drain(..100));
    assert!(all.take(greedy - 100, 3).is_some(), "what was given back can be taken");
    drop(held);
    assert_eq!(all.used.load(Ordering::Relaxed), 0);
}
