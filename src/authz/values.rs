//! The values of a field in words.

use std::fmt::Display;

use crate::model::policy::ServiceAccountMatch;

/// How many are told; the rest is counted.
const MOST: usize = 3;

/// `a or b or c or 2 more`.
pub fn list<T: Display>(values: &[T]) -> String {
    let mut text = values.iter().take(MOST).map(ToString::to_string).collect::<Vec<_>>().join(" or ");
    if values.len() > MOST {
        text.push_str(&format!(" or {} more", values.len() - MOST));
    }
    text
}

/// As [`list`], each as `namespace/name`.
pub fn accounts(values: &[ServiceAccountMatch]) -> String {
    let shown: Vec<_> = values.iter().map(|v| format!("{}/{}", v.namespace, v.service_account)).collect();
    list(&shown)
}
