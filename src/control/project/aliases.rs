//! Principals of a trust domain with several names.
//!
//! Istio writes a principal out for each alias when it projects a policy, so that who enforces it compares texts and
//! knows nothing of aliases; the same here.

use std::sync::Arc;

use crate::model::policy::{Group, Match, StringMatch};

use super::Settings;

/// Writes each principal of the own trust domain, or of an alias of it, out for all of these names, in place. A pattern
/// whose trust domain is not written whole (`*`, `*/sa/cart`, `clus*`) says already which names it is for.
pub(super) fn expand(groups: &mut [Group], settings: &Settings) {
    let matches = groups.iter_mut().flat_map(|group| &mut group.clauses).flat_map(|clause| &mut clause.matches);
    matches.for_each(|m| write_out(m, settings));
}

/// The same for one match.
pub(in crate::control) fn write_out(m: &mut Match, settings: &Settings) {
    if settings.trust_domain_aliases.is_empty() {
        return;
    }
    let names: Vec<_> = settings.names().collect();
    for principals in [&mut m.principals, &mut m.not_principals] {
        let written = std::mem::take(principals);
        for principal in written.iter().flat_map(|principal| of_each(principal, &names)) {
            if !principals.contains(&principal) {
                principals.push(principal);
            }
        }
    }
}

fn of_each(principal: &StringMatch, names: &[&Arc<str>]) -> Vec<StringMatch> {
    let (text, make): (_, fn(Arc<str>) -> StringMatch) = match principal {
        StringMatch::Exact(text) => (text, StringMatch::Exact),
        StringMatch::Prefix(text) => (text, StringMatch::Prefix),
        StringMatch::Presence | StringMatch::Suffix(_) => return vec![principal.clone()],
    };
    match text.split_once('/') {
        Some((domain, rest)) if names.iter().any(|name| ***name == *domain) => {
            names.iter().map(|name| make(format!("{name}/{rest}").into())).collect()
        }
        _ => vec![principal.clone()],
    }
}

#[cfg(test)]
mod tests;
