//! What may stand where: unsafe code, the environment, paths of one machine, entries of the root.

use crate::source::{code, lines_with};
use crate::{File, files, root};

/// What the root of the repository holds.
const TOP: [&str; 19] = [
    ".ci",
    ".gitattributes",
    ".github",
    ".gitignore",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "Makefile",
    "README.md",
    "clippy.toml",
    "deny.toml",
    "deploy",
    "docs",
    "ebpf",
    "rustfmt.toml",
    "src",
    "tests",
];

/// Words of one machine, and hosts that a package's client finds by itself. Written in two parts, so that this
/// file does not hold them.
const WORDS: [(&str, &str); 7] = [
    ("/wo", "rk/"),
    ("/tmp/", "wt/"),
    ("/ro", "ot/"),
    ("/ho", "me/"),
    ("index.crates", ".io"),
    ("static.crates", ".io"),
    ("registry.npm", "js.org"),
];

/// Rules for the sources by folder.
pub(crate) fn sources(files: &[File]) -> Vec<String> {
    let mut out = Vec::new();
    let tests: Vec<String> = files.iter().flat_map(|file| test_modules(&file.path, &code(&file.text))).collect();
    for File { path, text } in files {
        let code = code(text);
        if !path.starts_with("src/sys/") {
            out.extend(
                lines_with(&code, "unsafe").iter().map(|line| format!("{path}:{line}: unsafe stands in src/sys")),
            );
        }
        if !path.starts_with("src/config/") && !tests.iter().any(|module| is_in(path, module)) {
            for name in ["var", "vars", "var_os", "vars_os", "set_var", "remove_var"] {
                let found = lines_with(&code, &format!("env::{name}"));
                out.extend(found.iter().map(|line| format!("{path}:{line}: only src/config reads the environment")));
            }
        }
    }
    out
}

/// The modules that a file declares for tests alone, as paths without `.rs`: a switch such as the one that writes
/// goldens again is read there.
fn test_modules(path: &str, code: &str) -> Vec<String> {
    let stem = path.trim_end_matches(".rs");
    let folder = ["/mod", "/lib", "/main"].iter().find_map(|end| stem.strip_suffix(end)).unwrap_or(stem);
    let after = code.split("#[cfg(test)]").skip(1);
    let names = after.filter_map(|text| {
        let text = text.trim_start();
        let text =
            ["pub(crate) ", "pub(super) ", "pub "].iter().find_map(|seen| text.strip_prefix(seen)).unwrap_or(text);
        text.strip_prefix("mod ")?.split_once(';').map(|(name, _)| name)
    });
    names.filter(|name| !name.contains('{')).map(|name| format!("{folder}/{}", name.trim())).collect()
}

/// Whether the file is the module or below it.
fn is_in(path: &str, module: &str) -> bool {
    path.strip_prefix(module).is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
}

pub(crate) fn words(files: &[File]) -> Vec<String> {
    let mut out = Vec::new();
    // The lock file is cargo's.
    for File { path, text } in files.iter().filter(|file| file.path != "Cargo.lock") {
        for (start, end) in WORDS {
            let word = format!("{start}{end}");
            let hits = text.lines().enumerate().filter(|(_, line)| line.contains(&word));
            out.extend(hits.map(|(number, _)| format!("{path}:{}: {word} is of one machine", number + 1)));
        }
    }
    out
}

pub(crate) fn top_level(paths: &[String]) -> Vec<String> {
    let mut tops: Vec<&str> = paths.iter().filter_map(|path| path.split('/').next()).collect();
    tops.dedup();
    let strange = tops.into_iter().filter(|top| !TOP.contains(top));
    strange
        .map(|top| format!("{top} is not an entry of the root: put it in a folder, or name it in places.rs"))
        .collect()
}

/// The paths that git keeps; in a tree without git, every path there is.
#[expect(clippy::disallowed_methods, reason = "sys::exec is of the crate; this asks git about the repository")]
pub(crate) fn tracked() -> Vec<String> {
    let git = std::process::Command::new("git").arg("-C").arg(root()).arg("ls-files").output();
    match git {
        Ok(output) if output.status.success() => {
            String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
        }
        _ => files("", "").into_iter().map(|file| file.path).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, text: &str) -> [File; 1] {
        [File { path: path.into(), text: text.into() }]
    }

    #[test]
    fn unsafe_and_the_environment_have_one_place() {
        let count = |path: &str, text: &str| sources(&file(path, text)).len();
        assert_eq!(count("src/proxy/a.rs", "fn f() {\n unsafe { g() }\n}"), 1);
        assert_eq!(count("src/proxy/a.rs", "// unsafe\n#![deny(unsafe_code)]\n\"unsafe\""), 0);
        assert_eq!(count("src/sys/a.rs", "unsafe { g() }"), 0);
        assert_eq!(count("src/proxy/a.rs", "std::env::var(\"X\"); env::vars_os()"), 2);
        assert_eq!(count("src/role/a.rs", "std::env::current_exe()"), 0);
        assert_eq!(count("src/config/env.rs", "std::env::vars_os()"), 0);
    }

    #[test]
    fn test_modules_may_read_their_switches() {
        let read = "std::env::var_os(\"UPDATE_GOLDEN\")".to_owned();
        let files = [
            (
                "src/a/mod.rs",
                "pub mod b;\n#[cfg(test)]\npub(crate) mod goldens;\n#[cfg(test)]\nmod inline { }".to_owned(),
            ),
            ("src/a/b.rs", "#[cfg(test)]\nmod tests;".to_owned()),
            ("src/a/goldens.rs", read.clone()),
            ("src/a/goldens/deep.rs", read.clone()),
            ("src/a/b/tests.rs", read.clone()),
            ("src/a/tests.rs", read.clone()),
            ("src/a/goldens_too.rs", read),
        ];
        let found = sources(&files.map(|(path, text)| File { path: path.into(), text }));
        let paths: Vec<_> = found.iter().map(|line| line.split(':').next().unwrap()).collect();
        assert_eq!(paths, ["src/a/tests.rs", "src/a/goldens_too.rs"]);
    }

    #[test]
    fn words_of_one_machine_are_found() {
        let text = format!("fine\nsee {}{}x\n", WORDS[0].0, WORDS[0].1);
        assert_eq!(words(&file("docs/a.md", &text)).len(), 1);
        assert!(words(&file("docs/a.md", &text))[0].starts_with("docs/a.md:2:"));
        assert_eq!(words(&file("Cargo.lock", &text)).len(), 0);
    }

    #[test]
    fn the_root_is_a_fixed_list() {
        let paths = ["src/a.rs", "notes.txt", "scripts/x"].map(str::to_owned);
        assert_eq!(top_level(&paths).len(), 2);
    }
}
