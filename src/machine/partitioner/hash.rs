//! The hashes of keys that other clients use, so that a key goes where they put it.

/// Java's `Utils.murmur2`.
pub(crate) fn murmur2(data: &[u8]) -> u32 {
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

/// The Java client's: the sign bit is cut off (not `abs`).
pub(super) fn murmur2_positive(data: &[u8]) -> u32 {
    murmur2(data) & 0x7fff_ffff
}

/// CRC-32 as zip has it, which librdkafka took before it knew Java's.
pub(super) fn crc32(data: &[u8]) -> u32 {
    crc32fast::hash(data)
}

/// Sarama's and librdkafka's: FNV-1a as a signed number, of which the absolute value is taken.
pub(super) fn fnv1a(data: &[u8]) -> u32 {
    let hash = data.iter().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193));
    hash.cast_signed().unsigned_abs()
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
    fn the_sign_bit_of_murmur2_is_cut_off() {
        assert_eq!(murmur2_positive(b"foobar"), ((-790_332_482i32) & 0x7fff_ffff) as u32);
        assert_ne!(murmur2_positive(b"foobar"), 790_332_482);
    }

    /// Go's values, as librdkafka's own test has them.
    #[test]
    fn fnv1a_is_saramas() {
        for (key, hash) in
            [("kafka", 0x0d33_c4e1), ("giberish123456789", 0x77a5_8295), ("1234", 0x023b_dd03), ("", 0x7ee3_623b)]
        {
            assert_eq!(fnv1a(key.as_bytes()), hash, "{key}");
        }
    }
}
