//! Whether a test that changes the kernel may run here.

/// True for root. Otherwise says that `what` was skipped, and fails under `CI=true`, where a
/// skipped kernel test would pass for a green one.
#[expect(clippy::disallowed_methods, reason = "a test's environment, not the program's")]
pub(crate) fn may_run(what: &str) -> bool {
    if nix::unistd::geteuid().is_root() {
        return true;
    }
    assert!(std::env::var("CI").as_deref() != Ok("true"), "{what}: needs root, and CI must not skip it");
    println!("skipped: needs root: {what}");
    false
}
