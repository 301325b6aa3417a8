//! `baggage`, an instance a line: what is kept is bounded, and our writer never makes an entry of what was a value.

use culvert::hbone::headers::{Baggage, MAX_VALUE};

pub fn feed(data: &[u8]) -> bool {
    let read = Baggage::parse(data.split(|byte| *byte == b'\n'));
    for value in values(&read) {
        assert!(value.len() <= MAX_VALUE);
    }
    let written = read.format();
    assert!(written.bytes().all(|b| b.is_ascii_graphic()), "it goes into a header: {written}");
    // A byte that no entry may hold is another after one trip, and the same from there on.
    let again = Baggage::parse([written.as_bytes()]);
    let shape = |baggage: &Baggage| values(baggage).map(str::len);
    assert_eq!(shape(&again), shape(&read), "{written}");
    assert_eq!(again.workload.as_ref().map(|(kind, _)| *kind), read.workload.as_ref().map(|(kind, _)| *kind));
    assert_eq!(again.format(), written);
    !written.is_empty()
}

fn values(baggage: &Baggage) -> [&str; 7] {
    let Baggage { cluster, namespace, workload, service, revision, region, zone } = baggage;
    let workload = workload.as_ref().map_or("", |(_, name)| name);
    [cluster, namespace, workload, service, revision, region, zone]
}
