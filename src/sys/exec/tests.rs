use super::*;

#[test]
fn output_and_input_pass_through() {
    let output = Program::new("cat", &[]).stdin("a line\n").run().unwrap();
    assert_eq!(output.stdout, "a line\n");
    // More than a pipe holds, both ways: neither side may wait for the other for ever.
    let long = vec![b'x'; 1 << 20];
    let output = Program::new("cat", &[]).stdin(long.clone()).run().unwrap();
    assert_eq!(output.stdout.len(), long.len());
}

#[test]
fn a_failure_says_what_the_program_said() {
    let error = Program::new("sh", &["-c", "echo no such thing >&2; exit 3"]).run().unwrap_err();
    let text = error.to_string();
    assert!(text.contains("no such thing") && text.contains('3'), "{text}");
}

#[test]
fn a_missing_program_is_named() {
    let error = Program::new("culvert-no-such-program", &[]).run().unwrap_err();
    assert!(matches!(error, ExecError::Start { .. }), "{error}");
    assert!(error.to_string().contains("culvert-no-such-program"), "{error}");
}

#[test]
fn a_program_that_hangs_is_killed() {
    for script in ["exec sleep 1000", "exec >&- 2>&-; exec sleep 1000"] {
        let mut program = Program::new("sh", &["-c", script]);
        program.timeout = Duration::from_millis(50);
        let error = program.run().unwrap_err();
        assert!(matches!(error, ExecError::Timeout { .. }), "{script}: {error}");
    }
}
