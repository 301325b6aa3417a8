//! How long to wait before a peer is called again. Pure.

use std::time::Duration;

/// The first wait, 10 ms: a process that restarts is back within some tenths of a second, or has another instance.
const FIRST: Duration = Duration::from_millis(10);
/// The longest, 15 s: who is away for long is asked four times a minute.
const LONGEST: Duration = Duration::from_secs(15);

/// The wait after so many failures in a row: 10 ms after the first, doubled with each, at most 15 s, and of that a
/// random part of at least a half. `random` is in 0.0..1.0; anything else counts as 0.5.
pub fn wait(failures: u32, random: f64) -> Duration {
    let Some(doublings) = failures.checked_sub(1) else { return Duration::ZERO };
    let random = if (0.0..1.0).contains(&random) { random } else { 0.5 };
    FIRST.saturating_mul(1 << doublings.min(16)).min(LONGEST).mul_f64(0.5 + random / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_a_quarter_of_a_minute() {
        let waits: Vec<_> = (0..14).map(|failures| wait(failures, 0.9999).as_millis()).collect();
        assert_eq!(waits, [0, 9, 19, 39, 79, 159, 319, 639, 1279, 2559, 5119, 10239, 14999, 14999]);
        assert_eq!(wait(u32::MAX, 0.0), LONGEST / 2);
    }

    #[test]
    fn half_of_it_is_chance() {
        assert_eq!([0.0, 0.5].map(|random| wait(1, random)), [FIRST / 2, FIRST / 4 * 3]);
        assert_eq!([f64::NAN, -1.0, 1.0].map(|random| wait(1, random)), [wait(1, 0.5); 3]);
    }
}
