//! Conditions of time, which Istio's match has no field for.
//!
//! The whole match rides in an extension. The match around it is for who does not know that: in an ALLOW it is empty and never
//! fires; in a DENY it is what is left without the time, so it denies more; an AUDIT is not seen at all.

use crate::model::policy::{Action, Match};
use crate::model::schedule::{TimeRange, WEEK, Weekday};
use crate::proto::extension::{TimeSpan, TimedMatch};
use crate::proto::security as wire;
use crate::xds::convert::extension;
use crate::xds::convert::outcome::{Checked, Fault, LeftOut, each};

/// `plain` is `m` without its times.
pub(super) fn encode(m: &Match, plain: wire::Match, action: Action) -> wire::Match {
    let Match { times, not_times, days, not_days, .. } = m;
    if times.is_empty() && not_times.is_empty() && days.is_empty() && not_days.is_empty() {
        return plain;
    }
    let is_only_time = plain == wire::Match::default();
    let around = match action {
        Action::Deny if is_only_time => wire::Match { source_ips: everywhere(), ..wire::Match::default() },
        Action::Deny => plain.clone(),
        Action::Allow | Action::Audit => wire::Match::default(),
    };
    let spans = |ranges: &[TimeRange]| {
        ranges.iter().map(|range| TimeSpan { first: range.from().into(), last: range.to().into() }).collect()
    };
    let numbers = |days: &[Weekday]| days.iter().map(|day| *day as u32).collect();
    let timed = TimedMatch {
        conditions: (!is_only_time).then_some(plain),
        times: spans(times),
        not_times: spans(not_times),
        days: numbers(days),
        not_days: numbers(not_days),
    };
    wire::Match { extensions: vec![extension::pack(&timed)], ..around }
}

/// A time that cannot be read costs the whole match, in whatever policy: nobody but us writes one.
pub(super) fn decode(timed: TimedMatch, action: Action) -> Checked<(Match, LeftOut)> {
    let TimedMatch { conditions, times, not_times, days, not_days } = timed;
    let (plain, lost) = match conditions {
        Some(conditions) => super::decode_plain(conditions, action)?,
        None => (Match::default(), LeftOut::default()),
    };
    let m = Match {
        times: each("times", times, span)?,
        not_times: each("not_times", not_times, span)?,
        days: each("days", days, day)?,
        not_days: each("not_days", not_days, day)?,
        ..plain
    };
    Ok((m, lost))
}

/// Both families' whole range: a condition that always holds, where an empty match would never.
fn everywhere() -> Vec<wire::Address> {
    vec![wire::Address { address: vec![0; 4], length: 0 }, wire::Address { address: vec![0; 16], length: 0 }]
}

fn span(message: TimeSpan) -> Checked<TimeRange> {
    let TimeSpan { first, last } = message;
    let minutes = u16::try_from(first).ok().zip(u16::try_from(last).ok());
    minutes
        .and_then(|(first, last)| TimeRange::new(first, last))
        .ok_or_else(|| Fault::new((first, last), "two different minutes of a day are a span of it"))
}

fn day(number: u32) -> Checked<Weekday> {
    let known = usize::try_from(number).ok().and_then(|number| WEEK.get(number));
    known.copied().ok_or_else(|| Fault::new(number, "days 0 (Monday) to 6 (Sunday) are known"))
}
