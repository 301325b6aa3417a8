//! The fuzzer's targets without the fuzzer: they compile, hold on their own seeds, and are told of where they must be.
//! An input that a run has found is put beside the seeds, and is asked of every build from then on.

mod feeds;
mod seeds;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// A seed that is longer teaches the fuzzer no more.
const LARGEST: usize = 8 << 10;
/// Places at which each seed is cut off.
const CUTS: usize = 64;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The seeds of a target with their paths.
fn seeds_of(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = root().join("tests/fuzz/seeds").join(target);
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("the folder can be listed").path()).collect();
    paths.sort();
    paths.into_iter().map(|path| (path.clone(), fs::read(path).expect("a seed is a file"))).collect()
}

#[test]
fn targets_hold_on_their_seeds_whole_and_cut_off() {
    for (name, feed) in feeds::ALL {
        let seeds = seeds_of(name);
        assert!(seeds.iter().any(|(_, bytes)| feed(bytes)), "no seed of {name} is taken");
        for (path, bytes) in seeds {
            assert!(bytes.len() <= LARGEST, "{}: {} bytes", path.display(), bytes.len());
            let step = bytes.len().div_ceil(CUTS).max(1);
            for end in (0..bytes.len()).step_by(step).chain([bytes.len()]) {
                feed(&bytes[..end]);
            }
        }
    }
}

#[test]
fn every_target_has_its_entry_and_its_row() {
    let manifest = read("tests/fuzz/Cargo.toml");
    let page = read("docs/fuzzing.md");
    let mut names = BTreeSet::new();
    for (name, _) in feeds::ALL {
        assert!(names.insert(name.to_owned()), "{name} is there twice");
        let path = format!("fuzz_targets/{name}.rs");
        assert!(manifest.contains(&format!("[[bin]]\nname = \"{name}\"\npath = \"{path}\"\n")), "Cargo.toml: {name}");
        assert!(read(&format!("tests/fuzz/{path}")).contains(&format!("target!({name}")), "{path}");
        assert!(page.contains(&format!("\n| `{name}` | ")), "docs/fuzzing.md has no row for {name}");
    }
    assert_eq!(manifest.matches("[[bin]]").count(), names.len(), "Cargo.toml names a target that ALL does not");
    for folder in ["fuzz_targets", "seeds"] {
        let entries = fs::read_dir(root().join("tests/fuzz").join(folder)).unwrap();
        let stems = entries.map(|entry| entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned());
        assert_eq!(stems.collect::<BTreeSet<_>>(), names, "{folder}");
    }
}

/// Messages are written from the types; with `UPDATE_GOLDEN=1` they are written again.
#[test]
#[expect(clippy::disallowed_methods, reason = "a switch of the test, not a setting of the program")]
fn seeds_are_what_the_types_write() {
    let update = std::env::var_os("UPDATE_GOLDEN").is_some_and(|value| value == "1");
    for (path, bytes) in seeds::messages() {
        let path = root().join("tests/fuzz/seeds").join(path);
        if update {
            fs::write(&path, &bytes).unwrap();
        }
        let found = fs::read(&path).unwrap_or_default();
        assert!(found == bytes, "{}: UPDATE_GOLDEN=1 cargo test --test fuzz, and look at it", path.display());
    }
}
