use super::*;
use crate::sys::kernel_tests;

fn mounts_of(name: &str) -> usize {
    let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    table.lines().filter(|line| line.contains(&format!("/netns/{name} "))).count()
}

#[test]
fn names_that_would_leave_the_directory_are_refused() {
    for name in ["", ".", "..", "../x", "a/b", "a b", ".hidden", "a\0b", &"x".repeat(201)] {
        let error = delete(name).unwrap_err();
        assert!(matches!(error, NamedNetnsError::Name { .. }), "{name:?}: {error}");
    }
}

#[test]
fn a_name_is_made_once_is_another_namespace_and_leaves_nothing() {
    if !kernel_tests::may_run("named network namespaces") {
        return;
    }
    let name = format!("culvert-named-{}", std::process::id());
    let netns = create(&name).unwrap();
    assert_ne!(netns.id(), Netns::own().unwrap().id());
    assert_eq!(netns.id(), Netns::open(path_of(&name)).unwrap().id());
    assert_eq!(list(&name).unwrap(), std::slice::from_ref(&name));
    // lo is up: its address answers a bind that a fresh namespace would refuse.
    let bound = netns.run(|| std::net::TcpListener::bind("127.0.0.1:0").map(drop)).unwrap();
    assert!(bound.is_ok(), "{bound:?}");
    assert!(matches!(create(&name).unwrap_err(), NamedNetnsError::Exists { .. }));
    assert_eq!(mounts_of(&name), 1);
    assert!(delete(&name).unwrap());
    assert_eq!(mounts_of(&name), 0);
    assert!(!delete(&name).unwrap(), "a second deletion finds nothing");
    assert!(list(&name).unwrap().is_empty());
}
