//! YAML as the files of settings are read.

use serde::de::DeserializeOwned;

/// Reads a document. Scalars keep their spelling where text is wanted: `node: n` is the node `n`, and `1.10` does not
/// become `1.1`. Errors name line and column and show nothing of the text, since a file may hold what no log should.
pub(super) fn read<T: DeserializeOwned>(text: &str) -> Result<T, serde_saphyr::Error> {
    let options = serde_saphyr::options! { strict_booleans: true, with_snippet: false };
    serde_saphyr::from_str_with_options(text, options)
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
        assert!(error.contains("line 2") && !error.contains("secret"), "{error}");
    }
}
