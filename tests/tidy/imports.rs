//! The table of allowed imports between the folders of src.

use std::collections::{BTreeMap, BTreeSet};

use crate::File;
use crate::source::code;

/// The groups from those that know nothing of a mesh to those that assemble one. A module may use its own group
/// (features excepted) and those before it.
const GROUPS: [(&str, &[&str]); 5] = [
    ("words and kit", &["model", "runtime", "telemetry", "sys"]),
    ("protocols", &["proto", "tls", "grpc", "hbone", "xds", "zds", "kube"]),
    ("state and decisions", &["mesh", "authz", "route", "identity"]),
    (FEATURES, &["redirect", "enroll", "proxy", "dns", "control", "ca", "waypoint", "admin"]),
    ("assembly", &["config", "role", "cli", "main"]),
];
const FEATURES: &str = "features";
/// The one module that joins features.
const JOINS: &str = "role";

pub(crate) fn complaints(files: &[File]) -> Vec<String> {
    let mut out = Vec::new();
    let mut arrows: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for File { path, text } in files {
        let Some(from) = module(path) else { continue };
        if group(&from).is_none() {
            out.push(format!("{path}: the module {from} is in no group: add it to tests/tidy/imports.rs and lib.rs"));
            continue;
        }
        for (line, to) in uses(path, &code(text)) {
            if to == from {
                continue;
            }
            arrows.entry(from.clone()).or_default().insert(to.clone());
            out.extend(forbidden(&from, &to).map(|why| format!("{path}:{line}: {from} uses {to}: {why}")));
        }
    }
    out.extend(cycle(&arrows).map(|path| format!("these modules use each other in a circle: {}", path.join(" → "))));
    out
}

fn group(module: &str) -> Option<usize> {
    GROUPS.iter().position(|(_, modules)| modules.contains(&module))
}

fn forbidden(from: &str, to: &str) -> Option<String> {
    let (Some(mine), Some(theirs)) = (group(from), group(to)) else { return None };
    let feature = |place: usize| GROUPS[place].0 == FEATURES;
    if feature(mine) && feature(theirs) {
        return Some("features never use each other, role joins them".into());
    }
    if feature(theirs) && from != JOINS {
        return Some(format!("only {JOINS} uses features"));
    }
    (theirs > mine).then(|| format!("{} come before {}", GROUPS[mine].0, GROUPS[theirs].0))
}

/// The module below src that a file belongs to; `None` for lib.rs, which only lists them.
fn module(path: &str) -> Option<String> {
    let inner = path.strip_prefix("src/")?.strip_suffix(".rs")?;
    let first = inner.split('/').next()?;
    (first != "lib").then(|| first.to_owned())
}

/// The top-level modules that code names, with line numbers: `crate::a::…`, `use crate::{a::…, b}`, and enough
/// `super`s to leave the file's own folder.
fn uses(path: &str, code: &str) -> Vec<(usize, String)> {
    let mut out = Vec::new();
    let line = |at: usize| code[..at].matches('\n').count() + 1;
    let root = if path == "src/main.rs" { "culvert::" } else { "crate::" };
    for (at, _) in code.match_indices(root) {
        if code[..at].chars().next_back().is_some_and(|c| c.is_alphanumeric() || c == '_') {
            continue;
        }
        let rest = code[at + root.len()..].trim_start();
        match rest.strip_prefix('{') {
            Some(list) => out.extend(heads(list).into_iter().map(|head| (line(at), head))),
            None => out.push((line(at), ident(rest))),
        }
    }
    let parts: Vec<&str> = path.trim_start_matches("src/").trim_end_matches(".rs").split('/').collect();
    let depth = parts.len() - usize::from(parts.last() == Some(&"mod"));
    for (at, _) in code.match_indices("super::") {
        if code[..at].ends_with("super::") {
            continue;
        }
        let supers = code[at..].split("super::").take_while(|part| part.is_empty()).count();
        let head = ident(&code[at + supers.saturating_sub(0) * "super::".len()..]);
        if supers >= depth && group(&head).is_some() {
            out.push((line(at), head));
        }
    }
    out.retain(|(_, head)| group(head).is_some());
    out
}

/// The first names of a braced list, up to its closing brace.
fn heads(list: &str) -> Vec<String> {
    let (mut depth, mut heads, mut start) = (0, Vec::new(), true);
    for (at, c) in list.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => start = true,
            c if start && (c.is_alphanumeric() || c == '_') => {
                heads.push(ident(&list[at..]));
                start = false;
            }
            _ => {}
        }
    }
    heads
}

fn ident(text: &str) -> String {
    text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

/// Some circle of arrows, if there is one.
fn cycle(arrows: &BTreeMap<String, BTreeSet<String>>) -> Option<Vec<String>> {
    fn visit(
        at: &str,
        arrows: &BTreeMap<String, BTreeSet<String>>,
        path: &mut Vec<String>,
        done: &mut BTreeSet<String>,
    ) -> Option<Vec<String>> {
        if let Some(start) = path.iter().position(|seen| seen == at) {
            return Some(path[start..].iter().cloned().chain([at.to_owned()]).collect());
        }
        if !done.insert(at.to_owned()) {
            return None;
        }
        path.push(at.to_owned());
        let found = arrows.get(at).into_iter().flatten().find_map(|to| visit(to, arrows, path, done));
        path.pop();
        found
    }
    let mut done = BTreeSet::new();
    arrows.keys().find_map(|from| visit(from, arrows, &mut Vec::new(), &mut done))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(files: &[(&str, &str)], expected: &[&str]) {
        let files: Vec<_> =
            files.iter().map(|(path, text)| File { path: (*path).into(), text: (*text).into() }).collect();
        let found = complaints(&files);
        assert_eq!(found.len(), expected.len(), "{found:?}");
        for (found, part) in found.iter().zip(expected) {
            assert!(found.contains(part), "{found} has no {part}");
        }
    }

    #[test]
    fn arrows_that_are_allowed() {
        check(&[("src/proxy/relay.rs", "use crate::mesh::View;\nuse crate::{model, sys::socket};")], &[]);
        check(&[("src/role/node.rs", "use crate::{proxy, redirect::{self, plan}, config};")], &[]);
        check(&[("src/lib.rs", "pub use crate::proxy::X;")], &[]);
        check(&[("src/model/a.rs", "// use crate::proxy\nlet x = \"crate::proxy::y\";")], &[]);
        check(&[("src/proxy/inbound/a.rs", "use super::super::relay; use super::redirect;")], &[]);
    }

    #[test]
    fn arrows_that_are_not() {
        check(&[("src/model/a.rs", "\nuse crate::mesh::View;")], &["src/model/a.rs:2: model uses mesh: words and kit"]);
        check(&[("src/proxy/a.rs", "crate::redirect::plan()")], &["features never use each other"]);
        check(&[("src/proxy/a.rs", "use crate::{mesh,\n ca::{root, issue}};")], &["proxy uses ca"]);
        check(&[("src/cli/a.rs", "use crate::proxy::X;")], &["only role uses features"]);
        check(&[("src/main.rs", "use culvert::admin;")], &["only role uses features"]);
        check(&[("src/mesh/a.rs", "use crate::role;")], &["state and decisions come before assembly"]);
        check(&[("src/proxy/inbound/a.rs", "use super::super::super::dns;")], &["proxy uses dns"]);
        check(&[("src/drawer/a.rs", "")], &["in no group"]);
        check(
            &[("src/model/a.rs", "use crate::sys;"), ("src/sys/a.rs", "use crate::model;")],
            &["model → sys → model"],
        );
    }
}
