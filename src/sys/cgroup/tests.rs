use proptest::prelude::*;

use super::*;

#[test]
fn the_line_of_version_two_is_found() {
    for (text, path) in [
        ("0::/system.slice/culvert.service\n", Some("system.slice/culvert.service")),
        ("4:memory:/a\n0::/\n", Some("")),
        ("12:cpu,cpuacct:/a\n1:name=systemd:/b\n", None),
        ("0::/gone (deleted)\n", Some("gone")),
    ] {
        assert_eq!(own_path(text).as_deref(), path, "{text}");
    }
}

#[test]
fn levels_count_from_the_root_and_the_root_has_none() {
    for (path, expected) in [("", None), ("a", Some(1)), ("a/b/c", Some(3)), ("../a", None), ("a//b", Some(2))] {
        assert_eq!(level(path), expected, "{path}");
    }
}

#[test]
fn only_a_whole_hierarchy_is_a_mount_point() {
    let tmpfs = "30 24 0:26 / /sys/fs/cgroup rw shared:4 - tmpfs tmpfs rw\n";
    let unified = "31 30 0:27 / /sys/fs/cgroup/unified rw,nosuid shared:5 - cgroup2 cgroup2 rw\n";
    let part = "40 24 0:27 /kubepods/x /sys/fs/cgroup ro - cgroup2 cgroup2 rw\n";
    let spaced = "40 24 0:27 / /mnt/with\\040space rw - cgroup2 cgroup2 rw\n";
    for (text, point) in [
        (format!("{tmpfs}{unified}"), Some("/sys/fs/cgroup/unified")),
        (part.to_owned(), None),
        (format!("{part}{unified}"), Some("/sys/fs/cgroup/unified")),
        (spaced.to_owned(), Some("/mnt/with space")),
        (tmpfs.to_owned(), None),
    ] {
        assert_eq!(mount_point(&text), point.map(PathBuf::from), "{text}");
    }
}

#[test]
fn the_own_cgroup_is_an_answer_or_a_reason() {
    match Cgroup::own() {
        Ok(cgroup) => assert!(cgroup.level > 0 && cgroup.id > 0, "{cgroup:?}"),
        Err(reason) => assert!(!reason.to_string().is_empty()),
    }
}

proptest! {
    #[test]
    fn any_text_is_read_without_a_panic(text in "[ -~\\n\\\\]{0,200}") {
        let path = own_path(&text);
        prop_assert!(path.as_deref().is_none_or(|p| !p.contains('\n')));
        let point = mount_point(&text);
        prop_assert!(point.is_none() || text.contains("cgroup2"));
    }
}
