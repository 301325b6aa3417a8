use proptest::prelude::*;

use super::*;

fn id(number: usize) -> EndpointId {
    EndpointId { uid: format!("e{number}").into(), port: 80 }
}

const MIDDLE: f64 = 0.5;

#[test]
fn the_time_doubles_up_to_its_limit_and_a_success_ends_it() {
    let (mut outliers, mut now) = (Outliers::default(), Instant::now());
    for seconds in [1, 2, 4, 8, 16, 32, 60, 60] {
        let aside = outliers.failed(&id(1), now, MIDDLE).unwrap();
        assert_eq!(aside.as_secs_f64().round() as u64, seconds);
        assert!(outliers.aside(now).contains(&id(1)));
        // Those who were on their way change nothing.
        assert_eq!(outliers.failed(&id(1), now + aside / 2, MIDDLE), None);
        now += aside;
        assert!(outliers.aside(now).is_empty(), "it comes back");
    }
    outliers.succeeded(&id(1));
    assert_eq!(outliers.failed(&id(1), now, MIDDLE).unwrap().as_secs_f64().round(), 1.0);
    // So does a long time without a failure.
    let later = now + Duration::from_secs(62);
    assert_eq!(outliers.failed(&id(1), later, MIDDLE).unwrap().as_secs_f64().round(), 1.0);
    // Another port of it is another matter.
    assert!(!outliers.aside(later).contains(&EndpointId { port: 81, ..id(1) }));
}

#[test]
fn what_is_remembered_is_bounded_and_the_newest_stay() {
    let (mut outliers, start) = (Outliers::default(), Instant::now());
    for number in 0..3 * MOST {
        outliers.failed(&id(number), start + Duration::from_micros(number as u64), MIDDLE);
        assert!(outliers.known.len() <= MOST);
    }
    let aside = outliers.aside(start + Duration::from_millis(10));
    assert_eq!(aside.len(), MOST);
    assert!((2 * MOST..3 * MOST).all(|number| aside.contains(&id(number))));
}

proptest! {
    #[test]
    fn no_time_is_longer_than_its_limit_or_shorter_than_the_first(
        steps in proptest::collection::vec((0usize..4, 0u64..200_000, any::<f64>(), any::<bool>()), 1..200),
    ) {
        let (mut outliers, mut now) = (Outliers::default(), Instant::now());
        for (number, millis, jitter, good) in steps {
            now += Duration::from_millis(millis);
            if good {
                outliers.succeeded(&id(number));
                prop_assert!(!outliers.aside(now).contains(&id(number)));
            } else if let Some(aside) = outliers.failed(&id(number), now, jitter) {
                prop_assert!(aside >= FIRST.mul_f64(0.79) && aside <= LONGEST.mul_f64(1.21), "{aside:?}");
            }
        }
        prop_assert!(outliers.aside(now + LONGEST * 2).is_empty(), "everybody comes back");
    }
}
