use super::*;

fn values(labels: &[&str]) -> Values {
    labels.iter().map(|label| Arc::from(*label)).collect()
}

fn names(family: &Family) -> Vec<String> {
    family.snapshot().iter().map(|series| series.labels.join(",")).collect()
}

#[test]
fn the_same_labels_are_the_same_series() {
    let family = Family::new(10);
    Counter::new(family.series(&values(&["a", "b"]))).add(2);
    Counter::new(family.series(&values(&["a", "b"]))).add(3);
    Counter::new(family.series(&values(&["a", "c"]))).increment();
    assert_eq!(Counter::new(family.series(&values(&["a", "b"]))).value(), 5);
    assert_eq!(names(&family), ["a,b", "a,c"]);
}

#[test]
fn what_the_budget_leaves_out_goes_to_one_series() {
    let family = Family::new(100);
    for n in 0..10_000 {
        Counter::new(family.series(&values(&[&format!("peer-{n}"), "x"]))).increment();
    }
    assert_eq!(family.snapshot().len(), 101);
    let overflow = Counter::new(family.series(&values(&["another", "x"])));
    assert_eq!(overflow.value(), 9_900);
    assert!(names(&family).contains(&"overflow,overflow".to_owned()));
    // What is known keeps its own series.
    assert_eq!(Counter::new(family.series(&values(&["peer-7", "x"]))).value(), 1);
}

#[test]
fn a_budget_of_zero_leaves_metrics_without_labels() {
    let family = Family::new(0);
    Gauge::new(family.series(&values(&[]))).set(7);
    assert_eq!(Gauge::new(family.series(&values(&[]))).value(), 7);
}

#[test]
fn series_expire_when_unchanged_and_unheld() {
    let start = Instant::now();
    let family = Family::new(2);
    let held = Counter::new(family.series(&values(&["held"])));
    Counter::new(family.series(&values(&["left"]))).increment();
    family.sweep(start);
    family.sweep(start + EXPIRY - Duration::from_secs(1));
    assert_eq!(names(&family), ["held", "left"]);
    Counter::new(family.series(&values(&["left"]))).increment();
    family.sweep(start + EXPIRY);
    assert_eq!(names(&family), ["held", "left"], "a change starts the hour again");
    family.sweep(start + EXPIRY * 2);
    assert_eq!(names(&family), ["held"]);
    // The room is there again.
    family.series(&values(&["new"]));
    assert_eq!(names(&family), ["held", "new"]);
    held.add(4);
    let value = held.value();
    family.sweep(start + EXPIRY * 20);
    assert_eq!(Counter::new(family.series(&values(&["held"]))).value(), value, "what is held never begins again");
    drop(held);
    family.sweep(start + EXPIRY * 20);
    family.sweep(start + EXPIRY * 22);
    assert!(names(&family).is_empty());
}

#[test]
fn gauges_go_below_zero_and_holds_give_back() {
    let family = Family::new(2);
    let gauge = Gauge::new(family.series(&values(&["x"])));
    gauge.set(-5);
    gauge.add(2);
    assert_eq!(gauge.value(), -3);
    gauge.set(0);
    let holds: Vec<_> = (0..3).map(|_| gauge.hold()).collect();
    assert_eq!(gauge.value(), 3);
    drop(holds);
    assert_eq!(gauge.value(), 0);
}

#[test]
fn a_counter_follows_another_total() {
    let family = Family::new(2);
    let counter = Counter::new(family.series(&values(&["x"])));
    counter.raise_to(10);
    counter.raise_to(4);
    assert_eq!(counter.value(), 10);
}

#[test]
fn forgotten_series_are_gone() {
    let family = Family::new(2);
    let held = Gauge::new(family.series(&values(&["web", "a"])));
    family.forget(&values(&["web", "a"]));
    held.set(9);
    assert!(names(&family).is_empty());
}

/// A gauge that a scrape sets again to what it was is in every scrape.
#[test]
fn what_is_looked_up_before_each_sweep_stays() {
    let (start, family) = (Instant::now(), Family::new(10));
    for hour in 0..5 {
        Gauge::new(family.series(&values(&["enrolled"]))).set(3);
        family.series(&values(&[]));
        family.sweep(start + EXPIRY * hour);
        assert_eq!(names(&family), ["", "enrolled"], "{hour}");
    }
    family.sweep(start + EXPIRY * 7);
    assert_eq!(names(&family), [""], "without labels there is one, and it stays");
}

/// However many series come and go, a scrape has no more than the budget and one.
#[test]
fn a_scrape_never_grows_without_end() {
    let (start, family) = (Instant::now(), Family::new(50));
    for hour in 0..100 {
        for pod in 0..200 {
            Counter::new(family.series(&values(&[&format!("pod-{hour}-{pod}")]))).increment();
        }
        family.sweep(start + EXPIRY * 3 * hour);
        assert!(family.snapshot().len() <= 51);
    }
    family.sweep(start + EXPIRY * 400);
    assert_eq!(names(&family), ["overflow"]);
}
