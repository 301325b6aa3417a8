//! The house rules that no compiler checks: the direction of imports, the budget of files, what stands where, and
//! pages that are written from code. Each rule is a function from text to complaints, tested on made-up bad text
//! beside it, and run here over the repository.

mod budget;
mod imports;
mod pages;
mod places;
mod source;

use std::path::Path;

/// A file of the repository: its path from the root, with `/`, and its text.
struct File {
    path: String,
    text: String,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// What runs leave in the tree, beside git's own and what is built.
const LEFT: [&str; 3] = [".git", "tests/fuzz/artifacts", "tests/fuzz/corpus"];

/// Every file below `folder` whose name ends in `end`, sorted. Built files, git's own and those of runs are left out.
fn files(folder: &str, end: &str) -> Vec<File> {
    let (mut found, mut folders) = (Vec::new(), vec![root().join(folder)]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
            let path = entry.expect("the folder can be listed").path();
            let name =
                path.strip_prefix(root()).expect("it is below the root").to_str().expect("paths are UTF-8").to_owned();
            if path.is_dir() && !path.is_symlink() {
                let skipped = name == "target" || name.ends_with("/target") || LEFT.contains(&&*name);
                folders.extend((!skipped).then_some(path));
            } else if name.ends_with(end) && name != ".git" {
                // What is not text (a capture, a picture) has no words to check.
                found.extend(std::fs::read_to_string(&path).ok().map(|text| File { path: name, text }));
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

/// A file's text; empty where there is none.
fn text(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_default()
}

/// Fails with every complaint at once.
#[track_caller]
fn none(complaints: &[String]) {
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

#[test]
fn imports_go_one_way() {
    let all = files("src", ".rs");
    assert!(all.len() > 20, "the sources were not found");
    none(&imports::complaints(&all));
}

#[test]
fn files_are_small_and_folders_say_what_they_are() {
    let mut all = files("src", ".rs");
    all.extend(files("tests", ".rs"));
    none(&budget::complaints(&all, budget::LONG));
}

#[test]
fn everything_stands_in_its_place() {
    none(&places::sources(&files("src", ".rs")));
    none(&places::words(&files("", "")));
    none(&places::top_level(&places::tracked()));
}

#[test]
fn pages_follow_the_code() {
    none(&pages::written());
}

#[test]
fn every_page_has_its_row() {
    let all: Vec<String> = files("docs", ".md").into_iter().map(|file| file.path).collect();
    none(&pages::listed(&all, &text("docs/README.md")));
}

#[test]
fn every_reason_of_a_failure_has_its_row() {
    none(&pages::reasons(&text("src/proxy/outcome.rs"), &text("docs/features/observability.md")));
}

#[test]
fn every_dependency_has_its_reason() {
    none(&pages::dependencies(&text("Cargo.toml"), &text("docs/dependencies.md")));
}
