//! A heap that refuses to grow beyond what a target allows while it looks at an input: the bound on memory, as a crash that
//! the fuzzer sees at once and not only when the machine runs out.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

static USED: AtomicUsize = AtomicUsize::new(0);
static LIMIT: AtomicUsize = AtomicUsize::new(usize::MAX);

/// The system's heap, counted.
#[derive(Debug)]
pub struct Limited;

/// Runs `work`, which may hold `bytes` more than there is held now at any time.
///
/// # Panics
/// From within, when it asks for more.
pub fn within<T>(bytes: usize, work: impl FnOnce() -> T) -> T {
    LIMIT.store(USED.load(Relaxed).saturating_add(bytes), Relaxed);
    let done = work();
    LIMIT.store(usize::MAX, Relaxed);
    done
}

fn grow(bytes: usize) {
    let limit = LIMIT.load(Relaxed);
    if USED.fetch_add(bytes, Relaxed).saturating_add(bytes) > limit {
        LIMIT.store(usize::MAX, Relaxed); // to say so takes memory too
        panic!("{bytes} more bytes are more than this input may take");
    }
}

// SAFETY: every call goes to the system's allocator as it came; the counting touches only atomics.
unsafe impl GlobalAlloc for Limited {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        grow(layout.size());
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        USED.fetch_sub(layout.size(), Relaxed);
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        grow(layout.size());
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        match new_size.checked_sub(layout.size()) {
            Some(more) => grow(more),
            None => drop(USED.fetch_sub(layout.size() - new_size, Relaxed)),
        }
        unsafe { System.realloc(pointer, layout, new_size) }
    }
}
