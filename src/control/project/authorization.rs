//! AuthorizationPolicy → policy, with what its author should know.

use crate::control::policy::authorization::{self, Action, Authorization, split_selector};
use crate::kube::types::AuthorizationPolicy;
use crate::kube::types::meta::StringMap;
use crate::model::name::NamespacedName;
use crate::model::policy::{self, Policy, Scope};

use super::status::{Level, Reason, Status};
use super::{Settings, aliases, narrow};

/// What became of one object.
pub(super) struct Converted {
    /// `None` when nothing of it is judged here.
    pub policy: Option<Policy>,
    /// Labels of the pods it is for; `None` for all of its scope.
    pub selector: Option<StringMap>,
    pub statuses: Vec<Status>,
}

const KIND: &str = "AuthorizationPolicy";

pub(super) fn convert(key: &NamespacedName, object: &AuthorizationPolicy, settings: &Settings) -> Converted {
    let mut notes = Notes { key, statuses: Vec::new() };
    let mut judged_here = true;
    let (policy, selector) = match authorization::parse(object) {
        Ok(parsed) => {
            let policy = notes.parsed(object, &parsed, settings);
            judged_here = !parsed.has_targets;
            (policy, parsed.selector)
        }
        Err(problems) => {
            let problems: Vec<_> = problems.iter().map(ToString::to_string).collect();
            let (selector, _) = split_selector(object.spec.selector.as_ref());
            let effect = "nothing is allowed by it as an ALLOW policy, and nothing denied as another";
            notes.add(Level::NotEnforced, Reason::Invalid, format!("{}; until then {effect}", problems.join("; ")));
            // Closed, not open: what an ALLOW policy covers is refused until it is mended. One that would not be
            // enforced here without its mistake closes nothing.
            let enforced = !authorization::is_dry_run(object) && !authorization::has_targets(&object.spec);
            let policy = (object.spec.action == Action::Allow && enforced).then(|| {
                Policy::new(key.clone(), scope(selector.as_ref(), key, settings), policy::Action::Allow, Vec::new())
            });
            (policy, selector)
        }
    };
    if notes.statuses.is_empty() && judged_here {
        notes.add(Level::Info, Reason::Accepted, "enforced as written".to_owned());
    }
    Converted { policy, selector, statuses: notes.statuses }
}

fn scope(selector: Option<&StringMap>, key: &NamespacedName, settings: &Settings) -> Scope {
    if selector.is_some() {
        Scope::Workload
    } else if key.namespace == settings.root_namespace {
        Scope::Global
    } else {
        Scope::Namespace
    }
}

/// Gathers the statuses of one policy.
struct Notes<'a> {
    key: &'a NamespacedName,
    statuses: Vec<Status>,
}

// === impl Notes ===

impl Notes<'_> {
    fn add(&mut self, level: Level, reason: Reason, message: String) {
        self.statuses.push(Status { kind: KIND, key: self.key.clone(), level, reason, message });
    }

    fn parsed(&mut self, object: &AuthorizationPolicy, parsed: &Authorization, settings: &Settings) -> Option<Policy> {
        for doubt in &parsed.doubts {
            self.add(Level::Warning, Reason::NeverMatches, doubt.clone());
        }
        if let Some(text) = authorization::unreadable_dry_run(object) {
            let message = format!(
                "its annotation {} is `{text}`, which is neither true nor false, so it is enforced; write true or false",
                authorization::DRY_RUN
            );
            self.add(Level::Warning, Reason::DryRunUnreadable, message);
        }
        // A waypoint judges it, and which one is known when all are (`waypoint::targets`).
        if parsed.has_targets {
            return None;
        }
        let action = match parsed.action {
            Action::Allow => policy::Action::Allow,
            Action::Deny => policy::Action::Deny,
            Action::Audit => policy::Action::Audit,
            Action::Custom => {
                let message = "action CUSTOM asks a provider, which L4 does not; use ALLOW or DENY, or a waypoint";
                self.add(Level::NotEnforced, Reason::ActionUnsupported, message.to_owned());
                return None;
            }
        };
        let dry_run = parsed.dry_run && action != policy::Action::Audit;
        if dry_run {
            let message = format!(
                "it is tried out: what it would have done is counted and logged; remove the annotation {} to enforce it",
                authorization::DRY_RUN
            );
            self.add(Level::NotEnforced, Reason::DryRun, message);
        }
        if let Some(problem) = authorization::check_zone(object) {
            let effect = match action {
                policy::Action::Allow | policy::Action::Audit => "rules with a time condition never match",
                policy::Action::Deny => "it denies at all times",
            };
            self.add(Level::Warning, Reason::UnknownTimezone, format!("{problem}; until then {effect}"));
        }
        let scope = scope(parsed.selector.as_ref(), self.key, settings);
        if parsed.selector_is_empty {
            let covers = match scope {
                Scope::Global => "the whole mesh".to_owned(),
                Scope::Namespace | Scope::Workload => format!("all of namespace {}", self.key.namespace),
            };
            self.add(
                Level::Warning,
                Reason::EmptySelector,
                format!(
                    "its selector has no labels and counts as none, so it covers {covers}; remove it or add labels"
                ),
            );
        }
        let mut narrowed = match action {
            // An AUDIT rule that were kept in part would count what nobody asked for.
            policy::Action::Allow | policy::Action::Audit => narrow::whole(&parsed.rules),
            policy::Action::Deny => narrow::deny(&parsed.rules),
        };
        aliases::expand(&mut narrowed.groups, settings);
        self.narrowed(&narrowed, action);
        if action == policy::Action::Audit && self.statuses.is_empty() {
            self.add(Level::Info, Reason::Accepted, "counted and logged; AUDIT refuses nothing".to_owned());
        }
        let zone = parsed.zone.clone();
        Some(Policy { dry_run, zone, ..Policy::new(self.key.clone(), scope, action, narrowed.groups) })
    }

    fn narrowed(&mut self, narrowed: &narrow::Narrowed, action: policy::Action) {
        const MEND: &str = "use a waypoint for L7, or L4 fields only";
        if !narrowed.dropped.is_empty() && action == policy::Action::Audit {
            let message =
                format!("AUDIT rules with L7 parts count nothing at L4: {}; {MEND}", narrowed.dropped.join("; "));
            self.add(Level::Warning, Reason::Layer7AuditDropped, message);
        } else if !narrowed.dropped.is_empty() {
            let rest = if narrowed.groups.is_empty() { ", and with no rule left it allows nothing" } else { "" };
            let message =
                format!("ALLOW rules with L7 parts never match at L4: {}{rest}; {MEND}", narrowed.dropped.join("; "));
            self.add(Level::Warning, Reason::Layer7AllowDropped, message);
        }
        if !narrowed.widened.is_empty() {
            let message = format!("it denies more than written at L4: {}; {MEND}", narrowed.widened.join("; "));
            self.add(Level::Warning, Reason::Layer7DenyWidened, message);
        }
        if !narrowed.lost.is_empty() {
            let message = format!("L4 cannot judge {}; {MEND}", narrowed.lost.join("; "));
            self.add(Level::NotEnforced, Reason::Layer7Only, message);
        }
    }
}
