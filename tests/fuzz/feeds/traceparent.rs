//! `traceparent`: there is one spelling, so what is taken is written as it came.

use culvert::hbone::headers::TraceParent;

pub fn feed(data: &[u8]) -> bool {
    let Some(read) = TraceParent::parse(data) else { return false };
    assert_eq!(read.format().as_bytes(), data);
    true
}
