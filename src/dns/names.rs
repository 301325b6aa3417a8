//! Which names of the mesh a name that a pod asks for may mean, in the order in which they are tried. Pure.
//!
//! A resolver completes a short name by its search list and asks for each result; which of them is the one that was meant
//! it learns from the answers. So every question is read in two ways: as a name that Kubernetes completes, and as one
//! that a search list has completed already.

/// One reading of the asked name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Candidate {
    /// The host name to look for.
    pub name: String,
    /// The asked name without the search domain, when that is how this reading came about.
    pub stripped: Option<String>,
}

/// The readings of `asked` (small letters, no dot at the end) by a pod of `namespace` in a cluster of `domain`.
pub(super) fn candidates(asked: &str, namespace: &str, domain: &str) -> Vec<Candidate> {
    if asked.is_empty() {
        return Vec::new();
    }
    let plain = |name| Candidate { name, stripped: None };
    let mut all: Vec<_> = expansions(asked, namespace, domain).map(plain).collect();
    for search in [format!("{namespace}.svc.{domain}"), format!("svc.{domain}"), domain.to_owned()] {
        let Some(stripped) = asked.strip_suffix(&search).and_then(|rest| rest.strip_suffix('.')) else { continue };
        if stripped.is_empty() {
            continue;
        }
        let of = |name| Candidate { name, stripped: Some(stripped.to_owned()) };
        all.extend(expansions(stripped, namespace, domain).map(of));
    }
    all
}

/// The name itself, and what Kubernetes makes of one with so many labels.
fn expansions<'a>(name: &'a str, namespace: &'a str, domain: &'a str) -> impl Iterator<Item = String> + use<'a> {
    let labels = name.split('.').count();
    let in_services = name.ends_with(".svc");
    let in_namespace = || format!("{name}.{namespace}.svc.{domain}");
    let of_services = || format!("{name}.svc.{domain}");
    let in_domain = || format!("{name}.{domain}");
    let made = match labels {
        1 => [Some(in_namespace()), None],
        2 => [Some(of_services()), Some(in_namespace())],
        3 if in_services => [Some(in_domain()), Some(of_services())],
        3 => [Some(of_services()), None],
        4 if in_services => [Some(in_domain()), None],
        _ => [None, None],
    };
    std::iter::once(name.to_owned()).chain(made.into_iter().flatten())
}

/// The wildcards that cover `name`, the narrowest first: `*.b.c`, then `*.c` for `a.b.c`.
pub(super) fn wildcards(name: &str) -> impl Iterator<Item = String> {
    let parents = name.match_indices('.').map(|(at, _)| &name[at + 1..]);
    parents.map(|parent| format!("*.{parent}"))
}

#[cfg(test)]
mod tests;
