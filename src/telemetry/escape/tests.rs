use proptest::prelude::*;

use super::*;

#[test]
fn values() {
    let check = |input: &str, expected: &str| assert_eq!(value(input), expected, "{input:?}");
    check("spiffe://cluster.local/ns/web/sa/a", "spiffe://cluster.local/ns/web/sa/a");
    check("[fd00::1]:8080", "[fd00::1]:8080");
    check("", r#""""#);
    check("two words", r#""two words""#);
    check("a=b", r#""a=b""#);
    check("a\"b\\c", r#""a\"b\\c""#);
    check("x\nerror forged", r#""x\nerror forged""#);
    check("\u{1b}[31mred", r#""\u{1b}[31mred""#);
    check("\u{202e}gpj", r#""\u{202e}gpj""#);
    check("größe", r#""größe""#);
}

#[test]
fn sentences_keep_their_words() {
    assert_eq!(sentence("cannot read a: no"), "cannot read a: no");
    assert_eq!(sentence("cannot read \"a\n\": no"), "cannot read \"a\\n\": no");
}

#[test]
fn long_values_are_cut_at_a_character() {
    let long = "é".repeat(MAX);
    let cut = value(&long);
    assert!(cut.ends_with("é…\"") && cut.len() <= MAX + 5, "{}", cut.len());
    let cut = super::cut(format!("x{long}"));
    assert!(cut.ends_with("é…") && cut.len() == MAX + 2, "{}", cut.len());
    assert_eq!(super::cut("short".into()), "short");
}

/// Takes the quotes and escapes away again.
fn unescape(text: &str) -> String {
    let Some(inner) = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')) else { return text.to_owned() };
    let (mut out, mut chars) = (String::new(), inner.chars());
    while let Some(character) = chars.next() {
        match (character, if character == '\\' { chars.next() } else { None }) {
            ('\\', Some('n')) => out.push('\n'),
            ('\\', Some('r')) => out.push('\r'),
            ('\\', Some('t')) => out.push('\t'),
            ('\\', Some('u')) => {
                assert_eq!(chars.next(), Some('{'));
                let hex: String = chars.by_ref().take_while(|character| *character != '}').collect();
                out.push(char::from_u32(u32::from_str_radix(&hex, 16).unwrap()).unwrap());
            }
            ('\\', Some(other)) => out.push(other),
            (plain, _) => out.push(plain),
        }
    }
    out
}

proptest! {
    #[test]
    fn a_value_is_one_word_and_reads_back(input in any::<String>()) {
        let line = value(&input);
        prop_assert!(!line.chars().any(char::is_control), "{line:?}");
        prop_assert!(line.starts_with('"') || !line.contains([' ', '=', '"']), "{line:?}");
        prop_assert_eq!(unescape(&line), input);
    }

    #[test]
    fn a_sentence_has_no_control_character(input in any::<String>()) {
        prop_assert!(!sentence(&input).chars().any(char::is_control));
    }

    #[test]
    fn nothing_grows_without_bound(input in "\\PC{0,3000}") {
        prop_assert!(value(&input).len() <= MAX * 8 + 8);
    }
}
