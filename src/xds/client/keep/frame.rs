//! The format of the state file. Pure.
//!
//! [`MAGIC`], then records: length of the body and its CRC-32 (both 32 bits, little endian), body. The first byte of a
//! body says what it is. A number or a length is little endian.
//!
//! | tag | after it |
//! | --- | --- |
//! | 0 | whose state it is, as text; the first record |
//! | 1 | the state above is the control plane's as of so many seconds since 1970 (64 bits) |
//! | 2 address, 3 policy | length of the name (16 bits), name, length of the version (16 bits), version, the resource |
//! | 4 address, 5 policy | the name of one that was removed |

use std::time::{Duration, SystemTime};

use super::super::kind::Kind;
use super::super::outcome::Record;

/// The last two digits are the format's version.
pub(super) const MAGIC: &[u8; 16] = b"culvert xds 0001";
/// Bytes before a body.
pub(super) const HEAD: usize = 8;
/// Bytes of a body, 16 MiB. A larger resource is not kept.
pub(super) const LONGEST: usize = 16 << 20;

/// A body, read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Body<'a> {
    Source(&'a str),
    Mark(SystemTime),
    Record(Record<'a>),
}

/// Writes records one after the other.
#[derive(Debug)]
pub(super) struct Writer {
    bytes: Vec<u8>,
}

// === impl Writer ===

impl Writer {
    pub(super) const fn new() -> Self {
        Self { bytes: Vec::new() }
    }

    pub(super) fn source(&mut self, source: &str) {
        // A source that long is none, and so the file would not be used.
        let _written: bool = self.frame(0, &[source.as_bytes()]);
    }

    pub(super) fn mark(&mut self, as_of: SystemTime) {
        let seconds = as_of.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        let _written: bool = self.frame(1, &[&seconds.to_le_bytes()]);
    }

    /// Answers whether it was written: what no reader would take is left out.
    #[must_use]
    pub(super) fn record(&mut self, record: Record<'_>) -> bool {
        let Record { kind, name, version, value } = record;
        let tag = kind.index() as u8;
        let lengths = (u16::try_from(name.len()), u16::try_from(version.len()));
        match (value, lengths) {
            (None, (Ok(_), _)) => self.frame(4 + tag, &[name.as_bytes()]),
            (Some(value), (Ok(of_name), Ok(of_version))) => {
                let (of_name, of_version) = (of_name.to_le_bytes(), of_version.to_le_bytes());
                self.frame(2 + tag, &[&of_name, name.as_bytes(), &of_version, version.as_bytes(), value])
            }
            _ => false,
        }
    }

    pub(super) const fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.bytes)
    }

    fn frame(&mut self, tag: u8, parts: &[&[u8]]) -> bool {
        let length = 1 + parts.iter().map(|part| part.len()).sum::<usize>();
        let Some(written) = u32::try_from(length).ok().filter(|_| length <= LONGEST) else { return false };
        self.bytes.extend(written.to_le_bytes());
        let crc_at = self.bytes.len();
        self.bytes.extend([0; 4]);
        self.bytes.push(tag);
        parts.iter().for_each(|part| self.bytes.extend(*part));
        let crc = crc32(&self.bytes[crc_at + 4..]);
        self.bytes[crc_at..crc_at + 4].copy_from_slice(&crc.to_le_bytes());
        true
    }
}

/// Length and checksum of the body after a head. A length of 0 is what a file system leaves behind when it lost the end
/// of a file.
pub(super) fn head(bytes: [u8; HEAD]) -> (usize, u32) {
    let [l0, l1, l2, l3, c0, c1, c2, c3] = bytes;
    (u32::from_le_bytes([l0, l1, l2, l3]) as usize, u32::from_le_bytes([c0, c1, c2, c3]))
}

/// Reads a body whose checksum is right; `None` when it is none of ours.
pub(super) fn body(bytes: &[u8]) -> Option<Body<'_>> {
    let (tag, rest) = bytes.split_first()?;
    let kind = if tag % 2 == 0 { Kind::Address } else { Kind::Authorization };
    match tag {
        0 => std::str::from_utf8(rest).ok().map(Body::Source),
        1 => {
            let seconds = u64::from_le_bytes(rest.try_into().ok()?);
            SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds)).map(Body::Mark)
        }
        2 | 3 => {
            let (name, rest) = text(rest)?;
            let (version, value) = text(rest)?;
            Some(Body::Record(Record { kind, name, version, value: Some(value) }))
        }
        4 | 5 => {
            let name = std::str::from_utf8(rest).ok()?;
            Some(Body::Record(Record { kind, name, version: "", value: None }))
        }
        _ => None,
    }
}

fn text(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<2>()?;
    let (text, rest) = rest.split_at_checked(usize::from(u16::from_le_bytes(*length)))?;
    Some((std::str::from_utf8(text).ok()?, rest))
}

/// CRC-32 of IEEE 802.3: finds torn and rotten records. It is no seal; the file's owner and mode are.
pub(super) fn crc32(bytes: &[u8]) -> u32 {
    const TABLE: [u32; 256] = {
        let mut table = [0; 256];
        let mut n = 0;
        while n < 256 {
            let (mut crc, mut bit) = (n as u32, 0);
            while bit < 8 {
                crc = if crc & 1 == 1 { 0xedb8_8320 ^ (crc >> 1) } else { crc >> 1 };
                bit += 1;
            }
            table[n] = crc;
            n += 1;
        }
        table
    };
    !bytes.iter().fold(!0, |crc, byte| TABLE[(crc as u8 ^ byte) as usize] ^ (crc >> 8))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_checksum_is_the_known_one() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
        assert_eq!(crc32(b""), 0);
    }

    fn only(writer: &mut Writer) -> Vec<u8> {
        let bytes = writer.take();
        let (length, crc) = head(bytes[..HEAD].try_into().unwrap());
        assert_eq!((length, crc), (bytes.len() - HEAD, crc32(&bytes[HEAD..])));
        bytes[HEAD..].to_vec()
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(name in "\\PC{0,9}", version in "\\PC{0,9}", value: Option<Vec<u8>>, policy: bool) {
            let kind = if policy { Kind::Authorization } else { Kind::Address };
            let version = if value.is_some() { version } else { String::new() };
            let record = Record { kind, name: &name, version: &version, value: value.as_deref() };
            let mut writer = Writer::new();
            prop_assert!(writer.record(record));
            let written = only(&mut writer);
            prop_assert_eq!(body(&written), Some(Body::Record(record)));
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes: Vec<u8>, tag in 0_u8..7) {
            body(&bytes);
            body(&[&[tag], &bytes[..]].concat());
        }
    }

    #[test]
    fn marks_and_sources() {
        let mut writer = Writer::new();
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        writer.mark(now);
        assert_eq!(body(&only(&mut writer)), Some(Body::Mark(now)));
        writer.source("https://plane:15012");
        assert_eq!(body(&only(&mut writer)), Some(Body::Source("https://plane:15012")));
        // A time that no clock has.
        assert_eq!(body(&[1, 255, 255, 255, 255, 255, 255, 255, 255]), None);
    }

    #[test]
    fn what_no_reader_would_take_is_left_out() {
        let mut writer = Writer::new();
        let long = "n".repeat(usize::from(u16::MAX) + 1);
        assert!(!writer.record(Record { kind: Kind::Address, name: &long, version: "", value: Some(b"") }));
        assert!(!writer.record(Record { kind: Kind::Address, name: "n", version: "", value: Some(&vec![0; LONGEST]) }));
        assert_eq!(writer.len(), 0);
    }
}
