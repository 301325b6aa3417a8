use super::*;
use proptest::prelude::*;

fn text(token: &Token) -> String {
    token.read().unwrap().unwrap().to_str().unwrap().to_owned()
}

#[test]
fn a_file_is_read_for_each_request() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("token");
    let token = Token::new(TokenSource::File(path.clone())).unwrap();
    assert!(matches!(token.read(), Err(TokenError::Read { .. })), "there never was one");
    std::fs::write(&path, "one\n").unwrap();
    assert_eq!(text(&token), "Bearer one");
    std::fs::write(&path, "two").unwrap();
    assert_eq!(text(&token), "Bearer two");
}

#[test]
fn a_file_that_vanishes_keeps_the_last_token_until_it_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("token");
    let token = Token::new(TokenSource::File(path.clone())).unwrap();
    std::fs::write(&path, "one").unwrap();
    token.read().unwrap();
    // A refusal of what the file still holds changes nothing: the next file may be good.
    token.refused();
    for broken in [None, Some(Vec::new()), Some(b" \n".to_vec()), Some(vec![0xff; 10]), Some(vec![b'a'; 70_000])] {
        match broken {
            None => std::fs::remove_file(&path).unwrap(),
            Some(bytes) => std::fs::write(&path, bytes).unwrap(),
        }
        assert_eq!(text(&token), "Bearer one");
        assert!(token.lock().stale);
    }
    token.refused();
    assert!(matches!(token.read(), Err(TokenError::Form { .. })));
    std::fs::write(&path, "three").unwrap();
    assert_eq!(text(&token), "Bearer three");
    assert!(!token.lock().stale);
}

#[test]
fn a_token_is_never_shown() {
    let source = TokenSource::Literal("s3cret".into());
    assert!(!format!("{source:?}").contains("s3cret"));
    let token = Token::new(source).unwrap();
    assert!(!format!("{:?}", token.read()).contains("s3cret"));
    token.refused();
    assert_eq!(text(&token), "Bearer s3cret", "a literal has nothing to come back from");
    let error = Token::new(TokenSource::Literal("s3cret\nand more".into())).err().unwrap();
    assert!(!format!("{error} {error:?}").contains("s3cret"));
    assert!(Token::new(TokenSource::None).unwrap().read().unwrap().is_none());
}

proptest! {
    #[test]
    fn whatever_is_taken_is_one_word(text in "\\PC{0,40}") {
        if let Some(value) = header(&text) {
            let shown = value.to_str().unwrap();
            prop_assert!(shown.starts_with("Bearer ") && !shown[7..].contains(char::is_whitespace));
        }
    }
}
