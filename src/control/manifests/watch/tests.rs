use std::fs;

use super::super::tests::config_map;
use super::*;

fn print(size: u64) -> Fingerprint {
    let stamp = Stamp::of_size(size);
    Fingerprint { files: vec![("a.yaml".to_owned(), Some(stamp))] }
}

#[track_caller]
fn check(looks: &[(u64, Next)]) {
    let mut poller = Poller::new(print(0));
    for (i, (size, next)) in looks.iter().enumerate() {
        assert_eq!(poller.look(print(*size)), *next, "look {i}");
    }
}

#[test]
fn a_change_is_loaded_when_it_is_quiet() {
    use Next::{Reload, Settling, Unchanged};
    check(&[(0, Unchanged), (0, Unchanged)]);
    check(&[(1, Settling), (1, Reload), (1, Unchanged)]);
    check(&[(1, Settling), (2, Settling), (2, Reload), (2, Unchanged)]);
    check(&[(1, Settling), (0, Unchanged), (1, Settling), (1, Reload)]);
    check(&[(1, Settling), (1, Reload), (0, Settling), (0, Reload)]);
    // Always changing: loaded at the fourth look, and again after that.
    check(&[(1, Settling), (2, Settling), (3, Settling), (4, Reload), (5, Settling), (6, Settling)]);
}

#[test]
fn what_changes_a_directory() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path();
    let mut last = Fingerprint::of(path).unwrap();
    let mut changed = |what: &str, wanted: bool| {
        let now = Fingerprint::of(path).unwrap();
        assert_eq!(now != last, wanted, "{what}");
        last = now;
    };
    changed("nothing", false);
    fs::write(path.join("a.yaml"), "1").unwrap();
    changed("a new file", true);
    changed("nothing again", false);
    fs::write(path.join("a.yaml"), "22").unwrap();
    changed("another size", true);
    fs::write(path.join("new"), "33").unwrap();
    changed("a file that is not read", false);
    fs::rename(path.join("new"), path.join("a.yaml")).unwrap();
    changed("another inode of the same size", true);
    std::os::unix::fs::symlink("nowhere", path.join("b.yaml")).unwrap();
    changed("a link to nothing", true);
    fs::write(path.join("nowhere"), "").unwrap();
    changed("its target", true);
    fs::remove_file(path.join("a.yaml")).unwrap();
    changed("a file gone", true);
    assert!(Fingerprint::of(&path.join("missing")).is_err());
}

#[test]
fn a_mounted_config_map_changes_when_its_link_is_swapped() {
    let dir = tempfile::tempdir().unwrap();
    config_map(dir.path(), "..1", "same");
    let before = Fingerprint::of(dir.path()).unwrap();
    assert_eq!(before.len(), 1);
    config_map(dir.path(), "..2", "same");
    assert_ne!(Fingerprint::of(dir.path()).unwrap(), before);
}
