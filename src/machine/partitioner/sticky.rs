//! Where records without a key go: to one partition for a batch or two, then to another, the likelier the less waits
//! there ([KIP-480], [KIP-794]).
//!
//! [KIP-480]: https://cwiki.apache.org/confluence/display/KAFKA/KIP-480%3A+Sticky+Partitioner
//! [KIP-794]: https://cwiki.apache.org/confluence/display/KAFKA/KIP-794%3A+Strictly+Uniform+Sticky+Partitioner

use crate::machine::sync::{AtomicU64, Ordering};

/// How many candidates one draw looks at: a run of that many from a random one on, so that a topic of 10,000 partitions
/// costs what one of 32 does.
const LOOKED_AT: usize = 32;

/// The sticky choice of one handle. It belongs to a clone of the handle, so that tasks with a clone each don't share a
/// partition's lock.
///
/// One word: the partition in the low half; in the high one the bytes sent there since it was chosen, and one more, so
/// that 0 is no choice. Two tasks that share a handle may lose each other's bytes: they move on a bit later, no harm.
#[derive(Debug)]
pub struct Sticky {
    choice: AtomicU64,
    random: AtomicU64,
}

impl Sticky {
    /// No choice made yet; later ones are drawn from `seed`.
    pub fn new(seed: u64) -> Self {
        Self { choice: AtomicU64::new(0), random: AtomicU64::new(seed) }
    }

    /// The partition of the moment, and the bytes sent there since it was chosen.
    #[inline]
    pub fn get(&self) -> Option<(u32, u32)> {
        let choice = self.choice.load(Ordering::Relaxed);
        let bytes = ((choice >> 32) as u32).checked_sub(1)?;
        Some((choice as u32, bytes))
    }

    /// The partition of the moment is this one, and `bytes` were sent there.
    #[inline]
    pub fn set(&self, partition: u32, bytes: u32) {
        let bytes = u64::from(bytes.saturating_add(1));
        self.choice.store(bytes << 32 | u64::from(partition), Ordering::Relaxed);
    }

    /// Draws one of `candidates`, which must not be 0. `load` is how many batches wait at one, or `None` if it had better
    /// be left out. With the longest queue at `max`, one of `n` gets its share of `max + 1 - n`.
    pub fn draw(&self, candidates: usize, load: impl Fn(usize) -> Option<u32>) -> usize {
        let draw = self.random();
        let first = (draw >> 32) as usize % candidates;
        let looked_at = candidates.min(LOOKED_AT);
        let mut loads = [None; LOOKED_AT];
        for (i, slot) in loads.iter_mut().enumerate().take(looked_at) {
            *slot = load((first + i) % candidates);
        }
        let max = loads.iter().flatten().max().map_or(0, |max| u64::from(*max));
        let weight = |load: &Option<u32>| load.map_or(0, |load| max + 1 - u64::from(load));
        let total: u64 = loads.iter().map(weight).sum();
        if total == 0 {
            return first; // all had better be left out
        }
        let mut left = u64::from(draw as u32) % total;
        for (i, load) in loads.iter().enumerate() {
            match left.checked_sub(weight(load)) {
                Some(rest) => left = rest,
                None => return (first + i) % candidates,
            }
        }
        first
    }

    /// splitmix64. Two tasks that draw at once may draw the same: no harm.
    fn random(&self) -> u64 {
        let state = self.random.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        let z = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(candidates: usize, load: impl Fn(usize) -> Option<u32>) -> Vec<u32> {
        let sticky = Sticky::new(7);
        let mut seen = vec![0; candidates];
        (0..80_000).for_each(|_| seen[sticky.draw(candidates, &load)] += 1);
        seen
    }

    fn near(seen: u32, expected: u32) -> bool {
        seen.abs_diff(expected) < expected / 20
    }

    #[test]
    fn a_choice_and_its_bytes_are_kept_together() {
        let sticky = Sticky::new(7);
        assert_eq!(sticky.get(), None);
        for choice in [(0, 0), (3, 0), (16_777_215, 16_384), (0, u32::MAX - 1)] {
            sticky.set(choice.0, choice.1);
            assert_eq!(sticky.get(), Some(choice));
        }
        sticky.set(1, u32::MAX);
        assert_eq!(sticky.get(), Some((1, u32::MAX - 1)), "full is full");
    }

    /// The example of KIP-794: queues of 0, 3 and 1 get 4, 1 and 3 of 8.
    #[test]
    fn the_longer_its_queue_the_less_a_candidate_gets() {
        let seen = drawn(3, |i| [0, 3, 1].get(i).copied());
        assert!(near(seen[0], 40_000) && near(seen[1], 10_000) && near(seen[2], 30_000), "{seen:?}");
    }

    #[test]
    fn equal_candidates_get_equal_shares_however_many_there_are() {
        for load in [0, 9] {
            let seen = drawn(100, |_| Some(load));
            assert!(seen.iter().all(|seen| (600..1000).contains(seen)), "{seen:?}");
        }
    }

    #[test]
    fn what_is_left_out_gets_nothing_unless_all_are() {
        let seen = drawn(3, |i| (i != 1).then_some(0));
        assert!(seen[1] == 0 && near(seen[0], 40_000), "{seen:?}");
        let seen = drawn(4, |_| None);
        assert!(seen.iter().all(|seen| near(*seen, 20_000)), "{seen:?}");
    }
}
