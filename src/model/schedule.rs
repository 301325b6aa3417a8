//! Times of day and days of the week, as policies speak of them. Plain values: which of them it is somewhere is
//! for who knows the time zone.

use std::fmt;

/// Minutes of a day.
pub const DAY: u16 = 24 * 60;

/// A span of the day, in minutes since local midnight: the first is within, the last is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TimeRange {
    /// Below [`DAY`].
    from: u16,
    /// At most [`DAY`], never equal to `from`. Below it when the span goes across midnight.
    to: u16,
}

/// A day of the week.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Weekday {
    Monday,
    Tuesday,
    Wednesday,
    Thursday,
    Friday,
    Saturday,
    Sunday,
}

/// All of them, in order.
pub const WEEK: [Weekday; 7] = [
    Weekday::Monday,
    Weekday::Tuesday,
    Weekday::Wednesday,
    Weekday::Thursday,
    Weekday::Friday,
    Weekday::Saturday,
    Weekday::Sunday,
];

// === impl TimeRange ===

impl TimeRange {
    /// `None` when an end is no time of a day, and when both are the same: that could mean always or never.
    pub fn new(from: u16, to: u16) -> Option<Self> {
        (from < DAY && to <= DAY && from != to).then_some(Self { from, to })
    }

    pub const fn from(self) -> u16 {
        self.from
    }

    pub const fn to(self) -> u16 {
        self.to
    }

    /// Whether a minute of the day is within.
    pub const fn contains(self, minute: u16) -> bool {
        if self.from < self.to {
            self.from <= minute && minute < self.to
        } else {
            self.from <= minute || minute < self.to
        }
    }
}

impl fmt::Display for TimeRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { from, to } = self;
        write!(f, "{:02}:{:02}-{:02}:{:02}", from / 60, from % 60, to / 60, to % 60)
    }
}

// === impl Weekday ===

impl Weekday {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Monday => "Monday",
            Self::Tuesday => "Tuesday",
            Self::Wednesday => "Wednesday",
            Self::Thursday => "Thursday",
            Self::Friday => "Friday",
            Self::Saturday => "Saturday",
            Self::Sunday => "Sunday",
        }
    }
}

impl fmt::Display for Weekday {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
