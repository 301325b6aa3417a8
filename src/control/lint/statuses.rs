//! What the projection says of an object already.

use crate::control::project::{self as projected, Reason, Status};

use super::world::World;
use super::{Code, Finding, Level, Object};

pub(super) fn check(world: &World<'_>, findings: &mut Vec<Finding>) {
    findings.extend(world.projection.statuses.iter().filter_map(finding));
}

/// The finding that a status is; none for what is enforced as written, and for what another check
/// tells with its place.
fn finding(status: &Status) -> Option<Finding> {
    let is_policy = status.kind == "AuthorizationPolicy";
    let (code, path) = match status.reason {
        // Good news, and what `layer7` and `names` tell.
        Reason::Accepted
        | Reason::Allocated
        | Reason::Layer7AllowDropped
        | Reason::Layer7AuditDropped
        | Reason::Layer7DenyWidened
        | Reason::NeverMatches
        | Reason::WaypointAccepted
        | Reason::WaypointEnforced => return None,
        // By `selector`.
        Reason::EmptySelector if is_policy => return None,
        Reason::EmptySelector => (Code::EmptySelector, ""),
        Reason::ActionUnsupported => (Code::ActionNotEnforced, "spec.action"),
        Reason::AncestorNotBound | Reason::PartiallyInvalid | Reason::TargetNotFound => {
            (Code::NobodyEnforces, "spec.targetRefs")
        }
        Reason::AttachmentDenied
        | Reason::CrossNamespaceWaypointForbidden
        | Reason::NoWaypointToEnforce
        | Reason::UnsupportedTrafficType
        | Reason::WaypointIsNotReady => (Code::WaypointNotReady, ""),
        Reason::CanaryInvalidWeight | Reason::CanarySameAsPrimary | Reason::WaypointIgnored => {
            (Code::WaypointIgnored, "")
        }
        Reason::Conflict => (Code::Conflict, ""),
        Reason::DryRun => (Code::DryRun, "metadata.annotations"),
        Reason::DryRunUnreadable | Reason::UnknownTimezone => (Code::InvalidValue, "metadata.annotations"),
        Reason::Invalid => (Code::InvalidValue, ""),
        Reason::Layer7Only => (Code::Layer7NotEnforced, ""),
        Reason::NotEnrolled => (Code::NotInMesh, ""),
        Reason::RootSelector => (Code::RootSelector, "spec.selector"),
        Reason::Shadowed => (Code::Shadowed, ""),
    };
    let (why, level) = match status.level {
        projected::Level::Info => return None,
        projected::Level::NotEnforced => ("nobody enforces it", code.level()),
        projected::Level::Warning if code.level() == Level::Error => ("it counts without that", Level::Warning),
        projected::Level::Warning => ("it counts, and not as it is written", code.level()),
    };
    // A message mostly ends with its mend; that about a waypoint ends with what it leads to.
    let (what, rest) = status.message.rsplit_once("; ").unwrap_or_else(|| (&status.message, code.mend()));
    let (why, mend) = match code {
        Code::Conflict => ("nobody can tell whose it would be", rest),
        Code::WaypointNotReady if rest != code.mend() => (rest, code.mend()),
        _ => (why, rest),
    };
    Some(Finding::new(code, Object::new(status.kind, &status.key), path, what).level(level).why(why).mend(mend))
}
