//! A stream of bytes in which each place has its own value, so that a lost, repeated or foreign
//! byte is noticed where it is. Pure.

/// A place in the stream, advanced by what is written or verified.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pattern {
    offset: u64,
}

/// Bytes that are not those of this place in the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("byte {at} of the stream is {found:#04x} and should be {expected:#04x}")]
pub struct Mismatch {
    pub at: u64,
    pub found: u8,
    pub expected: u8,
}

// === impl Pattern ===

impl Pattern {
    /// Bytes written or verified so far.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Fills `buffer` with the bytes that follow.
    pub fn fill(&mut self, buffer: &mut [u8]) {
        for byte in buffer {
            *byte = at(self.offset);
            self.offset += 1;
        }
    }

    /// The `length` bytes that follow.
    pub fn take(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        self.fill(&mut bytes);
        bytes
    }

    /// Checks that `bytes` are those that follow. The place stays at the first wrong one.
    pub fn verify(&mut self, bytes: &[u8]) -> Result<(), Mismatch> {
        for &found in bytes {
            let expected = at(self.offset);
            if found != expected {
                return Err(Mismatch { at: self.offset, found, expected });
            }
            self.offset += 1;
        }
        Ok(())
    }
}

/// Words of eight bytes, each its number times 2^64 divided by the golden ratio (odd, so no two
/// words of a stream are equal).
fn at(offset: u64) -> u8 {
    let word = (offset / 8 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes();
    word[(offset % 8) as usize]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn cut_anywhere_it_is_the_same_stream(cuts in proptest::collection::vec(0usize..90, 1..12)) {
            let (mut writer, mut reader) = (Pattern::default(), Pattern::default());
            let whole = writer.take(cuts.iter().sum());
            let mut rest = whole.as_slice();
            for cut in cuts {
                let (part, tail) = rest.split_at(cut);
                prop_assert_eq!(reader.verify(part), Ok(()));
                rest = tail;
            }
            prop_assert_eq!(reader.offset(), whole.len() as u64);
        }

        #[test]
        fn a_lost_or_repeated_run_is_noticed(at in 0usize..400, length in 1usize..40) {
            let whole = Pattern::default().take(600);
            let lost: Vec<u8> = [&whole[..at], &whole[at + length..]].concat();
            let again: Vec<u8> = [&whole[..at + length], &whole[at..]].concat();
            for bytes in [lost, again] {
                let found = Pattern::default().verify(&bytes).unwrap_err();
                prop_assert!(found.at >= at as u64 && found.at < (at + length + 24) as u64, "{found}");
            }
        }
    }
}
