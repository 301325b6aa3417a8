//! YAML as the files of settings are read.

use serde::de::DeserializeOwned;

/// What is wrong with a document, and where. It shows keys and none of the values, which may be what no log should hold.
#[derive(Debug, thiserror::Error)]
pub(super) enum YamlError {
    /// A value of a key is not what the key takes.
    #[error("line {line}, column {column}: {field} {wrong}")]
    Field { line: u64, column: u64, field: String, wrong: String },
    /// Anything else, as the library says it.
    #[error("{0}")]
    Shape(String),
}

/// Reads a document. Scalars keep their spelling where text is wanted: `node: n` is the node `n`, and `1.10` does not
/// become `1.1`.
pub(super) fn read<T: DeserializeOwned>(text: &str) -> Result<T, YamlError> {
    let options = serde_saphyr::options! { strict_booleans: true, with_snippet: false };
    let mut path = String::new();
    let read = serde_saphyr::with_deserializer_from_str_with_options(text, options, |deserializer| {
        serde_path_to_error::deserialize(deserializer).map_err(|error| {
            path = error.path().to_string();
            error.into_inner()
        })
    });
    read.map_err(|error| told(&error, &path))
}

/// The library's words where they are for whoever writes YAML, ours where they are for whoever writes a program.
fn told(error: &serde_saphyr::Error, path: &str) -> YamlError {
    use serde_saphyr::Error;
    let (field, wrong) = match error {
        Error::NullIntoString { .. } => (path, "has no value: write one, or take the key away".to_owned()),
        Error::DuplicateMappingKey { key, .. } => {
            (key.as_deref().unwrap_or(path), "is there twice: take one of them away".to_owned())
        }
        Error::InvalidScalar { ty: "u16", .. } => (path, "is not a whole number from 0 to 65535".to_owned()),
        Error::InvalidScalar { ty, .. } => (path, format!("is not of its kind ({ty})")),
        other => return YamlError::Shape(other.to_string()),
    };
    let Some(at) = error.location() else { return YamlError::Shape(format!("{field} {wrong}")) };
    YamlError::Field { line: at.line(), column: at.column(), field: field.to_owned(), wrong }
}

/// Nothing but comments, which is no document and no error.
pub(super) fn is_blank(text: &str) -> bool {
    text.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#'))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn text_stays_as_it_is_written() {
        let text = "a: n\nb: on\nc: NO\nd: 1.10\ne: 0x10\nf: true\ng: '7'\nh: 15\n";
        let read: BTreeMap<String, String> = read(text).unwrap();
        let values: Vec<_> = read.values().map(String::as_str).collect();
        assert_eq!(values, ["n", "on", "NO", "1.10", "0x10", "true", "7", "15"]);
    }

    #[test]
    fn what_is_no_text_is_refused_and_not_shown() {
        for text in ["a: [hunter2]", "a: {b: hunter2}", "a: hunter2\na: hunter2", "hunter2"] {
            let error = read::<BTreeMap<String, String>>(text).unwrap_err().to_string();
            assert!(!error.contains("hunter2"), "{error}");
        }
        let error = read::<BTreeMap<String, u16>>("secret: 1\nport: hunter2").unwrap_err().to_string();
        assert!(error.starts_with("line 2, column "), "{error}");
        assert!(error.ends_with(": port is not a whole number from 0 to 65535"), "{error}");
    }

    #[test]
    fn keys_are_named_in_words_for_who_writes_them() {
        let check = |text: &str, expected: &str| {
            let error = read::<BTreeMap<String, String>>(text).unwrap_err().to_string();
            assert!(error.starts_with("line ") && error.ends_with(expected), "{error}");
        };
        check("a: b\ncrl-file:\n", ": crl-file has no value: write one, or take the key away");
        check("a: b\na: c\n", ": a is there twice: take one of them away");
        let ports = |text: &str| read::<BTreeMap<String, BTreeMap<String, u16>>>(text).unwrap_err().to_string();
        assert!(
            ports("a: {b: -1}").ends_with(": a.b is not a whole number from 0 to 65535"),
            "{}",
            ports("a: {b: -1}")
        );
    }
}
