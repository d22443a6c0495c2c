//! Snappy in two shapes: raw, as librdkafka writes it, and in the framing of xerial's `SnappyOutputStream`, which is what
//! the Java client writes and what we write.
//!
//! ```text
//! 0x82 "SNAPPY" 0x00 | version i32 = 1 | compatible i32 = 1 | (length i32 | raw snappy of up to 32 KiB)*
//! ```

use super::{grow, over_limit};
use crate::{
    error::{Error, Result},
    record::malformed,
};
use snap::raw;

const XERIAL_MAGIC: [u8; 8] = [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0];
const XERIAL_HEADER: [u8; 16] = [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0, 0, 0, 0, 1, 0, 0, 0, 1];
const BLOCK: usize = 32 << 10;

/// Reused from batch to batch; allocates when it is first used.
#[derive(Debug, Default)]
pub(super) struct Encoder {
    raw: Option<raw::Encoder>,
    scratch: Vec<u8>,
}

impl Encoder {
    /// Appends `input` to `out`, framed.
    pub(super) fn compress(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<()> {
        let encoder = self.raw.get_or_insert_with(raw::Encoder::new);
        self.scratch.resize(raw::max_compress_len(BLOCK), 0);
        out.extend_from_slice(&XERIAL_HEADER);
        for block in input.chunks(BLOCK) {
            let length = encoder.compress(block, &mut self.scratch).map_err(corrupt)?;
            out.extend_from_slice(&(length as u32).to_be_bytes());
            out.extend_from_slice(self.scratch.get(..length).unwrap_or_default());
        }
        Ok(())
    }
}

/// Decompresses either shape into the front of `out`, and gives the length.
pub(super) fn decompress(input: &[u8], out: &mut Vec<u8>, limit: usize) -> Result<usize> {
    if !input.starts_with(&XERIAL_MAGIC) {
        return decompress_raw(input, out, 0, limit);
    }
    let (mut rest, mut len) = (input, 0);
    while !rest.is_empty() {
        // Streams may follow each other, each with its header, which can't be taken for a length: that would be negative.
        // As xerial's reader does, the versions in it are not looked at: there has been one only.
        if rest.starts_with(&XERIAL_MAGIC) {
            rest = rest.get(XERIAL_HEADER.len()..).ok_or_else(truncated)?;
            continue;
        }
        let (size, tail) = rest.split_first_chunk().ok_or_else(truncated)?;
        let (block, tail) = tail.split_at_checked(u32::from_be_bytes(*size) as usize).ok_or_else(truncated)?;
        len = decompress_raw(block, out, len, limit)?;
        rest = tail;
    }
    Ok(len)
}

/// Decompresses one raw block to `out` from `at` on and gives the new end.
fn decompress_raw(block: &[u8], out: &mut Vec<u8>, at: usize, limit: usize) -> Result<usize> {
    let length = raw::decompress_len(block).map_err(corrupt)?;
    // The length is what the block says of itself. Its best element makes 64 bytes of 3.
    if length / 22 > block.len() {
        return Err(malformed("a snappy block whose length is a lie"));
    }
    let end = at.saturating_add(length);
    if end > limit {
        return Err(over_limit());
    }
    grow(out, end, limit);
    let room = out.get_mut(at..end).unwrap_or_default();
    let written = raw::Decoder::new().decompress(block, room).map_err(corrupt)?;
    Ok(at + written)
}

#[cold]
fn corrupt(error: snap::Error) -> Error {
    malformed("a snappy block is corrupt").caused_by(error)
}

#[cold]
fn truncated() -> Error {
    malformed("a snappy stream is truncated")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn raw_and_framed_are_both_read_and_streams_may_follow_each_other() {
        let input: Vec<u8> = (0..100_000u32).map(|i| (i / 9 % 23) as u8).collect();
        let (mut framed, mut out) = (Vec::new(), Vec::new());
        Encoder::default().compress(&input, &mut framed).unwrap();
        let raw = raw::Encoder::new().compress_vec(&input).unwrap();
        let twice = [&framed[..], &framed].concat();
        for (bytes, times) in [(&framed, 1), (&raw, 1), (&twice, 2)] {
            assert_eq!(decompress(bytes, &mut out, times * input.len()).unwrap(), times * input.len());
            assert!(out.chunks(input.len()).take(times).all(|part| part == input));
            assert!(decompress(bytes, &mut out, times * input.len() - 1).is_err(), "limit");
            assert!(decompress(&bytes[..bytes.len() - 1], &mut out, times * input.len()).is_err(), "truncated");
        }
    }

    #[test]
    fn the_best_that_snappy_can_do_is_not_taken_for_a_lie() {
        let raw = raw::Encoder::new().compress_vec(&[7; 1 << 16]).unwrap();
        assert!(raw.len() < 3300);
        assert_eq!(decompress(&raw, &mut Vec::new(), 1 << 16).unwrap(), 1 << 16);
    }

    #[test]
    fn a_length_from_outside_sizes_no_allocation() {
        let mut out = Vec::new();
        assert!(decompress(&[0xff, 0xff, 0xff, 0xff, 0x0f, 0, 0], &mut out, usize::MAX).is_err());
        assert_eq!(out.capacity(), 0);
    }
}
