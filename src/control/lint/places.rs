//! Where the objects of findings are written, and the order of findings.

use std::collections::HashMap;

use crate::control::manifests::Places;

use super::{Finding, Level, Object, Place};

/// Gives each finding its object's place, and sorts: the directory as a whole first, then objects by
/// file and document, the worst of each first.
pub(super) fn locate(findings: &mut [Finding], places: &Places) {
    let by_object: HashMap<_, _> = places
        .iter()
        .map(|((kind, namespace, name), (file, document))| {
            let name = if namespace.is_empty() { name.to_string() } else { format!("{namespace}/{name}") };
            let place = Place { file: file.clone(), document: Some(document.number), line: Some(document.line) };
            (Object { kind: (*kind).to_owned(), name }, place)
        })
        .collect();
    for finding in findings.iter_mut().filter(|finding| finding.at.is_none()) {
        finding.at = by_object.get(&finding.object).cloned();
    }
    findings.sort_by(|a, b| {
        let key = |f: &Finding| (f.at.is_some(), f.at.clone(), f.object.clone(), rank(f.level));
        key(a).cmp(&key(b)).then_with(|| (&a.path, a.code).cmp(&(&b.path, b.code)))
    });
}

const fn rank(level: Level) -> u8 {
    match level {
        Level::Error => 0,
        Level::Warning => 1,
        Level::Note => 2,
    }
}
