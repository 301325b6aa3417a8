//! Free memory back to the kernel.

/// Gives the kernel what the allocator holds and nobody uses; true when there was something. Walks all of the
/// allocator's arenas, some milliseconds each gigabyte: not for a thread that carries connections.
///
/// glibc keeps what was freed below a live block (malloc_trim(3); whole pages of every arena since 2.8).
pub fn give_back() -> bool {
    #[cfg(target_env = "gnu")]
    {
        // SAFETY: takes a number and no pointer, and may be called by any thread at any time (MT-Safe, malloc_trim(3)).
        #[expect(unsafe_code, reason = "glibc's own call; no crate wraps it")]
        let gave = unsafe { nix::libc::malloc_trim(0) };
        gave == 1
    }
    #[cfg(not(target_env = "gnu"))]
    false
}

#[cfg(test)]
mod tests {
    use crate::sys::limits::usage;

    #[test]
    fn what_was_freed_goes_back() {
        const BLOCKS: usize = 20_000;
        let mut blocks: Vec<Vec<u8>> = (0..BLOCKS).map(|_| vec![1; 4096]).collect();
        // A live block at the end keeps the heap from shrinking by itself.
        let last = blocks.pop();
        let full = usage().resident_bytes;
        drop(blocks);
        super::give_back();
        let after = usage().resident_bytes;
        // 80 MB were freed; other tests of the process take and free theirs meanwhile.
        assert!(after + (30 << 20) < full, "{full} → {after}");
        drop(last);
    }
}
