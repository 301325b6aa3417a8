//! Names that Kubernetes takes.

/// DNS-1123: a label has at most 63 characters, a subdomain 253.
const MAX_LABEL: usize = 63;
const MAX_SUBDOMAIN: usize = 253;

/// A name of most objects: words between dots.
pub(super) fn is_subdomain(name: &str) -> bool {
    name.len() <= MAX_SUBDOMAIN && name.split('.').all(is_word)
}

/// A namespace's name.
pub(super) fn is_label(name: &str) -> bool {
    name.len() <= MAX_LABEL && is_word(name)
}

fn is_word(part: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    part.bytes().all(|b| inner(b) || b == b'-')
        && part.bytes().next().is_some_and(inner)
        && part.bytes().next_back().is_some_and(inner)
}
