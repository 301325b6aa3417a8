//! Durations as ztunnel's variables write them: `5s`, `10m`, `1h30m`, `1m+30`; a number without a unit is seconds.

use std::time::Duration;

use crate::config::value::BadValue;

/// The longest, 100 years: beyond it, adding one to a clock can overflow.
const LONGEST: u128 = 100 * 365 * 86_400 * 1_000_000_000;

/// Nanoseconds of a unit. A month has 30 days and a year 365.
fn unit(name: &str) -> Option<u128> {
    const SECOND: u128 = 1_000_000_000;
    Some(match name {
        "" | "s" | "S" | "sec" | "secs" | "second" | "seconds" => SECOND,
        "ns" | "nsec" | "nanosecond" | "nanoseconds" => 1,
        "us" | "µs" | "usec" | "µsec" | "microsecond" | "microseconds" => 1_000,
        "ms" | "msec" | "millisecond" | "milliseconds" => 1_000_000,
        "m" | "min" | "mins" | "minute" | "minutes" => 60 * SECOND,
        "h" | "H" | "hr" | "hrs" | "hour" | "hours" => 3_600 * SECOND,
        "d" | "D" | "day" | "days" => 86_400 * SECOND,
        "w" | "W" | "week" | "weeks" => 7 * 86_400 * SECOND,
        "mon" | "month" | "months" => 30 * 86_400 * SECOND,
        "y" | "Y" | "year" | "years" => 365 * 86_400 * SECOND,
        _ => return None,
    })
}

/// Reads one; terms are added, with `+`, a space or nothing between them.
pub fn duration(text: &str) -> Result<Duration, BadValue> {
    sum(text).ok_or_else(|| BadValue {
        text: text.to_owned(),
        expected: "a duration: write 500ms, 5s, 10m, 1h30m, or a number of seconds".to_owned(),
    })
}

fn sum(text: &str) -> Option<Duration> {
    let (mut rest, mut total) = (text.trim(), 0_u128);
    loop {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, after) = rest.split_at(digits);
        let after = after.trim_start();
        let letters = after.find(|c: char| !c.is_alphabetic()).unwrap_or(after.len());
        let (name, after) = after.split_at(letters);
        let number: u64 = number.parse().ok()?;
        total = total.checked_add(u128::from(number).checked_mul(unit(name)?)?).filter(|total| *total <= LONGEST)?;
        let after = after.trim_start();
        if after.is_empty() {
            break;
        }
        rest = after.strip_prefix('+').unwrap_or(after).trim_start();
    }
    let seconds = u64::try_from(total / 1_000_000_000).ok()?;
    let nanoseconds = u32::try_from(total % 1_000_000_000).ok()?;
    Some(Duration::new(seconds, nanoseconds))
}

#[cfg(test)]
mod tests;
