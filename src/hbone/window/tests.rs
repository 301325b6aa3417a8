use super::*;
use crate::hbone::settings::{MAX_STREAM_WINDOW, STREAM_WINDOW};

const W: usize = STREAM_WINDOW as usize;

#[test]
fn every_stream_is_charged_its_window_and_gives_it_back() {
    let budget = Budget::new(10 * W);
    let windows = Windows::new(budget.clone());
    let one = windows.open();
    let two = windows.open();
    assert_eq!(budget.charged(), 2 * W);
    assert!(windows.resize(2 * STREAM_WINDOW));
    assert_eq!(budget.charged(), 4 * W);
    drop(one);
    assert_eq!(budget.charged(), 2 * W);
    let three = windows.open();
    assert!(windows.resize(4 * STREAM_WINDOW));
    assert!(!windows.resize(8 * STREAM_WINDOW), "2 streams of 8 windows are over 10");
    assert_eq!(budget.charged(), 8 * W);
    // A stream is never refused for the budget; the connection falls back instead.
    let more: Vec<_> = (0..3).map(|_| windows.open()).collect();
    assert!(windows.wants_shrink());
    assert!(windows.resize(STREAM_WINDOW));
    assert_eq!(budget.charged(), 5 * W);
    assert!(!windows.wants_shrink());
    drop((two, three, more));
    assert_eq!((budget.charged(), windows.streams()), (0, 0));
}

#[test]
fn growth_needs_one_stream_that_gave_most_of_a_window_back_within_one_measurement() {
    let check = |given: &[usize], expected: Option<u32>| {
        let windows = Windows::new(Budget::new(100 * W));
        windows.begin_measure();
        for bytes in given {
            windows.gave_back(&mut Measured::default(), *bytes);
        }
        assert_eq!(windows.end_measure(), expected, "{given:?}");
    };
    check(&[], None);
    check(&[W / 2], None);
    check(&[W / 2; 8], None);
    check(&[W], Some(2 * STREAM_WINDOW));
    check(&[1, W, 1], Some(2 * STREAM_WINDOW));

    let windows = Windows::new(Budget::new(100 * W));
    let mut measured = Measured::default();
    assert!(!windows.wants_measure());
    windows.gave_back(&mut measured, W / 2);
    assert!(windows.wants_measure());
    windows.begin_measure();
    windows.gave_back(&mut measured, W / 2);
    windows.gave_back(&mut measured, W / 2);
    assert_eq!(windows.end_measure(), Some(2 * STREAM_WINDOW));
    // What came in one measurement does not count in the next.
    windows.begin_measure();
    windows.gave_back(&mut measured, W / 2);
    assert_eq!(windows.end_measure(), None);
    assert!(windows.resize(MAX_STREAM_WINDOW));
    windows.gave_back(&mut measured, 100 * W);
    assert!(!windows.wants_measure(), "there is nothing left to grow to");
}

#[test]
fn growth_ends_where_it_is_told() {
    let sizes = |stream_window| Sizes { stream_window, ..Sizes::default() };
    let after_most = |stream_window| {
        let windows = Windows::new(Budget::with_sizes(100 * W, sizes(stream_window)));
        windows.begin_measure();
        windows.gave_back(&mut Measured::default(), W);
        (windows.window(), windows.end_measure())
    };
    let (first, more) = (STREAM_WINDOW, STREAM_WINDOW + STREAM_WINDOW / 2);
    assert_eq!(after_most(more), (first, Some(more)), "not beyond");
    assert_eq!(after_most(first), (first, None), "no further");
    assert_eq!(after_most(70_000), (70_000, None), "it does not begin above its end");
    let windows = Windows::new(Budget::with_sizes(0, sizes(70_000)));
    let _stream = windows.open();
    assert!(!windows.wants_shrink(), "over the budget: there is nothing to fall back to");
}
