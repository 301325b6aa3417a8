use proptest::prelude::*;

use super::*;

#[test]
fn quantities_are_rounded_up() {
    let check = |text: &str, expected: Option<usize>| assert_eq!(processors(text).ok(), expected, "{text:?}");
    check("2", Some(2));
    check("200m", Some(1));
    check("1000m", Some(1));
    check("1001m", Some(2));
    check("1.5", Some(2));
    check(".5", Some(1));
    check("0", Some(0));
    check("1e1", Some(10));
    check("15E-1", Some(2));
    check("1k", Some(1000));
    check("1Ki", Some(1024));
    check("2500000u", Some(3));
    for bad in ["", ".", "m", "-1", "+1", "1.2.3", "1x", "1 ", "1e", "1e99", "one", "99999999999999999999999"] {
        check(bad, None);
    }
}

#[test]
fn threads_by_every_rule() {
    let check = |asked: Option<&str>, concurrency, processors, expected| {
        let asked = asked.map(|text| threads(text).unwrap());
        assert_eq!(workers(asked, concurrency, processors), expected, "{asked:?} {concurrency:?} {processors:?}");
    };
    check(None, None, 16, 0);
    check(None, Some(0), 16, 16);
    check(None, Some(7), 16, 7);
    check(Some("3"), Some(7), 16, 3);
    check(Some("0"), Some(7), 16, 16);
    check(Some("50%"), None, 7, 4);
    check(Some("1%"), None, 7, 1);
    check(Some("12.5%"), None, 16, 2);
    check(Some("12.6%"), None, 16, 3);
    check(Some(".5%"), None, 400, 2);
    check(Some("100%"), None, 16, 16);
    check(Some("12.50000001%"), None, 16, 3);
    check(Some("999999"), None, 16, 4096);
    for bad in ["", "%", ".%", "0%", "0.0%", "101%", "100.1%", "200%", "1.2.3%", "-1", "half", "1.5", "50 %"] {
        assert!(threads(bad).is_err(), "{bad:?}");
    }
}

proptest! {
    #[test]
    fn no_text_panics(text in any::<String>()) {
        drop(processors(&text));
        drop(threads(&text));
    }

    #[test]
    fn thousandths(n in 0usize..10_000_000) {
        prop_assert_eq!(processors(&format!("{n}m")), Ok(n.div_ceil(1000)));
        prop_assert_eq!(processors(&format!("{}.{:03}", n / 1000, n % 1000)), Ok(n.div_ceil(1000)));
    }

    #[test]
    fn never_no_thread(count in 1usize..512, percent in 1u64..=100_000_000, concurrency in any::<Option<u16>>()) {
        prop_assert!(workers(Some(Threads::Percent(percent)), concurrency, count) >= 1);
        prop_assert_eq!(workers(None, concurrency, count) >= 1, concurrency.is_some());
    }
}
