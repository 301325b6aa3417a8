//! Which build this is, from the build script.

/// The package's version.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
/// The commit, 40 digits. `unknown` in a build that is no release, or was not made in a repository.
pub const REVISION: &str = env!("CULVERT_BUILD_REVISION");
/// The compiler's version.
pub const RUST: &str = env!("CULVERT_BUILD_RUST");
/// `debug` or `release`.
pub const PROFILE: &str = if cfg!(debug_assertions) { "debug" } else { "release" };
/// `Clean` when the sources were the revision's, else `Modified`; `unknown` where the revision is.
pub const STATUS: &str = env!("CULVERT_BUILD_STATUS");

/// One line for people, without what is not known.
pub fn line() -> String {
    let revision = match (REVISION, STATUS) {
        ("unknown", _) => String::new(),
        (revision, "Modified") => format!(", revision {revision}, modified"),
        (revision, _) => format!(", revision {revision}"),
    };
    format!("culvert {VERSION} ({PROFILE}, rustc {RUST}{revision})")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_build_is_known() {
        assert!(RUST.starts_with("1."), "{RUST}");
        assert!(["Clean", "Modified", "unknown"].contains(&STATUS), "{STATUS}");
        let digits = REVISION.len() == 40 && REVISION.bytes().all(|byte| byte.is_ascii_hexdigit());
        assert!(digits != (REVISION == "unknown"), "{REVISION}");
        assert_eq!(REVISION == "unknown", STATUS == "unknown");
        assert!(line().starts_with(concat!("culvert ", env!("CARGO_PKG_VERSION"), " (")), "{}", line());
    }
}
