//! Netlink attributes: a kind, a length and a value, padded to four bytes (linux/netlink.h).

/// Set in the kind of an attribute whose value is a list of attributes (`NLA_F_NESTED`).
const NESTED: u16 = 0x8000;
/// Strips `NLA_F_NESTED` and `NLA_F_NET_BYTEORDER` (`NLA_TYPE_MASK`).
const KIND: u16 = 0x3fff;
const HEADER: usize = 4;

/// A list of attributes being written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attributes(Vec<u8>);

// === impl Attributes ===

impl Attributes {
    pub fn new() -> Self {
        Self::default()
    }

    #[must_use]
    pub fn bytes(mut self, kind: u16, value: &[u8]) -> Self {
        self.write(kind, value);
        self
    }

    /// A list inside the list.
    #[must_use]
    pub fn nested(mut self, kind: u16, inner: &Self) -> Self {
        self.write(kind | NESTED, &inner.0);
        self
    }

    /// A string with its closing NUL, as every name in nf_tables is written.
    #[must_use]
    pub fn string(mut self, kind: u16, value: &str) -> Self {
        let mut bytes = value.as_bytes().to_vec();
        bytes.push(0);
        self.write(kind, &bytes);
        self
    }

    /// Four bytes in network order, which is nf_tables' order for every number.
    #[must_use]
    pub fn u32(self, kind: u16, value: u32) -> Self {
        self.bytes(kind, &value.to_be_bytes())
    }

    /// Eight bytes in network order.
    #[must_use]
    pub fn u64(self, kind: u16, value: u64) -> Self {
        self.bytes(kind, &value.to_be_bytes())
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    fn write(&mut self, kind: u16, value: &[u8]) {
        // A value of ours is at most a rule's expressions: a few hundred bytes. One that could not
        // be described by its length is cut, and the kernel refuses the message.
        let value = value.get(..usize::from(u16::MAX) - HEADER).unwrap_or(value);
        let length = (HEADER + value.len()) as u16;
        self.0.extend_from_slice(&length.to_ne_bytes());
        self.0.extend_from_slice(&kind.to_ne_bytes());
        self.0.extend_from_slice(value);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
    }
}

/// Walks the attributes in `bytes` as (kind without flags, value). It ends at the first one whose
/// length does not fit.
pub fn attributes(bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let length = usize::from(u16::from_ne_bytes(*rest.first_chunk()?));
        let kind = u16::from_ne_bytes(*rest.get(2..)?.first_chunk()?);
        let value = rest.get(HEADER..length)?;
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind & KIND, value))
    })
}

/// The value of the first attribute of this kind.
pub fn attribute(bytes: &[u8], kind: u16) -> Option<&[u8]> {
    attributes(bytes).find(|(found, _)| *found == kind).map(|(_, value)| value)
}

/// The attribute of this kind as a number in network order.
pub fn attribute_u32(bytes: &[u8], kind: u16) -> Option<u32> {
    attribute(bytes, kind)?.try_into().ok().map(u32::from_be_bytes)
}

/// The attribute of this kind as a number in network order.
pub fn attribute_u64(bytes: &[u8], kind: u16) -> Option<u64> {
    attribute(bytes, kind)?.try_into().ok().map(u64::from_be_bytes)
}

/// The attribute of this kind as a string, up to its NUL.
pub fn attribute_string(bytes: &[u8], kind: u16) -> Option<String> {
    let value = attribute(bytes, kind)?;
    let end = value.iter().position(|b| *b == 0).unwrap_or(value.len());
    Some(String::from_utf8_lossy(&value[..end]).into_owned())
}

#[cfg(test)]
mod tests;
