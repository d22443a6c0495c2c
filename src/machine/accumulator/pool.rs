//! `BufferPool`: buffers of batches that are done, for the next ones. What senders allocate and the sender's task frees would
//! else wander between the allocator's arenas: with two threads twice the memory, and a system call for every few
//! batches.
//!
//! Free buffers and `buffer.memory` in use are together at most `buffer.memory` and a little: the caller says how many bytes
//! may be free.

use super::lock;
use crate::machine::sync::Mutex;
use std::collections::BTreeMap;

/// The capacity that a sealed batch of `len` bytes gets: a step of an eighth at most above it, so that batches of about the
/// same length have the same.
pub fn capacity_for(len: usize) -> usize {
    let step = (len.next_power_of_two() / 16).max(16);
    len.next_multiple_of(step)
}

#[derive(Debug, Default)]
struct Free {
    /// By capacity.
    buffers: BTreeMap<usize, Vec<Vec<u8>>>,
    bytes: usize,
}

impl Free {
    /// Lets go of buffers, those of other capacities than `kept` only, until no more than `limit` bytes are left.
    fn shrink(&mut self, limit: usize, kept: usize) {
        while self.bytes > limit {
            let Some(buffers) = self.buffers.iter_mut().find(|(capacity, _)| **capacity != kept) else { return };
            let (capacity, buffers) = (*buffers.0, buffers.1);
            buffers.pop();
            self.bytes -= capacity;
            if buffers.is_empty() {
                self.buffers.remove(&capacity);
            }
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct BufferPool {
    free: Mutex<Free>,
}

impl BufferPool {
    /// An empty buffer of this capacity. `limit`: how many bytes may be free while it is in use.
    pub(super) fn take(&self, capacity: usize, limit: usize) -> Vec<u8> {
        let mut free = lock(&self.free);
        if let Some(buffers) = free.buffers.get_mut(&capacity)
            && let Some(buffer) = buffers.pop()
        {
            if buffers.is_empty() {
                free.buffers.remove(&capacity);
            }
            free.bytes -= capacity;
            return buffer;
        }
        free.shrink(limit, capacity);
        drop(free);
        Vec::with_capacity(capacity)
    }

    /// Keeps a buffer, as long as no more than `limit` bytes are free: others than its kind go first.
    pub(super) fn give(&self, buffer: Vec<u8>, limit: usize) {
        let capacity = buffer.capacity();
        let mut free = lock(&self.free);
        free.shrink(limit.saturating_sub(capacity), capacity);
        if capacity > 0 && free.bytes + capacity <= limit {
            free.bytes += capacity;
            free.buffers.entry(capacity).or_default().push(buffer); // last in, first out: the warm one is next
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_batch_gets_little_more_than_it_needs() {
        for len in [1, 63, 64, 65, 1_000, 8_191, 8_192, 8_193, 16_323, 1 << 20] {
            let capacity = capacity_for(len);
            assert!((len..=len + (len / 8).max(16)).contains(&capacity), "{capacity} for {len}");
            assert_eq!(capacity_for(capacity), capacity);
        }
    }

    #[test]
    fn what_is_given_is_taken_again_and_the_limit_holds() {
        let pool = BufferPool::default();
        let first = pool.take(1000, 0);
        let address = first.as_ptr();
        pool.give(first, 1000);
        let again = pool.take(1000, 0);
        assert_eq!(again.as_ptr(), address);
        (0..5).for_each(|_| pool.give(Vec::with_capacity(1000), 3000));
        assert_eq!(lock(&pool.free).bytes, 3000);
        pool.give(Vec::with_capacity(2000), 3000);
        let kept: Vec<_> = lock(&pool.free).buffers.iter().map(|(capacity, free)| (*capacity, free.len())).collect();
        assert_eq!(kept, [(1000, 1), (2000, 1)], "an old kind makes room for what is in use");
        pool.take(500, 1000);
        assert!(lock(&pool.free).bytes <= 1000, "memory that is in use is not free beside it");
    }
}
