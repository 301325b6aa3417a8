//! A DNS message as bytes that are looked at and left alone (RFC 1035, section 4). Pure.
//!
//! A library would read everything and write it again, and lose what it does not know. So only what is decided on is
//! read: the header, the question, where the records are.

/// Bytes of the header (RFC 1035, section 4.1.1).
pub(super) const HEADER: usize = 12;
/// Types (RFC 1035, 3596, 2308, 6891, 1995).
pub(super) const A: u16 = 1;
pub(super) const CNAME: u16 = 5;
pub(super) const SOA: u16 = 6;
pub(super) const AAAA: u16 = 28;
pub(super) const OPT: u16 = 41;
pub(super) const IXFR: u16 = 251;
pub(super) const AXFR: u16 = 252;
/// Class IN.
pub(super) const IN: u16 = 1;
/// The longest name, its closing zero among it (RFC 1035, section 2.3.4).
const LONGEST_NAME: usize = 255;
/// Bits of the third and fourth byte.
const RESPONSE: u8 = 0x80;
const OPCODE: u8 = 0x78;
const TRUNCATED: u8 = 0x02;
const RCODE: u8 = 0x0f;

/// A message with a whole header.
#[derive(Clone, Copy, Debug)]
pub(super) struct Message<'a>(&'a [u8]);

/// The first question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Question<'a> {
    /// On the wire's form, its closing zero among it; never compressed.
    pub name: &'a [u8],
    pub kind: u16,
    pub class: u16,
    /// Where it ends in the message.
    pub end: usize,
}

/// Where one record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Record<'a> {
    pub section: Section,
    pub kind: u16,
    /// Of an OPT record: the payload that its sender takes.
    pub class: u16,
    pub ttl: u32,
    /// Offset of the TTL in the message.
    pub ttl_at: usize,
    pub data: &'a [u8],
    /// True for the root, as which OPT records are named.
    pub is_root: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Section {
    Answer,
    Authority,
    Additional,
}

/// What a query says by its OPT record (RFC 6891, section 6.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Edns {
    /// Bytes of the largest answer over UDP that the client takes.
    pub payload: u16,
    pub version: u8,
    pub dnssec_ok: bool,
}

/// A message of a client as the proxy sees it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Asked<'a> {
    /// Too short to be answered.
    Nothing,
    /// Not a message that can be understood: answered FORMERR.
    Malformed,
    /// A plain question.
    Query(Query<'a>),
    /// Everything else, for the server to judge: another opcode, or not one question.
    Opaque,
}

/// A message of opcode QUERY with one question, whole in all its parts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Query<'a> {
    pub message: Message<'a>,
    pub question: Question<'a>,
    pub edns: Option<Edns>,
    /// It holds nothing but the question and an OPT record without options, so that equal bytes mean equal questions.
    pub plain: bool,
}

// === impl Message ===

impl<'a> Message<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Option<Self> {
        (bytes.len() >= HEADER).then_some(Self(bytes))
    }

    pub(super) fn bytes(self) -> &'a [u8] {
        self.0
    }

    pub(super) fn id(self) -> u16 {
        self.half(0)
    }

    pub(super) fn is_response(self) -> bool {
        self.0[2] & RESPONSE != 0
    }

    /// The opcode in its place: equal bits are equal opcodes, 0 is QUERY.
    pub(super) fn opcode(self) -> u8 {
        self.0[2] & OPCODE
    }

    pub(super) fn is_truncated(self) -> bool {
        self.0[2] & TRUNCATED != 0
    }

    pub(super) fn rcode(self) -> u8 {
        self.0[3] & RCODE
    }

    /// How many entries each section has: questions, answers, authority, additional.
    pub(super) fn counts(self) -> [u16; 4] {
        [4, 6, 8, 10].map(|at| self.half(at))
    }

    /// `at` is below the header's end.
    fn half(self, at: usize) -> u16 {
        u16::from_be_bytes([self.0[at], self.0[at + 1]])
    }

    /// The first question; `None` without one, or for one that is cut off or compressed.
    pub(super) fn question(self) -> Option<Question<'a>> {
        if self.counts()[0] == 0 {
            return None;
        }
        let mut at = HEADER;
        loop {
            let length = usize::from(*self.0.get(at)?);
            at += 1 + length;
            match length {
                0 => break,
                1..=63 if at - HEADER < LONGEST_NAME => {}
                _ => return None,
            }
        }
        let name = self.0.get(HEADER..at)?;
        let (kind, rest) = number(self.0.get(at..)?)?;
        let (class, _) = number(rest)?;
        Some(Question { name, kind, class, end: at + 4 })
    }

    /// Every record behind one question, and where the last one ends. `None` when a section is cut off or garbled.
    pub(super) fn records(self) -> Option<(Vec<Record<'a>>, usize)> {
        let [_, answers, authority, additional] = self.counts();
        let mut at = if self.counts()[0] == 0 { HEADER } else { self.question()?.end };
        let mut records = Vec::new();
        for (section, count) in
            [(Section::Answer, answers), (Section::Authority, authority), (Section::Additional, additional)]
        {
            for _ in 0..count {
                let (record, end) = self.record(section, at)?;
                records.push(record);
                at = end;
            }
        }
        Some((records, at))
    }

    fn record(self, section: Section, start: usize) -> Option<(Record<'a>, usize)> {
        let at = self.past_name(start)?;
        let (kind, rest) = number(self.0.get(at..)?)?;
        let (class, rest) = number(rest)?;
        let ttl = u32::from_be_bytes(*rest.first_chunk()?);
        let (length, data) = number(rest.get(4..)?)?;
        let data = data.get(..usize::from(length))?;
        // A TTL whose first bit is set is none (RFC 2181, section 8); in an OPT record the field is another.
        let ttl = if kind == OPT || ttl <= i32::MAX as u32 { ttl } else { 0 };
        let is_root = self.0.get(start) == Some(&0);
        Some((Record { section, kind, class, ttl, ttl_at: at + 4, data, is_root }, at + 10 + data.len()))
    }

    /// Where the name that begins at `at` ends. Pointers are not followed: a name ends with its first.
    fn past_name(self, start: usize) -> Option<usize> {
        let mut at = start;
        loop {
            let length = *self.0.get(at)?;
            match length {
                0 => return Some(at + 1),
                1..=63 => at += 1 + usize::from(length),
                192.. => return Some(at + 2),
                _ => return None,
            }
            if at - start > LONGEST_NAME {
                return None;
            }
        }
    }

    /// Whether this answers `query`: a response to the same id, opcode and question. A server that does not understand a
    /// message, or an opcode that is no question, may leave the question out.
    pub(super) fn answers(self, query: Self) -> bool {
        if !self.is_response() || self.id() != query.id() || self.opcode() != query.opcode() {
            return false;
        }
        match (self.question(), query.question()) {
            (Some(mine), Some(asked)) => {
                mine.name.eq_ignore_ascii_case(asked.name) && (mine.kind, mine.class) == (asked.kind, asked.class)
            }
            (None, Some(_)) => self.counts()[0] == 0 && (self.rcode() != 0 || query.opcode() != 0),
            (None, None) => true,
            (Some(_), None) => false,
        }
    }
}

// === impl Asked ===

impl<'a> Asked<'a> {
    pub(super) fn read(bytes: &'a [u8]) -> Self {
        let Some(message) = Message::new(bytes) else { return Self::Nothing };
        if message.is_response() {
            return Self::Malformed;
        }
        if message.opcode() != 0 || message.counts()[0] != 1 {
            return Self::Opaque;
        }
        let (Some(question), Some((records, end))) = (message.question(), message.records()) else {
            return Self::Malformed;
        };
        let mut options = records.iter().filter(|record| record.kind == OPT);
        let option = options.next();
        // At most one, of the root's name, in the last section (RFC 6891, section 6.1.1).
        if options.next().is_some() || option.is_some_and(|o| !o.is_root || o.section != Section::Additional) {
            return Self::Malformed;
        }
        let bare = option.is_none_or(|option| option.data.is_empty());
        let plain = bare && records.len() == usize::from(option.is_some()) && end == bytes.len();
        Self::Query(Query { message, question, edns: option.map(Edns::of), plain })
    }
}

// === impl Edns ===

impl Edns {
    /// Extended RCODE, version, DO and zeros stand where other records have their TTL.
    fn of(option: &Record<'_>) -> Self {
        let [_, version, flags, _] = option.ttl.to_be_bytes();
        Self { payload: option.class, version, dnssec_ok: flags & 0x80 != 0 }
    }
}

// === impl Query ===

impl Query<'_> {
    /// Bytes of the largest answer over UDP: what the client takes, at least what every client does.
    pub(super) fn largest(&self) -> usize {
        usize::from(self.edns.map_or(0, |edns| edns.payload)).max(512)
    }
}

// === impl Question ===

impl Question<'_> {
    /// The name in small letters with dots between its labels and none at the end; the root is empty. `None` for a name
    /// with a byte that no host's name has: the mesh has none such.
    pub(super) fn text(&self) -> Option<String> {
        let mut text = String::with_capacity(self.name.len());
        let mut rest = self.name;
        while let Some((&length, tail)) = rest.split_first().filter(|(length, _)| **length != 0) {
            let (label, tail) = tail.split_at_checked(usize::from(length))?;
            if !text.is_empty() {
                text.push('.');
            }
            for byte in label {
                match byte {
                    b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => {
                        text.push(char::from(byte.to_ascii_lowercase()));
                    }
                    _ => return None,
                }
            }
            rest = tail;
        }
        Some(text)
    }
}

fn number(bytes: &[u8]) -> Option<(u16, &[u8])> {
    let (number, rest) = bytes.split_first_chunk()?;
    Some((u16::from_be_bytes(*number), rest))
}

#[cfg(test)]
pub(super) mod tests;
