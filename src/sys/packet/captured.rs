//! What a capture saw, and what can be said of it.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::frame::{Segment, segment};

/// The frames of a capture, in the order of the wire.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Captured {
    /// From the Ethernet header on. A frame longer than a capture keeps is cut, and counted.
    pub frames: Vec<Vec<u8>>,
    pub lost: Lost,
    kept: usize,
}

/// Frames that the capture cannot speak of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lost {
    /// Kept, but only the front of them.
    pub cut: u64,
    /// Dropped by the kernel: the reader was slower than the wire.
    pub kernel: u64,
    /// Read when the store was full.
    pub overflow: u64,
}

/// Whether bytes crossed the link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finding {
    /// Every frame was seen and none had them.
    Absent,
    /// They were not seen, but neither was everything: proves nothing.
    Inconclusive(Lost),
    Present,
}

/// The bytes of one direction of one connection, with an end at each gap.
struct Stream<'a> {
    base: u32,
    /// Offset from `base`, negative for what came late, and what the segment carried.
    segments: Vec<(i64, &'a [u8])>,
}

// === impl Lost ===

impl Lost {
    pub fn total(&self) -> u64 {
        self.cut + self.kernel + self.overflow
    }
}

// === impl Captured ===

impl Captured {
    /// Stores a frame of which `frame` was read and which was `length` bytes long, unless the
    /// store would then hold more than `limit` bytes.
    pub(super) fn push(&mut self, frame: &[u8], length: usize, limit: usize) {
        if self.kept + frame.len() > limit {
            self.lost.overflow += 1;
            return;
        }
        self.lost.cut += u64::from(length > frame.len());
        self.kept += frame.len();
        self.frames.push(frame.to_vec());
    }

    /// Looks for `marker` in every frame and in every direction of every TCP connection put back
    /// together, so that one which was split over segments is found too.
    pub fn find(&self, marker: &[u8]) -> Finding {
        if self.contains(marker) {
            Finding::Present
        } else if self.lost.total() > 0 {
            Finding::Inconclusive(self.lost)
        } else {
            Finding::Absent
        }
    }

    /// True when `marker` was seen. False proves its absence only when nothing was lost: see
    /// [`Captured::find`].
    pub fn contains(&self, marker: &[u8]) -> bool {
        self.frames.iter().any(|frame| holds(frame, marker))
            || self.streams().iter().flat_map(Stream::runs).any(|run| holds(&run, marker))
    }

    /// TCP packets from or to `port`.
    pub fn tcp_packets(&self, port: u16) -> u64 {
        let ends = |segment: &Segment<'_>| segment.source.port() == port || segment.destination.port() == port;
        self.segments().filter(ends).count() as u64
    }

    /// TCP packets by port; each counts for its source and its destination.
    pub fn tcp_ports(&self) -> BTreeMap<u16, u64> {
        let mut ports = BTreeMap::new();
        for segment in self.segments() {
            *ports.entry(segment.source.port()).or_default() += 1;
            *ports.entry(segment.destination.port()).or_default() += 1;
        }
        ports
    }

    fn segments(&self) -> impl Iterator<Item = Segment<'_>> {
        self.frames.iter().filter_map(|frame| segment(frame))
    }

    fn streams(&self) -> Vec<Stream<'_>> {
        let mut streams: Vec<Stream<'_>> = Vec::new();
        let mut current: BTreeMap<(SocketAddr, SocketAddr), usize> = BTreeMap::new();
        for segment in self.segments() {
            let key = (segment.source, segment.destination);
            // The SYN takes one number; a new one on old ports is another connection.
            let first = segment.sequence.wrapping_add(u32::from(segment.syn));
            let known = current.get(&key).copied().filter(|&at| !segment.syn || streams[at].base == first);
            let at = known.unwrap_or_else(|| {
                streams.push(Stream { base: first, segments: Vec::new() });
                current.insert(key, streams.len() - 1);
                streams.len() - 1
            });
            if !segment.payload.is_empty() {
                // Numbers wrap at 4 GiB, far beyond what a capture keeps: the shorter way is meant.
                let offset = first.wrapping_sub(streams[at].base).cast_signed();
                streams[at].segments.push((i64::from(offset), segment.payload));
            }
        }
        streams
    }
}

// === impl Stream ===

impl Stream<'_> {
    /// The bytes without gaps, one vector a run. What was sent again is taken once.
    fn runs(&self) -> Vec<Vec<u8>> {
        let mut segments = self.segments.clone();
        segments.sort_by_key(|&(at, _)| at);
        let mut runs: Vec<Vec<u8>> = Vec::new();
        let mut end = None;
        for (at, bytes) in segments {
            let fresh = match (end, runs.last_mut()) {
                (Some(end), Some(run)) if at <= end => {
                    let known = usize::try_from(end - at).unwrap_or(usize::MAX);
                    let fresh = bytes.get(known..).unwrap_or_default();
                    run.extend_from_slice(fresh);
                    end + fresh.len() as i64
                }
                _ => {
                    runs.push(bytes.to_vec());
                    at + bytes.len() as i64
                }
            };
            end = Some(fresh);
        }
        runs
    }
}

/// An empty marker is nowhere: a search for nothing must not prove anything.
fn holds(bytes: &[u8], marker: &[u8]) -> bool {
    !marker.is_empty() && bytes.windows(marker.len()).any(|window| window == marker)
}

#[cfg(test)]
mod tests;
