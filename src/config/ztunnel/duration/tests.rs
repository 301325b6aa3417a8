use proptest::prelude::*;

use super::*;

#[test]
fn the_grammar() {
    let check = |text: &str, expected: Option<u64>| {
        assert_eq!(duration(text).ok(), expected.map(Duration::from_millis), "{text:?}");
    };
    check("5s", Some(5_000));
    check("10m", Some(600_000));
    check("1h30m", Some(5_400_000));
    check("1h 30m", Some(5_400_000));
    check("1m+30", Some(90_000));
    check("180", Some(180_000));
    check("0", Some(0));
    check(" 500 ms ", Some(500));
    check("2d", Some(172_800_000));
    check("1y", Some(31_536_000_000));
    for bad in ["", " ", "s", "5x", "-5s", "1.5s", "5s+", "+5s", "5s,5s", "101y", "99999999999999999999s", "5s*2"] {
        check(bad, None);
    }
    assert_eq!(
        duration("soon").unwrap_err().to_string(),
        "\"soon\" is not a duration: write 500ms, 5s, 10m, 1h30m, or a number of seconds"
    );
}

proptest! {
    #[test]
    fn no_text_panics(text in any::<String>()) {
        drop(duration(&text));
    }

    /// What the settings' own grammar writes is read as the same.
    #[test]
    fn terms_add_up(hours in 0u64..1000, minutes in 0u64..1000, ms in 0u64..100_000) {
        let expected = Duration::from_millis((hours * 60 + minutes) * 60_000 + ms);
        prop_assert_eq!(duration(&format!("{hours}h{minutes}m{ms}ms")), Ok(expected));
        prop_assert_eq!(duration(&format!("{ms}ms+{minutes}m +{hours}h")), Ok(expected));
    }
}
