//! AuthorizationPolicy → policy, with what its author should know.

use crate::control::policy::authorization::{self, Action, Authorization, split_selector};
use crate::kube::types::AuthorizationPolicy;
use crate::kube::types::meta::StringMap;
use crate::model::name::NamespacedName;
use crate::model::policy::{self, Policy, Scope};

use super::status::{Level, Reason, Status};
use super::{Settings, narrow};

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
            let policy = notes.parsed(&parsed, settings);
            judged_here = !parsed.has_targets;
            (policy, parsed.selector)
        }
        Err(problems) => {
            let problems: Vec<_> = problems.iter().map(ToString::to_string).collect();
            let (selector, _) = split_selector(object.spec.selector.as_ref());
            let effect = "nothing is allowed by it as an ALLOW policy, and nothing denied as another";
            notes.add(Level::NotEnforced, Reason::Invalid, format!("{}; until then {effect}", problems.join("; ")));
            // Closed, not open: what an ALLOW policy covers is refused until it is mended.
            let policy = (object.spec.action == Action::Allow).then(|| Policy {
                key: key.clone(),
                scope: scope(selector.as_ref(), key, settings),
                action: policy::Action::Allow,
                groups: Vec::new(),
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

    fn parsed(&mut self, parsed: &Authorization, settings: &Settings) -> Option<Policy> {
        for doubt in &parsed.doubts {
            self.add(Level::Warning, Reason::NeverMatches, doubt.clone());
        }
        if parsed.dry_run {
            self.add(
                Level::NotEnforced,
                Reason::DryRun,
                format!("it has the annotation {}; remove that to enforce it", authorization::DRY_RUN),
            );
            return None;
        }
        // A waypoint judges it, and which one is known when all are (`waypoint::targets`).
        if parsed.has_targets {
            return None;
        }
        let action = match parsed.action {
            Action::Allow => policy::Action::Allow,
            Action::Deny => policy::Action::Deny,
            Action::Audit | Action::Custom => {
                let name = if parsed.action == Action::Audit { "AUDIT" } else { "CUSTOM" };
                let message = format!("action {name} needs a waypoint; use ALLOW or DENY to have it judged at L4");
                self.add(Level::NotEnforced, Reason::ActionUnsupported, message);
                return None;
            }
        };
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
        let narrowed = match action {
            policy::Action::Allow => narrow::allow(&parsed.rules),
            policy::Action::Deny => narrow::deny(&parsed.rules),
        };
        self.narrowed(&narrowed);
        Some(Policy { key: self.key.clone(), scope, action, groups: narrowed.groups })
    }

    fn narrowed(&mut self, narrowed: &narrow::Narrowed) {
        const MEND: &str = "use a waypoint for L7, or L4 fields only";
        if !narrowed.dropped.is_empty() {
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
