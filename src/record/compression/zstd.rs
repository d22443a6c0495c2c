//! Zstandard by rust-zstd, which is young: it is used through two functions here, so that another crate can take its place,
//! judged by what C libraries wrote (`protocol-tests/vectors`), fuzzed, and what comes out is capped by us.

use super::grow_past;
use crate::{error::Result, record::malformed};
use rust_zstd::{CompressOptions, Compressor, Decompressor};
use std::fmt;

/// Kafka's default and zstd's.
const DEFAULT_LEVEL: i32 = 3;

/// Reused from batch to batch, as long as the level stays; allocates when it is first used.
#[derive(Default)]
pub(super) struct Encoder(Option<(i32, Compressor)>);

impl Encoder {
    /// Appends `input` to `out` as one frame.
    pub(super) fn compress(&mut self, level: Option<i32>, input: &[u8], out: &mut Vec<u8>) {
        let level = level.unwrap_or(DEFAULT_LEVEL);
        self.0.take_if(|(made_for, _)| *made_for != level);
        let make = || (level, Compressor::new(CompressOptions { level, ..CompressOptions::default() }));
        self.0.get_or_insert_with(make).1.compress(input, out);
    }
}

impl fmt::Debug for Encoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Encoder").finish_non_exhaustive()
    }
}

/// Reused from batch to batch; allocates when it is first used.
#[derive(Default)]
pub(super) struct Decoder(Option<Decompressor>);

impl Decoder {
    /// Decompresses all frames into the front of `out`, and gives the length. Windows of up to 2^27 bytes are taken, as
    /// by Java; they cost memory only as far as there is content.
    pub(super) fn decompress(&mut self, input: &[u8], out: &mut Vec<u8>, limit: usize) -> Result<usize> {
        let decoder = self.0.get_or_insert_default();
        decoder.reset();
        let (mut read, mut len) = (0, 0);
        loop {
            grow_past(out, len, limit)?;
            let before = (read, len);
            let corrupt = |error| malformed("a zstd frame is corrupt").caused_by(ZstdError(error));
            decoder.decompress_stream(input, &mut read, out, &mut len).map_err(corrupt)?;
            // It stops at the end of a frame, and when either side is used up.
            if read == input.len() && len < out.len() {
                decoder.finish().map_err(corrupt)?;
                return if len > limit { Err(super::over_limit()) } else { Ok(len) };
            }
            if (read, len) == before {
                return Err(malformed("a zstd frame is truncated"));
            }
        }
    }
}

impl fmt::Debug for Decoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decoder").finish_non_exhaustive()
    }
}

#[derive(Debug)]
struct ZstdError(String);

impl fmt::Display for ZstdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ZstdError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_one_after_the_other_are_one_stream_and_levels_may_change() {
        let input: Vec<u8> = (0..300_000u32).map(|i| (i / 5 % 17) as u8 ^ (i % 1009) as u8).collect();
        let (mut encoder, mut decoder) = (Encoder::default(), Decoder::default());
        let (mut frame, mut out) = (Vec::new(), Vec::new());
        for level in [None, Some(-5), Some(1), Some(12)] {
            encoder.compress(level, &input, &mut frame);
        }
        for _ in 0..2 {
            assert_eq!(decoder.decompress(&frame, &mut out, 4 * input.len()).unwrap(), 4 * input.len());
            assert!(out.chunks(input.len()).take(4).all(|part| part == input));
            assert!(decoder.decompress(&frame, &mut out, 4 * input.len() - 1).is_err(), "limit");
            assert!(decoder.decompress(&frame[..frame.len() - 1], &mut out, 4 * input.len()).is_err(), "truncated");
        }
        assert!(out.len() <= 4 * input.len() + 1, "never a byte more than the limit and one");
    }

    #[test]
    fn a_window_from_outside_sizes_no_allocation_and_one_past_2_to_the_27_is_refused() {
        // Magic, no single segment, window descriptor, then one raw block of one byte, the last.
        let frame = |window: u8| [0x28, 0xb5, 0x2f, 0xfd, 0, window, 0x09, 0, 0, b'x'];
        let (mut decoder, mut out) = (Decoder::default(), Vec::new());
        assert_eq!(decoder.decompress(&frame(17 << 3), &mut out, 100).unwrap(), 1); // 2^27
        assert!(decoder.decompress(&frame(18 << 3), &mut out, 100).is_err()); // 2^28
        assert!(out.capacity() < 1000);
    }
}
