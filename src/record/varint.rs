//! Zigzag varints, 1 to 10 bytes: small numbers of either sign are short.

/// The longest varint, in bytes.
pub const MAX_VARINT_LEN: usize = 10;

/// Signed to unsigned, small stays small: 0, -1, 1, -2 become 0, 1, 2, 3.
#[inline]
pub fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

/// The inverse of [`zigzag`].
#[inline]
pub fn unzigzag(z: u64) -> i64 {
    (z >> 1) as i64 ^ -((z & 1) as i64)
}

/// The bytes that [`put_varint`] writes for `z`, which is a number after [`zigzag`].
#[inline]
pub fn varint_len(z: u64) -> usize {
    ((70 - (z | 1).leading_zeros() as usize) * 37) >> 8 // ceil(bits / 7) without a loop or a division
}

/// Writes `z`, a number after [`zigzag`], at `at`, and moves `at` behind it. Bytes past the end of `buf` are left out:
/// give it [`MAX_VARINT_LEN`] bytes.
#[inline]
pub fn put_varint(buf: &mut [u8], at: &mut usize, mut z: u64) {
    while z >= 0x80 {
        put(buf, at, z as u8 | 0x80);
        z >>= 7;
    }
    put(buf, at, z as u8);
}

#[inline]
fn put(buf: &mut [u8], at: &mut usize, byte: u8) {
    debug_assert!(*at < buf.len(), "no room for a varint");
    if let Some(slot) = buf.get_mut(*at) {
        *slot = byte;
        *at += 1;
    }
}

/// Reads a number from the front of `buf` and moves `buf` behind it. `None` if it ends too early or is longer than 64 bits.
#[inline]
pub fn get_varint(buf: &mut &[u8]) -> Option<i64> {
    let (&first, mut rest) = buf.split_first()?;
    let mut z = u64::from(first & 0x7f);
    let mut more = first >= 0x80; // nearly every varint of a record is one byte
    let mut shift = 7;
    while more {
        let (&byte, tail) = rest.split_first()?;
        if shift > 63 {
            return None;
        }
        z |= u64::from(byte & 0x7f) << shift;
        (rest, more, shift) = (tail, byte >= 0x80, shift + 7);
    }
    *buf = rest;
    Some(unzigzag(z))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_length_is_computed_as_it_is_written_and_comes_back() {
        for shift in 0..64 {
            for z in [1u64 << shift, (1u64 << shift) - 1, u64::MAX >> shift] {
                let (mut buf, mut n) = ([0; MAX_VARINT_LEN], 0);
                put_varint(&mut buf, &mut n, z);
                assert_eq!(n, varint_len(z), "{z}");
                let mut read = &buf[..n];
                assert_eq!(get_varint(&mut read).map(zigzag), Some(z));
                assert!(read.is_empty());
                assert_eq!(get_varint(&mut &buf[..n - 1]), None, "cut short");
            }
        }
    }

    #[test]
    fn more_than_64_bits_are_refused_and_nothing_is_consumed() {
        let long = [0xff; 11];
        let mut read = &long[..];
        assert_eq!(get_varint(&mut read), None);
        assert_eq!(read.len(), 11);
    }
}
