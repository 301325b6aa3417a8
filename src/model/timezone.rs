//! Time zones by name: what the clock on the wall says somewhere, and when it comes to certain minutes.
//!
//! The database is the one that was built in: an image needs no zone files, and every node of a release agrees.

use std::fmt;
use std::sync::{Arc, LazyLock};
use std::time::SystemTime;

use jiff::civil::{Date, Time};
use jiff::tz::{AmbiguousOffset, TimeZone, TimeZoneDatabase};
use jiff::{SignedDuration, Timestamp};

use super::schedule::{DAY, WEEK, Weekday};

static DATABASE: LazyLock<TimeZoneDatabase> = LazyLock::new(TimeZoneDatabase::bundled);

/// A zone by its name, known here or not. Equal when the names are.
#[derive(Clone)]
pub struct Zone {
    name: Arc<str>,
    /// `None` when the database does not have it: another release may.
    known: Option<TimeZone>,
}

/// What the clock on the wall says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LocalTime {
    /// Whole minutes since local midnight.
    pub minute: u16,
    pub day: Weekday,
}

/// A whole day further than a day, because a zone may leave out a date.
const DAYS_AHEAD: i32 = 3;

// === impl Zone ===

impl Zone {
    /// Names of the IANA database, such as `Europe/Vienna`.
    pub fn named(name: &str) -> Self {
        let known = DATABASE.get(name).ok();
        // As the database writes it: `utc` and `UTC` are one.
        let name = known.as_ref().and_then(|zone| zone.iana_name()).unwrap_or(name).into();
        Self { name, known }
    }

    pub fn utc() -> Self {
        Self { name: "UTC".into(), known: Some(TimeZone::UTC) }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub const fn is_known(&self) -> bool {
        self.known.is_some()
    }

    /// The local time; `None` when the zone is not known, or the clock beyond the calendar.
    pub fn at(&self, now: SystemTime) -> Option<LocalTime> {
        let zone = self.known.as_ref()?;
        let local = zone.to_datetime(Timestamp::try_from(now).ok()?);
        let minute = u16::try_from(local.hour()).ok()? * 60 + u16::try_from(local.minute()).ok()?;
        let day = WEEK[usize::try_from(local.weekday().to_monday_zero_offset()).ok()? % WEEK.len()];
        Some(LocalTime { minute, day })
    }

    /// The first moment after `now` at which the local clock comes to one of `minutes` (of a day, 0 being
    /// midnight), or is set forward or back. Of a minute that is there twice both count. `None` when the zone is
    /// not known; with a zone that never changes and no minutes there is no such moment either.
    pub fn next(&self, now: SystemTime, minutes: impl Iterator<Item = u16> + Clone) -> Option<SystemTime> {
        let zone = self.known.as_ref()?;
        let now = Timestamp::try_from(now).ok()?;
        let today = zone.to_datetime(now).date();
        let turn = zone.following(now).next().map(|transition| transition.timestamp());
        let dates = (0..=DAYS_AHEAD)
            .filter_map(|ahead| today.checked_add(SignedDuration::from_hours(24 * i64::from(ahead))).ok());
        // Days are in order, so the first day that has a moment has the earliest.
        let mut within = dates.filter_map(|date| {
            minutes.clone().flat_map(|minute| instants(zone, date, minute)).flatten().filter(|at| *at > now).min()
        });
        within.next().into_iter().chain(turn).min().map(SystemTime::from)
    }
}

/// When the clock shows this minute of this date: once, twice, or, when it is left out, where the clock leaps.
fn instants(zone: &TimeZone, date: Date, minute: u16) -> [Option<Timestamp>; 2] {
    let minute = minute % DAY;
    let (Ok(hour), Ok(minute)) = (i8::try_from(minute / 60), i8::try_from(minute % 60)) else { return [None, None] };
    let Ok(time) = Time::new(hour, minute, 0, 0) else { return [None, None] };
    let civil = date.to_datetime(time);
    match zone.to_ambiguous_timestamp(civil).offset() {
        AmbiguousOffset::Unambiguous { offset } => [offset.to_timestamp(civil).ok(), None],
        AmbiguousOffset::Gap { before, after } | AmbiguousOffset::Fold { before, after } => {
            [before.to_timestamp(civil).ok(), after.to_timestamp(civil).ok()]
        }
    }
}

impl PartialEq for Zone {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Zone {}

impl Default for Zone {
    fn default() -> Self {
        Self::utc()
    }
}

impl fmt::Debug for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Zone({})", self.name)
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

#[cfg(test)]
mod tests;
