//! What became of an object: one sentence for its author.

use std::fmt;

use crate::control::index::Conflict;
use crate::model::name::NamespacedName;

/// What an author should know about one object.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Status {
    pub kind: &'static str,
    pub key: NamespacedName,
    pub level: Level,
    pub reason: Reason,
    /// Who, what and the mend.
    pub message: String,
}

/// How much it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Level {
    /// Enforced as written.
    Info,
    /// Enforced, and not as written: more is refused, or something surely was not meant.
    Warning,
    /// Something that was written is not enforced here.
    NotEnforced,
}

/// Why, as a label for metrics and conditions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    Accepted,
    /// A policy's target has no waypoint that would judge it.
    AncestorNotBound,
    /// CUSTOM.
    ActionUnsupported,
    /// A ServiceEntry's host was given an address, or there is none left.
    Allocated,
    /// The waypoint does not take objects of this namespace.
    AttachmentDenied,
    CanaryInvalidWeight,
    CanarySameAsPrimary,
    /// It claims what another has.
    Conflict,
    /// A service that only its namespace sees names another namespace's waypoint.
    CrossNamespaceWaypointForbidden,
    DryRun,
    /// The dry-run annotation is neither true nor false.
    DryRunUnreadable,
    EmptySelector,
    Invalid,
    /// ALLOW rules with L7 parts never match.
    Layer7AllowDropped,
    /// AUDIT rules with L7 parts count nothing.
    Layer7AuditDropped,
    /// DENY rules lost their L7 parts and deny more.
    Layer7DenyWidened,
    /// DENY rules that are nothing but L7.
    Layer7Only,
    NeverMatches,
    /// Only a waypoint may connect, and the pod is outside of the mesh: nobody enforces it.
    NotEnrolled,
    /// Only a waypoint may connect, and there is none: nobody may.
    NoWaypointToEnforce,
    /// Some targets of a policy have a waypoint that judges it, and some have none.
    PartiallyInvalid,
    /// A policy with a selector in the root namespace, where PeerAuthentication has none.
    RootSelector,
    /// An older object of the same level wins.
    Shadowed,
    /// A policy's target does not exist.
    TargetNotFound,
    /// The time zone is not in this release's database.
    UnknownTimezone,
    /// The waypoint is for services and this is a workload, or the other way round.
    UnsupportedTrafficType,
    /// Calls go through a waypoint, or a waypoint judges the policy.
    WaypointAccepted,
    /// Nobody but a waypoint may connect.
    WaypointEnforced,
    /// A label about waypoints where it has no meaning.
    WaypointIgnored,
    /// The waypoint is missing or has no address.
    WaypointIsNotReady,
}

// === impl Status ===

impl Status {
    pub(super) fn of_conflict(conflict: &Conflict) -> Self {
        Self {
            kind: "Pod",
            key: conflict.refused.clone(),
            level: Level::Warning,
            reason: Reason::Conflict,
            message: conflict.to_string(),
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}: {}", self.kind, self.key, self.level, self.message)
    }
}

// === impl Level ===

impl Level {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Info => "ok",
            Self::Warning => "warning",
            Self::NotEnforced => "NOT ENFORCED",
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

// === impl Reason ===

impl Reason {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "Accepted",
            Self::ActionUnsupported => "ActionUnsupported",
            Self::Allocated => "Allocated",
            Self::AncestorNotBound => "AncestorNotBound",
            Self::AttachmentDenied => "AttachmentDenied",
            Self::CanaryInvalidWeight => "CanaryInvalidWeight",
            Self::CanarySameAsPrimary => "CanarySameAsPrimary",
            Self::Conflict => "Conflict",
            Self::CrossNamespaceWaypointForbidden => "CrossNamespaceWaypointForbidden",
            Self::DryRun => "DryRun",
            Self::DryRunUnreadable => "DryRunUnreadable",
            Self::EmptySelector => "EmptySelector",
            Self::Invalid => "Invalid",
            Self::Layer7AllowDropped => "Layer7AllowDropped",
            Self::Layer7AuditDropped => "Layer7AuditDropped",
            Self::Layer7DenyWidened => "Layer7DenyWidened",
            Self::Layer7Only => "Layer7Only",
            Self::NeverMatches => "NeverMatches",
            Self::NotEnrolled => "NotEnrolled",
            Self::NoWaypointToEnforce => "NoWaypointToEnforce",
            Self::PartiallyInvalid => "PartiallyInvalid",
            Self::RootSelector => "RootSelector",
            Self::Shadowed => "Shadowed",
            Self::TargetNotFound => "TargetNotFound",
            Self::UnknownTimezone => "UnknownTimezone",
            Self::UnsupportedTrafficType => "UnsupportedTrafficType",
            Self::WaypointAccepted => "WaypointAccepted",
            Self::WaypointEnforced => "WaypointEnforced",
            Self::WaypointIgnored => "WaypointIgnored",
            Self::WaypointIsNotReady => "WaypointIsNotReady",
        }
    }
}
