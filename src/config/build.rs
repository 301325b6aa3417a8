//! The build script: what the binary says of itself. It generates no code.
//!
//! Beside the compiler's version a release says of which revision it is, and whether the sources were as that revision
//! has them. Other builds do not: each commit would compile everything again for two words that nobody reads.

#![expect(clippy::disallowed_methods, reason = "a build script is no part of the crate: Cargo tells it by variables")]

use std::process::Command;

/// What of the repository the binary is made of.
const SOURCES: [&str; 3] = ["src", "Cargo.toml", "Cargo.lock"];

fn main() {
    println!("cargo:rerun-if-changed=src/config/build.rs");
    let compiler = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned());
    // `rustc 1.90.0 (1159e78c4 2025-09-14)`
    let rust = said(&compiler, &["--version"]).and_then(|text| text.split(' ').nth(1).map(str::to_owned));
    let release = std::env::var("PROFILE").is_ok_and(|profile| profile == "release");
    let revision = if release { revision() } else { None };
    let status = if revision.is_some() { status() } else { None };
    for (name, value) in [("RUST", rust), ("REVISION", revision), ("STATUS", status)] {
        println!("cargo:rustc-env=CULVERT_BUILD_{name}={}", value.as_deref().unwrap_or("unknown"));
    }
}

/// The commit that is checked out. Nothing outside of a repository, or without git.
fn revision() -> Option<String> {
    let revision = said("git", &["rev-parse", "HEAD"])?;
    let branch = said("git", &["symbolic-ref", "--quiet", "HEAD"]);
    for name in ["HEAD".to_owned(), "packed-refs".to_owned()].into_iter().chain(branch) {
        // Cargo takes a path that is not there for one that has changed.
        let path = said("git", &["rev-parse", "--git-path", &name]);
        if let Some(path) = path.filter(|path| std::path::Path::new(path).exists()) {
            println!("cargo:rerun-if-changed={path}");
        }
    }
    Some(revision)
}

/// Istio's words for whether the sources are the revision's.
fn status() -> Option<String> {
    let mut arguments = vec!["status", "--porcelain", "--"];
    for path in SOURCES.into_iter().filter(|path| std::path::Path::new(path).exists()) {
        println!("cargo:rerun-if-changed={path}");
        arguments.push(path);
    }
    let output = Command::new("git").args(&arguments).output().ok().filter(|output| output.status.success())?;
    Some(if output.stdout.is_empty() { "Clean" } else { "Modified" }.to_owned())
}

/// What a program says, when it says something and does not fail.
fn said(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok().filter(|output| output.status.success())?;
    let text = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    (!text.is_empty() && !text.contains(char::is_control)).then_some(text)
}
