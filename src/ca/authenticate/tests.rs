use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::file::parse;
use super::*;
use crate::grpc::server::{Authenticate as _, Who};
use crate::model::spiffe::Identity;

const A: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
const B: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

fn write(path: &Path, text: &str, mode: u32) {
    // A new file, so that its stamp is another one whatever the clock's grain.
    let beside = path.with_extension("new");
    fs::write(&beside, text).unwrap();
    fs::set_permissions(&beside, Permissions::from_mode(mode)).unwrap();
    fs::rename(&beside, path).unwrap();
}

fn who(tokens: &Tokens, token: &str) -> Option<Who> {
    tokens.authenticate(token).ok().map(|caller| caller.who)
}

fn node(name: &str) -> Option<Who> {
    Some(Who::Node(name.into()))
}

#[test]
fn lines_are_a_token_and_who_has_it() {
    let text = format!(
        "# nodes\n\n{A} node-1\n  {B}\tnode-1  \n\
         sha256:{} Node.3\n{} spiffe://cluster.local/ns/vm/sa/backup\n",
        "0F".repeat(32),
        "c".repeat(32)
    );
    let parsed = parse(&text).unwrap();
    assert!(parsed.plain);
    assert_eq!(parsed.callers.len(), 4);
    assert_eq!(parsed.callers[&[0x0f; 32]], Who::Node("Node.3".into()));
    let backup = Identity::new("cluster.local", "vm", "backup");
    assert_eq!(parsed.callers[&crate::tls::sha256("c".repeat(32).as_bytes())], Who::Workload(backup));
    assert!(!parse(&format!("sha256:{} a\n", "00".repeat(32))).unwrap().plain);
}

#[test]
fn a_bad_line_is_named_and_not_shown() {
    let long = "x".repeat(8193);
    for (text, line, part) in [
        (format!("{A} a\nsecret"), 2, "TOKEN NODE"),
        (format!("{A} a b"), 1, "TOKEN NODE"),
        ("short a".to_owned(), 1, "32 to 8192"),
        (format!("{long} a"), 1, "32 to 8192"),
        (format!("ä{A} a"), 1, "printable ASCII"),
        ("sha256:00 a".to_owned(), 1, "64 digits"),
        (format!("sha256:{} a", "0g".repeat(32)), 1, "64 digits"),
        (format!("sha256:{}0 a", "00".repeat(32)), 1, "64 digits"),
        (format!("{A} a/b"), 1, "a node's name"),
        (format!("{A} spiffe://td/sa/b"), 1, "a node's name"),
        (format!("{A} {}", "n".repeat(254)), 1, "a node's name"),
        (format!("{A} a\n\n{A} b"), 3, "twice"),
    ] {
        let (number, reason) = parse(&text).unwrap_err();
        assert!(number == line && reason.contains(part), "{text}: {number}: {reason}");
    }
}

#[test]
fn a_file_is_checked_before_it_counts() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tokens");
    let check = |part: &str| {
        let error = TokenFile::open(&path).unwrap_err().to_string();
        assert!(error.contains(part) && error.contains("tokens") && !error.contains(A), "{error}");
    };
    check("cannot read");
    write(&path, "# nobody\n", 0o600);
    check("no caller");
    write(&path, &format!("{A} a\n"), 0o640);
    check("chmod 600");
    write(&path, &format!("{A} a\nx\n"), 0o600);
    check("line 2");
    write(&path, &"#".repeat((4 << 20) + 1), 0o600);
    check("4 MiB");
    // Of digests there is nothing to steal.
    write(&path, &format!("sha256:{} a\n", "00".repeat(32)), 0o644);
    TokenFile::open(&path).unwrap();
}

#[test]
fn a_change_counts_when_it_is_whole_and_quiet() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tokens");
    write(&path, &format!("{A} a\n{B} b\n"), 0o600);
    let (mut file, tokens) = TokenFile::open(&path).unwrap();
    assert_eq!((who(&tokens, A), who(&tokens, B), who(&tokens, "")), (node("a"), node("b"), None));
    let (a, b) = (tokens.authenticate(A).unwrap(), tokens.authenticate(B).unwrap());
    assert!(matches!(file.look(), Look::Same));

    write(&path, "broken", 0o600);
    assert!(matches!(file.look(), Look::Same), "still being written");
    assert!(matches!(file.look(), Look::Refused(TokensError::Line { .. })));
    assert!(matches!(file.look(), Look::Same), "told once");
    fs::remove_file(&path).unwrap();
    file.look();
    assert!(matches!(file.look(), Look::Refused(TokensError::Read { .. })));
    assert_eq!(who(&tokens, A), node("a"), "the last good file holds");

    // b is gone, a is not, and there is a new one.
    write(&path, &format!("{A} a\n{} c\n", "c".repeat(40)), 0o600);
    file.look();
    assert!(matches!(file.look(), Look::Taken { callers: 2 }));
    assert_eq!((who(&tokens, A), who(&tokens, B)), (node("a"), None));
    assert!(b.withdrawn.is_cancelled() && !a.withdrawn.is_cancelled());
    // A token that is somebody else's now is withdrawn from whom it was.
    write(&path, &format!("{A} other\n"), 0o600);
    file.look();
    file.look();
    assert!(a.withdrawn.is_cancelled() && who(&tokens, A) == node("other"));
    // And the last one can be taken from whoever has it.
    let other = tokens.authenticate(A).unwrap();
    write(&path, "# nobody\n", 0o600);
    file.look();
    assert!(matches!(file.look(), Look::Taken { callers: 0 }));
    assert!(other.withdrawn.is_cancelled() && who(&tokens, A).is_none());
}

proptest::proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in "(\\PC|\n| ){0,200}") {
        parse(&text).ok();
    }
}
