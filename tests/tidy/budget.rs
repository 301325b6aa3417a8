//! How long a file may be, and that a folder's first page says what it is.

use crate::File;

const LEAF: usize = 400;
const FOLDER: usize = 80;
const TESTS: usize = 600;
const MAIN: usize = 100;

/// Files that are longer than their budget, with the lines that they may have until they are cut. It only shrinks.
pub(crate) const LONG: &[(&str, usize)] = &[];

pub(crate) fn complaints(files: &[File], long: &[(&str, usize)]) -> Vec<String> {
    let mut out = Vec::new();
    for File { path, text } in files {
        let lines = text.lines().count();
        let name = path.rsplit('/').next().unwrap_or_default();
        let budget = match name {
            "mod.rs" => FOLDER,
            "tests.rs" => TESTS,
            "main.rs" if path == "src/main.rs" => MAIN,
            _ if path.starts_with("tests/") => TESTS,
            _ => LEAF,
        };
        let allowed = long.iter().find(|(allowed, _)| allowed == path).map(|(_, lines)| *lines);
        match allowed {
            Some(_) if lines <= budget => {
                out.push(format!("{path}: {lines} lines are within the budget: take it off the list in budget.rs"));
            }
            _ if lines > allowed.unwrap_or(budget) => {
                out.push(format!(
                    "{path}: {lines} lines, {} at most: give a part a name and a file",
                    allowed.unwrap_or(budget)
                ));
            }
            _ => {}
        }
        if name == "mod.rs" && path.starts_with("src/") && !text.starts_with("//!") {
            out.push(format!("{path}: begin with `//!`: what the folder owns and what it never does"));
        }
        let stem = name.trim_end_matches(".rs");
        if ["util", "utils", "common", "helper", "helpers", "misc"].contains(&stem) {
            out.push(format!("{path}: a drawer is a missing name"));
        }
    }
    let gone = long.iter().filter(|(path, _)| !files.iter().any(|file| file.path == *path));
    out.extend(gone.map(|(path, _)| format!("{path} is gone: take it off the list in budget.rs")));
    out
}

#[test]
fn budgets() {
    let check = |path: &str, lines: usize, long: &[(&str, usize)], expected: &[&str]| {
        let file = File { path: path.into(), text: "//! x\n".repeat(lines) };
        let found = complaints(&[file], long);
        assert_eq!(found.len(), expected.len(), "{path}: {found:?}");
        assert!(found.iter().zip(expected).all(|(found, part)| found.contains(part)), "{found:?}");
    };
    check("src/a/b.rs", 400, &[], &[]);
    check("src/a/b.rs", 401, &[], &["401 lines, 400 at most"]);
    check("src/a/mod.rs", 81, &[], &["80 at most"]);
    check("src/a/b/tests.rs", 601, &[], &["600 at most"]);
    check("src/main.rs", 101, &[], &["100 at most"]);
    check("src/a/b.rs", 450, &[("src/a/b.rs", 450)], &[]);
    check("src/a/b.rs", 451, &[("src/a/b.rs", 450)], &["450 at most"]);
    check("src/a/b.rs", 300, &[("src/a/b.rs", 450)], &["take it off the list"]);
    check("src/a/b.rs", 300, &[("src/gone.rs", 450)], &["is gone"]);
    check("src/a/utils.rs", 3, &[], &["a drawer"]);
}

#[test]
fn folders_begin_with_their_page() {
    let file = File { path: "src/a/mod.rs".into(), text: "pub mod b;\n".into() };
    assert!(complaints(&[file], &[])[0].contains("begin with"));
}
