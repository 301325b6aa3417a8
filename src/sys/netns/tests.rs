use super::*;

#[test]
fn own_namespace_is_one_and_other_files_are_not() {
    let own = Netns::own().unwrap();
    assert_eq!(own.id(), Netns::own().unwrap().id());
    for path in ["/proc/self/ns/mnt", "/etc/passwd", "/dev/null"] {
        let error = Netns::open(path).unwrap_err();
        assert!(matches!(error, NetnsError::NotANamespace { .. }), "{path}: {error}");
        assert!(error.to_string().contains(path), "{error}");
    }
    let missing = Netns::open("/run/netns/culvert-no-such-name").unwrap_err();
    assert!(matches!(missing, NetnsError::Open { .. }), "{missing}");
}

#[test]
fn work_runs_inside_and_a_panic_harms_nobody_else() {
    let own = Netns::own().unwrap();
    let id = own.id();
    assert_eq!(own.run(move || Netns::own().unwrap().id()).unwrap(), id);
    let error = own.run(|| panic!("on purpose")).unwrap_err();
    assert!(matches!(error, NetnsError::Worker { .. }), "{error}");
    for _ in 0..20 {
        assert_eq!(own.run(|| 7).unwrap(), 7);
    }
}

#[test]
fn work_that_takes_its_time_leaves_the_workers_to_others() {
    let own = Netns::own().unwrap();
    let (id, held) = (own.id(), Arc::new(Mutex::new(())));
    let waits = held.lock().unwrap();
    std::thread::scope(|scope| {
        let slow = |_| {
            let (own, held) = (own.clone(), Arc::clone(&held));
            scope.spawn(move || own.run_apart(move || drop(held.lock().unwrap())))
        };
        let slow: Vec<_> = (0..2 * Workers::MAX).map(slow).collect();
        let (send, receive) = std::sync::mpsc::channel();
        own.run_later(move || send.send(Netns::own().unwrap().id()).unwrap());
        assert_eq!(receive.recv_timeout(std::time::Duration::from_secs(20)), Ok(id));
        drop(waits);
        slow.into_iter().for_each(|thread| thread.join().unwrap().unwrap());
    });
    let error = own.run_apart(|| panic!("on purpose")).unwrap_err();
    assert!(matches!(error, NetnsError::Worker { .. }), "{error}");
}

#[test]
fn a_descriptor_is_a_namespace_or_refused_and_a_new_one_is_not_the_first() {
    if !crate::sys::kernel_tests::may_run("a namespace from a descriptor") {
        return;
    }
    let fresh = Netns::fresh().unwrap();
    let sent = Netns::from_descriptor(fresh.as_fd().try_clone_to_owned().unwrap()).unwrap();
    assert_eq!(sent.id(), fresh.id());
    assert_eq!(sent.path().to_str().unwrap(), format!("net:[{}]", fresh.id().inode));
    assert!(!sent.is_initial().unwrap());
    for other in ["/proc/self/ns/mnt", "/dev/null"] {
        let error = Netns::from_descriptor(File::open(other).unwrap().into()).unwrap_err();
        assert!(matches!(error, NetnsError::NotANamespace { .. }), "{other}");
    }
}
