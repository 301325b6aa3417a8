//! What `culvert policy lint` says: the cases in `lint/*.yaml`, read with `lint/base` of their own, and what it says about
//! every file of `guide/` (`guide/lint.txt`, which `UPDATE_GOLDEN=1` writes again).

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use culvert::control::lint::{Code, Finding, lint};
use culvert::control::manifests::survey_of;
use culvert::control::project::Settings;
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    manifests: String,
    /// Read without the base.
    #[serde(default)]
    alone: bool,
    /// All findings in order: `<level> <code> <object> [<path>]`, each followed by nothing or ` ~ <part of its words>`.
    findings: Vec<String>,
}

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/policy")
}

/// The name of a file and its bytes.
fn source(path: &Path) -> (PathBuf, Vec<u8>) {
    (PathBuf::from(path.file_name().expect("a file")), std::fs::read(path).expect("it can be read"))
}

fn yaml_files(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).expect("the folder").map(|entry| entry.expect("its entry").path());
    let mut files: Vec<_> = entries.filter(|path| path.extension().is_some_and(|e| e == "yaml")).collect();
    files.sort();
    files
}

fn head(finding: &Finding) -> String {
    let Finding { level, code, object, path, .. } = finding;
    format!("{level} {} {object} [{path}]", code.as_str()).replace(" [] ", " ")
}

fn words(finding: &Finding) -> String {
    format!("{}; {}; {}", finding.what, finding.why, finding.mend)
}

#[test]
fn every_check_finds_what_it_is_for_and_nothing_else() {
    let base = source(&directory().join("lint/base.yaml"));
    let mut seen = BTreeSet::new();
    let mut failures = Vec::new();
    for file in yaml_files(&directory().join("lint")).iter().filter(|file| !file.ends_with("base.yaml")) {
        let cases: Vec<Case> = serde_saphyr::from_str(&std::fs::read_to_string(file).unwrap())
            .unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        for Case { name, manifests, alone, findings: wanted } in cases {
            let own = (PathBuf::from("case.yaml"), manifests.into_bytes());
            let sources = if alone { vec![own] } else { vec![base.clone(), own] };
            let found = lint(survey_of(&sources), &Settings::default());
            seen.extend(found.iter().map(|finding| finding.code));
            for finding in &found {
                assert!(!finding.what.is_empty() && !finding.why.is_empty() && !finding.mend.is_empty(), "{finding:?}");
            }
            let fits = |(finding, wanted): (&Finding, &String)| {
                let (wanted, part) = wanted.split_once(" ~ ").unwrap_or((wanted, ""));
                head(finding) == wanted && words(finding).contains(part)
            };
            if found.len() != wanted.len() || !found.iter().zip(&wanted).all(fits) {
                let found: Vec<_> = found.iter().map(|f| format!("{} ~ {}", head(f), words(f))).collect();
                failures.push(format!("{name}:\n  {}\n  instead of\n  {}", found.join("\n  "), wanted.join("\n  ")));
            }
        }
    }
    assert!(failures.is_empty(), "{} cases fail:\n{}", failures.len(), failures.join("\n"));
    let never: Vec<_> = Code::ALL.iter().filter(|code| !seen.contains(code) && !by_the_loader(**code)).collect();
    assert!(never.is_empty(), "no case finds {never:?}");
}

/// Codes of files, which a text of manifests cannot have.
const fn by_the_loader(code: Code) -> bool {
    matches!(code, Code::TooLarge | Code::Unreadable)
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a test's environment, not the program's")]
fn what_is_said_about_guides() {
    let directory = directory().join("guide");
    let base = source(&directory.join("00-harbour.yaml"));
    let mut text = String::new();
    for file in yaml_files(&directory) {
        let (name, bytes) = source(&file);
        writeln!(text, "{}", name.display()).unwrap();
        let is_base = name == base.0;
        let sources = if is_base { vec![base.clone()] } else { vec![base.clone(), (name, bytes)] };
        let findings = lint(survey_of(&sources), &Settings::default());
        // What the base says is said once.
        let own = findings.iter().filter(|f| is_base || f.at.as_ref().is_none_or(|at| at.file != base.0));
        for finding in own {
            writeln!(text, "  {}: {}", head(finding), words(finding)).unwrap();
        }
    }
    let golden = directory.join("lint.txt");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&golden, &text).unwrap();
    }
    let wanted = std::fs::read_to_string(&golden).unwrap_or_default();
    assert!(text == wanted, "guide/lint.txt says otherwise; UPDATE_GOLDEN=1 writes it again. It is now:\n{text}");
}
