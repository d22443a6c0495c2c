//! A lock that counts how often it is taken, and how often by another hand than the time before: on a machine with a core
//! for each hand that is a cache line on its way, which is what sharing costs. It does not depend on what else runs.

use std::cell::Cell;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{LockResult, MutexGuard};

thread_local! {
    static HAND: Cell<u32> = const { Cell::new(0) };
    static COUNTS: Cell<Counts> = const { Cell::new(Counts { taken: 0, travelled: 0 }) };
}

/// What has been counted on this thread.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Counts {
    pub(crate) taken: usize,
    pub(crate) travelled: usize,
}

/// From now on this thread plays the part of this hand.
pub(crate) fn become_hand(hand: u32) {
    HAND.set(hand);
}

/// What has been counted, which begins anew.
pub(crate) fn take_counts() -> Counts {
    COUNTS.take()
}

#[derive(Debug, Default)]
pub(crate) struct Mutex<T> {
    inner: std::sync::Mutex<T>,
    last: AtomicU32,
}

impl<T> Mutex<T> {
    pub(crate) fn new(value: T) -> Self {
        Self { inner: std::sync::Mutex::new(value), last: AtomicU32::new(0) }
    }

    pub(crate) fn lock(&self) -> LockResult<MutexGuard<'_, T>> {
        let guard = self.inner.lock();
        let Counts { taken, travelled } = COUNTS.get();
        let travels = self.last.swap(HAND.get(), Ordering::Relaxed) != HAND.get();
        COUNTS.set(Counts { taken: taken + 1, travelled: travelled + usize::from(travels) });
        guard
    }
}
