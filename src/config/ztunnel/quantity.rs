//! Processors: Kubernetes' quantities, and how many threads carry connections.

use crate::config::value::BadValue;

/// How many threads were asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Threads {
    /// As many; 0 is one a processor.
    Count(usize),
    /// Of the processors, in millionths of a percent.
    Percent(u64),
}

/// More are no use and a mistake.
const MOST_THREADS: usize = 4096;

/// A quantity of processors (`200m`, `2`, `1.5`, `1e1`, `1k`), rounded up to whole ones.
pub fn processors(text: &str) -> Result<usize, BadValue> {
    whole(text).ok_or_else(|| BadValue {
        text: text.to_owned(),
        expected: "a quantity of processors: write 2, 1.5 or 200m".to_owned(),
    })
}

fn whole(text: &str) -> Option<usize> {
    let number = text.bytes().take_while(|byte| byte.is_ascii_digit() || *byte == b'.').count();
    let (number, suffix) = text.split_at(number);
    let (integer, fraction) = number.split_once('.').unwrap_or((number, ""));
    let good = number.len() <= 20 && !(integer.is_empty() && fraction.is_empty()) && !fraction.contains('.');
    let digits: u128 = good.then(|| format!("{integer}{fraction}").parse().ok()).flatten()?;
    let shift = i32::try_from(fraction.len()).ok()?;
    // Powers of 1024 are exact; those of 10 are an exponent.
    let (times, exponent) = match suffix {
        "n" => (1, -9),
        "u" => (1, -6),
        "m" => (1, -3),
        "" => (1, 0),
        "k" => (1, 3),
        "M" => (1, 6),
        "G" => (1, 9),
        "Ki" => (1_u128 << 10, 0),
        "Mi" => (1 << 20, 0),
        "Gi" => (1 << 30, 0),
        _ => (1, suffix.strip_prefix(['e', 'E'])?.parse::<i32>().ok()?),
    };
    let digits = digits.checked_mul(times)?;
    let exponent = exponent.checked_sub(shift)?;
    let power = 10_u128.checked_pow(exponent.unsigned_abs())?;
    let rounded = if exponent < 0 { digits.div_ceil(power) } else { digits.checked_mul(power)? };
    usize::try_from(rounded).ok()
}

/// A percent in millionths of it. What is smaller is no part of a processor.
const PERCENT: u64 = 1_000_000;

/// `12` or `12.5`, in millionths, rounded up.
fn percent(text: &str) -> Option<u64> {
    let (integer, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.len() <= 20 && text.bytes().all(|byte| byte.is_ascii_digit());
    if (integer.is_empty() && fraction.is_empty()) || !digits(integer) || !digits(fraction) {
        return None;
    }
    let whole: u64 = if integer.is_empty() { 0 } else { integer.parse().ok()? };
    let (kept, rest) = fraction.split_at(fraction.len().min(6));
    let millionths: u64 = format!("{kept:0<6}").parse().ok()?;
    let more = u64::from(rest.bytes().any(|byte| byte != b'0'));
    let all = whole.checked_mul(PERCENT)?.checked_add(millionths + more)?;
    (1..=100 * PERCENT).contains(&all).then_some(all)
}

/// `N`, `N%` of the processors, or 0 for all of them.
pub fn threads(text: &str) -> Result<Threads, BadValue> {
    let plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten();
    let parsed = match text.strip_suffix('%') {
        Some(of_processors) => percent(of_processors).map(Threads::Percent),
        None => plain(text).map(Threads::Count),
    };
    parsed.ok_or_else(|| BadValue {
        text: text.to_owned(),
        expected: "a number of threads: write 2, a part of the processors of at most 100%: 12.5% or 50%, or 0 for one a processor"
            .to_owned(),
    })
}

/// How many threads may carry connections on `processors`. `asked` is the variable's, `concurrency` the mesh configuration's; 0
/// there is one a processor. 0 when nobody says: one for each pod.
pub fn workers(asked: Option<Threads>, concurrency: Option<u16>, processors: usize) -> usize {
    let wanted = match (asked, concurrency) {
        (Some(Threads::Count(0)), _) | (None, Some(0)) => processors,
        (Some(Threads::Count(asked)), _) => asked,
        (Some(Threads::Percent(percent)), _) => {
            let part = (processors as u128 * u128::from(percent)).div_ceil(100 * u128::from(PERCENT));
            usize::try_from(part).unwrap_or(usize::MAX)
        }
        (None, Some(concurrency)) => usize::from(concurrency),
        (None, None) => return 0,
    };
    wanted.clamp(1, MOST_THREADS)
}

#[cfg(test)]
mod tests;
