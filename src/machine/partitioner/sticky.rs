//! Where records without a key go: to one partition until its batch is complete (KIP-480), among those that have a leader.

use std::sync::atomic::{AtomicU64, Ordering};

/// The sticky choice of one handle: one partition until a new batch has to be opened, then another. It belongs to a
/// clone of the handle, so that tasks with a clone each don't share a partition's lock.
///
/// One word: the partition in the low half; above it whether a choice was made, and whether it is fresh, which means
/// that it may open a batch.
#[derive(Debug)]
pub struct Sticky {
    choice: AtomicU64,
    random: AtomicU64,
}

const CHOSEN: u64 = 1 << 32;
const FRESH: u64 = 1 << 33;

impl Sticky {
    /// No choice made yet; later ones are drawn from `seed`.
    pub fn new(seed: u64) -> Self {
        Self { choice: AtomicU64::new(0), random: AtomicU64::new(seed) }
    }

    /// The partition to try next, and whether a batch may be opened there.
    pub fn get(&self) -> Option<(u32, bool)> {
        let choice = self.choice.load(Ordering::Relaxed);
        (choice & CHOSEN != 0).then_some((choice as u32, choice & FRESH != 0))
    }

    /// A record went to it: from now on it is stuck to, until a new batch would have to be opened.
    pub fn used(&self, partition: u32) {
        self.choice.store(u64::from(partition) | CHOSEN, Ordering::Relaxed);
    }

    /// Chooses anew among `available` partitions, or all `partitions` if none is available; not the one before, if
    /// there is another. `partitions` must not be 0.
    pub fn choose(&self, available: &[u32], partitions: u32) -> u32 {
        let before = self.get().map(|(partition, _)| partition);
        let draw = self.draw();
        let pick = |draw: u64| match available.len() as u64 {
            0 => (draw % u64::from(partitions)) as u32,
            n => available.get((draw % n) as usize).copied().unwrap_or(0),
        };
        let mut choice = pick(draw);
        if Some(choice) == before {
            choice = pick(draw.wrapping_add(1));
        }
        self.choice.store(u64::from(choice) | CHOSEN | FRESH, Ordering::Relaxed);
        choice
    }

    /// splitmix64. Two tasks that draw at once may draw the same: no harm.
    fn draw(&self) -> u64 {
        let state = self.random.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        let z = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) >> 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_choice_is_another_partition_with_a_leader() {
        let sticky = Sticky::new(7);
        let mut seen = [0; 4];
        let mut before = None;
        for _ in 0..100 {
            let choice = sticky.choose(&[0, 2, 3], 4);
            assert_ne!(Some(choice), before);
            seen[choice as usize] += 1;
            sticky.used(choice);
            assert_eq!(sticky.get(), Some((choice, false)));
            before = Some(choice);
        }
        assert!(seen[1] == 0 && seen[0] > 10 && seen[2] > 10 && seen[3] > 10, "{seen:?}");
    }
}
