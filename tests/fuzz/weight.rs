//! Memory that one input costs. libFuzzer's own `-malloc_limit_mb` needs a sanitizer's hooks, and its `-rss_limit_mb` sees
//! only pages that were written to: a length on the wire that reserves gigabytes would pass both.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Bytes that any input may cost.
pub const FLOOR: usize = 1 << 20;
/// Bytes that each byte of an input may cost beside them: a value of the model is some hundred bytes larger than the
/// shortest message that makes it.
pub const PER_BYTE: usize = 1 << 10;

#[global_allocator]
static COUNTED: Counted = Counted;
static LIVE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

/// Feeds and fails when more was held at once than `floor` and [`PER_BYTE`] allow.
pub fn within(floor: usize, data: &[u8], feed: fn(&[u8]) -> bool) {
    let before = LIVE.load(Relaxed);
    PEAK.store(before, Relaxed);
    let _ = feed(data);
    let cost = PEAK.load(Relaxed).saturating_sub(before);
    let most = floor + PER_BYTE * data.len();
    assert!(cost <= most, "an input of {} bytes made us hold {cost} bytes, {most} at most", data.len());
}

struct Counted;

fn took(size: usize) {
    let live = LIVE.fetch_add(size, Relaxed).wrapping_add(size);
    PEAK.fetch_max(live, Relaxed);
}

// SAFETY: everything is handed to the system's allocator as it came; only sizes are counted.
unsafe impl GlobalAlloc for Counted {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        took(layout.size());
        // SAFETY: the caller's promise is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Relaxed);
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        LIVE.fetch_sub(layout.size(), Relaxed);
        took(size);
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, size) }
    }
}
