//! Values that no log, dump or message shows.

use std::fmt;
use std::sync::Arc;

use http::HeaderName;

/// A text that is never shown: a token, the value of a header.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Arc<str>);

/// A header of each request to a control plane or CA.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// As on the wire: in lower case.
    pub name: HeaderName,
    /// Printable ASCII.
    pub value: Secret,
}

// === impl Secret ===

impl Secret {
    pub fn new(text: impl Into<Arc<str>>) -> Self {
        Self(text.into())
    }

    /// The text, for the wire alone.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_it_is_shown() {
        let header = Header { name: HeaderName::from_static("x-key"), value: Secret::new("hunter2") };
        let shown = format!("{header:?} {:#?}", header.value);
        assert!(!shown.contains("hunter2") && shown.contains("x-key"), "{shown}");
        assert_eq!(header.value.expose(), "hunter2");
    }
}
