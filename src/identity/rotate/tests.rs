use super::*;
use proptest::prelude::*;

const HOUR: Duration = Duration::from_secs(3600);

fn epoch() -> SystemTime {
    SystemTime::UNIX_EPOCH + HOUR * 500_000
}

fn day() -> Lifetime {
    Lifetime { not_before: epoch(), not_after: epoch() + 24 * HOUR }
}

#[test]
fn renews_at_half_life_and_backs_off_after_failures() {
    let s = Duration::from_secs;
    for (lifetime, after, failures, jitter, expected) in [
        (None, s(0), 0, 0.5, s(0)),
        (Some(day()), s(0), 0, 0.5, 12 * HOUR),
        (Some(day()), s(0), 0, 0.0, 24 * HOUR * 45 / 100),
        // A certificate that is past its half when it is first seen is renewed at once.
        (Some(day()), 20 * HOUR, 0, 0.5, 20 * HOUR),
        (Some(day()), 12 * HOUR, 1, 0.5, 12 * HOUR + s(1)),
        (Some(day()), 12 * HOUR, 2, 0.5, 12 * HOUR + s(2)),
        (Some(day()), 12 * HOUR, 8, 0.5, 12 * HOUR + s(128)),
        (Some(day()), 12 * HOUR, 9, 0.5, 12 * HOUR + s(150)),
        (Some(day()), 12 * HOUR, u32::MAX, 0.5, 12 * HOUR + s(150)),
        (Some(day()), 12 * HOUR, 9, 0.0, 12 * HOUR + s(120)),
        // Near its end, the attempt is at the end.
        (Some(day()), 24 * HOUR - s(10), 9, 0.5, 24 * HOUR),
        // After its end, the ordinary wait.
        (Some(day()), 25 * HOUR, 9, 0.5, 25 * HOUR + s(150)),
        (None, s(7), 3, 0.5, s(11)),
        (None, s(0), 1, f64::NAN, s(1)),
    ] {
        let now = epoch() + after;
        let at = rotate(lifetime, now, failures, jitter).at.duration_since(epoch()).unwrap();
        let off = at.abs_diff(expected);
        assert!(off < Duration::from_millis(1), "{lifetime:?} {after:?} {failures} {jitter}: {at:?}, not {expected:?}");
    }
}

proptest! {
    #[test]
    fn the_next_attempt_is_never_past_and_never_after_the_end(
        life in 1u64..10_000_000, age in 0u64..20_000_000, failures in 0u32..100, jitter in 0.0f64..1.0,
    ) {
        let lifetime = Lifetime { not_before: epoch(), not_after: epoch() + Duration::from_secs(life) };
        let now = epoch() + Duration::from_secs(age);
        let at = rotate(Some(lifetime), now, failures, jitter).at;
        prop_assert!(at >= now);
        prop_assert!(at <= lifetime.not_after.max(now + MAX_BACKOFF.mul_f64(1.2)));
        if lifetime.not_after > now {
            prop_assert!(at <= lifetime.not_after);
        }
    }
}
