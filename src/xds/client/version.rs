//! A resource's version, small: there is one for every resource of the mesh.

use std::fmt;

/// Longer versions are forgotten, and the resource is sent again after a reconnection. Istio's have 16 characters.
const LONGEST: usize = 256;

/// 16 bytes. A hash in hexadecimal, which is what Istio's control plane and ours send, needs no more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Version {
    /// Policies of Istio have none.
    None,
    /// Written without leading zeros.
    Hex(u64),
    /// Written with 16 digits.
    Padded(u64),
    Text(Box<Text>),
}

/// Behind one pointer, which a `Box<str>` is not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Text(Box<str>);

// === impl Version ===

impl Version {
    pub(super) fn new(text: &str) -> Self {
        if text.is_empty() || text.len() > LONGEST {
            return Self::None;
        }
        // A sign, upper case and so on parse as well, so the number counts only if it is written the same way.
        let number = u64::from_str_radix(text, 16).ok();
        let short = number.map(Self::Hex).filter(|version| version.to_string() == text);
        let padded = || number.map(Self::Padded).filter(|version| version.to_string() == text);
        short.or_else(padded).unwrap_or_else(|| Self::Text(Box::new(Text(text.into()))))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => Ok(()),
            Self::Hex(number) => write!(f, "{number:x}"),
            Self::Padded(number) => write!(f, "{number:016x}"),
            Self::Text(text) => f.write_str(&text.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn hashes_are_numbers_and_a_version_is_two_words() {
        assert_eq!(Version::new("ab54a98ceb1f0ad2"), Version::Hex(0xab54_a98c_eb1f_0ad2));
        assert_eq!(Version::new("00000000000000ff"), Version::Padded(0xff));
        assert_eq!(Version::new("0"), Version::Hex(0));
        assert!(matches!(Version::new("+f"), Version::Text(_)));
        assert!(matches!(Version::new("2026-01-01/7"), Version::Text(_)));
        assert_eq!(Version::new(&"v".repeat(LONGEST + 1)), Version::None);
        assert!(size_of::<Version>() <= 16);
    }

    proptest! {
        #[test]
        fn what_is_written_is_what_was_read(text in "[0-9a-fA-F]{0,18}|\\PC{0,20}") {
            prop_assert_eq!(Version::new(&text).to_string(), text);
        }
    }
}
