//! What people write, copied from guides: `guide/` has manifests of our own with every construct that such texts use,
//! real and invented, L4 and L7. `guide/outcomes.txt` lists what becomes of each object: applied, narrowed, refused or
//! left alone, with the reason in the words that its author reads. `UPDATE_GOLDEN=1` writes it again.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use culvert::control::index::Index;
use culvert::control::manifests;
use culvert::control::project::{Level, Settings, project};

/// The objects that every other file is read with.
const BASE: &str = "00-harbour.yaml";

#[test]
#[expect(clippy::disallowed_methods, reason = "a test's environment, not the program's")]
fn what_guides_teach_is_applied_narrowed_or_refused_with_the_reason() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/policy/guide");
    let golden = directory.join("outcomes.txt");
    let is = outcomes(&directory);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&golden, &is).unwrap();
    }
    let wanted = std::fs::read_to_string(&golden).unwrap();
    assert!(is == wanted, "guide/outcomes.txt says otherwise; UPDATE_GOLDEN=1 writes it again. It is now:\n{is}");
}

/// For each file, read with the base: every object's statuses, the kinds that are left alone, or why the file is refused.
fn outcomes(directory: &Path) -> String {
    let entries = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = entries.filter(|path| path.extension().is_some_and(|e| e == "yaml")).collect();
    files.sort();
    let source = |path: &Path| (PathBuf::from(path.file_name().unwrap()), std::fs::read(path).unwrap());
    let base = source(&directory.join(BASE));
    let mut text = String::new();
    for file in files {
        let (name, bytes) = source(&file);
        writeln!(text, "{}", name.display()).unwrap();
        let sources = if name == Path::new(BASE) { vec![(name, bytes)] } else { vec![base.clone(), (name, bytes)] };
        match manifests::parse(&sources) {
            Err(errors) => errors.to_string().lines().for_each(|line| writeln!(text, "  refused: {line}").unwrap()),
            Ok(objects) => {
                for (kind, count) in &objects.ignored {
                    writeln!(text, "  left alone: {kind} ({count})").unwrap();
                }
                for status in project(&Index::build(objects), &Settings::default()).statuses {
                    let outcome = match status.level {
                        Level::Info => "applied",
                        Level::Warning => "narrowed",
                        Level::NotEnforced => "not enforced",
                    };
                    let reason = status.reason.as_str();
                    writeln!(text, "  {outcome}: {} {} [{reason}] {}", status.kind, status.key, status.message)
                        .unwrap();
                }
            }
        }
    }
    text
}
