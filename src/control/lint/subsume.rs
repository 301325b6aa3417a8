//! Whether one rule covers another: every connection that fires the second fires the first (pure).
//!
//! Sound and not complete: "yes" is always true, "no" may only mean that it was not seen. Each part
//! is compared by itself: a list covers another when each entry of that lies inside an entry of
//! this; a `not` list is respected when the other rules its entries out as well. Times are those of one
//! zone: who compares two policies sees to that.

use ipnet::IpNet;

use crate::model::policy::{Clause, Group, Match, ServiceAccountMatch, StringMatch};
use crate::model::schedule::{TimeRange, Weekday};

/// Each clause of the wide group must be implied by some clause of the narrow one.
pub(super) fn group(wide: &Group, narrow: &Group) -> bool {
    never_fires(narrow)
        || wide.clauses.iter().all(|w| w.matches.is_empty() || narrow.clauses.iter().any(|n| clause(w, n)))
}

/// A clause whose every match is empty never holds.
fn never_fires(group: &Group) -> bool {
    group.clauses.iter().any(|clause| !clause.matches.is_empty() && clause.matches.iter().all(Match::is_empty))
}

fn clause(wide: &Clause, narrow: &Clause) -> bool {
    // A clause without matches holds always.
    wide.matches.is_empty()
        || !narrow.matches.is_empty() && narrow.matches.iter().all(|n| wide.matches.iter().any(|w| one(w, n)))
}

fn one(wide: &Match, narrow: &Match) -> bool {
    // Without a rest: a field that is new here must be thought of.
    let Match {
        namespaces,
        not_namespaces,
        principals,
        not_principals,
        service_accounts,
        not_service_accounts,
        source_ips,
        not_source_ips,
        destination_ips,
        not_destination_ips,
        destination_ports,
        not_destination_ports,
        times,
        not_times,
        days,
        not_days,
    } = wide;
    if narrow.is_empty() {
        return true;
    }
    !wide.is_empty()
        && field::<StringMatch>((namespaces, not_namespaces), (&narrow.namespaces, &narrow.not_namespaces))
        && field::<StringMatch>((principals, not_principals), (&narrow.principals, &narrow.not_principals))
        && field::<ServiceAccountMatch>(
            (service_accounts, not_service_accounts),
            (&narrow.service_accounts, &narrow.not_service_accounts),
        )
        && field::<IpNet>((source_ips, not_source_ips), (&narrow.source_ips, &narrow.not_source_ips))
        && field::<IpNet>(
            (destination_ips, not_destination_ips),
            (&narrow.destination_ips, &narrow.not_destination_ips),
        )
        && field::<u16>(
            (destination_ports, not_destination_ports),
            (&narrow.destination_ports, &narrow.not_destination_ports),
        )
        && field::<TimeRange>((times, not_times), (&narrow.times, &narrow.not_times))
        && field::<Weekday>((days, not_days), (&narrow.days, &narrow.not_days))
}

/// An entry of a list: the set of values that it matches.
trait Entry {
    /// Everything that `other` matches, this matches.
    fn covers(&self, other: &Self) -> bool;

    /// Nothing is matched by both.
    fn is_apart_from(&self, other: &Self) -> bool;
}

/// A positive list and its `not` list.
fn field<T: Entry>((yes, no): (&[T], &[T]), (narrow_yes, narrow_no): (&[T], &[T])) -> bool {
    let inside = yes.is_empty() || !narrow_yes.is_empty() && narrow_yes.iter().all(|n| yes.iter().any(|w| w.covers(n)));
    // What the wide one refuses, the narrow one must refuse or never speak of.
    let refused = |entry: &T| {
        narrow_no.iter().any(|n| n.covers(entry))
            || !narrow_yes.is_empty() && narrow_yes.iter().all(|n| n.is_apart_from(entry))
    };
    inside && no.iter().all(refused)
}

impl Entry for StringMatch {
    fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Prefix(wide), Self::Prefix(narrow)) => narrow.starts_with(&**wide),
            (Self::Suffix(wide), Self::Suffix(narrow)) => narrow.ends_with(&**wide),
            (Self::Presence, Self::Exact(text) | Self::Prefix(text) | Self::Suffix(text)) => !text.is_empty(),
            (_, Self::Exact(text)) => self.matches(text),
            _ => self == other,
        }
    }

    fn is_apart_from(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Exact(text), pattern) | (pattern, Self::Exact(text)) => !pattern.matches(text),
            (Self::Prefix(a), Self::Prefix(b)) => !a.starts_with(&**b) && !b.starts_with(&**a),
            (Self::Suffix(a), Self::Suffix(b)) => !a.ends_with(&**b) && !b.ends_with(&**a),
            (Self::Presence, _)
            | (_, Self::Presence)
            | (Self::Prefix(_), Self::Suffix(_))
            | (Self::Suffix(_), Self::Prefix(_)) => false,
        }
    }
}

impl Entry for ServiceAccountMatch {
    fn covers(&self, other: &Self) -> bool {
        self == other
    }

    fn is_apart_from(&self, other: &Self) -> bool {
        self != other
    }
}

impl Entry for IpNet {
    fn covers(&self, other: &Self) -> bool {
        self.contains(other)
    }

    fn is_apart_from(&self, other: &Self) -> bool {
        !self.contains(other) && !other.contains(self)
    }
}

impl Entry for TimeRange {
    fn covers(&self, other: &Self) -> bool {
        self == other
    }

    fn is_apart_from(&self, _: &Self) -> bool {
        false
    }
}

impl Entry for Weekday {
    fn covers(&self, other: &Self) -> bool {
        self == other
    }

    fn is_apart_from(&self, other: &Self) -> bool {
        self != other
    }
}

impl Entry for u16 {
    fn covers(&self, other: &Self) -> bool {
        self == other
    }

    fn is_apart_from(&self, other: &Self) -> bool {
        self != other
    }
}

#[cfg(test)]
mod tests;
