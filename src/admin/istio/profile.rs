//! `/debug/pprof/…`: processor time by address, in pprof's format (google/pprof, profile.proto).
//!
//! The addresses are found again in the program's file: `go tool pprof culvert profile` names the functions. Callers are
//! not known: no stack is walked inside of a signal handler.

use std::collections::HashMap;
use std::io::{self, Write};
use std::ops::RangeInclusive;
use std::time::{Duration, SystemTime};

use http::StatusCode;
use prost::Message;

use crate::admin::body::{Body, Sink};
use crate::admin::pages::Order;
use crate::admin::server::{Answer, Verb};
use crate::sys::profile::{Mapping, ProfileError, Sampler, mappings};

const SECONDS: RangeInclusive<u64> = 1..=300;
const FREQUENCIES: RangeInclusive<u64> = 1..=1000;
/// How often samples are taken out of their buffer, and how soon a client that has gone is noticed.
const DRAIN: Duration = Duration::from_millis(100);

#[derive(Clone, PartialEq, Message)]
struct Profile {
    #[prost(message, repeated, tag = "1")]
    sample_type: Vec<ValueType>,
    #[prost(message, repeated, tag = "2")]
    sample: Vec<Sample>,
    #[prost(message, repeated, tag = "3")]
    mapping: Vec<MappingEntry>,
    #[prost(message, repeated, tag = "4")]
    location: Vec<Location>,
    #[prost(string, repeated, tag = "6")]
    string_table: Vec<String>,
    #[prost(int64, tag = "9")]
    time_nanos: i64,
    #[prost(int64, tag = "10")]
    duration_nanos: i64,
    #[prost(message, optional, tag = "11")]
    period_type: Option<ValueType>,
    #[prost(int64, tag = "12")]
    period: i64,
}

/// Places in the table of strings.
#[derive(Clone, PartialEq, Message)]
struct ValueType {
    #[prost(int64, tag = "1")]
    kind: i64,
    #[prost(int64, tag = "2")]
    unit: i64,
}

#[derive(Clone, PartialEq, Message)]
struct Sample {
    #[prost(uint64, repeated, tag = "1")]
    location_id: Vec<u64>,
    #[prost(int64, repeated, tag = "2")]
    value: Vec<i64>,
}

#[derive(Clone, PartialEq, Message)]
struct MappingEntry {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(uint64, tag = "2")]
    memory_start: u64,
    #[prost(uint64, tag = "3")]
    memory_limit: u64,
    #[prost(uint64, tag = "4")]
    file_offset: u64,
    #[prost(int64, tag = "5")]
    filename: i64,
}

#[derive(Clone, PartialEq, Message)]
struct Location {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(uint64, tag = "2")]
    mapping_id: u64,
    #[prost(uint64, tag = "3")]
    address: u64,
}

/// How long, and how often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Asked {
    seconds: u64,
    frequency: u32,
}

/// Processor time for some seconds.
pub fn profile() -> Order {
    let about = "?seconds=10&frequency=100, processor time in pprof's format";
    Order::new("debug/pprof/profile", about, Verb::Any, |query| match Asked::parse(query) {
        Err(text) => Answer::text(StatusCode::BAD_REQUEST, text),
        Ok(asked) => match Sampler::start(asked.frequency) {
            Ok(sampler) => {
                let answer = Body::written(move |out| take(&sampler, asked, out));
                let patience = Duration::from_secs(asked.seconds) + Duration::from_secs(30);
                Answer { patience, ..Answer::new(StatusCode::OK, "application/octet-stream", answer) }
            }
            Err(error @ ProfileError::Busy) => Answer::text(StatusCode::SERVICE_UNAVAILABLE, format!("{error}\n")),
            Err(error) => Answer::text(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
        },
    })
}

/// There is no profile of the heap: this build's allocator keeps none.
pub fn heap() -> Order {
    Order::new("debug/pprof/heap", "memory by its owner; not in this build", Verb::Any, |_| {
        let text = "this build has no profile of the heap: its allocator keeps none\n";
        Answer::text(StatusCode::INTERNAL_SERVER_ERROR, text)
    })
}

/// Says that it is off, whatever is asked: Istio's tools read the state from the answer, and `activate=true` changes none.
pub fn heap_profiling() -> Order {
    Order::new("debug/pprof/heap/profiling", "whether the heap is profiled", Verb::Any, |_| {
        Answer::text(StatusCode::OK, "heap profiling active: false\n")
    })
}

// === impl Asked ===

impl Asked {
    fn parse(query: &str) -> Result<Self, String> {
        let (mut seconds, mut frequency) = (10, 100);
        for part in query.split('&').filter(|part| !part.is_empty()) {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            let read = |range: RangeInclusive<u64>| {
                let parsed = value.parse::<u64>().ok().filter(|number| range.contains(number));
                parsed.ok_or_else(|| format!("{name} is a number from {} to {}\n", range.start(), range.end()))
            };
            match name {
                "seconds" => seconds = read(SECONDS)?,
                "frequency" => frequency = read(FREQUENCIES)?,
                _ => {}
            }
        }
        Ok(Self { seconds, frequency: u32::try_from(frequency).unwrap_or(u32::MAX) })
    }
}

/// Runs on a thread for blocking work.
fn take(sampler: &Sampler, asked: Asked, out: &mut Sink) -> io::Result<()> {
    let (started, mut found) = (SystemTime::now(), HashMap::new());
    let mut left = Duration::from_secs(asked.seconds);
    while !left.is_zero() {
        let nap = left.min(DRAIN);
        std::thread::sleep(nap);
        left -= nap;
        // What found no room is missing from a profile that is an estimate anyhow.
        sampler.drain(&mut found);
        if !out.is_wanted() {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
    }
    let profile = profile_of(&found, &mappings()?, asked, started);
    let mut packed = flate2::write::GzEncoder::new(out, flate2::Compression::fast());
    packed.write_all(&profile.encode_to_vec())?;
    packed.finish().map(drop)
}

fn profile_of(found: &HashMap<usize, u64>, maps: &[Mapping], asked: Asked, started: SystemTime) -> Profile {
    let signed = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    let period = 1_000_000_000 / i64::from(asked.frequency);
    let mut strings: Vec<String> = ["", "samples", "count", "cpu", "nanoseconds"].map(str::to_owned).into();
    let mut mapping = Vec::with_capacity(maps.len());
    for (id, (start, end, offset, path)) in (1..).zip(maps) {
        let filename = signed(strings.len() as u64);
        strings.push(path.clone());
        mapping.push(MappingEntry { id, memory_start: *start, memory_limit: *end, file_offset: *offset, filename });
    }
    let mut addresses: Vec<_> = found.iter().map(|(address, count)| (*address as u64, *count)).collect();
    addresses.sort_unstable();
    let (mut location, mut sample) = (Vec::new(), Vec::new());
    for (id, (address, count)) in (1..).zip(addresses) {
        let of = mapping.iter().find(|of| (of.memory_start..of.memory_limit).contains(&address));
        location.push(Location { id, mapping_id: of.map_or(0, |of| of.id), address });
        let value = vec![signed(count), signed(count).saturating_mul(period)];
        sample.push(Sample { location_id: vec![id], value });
    }
    let since = started.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Profile {
        sample_type: vec![ValueType { kind: 1, unit: 2 }, ValueType { kind: 3, unit: 4 }],
        sample,
        mapping,
        location,
        string_table: strings,
        time_nanos: i64::try_from(since.as_nanos()).unwrap_or(i64::MAX),
        duration_nanos: signed(asked.seconds.saturating_mul(1_000_000_000)),
        period_type: Some(ValueType { kind: 3, unit: 4 }),
        period,
    }
}

#[cfg(test)]
mod tests;
