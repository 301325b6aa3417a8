use std::io::Read;
use std::os::unix::process::ExitStatusExt;

use super::*;
use crate::sys::kernel_tests;

fn shell(script: &str) -> Program {
    Program {
        name: "the test's shell".into(),
        path: "/bin/sh".into(),
        arguments: vec!["-c".into(), script.into()],
        environment: vec![("GIVEN".into(), "yes".into())],
        netns: Netns::own().unwrap(),
        output: Output::Pipe,
        bond: Bond::Ours,
    }
}

fn output(child: &mut Child) -> String {
    let mut text = String::new();
    child.take_stdout().unwrap().read_to_string(&mut text).unwrap();
    text
}

/// True while a process of that number exists and is no zombie.
fn runs(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

#[test]
fn a_program_sees_only_the_environment_it_was_given() {
    if !kernel_tests::may_run("a program in a namespace") {
        return;
    }
    let mut child = Child::start(&shell("echo $GIVEN; env | grep -c CARGO; read line; echo end=$?")).unwrap();
    assert_eq!(output(&mut child), "yes\n0\nend=1\n");
    assert_eq!(child.wait(Duration::from_secs(5)).unwrap().unwrap().code(), Some(0));
}

#[test]
fn a_deaf_program_is_killed_after_its_grace_and_a_hearing_one_is_not() {
    if !kernel_tests::may_run("a program in a namespace") {
        return;
    }
    let mut hearing = Child::start(&shell("trap 'exit 7' TERM; echo up; while :; do sleep 0.01; done")).unwrap();
    let mut out = [0; 3];
    hearing.take_stdout().unwrap().read_exact(&mut out).unwrap();
    assert_eq!(hearing.stop(Duration::from_secs(5)).unwrap().code(), Some(7));

    let mut deaf = Child::start(&shell("trap '' TERM; echo up; while :; do sleep 0.01; done")).unwrap();
    deaf.take_stdout().unwrap().read_exact(&mut out).unwrap();
    assert_eq!(deaf.stop(Duration::from_millis(100)).unwrap().signal(), Some(9));
    assert_eq!(deaf.stop(Duration::ZERO).unwrap().signal(), Some(9), "stopping twice tells the same");
}

#[test]
fn a_drop_ends_ours_and_spares_the_free() {
    if !kernel_tests::may_run("a program in a namespace") {
        return;
    }
    let ours = Child::start(&shell("exec sleep 60")).unwrap();
    let pid = ours.pid();
    assert!(runs(pid));
    drop(ours);
    assert!(!runs(pid));

    let mut free = Child::start(&Program { bond: Bond::Free, ..shell("exec sleep 60") }).unwrap();
    let pid = free.pid();
    free.bond = Bond::Free;
    drop(free);
    assert!(runs(pid));
    let pid = Pid::from_raw(pid as i32);
    kill(pid, Signal::SIGKILL).unwrap();
    nix::sys::wait::waitpid(pid, None).unwrap();
}

#[test]
fn output_goes_to_the_end_of_a_file() {
    if !kernel_tests::may_run("a program in a namespace") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("out.log");
    for word in ["one", "two"] {
        let program = Program { output: Output::File(path.clone()), ..shell(&format!("echo {word}; echo {word} >&2")) };
        let mut child = Child::start(&program).unwrap();
        assert!(child.wait(Duration::from_secs(5)).unwrap().unwrap().success());
    }
    assert_eq!(std::fs::read_to_string(path).unwrap(), "one\none\ntwo\ntwo\n");
}

#[test]
fn what_cannot_be_run_is_named() {
    if !kernel_tests::may_run("a program in a namespace") {
        return;
    }
    let program = Program { path: "/no/such/program".into(), ..shell("") };
    let error = Child::start(&program).unwrap_err();
    assert!(error.to_string().contains("/no/such/program"), "{error}");
}
