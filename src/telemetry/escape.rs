//! Values of others, made safe for one line of text.

use std::borrow::Cow;

/// The longest value in a line, in bytes before escaping. A SPIFFE identity has at most 2048 by its own
/// specification, and a line holds a dozen values: longer ones are cut and end in `…`.
const MAX: usize = 2048;

/// `value` bare when it is of letters, digits and `._:/@+-[],*%`, else in double quotes with everything that is not
/// printable ASCII or a letter escaped as Rust escapes it. The answer has no space outside quotes, no control
/// character, no line end and no terminal sequence.
pub(super) fn value(value: &str) -> Cow<'_, str> {
    let bare = |byte: u8| byte.is_ascii_alphanumeric() || b"._:/@+-[],*%".contains(&byte);
    if !value.is_empty() && value.len() <= MAX && value.bytes().all(bare) {
        return Cow::Borrowed(value);
    }
    Cow::Owned(quoted(value))
}

/// `value` in double quotes in any case.
pub(super) fn quoted(value: &str) -> String {
    let mut out = String::with_capacity(value.len() + 2);
    out.push('"');
    escape(value, true, &mut out);
    out.push('"');
    out
}

/// A sentence of ours that may hold words of others: control characters are escaped, nothing is quoted.
pub(super) fn sentence(text: &str) -> Cow<'_, str> {
    if text.len() <= MAX && text.bytes().all(|byte| (0x20..0x7f).contains(&byte)) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    escape(text, false, &mut out);
    Cow::Owned(out)
}

/// `text` within the longest value, for formats with an escaping of their own.
pub(super) fn cut(mut text: String) -> String {
    if text.len() > MAX {
        text.truncate(boundary(&text));
        text.push('…');
    }
    text
}

/// The last end of a character within the longest value.
fn boundary(text: &str) -> usize {
    let end = text.len().min(MAX);
    (0..=end).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0)
}

fn escape(text: &str, quoted: bool, out: &mut String) {
    let end = boundary(text);
    for character in text[..end].chars() {
        match character {
            '"' | '\\' if quoted => out.extend(['\\', character]),
            ' '..='~' => out.push(character),
            _ if character.is_alphanumeric() => out.push(character),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            // Direction marks and other invisible characters can make a line read as another one.
            _ => out.extend(character.escape_unicode()),
        }
    }
    if end < text.len() {
        out.push('…');
    }
}

#[cfg(test)]
mod tests;
