//! The system's allocator, counting what the present thread asks of it.
//!
//! It is in place for us and for the peers alike, and costs an allocation about a nanosecond.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// What a thread has asked for since it started.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    pub allocations: u64,
    pub bytes: u64,
    /// Bytes asked for less bytes given back; negative when the thread frees what others made.
    pub held: i64,
}

impl Counts {
    pub fn now() -> Self {
        COUNTS.get()
    }

    pub fn since(self, before: Self) -> Self {
        Self {
            allocations: self.allocations - before.allocations,
            bytes: self.bytes - before.bytes,
            held: self.held - before.held,
        }
    }
}

/// See the [module](self).
pub struct Counting;

// SAFETY: every call is passed to the system's allocator as it came. The counters are plain cells
// of the thread, built at compile time and without a destructor, so touching them allocates nothing
// and works while a thread ends.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 0);
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 0);
        // SAFETY: the caller keeps the contract of `alloc_zeroed`.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        let mut counts = COUNTS.get();
        counts.held -= layout.size() as i64;
        COUNTS.set(counts);
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size, layout.size());
        // SAFETY: the caller keeps the contract of `realloc`.
        unsafe { System.realloc(at, layout, size) }
    }
}

fn count(asked: usize, returned: usize) {
    let mut counts = COUNTS.get();
    counts.allocations += 1;
    counts.bytes += asked as u64;
    counts.held += asked as i64 - returned as i64;
    COUNTS.set(counts);
}

thread_local! {
    static COUNTS: Cell<Counts> = const {
        Cell::new(Counts { allocations: 0, bytes: 0, held: 0 })
    };
}
