//! Rust source without its comments and literals, so that words are looked for in code alone.

/// `text` with comments and the insides of string and character literals blanked; lines stay where they are.
pub(crate) fn code(text: &str) -> String {
    let bytes: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    let starts = |at: usize, word: &str| word.chars().enumerate().all(|(n, c)| bytes.get(at + n) == Some(&c));
    let word = |at: usize| at > 0 && (bytes[at - 1].is_alphanumeric() || bytes[at - 1] == '_');
    while at < bytes.len() {
        let end = if starts(at, "//") {
            find(&bytes, at, |at| bytes[at] == '\n')
        } else if starts(at, "/*") {
            block_end(&bytes, at)
        } else if let Some((open, hashes)) = raw_hashes(&bytes, at).filter(|_| !word(at)) {
            let close: String = std::iter::once('"').chain(std::iter::repeat_n('#', hashes)).collect();
            find(&bytes, open, |at| starts(at, &close)) + close.len()
        } else if bytes[at] == '"' {
            quoted_end(&bytes, at, '"')
        } else if bytes[at] == '\'' && (bytes.get(at + 1) == Some(&'\\') || bytes.get(at + 2) == Some(&'\'')) {
            quoted_end(&bytes, at, '\'')
        } else {
            out.push(bytes[at]);
            at += 1;
            continue;
        };
        let end = end.min(bytes.len());
        out.extend(bytes[at..end].iter().map(|c| if *c == '\n' { '\n' } else { ' ' }));
        at = end;
    }
    out
}

/// The places where `word` stands alone in `code`, as line numbers.
pub(crate) fn lines_with(code: &str, word: &str) -> Vec<usize> {
    let part = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    let alone = |line: &str| {
        line.match_indices(word)
            .any(|(at, _)| !part(line[..at].chars().next_back()) && !part(line[at + word.len()..].chars().next()))
    };
    code.lines().enumerate().filter(|(_, line)| alone(line)).map(|(number, _)| number + 1).collect()
}

fn find(bytes: &[char], from: usize, hit: impl Fn(usize) -> bool) -> usize {
    (from..bytes.len()).find(|at| hit(*at)).unwrap_or(bytes.len())
}

fn block_end(bytes: &[char], from: usize) -> usize {
    let (mut depth, mut at) = (0, from);
    while at + 1 < bytes.len() {
        match (bytes[at], bytes[at + 1]) {
            ('/', '*') => depth += 1,
            ('*', '/') => depth -= 1,
            _ => {
                at += 1;
                continue;
            }
        }
        at += 2;
        if depth == 0 {
            return at;
        }
    }
    bytes.len()
}

/// Where a raw string's text begins, and how many hashes close it.
fn raw_hashes(bytes: &[char], at: usize) -> Option<(usize, usize)> {
    let start = match (bytes.get(at)?, bytes.get(at + 1)?) {
        ('r', _) => at + 1,
        ('b', 'r') => at + 2,
        _ => return None,
    };
    let hashes = bytes[start..].iter().take_while(|c| **c == '#').count();
    (bytes.get(start + hashes) == Some(&'"')).then_some((start + hashes + 1, hashes))
}

fn quoted_end(bytes: &[char], from: usize, quote: char) -> usize {
    let mut at = from + 1;
    while at < bytes.len() && bytes[at] != quote {
        at += if bytes[at] == '\\' { 2 } else { 1 };
    }
    at + 1
}

#[test]
fn comments_and_literals_are_blanked() {
    let check = |input: &str, expected: &str| assert_eq!(code(input), expected, "{input}");
    check("a // b\nc", "a     \nc");
    check("a /* b /* c */ d\n */ e", "a               \n    e");
    check(r#"x("crate::a \" b") y"#, "x(               ) y");
    check("r#\"crate::\"x\"# y", "               y");
    check("'\"' 'a '\\'' x", "    'a      x");
    check("fn f<'a>(x: &'a str)", "fn f<'a>(x: &'a str)");
}

#[test]
fn words_stand_alone() {
    assert_eq!(lines_with("unsafe_code\nunsafe {\nx.unsafe", "unsafe"), [2, 3]);
}
