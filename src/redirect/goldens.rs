//! The golden files of the rules: one text a case, back end and family, rewritten by
//! `UPDATE_GOLDEN=1`. They are the documentation of what is laid.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::plan::{CgroupMatch, Families, PlanInput, plan};
use super::{iptables, nftables};
use crate::model::ports;

/// The cases, by name. Both back ends have all of them.
pub(super) fn cases() -> Vec<(&'static str, PlanInput)> {
    let interfaces = || vec!["fake1s0f0".parse().unwrap(), "fake1s0f1".parse().unwrap()];
    let cgroup = CgroupMatch { id: 0x1122, level: 2, path: "system.slice/culvert.service".into() };
    let default = PlanInput::default;
    vec![
        ("default", default()),
        ("cgroup", PlanInput { cgroup: Some(cgroup.clone()), ..default() }),
        ("dns", PlanInput { dns: Some(ports::DNS), ..default() }),
        ("dns_cgroup", PlanInput { cgroup: Some(cgroup), dns: Some(ports::DNS), ..default() }),
        ("ingress", PlanInput { capture_inbound: false, ..default() }),
        (
            "ingress_and_virtual_interfaces",
            PlanInput { capture_inbound: false, virtual_interfaces: interfaces(), ..default() },
        ),
        ("v4_only", PlanInput { families: Families::V4Only, ..default() }),
        ("virtual_interfaces", PlanInput { virtual_interfaces: interfaces(), ..default() }),
    ]
}

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens/redirect").join(name)
}

#[expect(clippy::disallowed_methods, reason = "a test reads the environment")]
fn updating() -> bool {
    std::env::var_os("UPDATE_GOLDEN").is_some()
}

/// As [`compare`], for what a program prints, whose version stands in the first line: another
/// version may print the same rules otherwise, and proves nothing.
pub(super) fn compare_listing(name: &str, version: &str, text: &str) {
    let text = format!("# {}\n{text}", version.trim());
    let recorded = std::fs::read_to_string(path(name)).unwrap_or_default();
    if !updating() && recorded.lines().next() != text.lines().next() {
        eprintln!("skipped: {name} was written with another version than {}", version.trim());
        return;
    }
    compare(name, &text);
}

/// Compares with `tests/goldens/redirect/NAME`, or writes it.
pub(super) fn compare(name: &str, text: &str) {
    let path = path(name);
    if updating() {
        std::fs::write(&path, text).unwrap();
        return;
    }
    let golden = std::fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("{}: {error}; UPDATE_GOLDEN=1 writes it", path.display()));
    assert!(golden == text, "{} differs; UPDATE_GOLDEN=1 rewrites it. Now:\n{text}", path.display());
}

#[test]
fn nftables_rules() {
    for (name, input) in cases() {
        for (suffix, plan) in [("", plan(&input)), ("_withdrawn", plan(&input).withdrawn())] {
            if suffix.is_empty() || name == "default" {
                compare(&format!("{name}{suffix}.nftables"), &nftables::render(&plan).to_string());
            }
        }
    }
}

#[test]
fn iptables_rules() {
    let saved = iptables::Saved::default();
    for (name, input) in cases() {
        let found = iptables::Found { counts: &HashMap::new(), saved: &saved };
        // The text is the same for both families: nothing in it is an address.
        compare(&format!("{name}.iptables"), &iptables::render(&plan(&input), &found));
    }
}
