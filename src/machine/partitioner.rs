//! Which partition a record goes to: a key's hash, or without a key one that is stuck to until its batch is complete
//! (KIP-480), among those that have a leader.

use std::sync::atomic::{AtomicU64, Ordering};

/// Java's `Utils.murmur2`.
pub fn murmur2(data: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    let mut h = 0x9747_b28c ^ data.len() as u32;
    let (words, tail) = data.as_chunks::<4>();
    for word in words {
        let mut k = u32::from_le_bytes(*word).wrapping_mul(M);
        k ^= k >> 24;
        h = h.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    if !tail.is_empty() {
        for (i, byte) in tail.iter().enumerate() {
            h ^= u32::from(*byte) << (8 * i);
        }
        h = h.wrapping_mul(M);
    }
    h ^= h >> 13;
    h = h.wrapping_mul(M);
    h ^ (h >> 15)
}

/// The partition of a key, the Java client's: the sign bit is cut off (not `abs`), and an empty key is hashed like
/// any other. `partitions` must not be 0.
pub fn partition_for_key(key: &[u8], partitions: u32) -> u32 {
    (murmur2(key) & 0x7fff_ffff) % partitions
}

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

    /// The golden values of Java's UtilsTest.
    #[test]
    fn murmur2_is_javas() {
        for (key, hash) in [
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            ("abc", 479_470_107),
        ] {
            assert_eq!(murmur2(key.as_bytes()) as i32, hash, "{key}");
        }
    }

    /// `abs` would put "foobar" (a negative hash) elsewhere.
    #[test]
    fn the_sign_bit_is_cut_off() {
        assert_eq!(partition_for_key(b"foobar", 10), ((-790_332_482i32) & 0x7fff_ffff) as u32 % 10);
        assert_ne!(partition_for_key(b"foobar", 10), 790_332_482 % 10);
    }

    #[test]
    fn an_empty_key_is_hashed_like_any_other() {
        assert_eq!(partition_for_key(b"", 100), (murmur2(b"") & 0x7fff_ffff) % 100);
    }

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
