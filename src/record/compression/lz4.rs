//! LZ4 frames, block by block with a table and a buffer that are reused: lz4_flex's `FrameEncoder` and `FrameDecoder` would
//! allocate them per batch and copy the data twice more, and its decoder takes a truncated frame for a whole one.
//!
//! Written: independent blocks of 64 KiB without checksums, as the Java client does. Read: whatever the format has but
//! dictionaries; other clients write linked blocks, content sizes, checksums and blocks of up to 4 MiB.

use super::{grow, over_limit};
use crate::{
    error::{Error, Result},
    record::malformed,
};
use lz4_flex::block::{
    CompressTable, compress_into_with_table, decompress_into, decompress_into_with_dict, get_maximum_output_size,
};
use std::fmt;
use twox_hash::XxHash32;

/// One byte under 65,535: blocks of this size use lz4_flex's small table (8 KiB of u16, stays in L1) and fit a 64 KiB frame block.
const BLOCK: usize = 65_534;
/// Magic, version 1 with independent blocks and no checksums, 64 KiB blocks, and the checksum of those two bytes: a constant.
const FRAME_HEADER: [u8; 7] = [0x04, 0x22, 0x4d, 0x18, 0x60, 0x40, 0x82];
const UNCOMPRESSED: u32 = 1 << 31;
/// How far back a linked block may refer.
const WINDOW: usize = 64 << 10;

/// Reused from batch to batch; allocates when it is first used.
#[derive(Default)]
pub(super) struct Encoder(Option<(CompressTable, Vec<u8>)>);

impl Encoder {
    /// Appends `input` to `out` as one LZ4 frame.
    pub(super) fn compress(&mut self, input: &[u8], out: &mut Vec<u8>) {
        let (table, scratch) =
            self.0.get_or_insert_with(|| (CompressTable::small(), vec![0; get_maximum_output_size(BLOCK)]));
        out.extend_from_slice(&FRAME_HEADER);
        for block in input.chunks(BLOCK) {
            let compressed = compress_into_with_table(block, scratch, table).ok().and_then(|n| scratch.get(..n));
            match compressed {
                Some(compressed) if compressed.len() < block.len() => {
                    out.extend_from_slice(&(compressed.len() as u32).to_le_bytes());
                    out.extend_from_slice(compressed);
                }
                _ => {
                    out.extend_from_slice(&(block.len() as u32 | UNCOMPRESSED).to_le_bytes());
                    out.extend_from_slice(block);
                }
            }
        }
        out.extend_from_slice(&[0; 4]);
    }
}

impl fmt::Debug for Encoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Encoder").finish_non_exhaustive()
    }
}

/// Decompresses one frame, or several one after the other, into the front of `out`, and gives the length.
pub(super) fn decompress(input: &[u8], out: &mut Vec<u8>, limit: usize) -> Result<usize> {
    let (mut rest, mut len) = (input, 0);
    loop {
        let frame = Frame::parse(&mut rest)?;
        len = frame.decompress(&mut rest, out, len, limit)?;
        if rest.is_empty() {
            return Ok(len);
        }
    }
}

/// What the head of a frame says.
struct Frame {
    linked: bool,
    block_checksums: bool,
    content_checksum: bool,
    content_size: Option<u64>,
    block_max: usize,
}

impl Frame {
    fn parse(input: &mut &[u8]) -> Result<Self> {
        if take::<4>(input)? != [0x04, 0x22, 0x4d, 0x18] {
            return Err(malformed("not an lz4 frame"));
        }
        let descriptor = *input;
        let [flags, sizes] = take::<2>(input)?;
        if flags >> 6 != 1 || flags & 0b11 != 0 {
            return Err(malformed("an lz4 frame of another version, or with a dictionary"));
        }
        let block_max = match sizes >> 4 {
            4 => 64 << 10,
            5 => 256 << 10,
            6 => 1 << 20,
            7 => 4 << 20,
            _ => return Err(malformed("an lz4 frame with an impossible block size")),
        };
        let content_size = if flags & 8 != 0 { Some(u64::from_le_bytes(take(input)?)) } else { None };
        let described = descriptor.get(..descriptor.len() - input.len()).unwrap_or_default();
        let [checksum] = take::<1>(input)?;
        if (XxHash32::oneshot(0, described) >> 8) as u8 != checksum {
            return Err(malformed("an lz4 frame with a corrupt head"));
        }
        Ok(Self {
            linked: flags & 0x20 == 0,
            block_checksums: flags & 0x10 != 0,
            content_checksum: flags & 4 != 0,
            content_size,
            block_max,
        })
    }

    /// Decompresses all blocks to `out` from `start` on and gives the new end.
    fn decompress(&self, input: &mut &[u8], out: &mut Vec<u8>, start: usize, limit: usize) -> Result<usize> {
        let mut len = start;
        loop {
            let size = u32::from_le_bytes(take(input)?);
            if size == 0 {
                break;
            }
            let Some((block, rest)) = input.split_at_checked((size & !UNCOMPRESSED) as usize) else {
                return Err(truncated());
            };
            *input = rest;
            if self.block_checksums && XxHash32::oneshot(0, block) != u32::from_le_bytes(take(input)?) {
                return Err(malformed("an lz4 block whose checksum is wrong"));
            }
            len += self.block(block, size & UNCOMPRESSED != 0, out, start, len, limit)?;
            if len > limit {
                return Err(over_limit());
            }
        }
        let content = out.get(start..len).unwrap_or_default();
        if self.content_size.is_some_and(|size| size != content.len() as u64) {
            return Err(malformed("an lz4 frame whose content size is wrong"));
        }
        if self.content_checksum && XxHash32::oneshot(0, content) != u32::from_le_bytes(take(input)?) {
            return Err(malformed("an lz4 frame whose checksum is wrong"));
        }
        Ok(len)
    }

    fn block(
        &self,
        block: &[u8],
        stored: bool,
        out: &mut Vec<u8>,
        start: usize,
        len: usize,
        limit: usize,
    ) -> Result<usize> {
        // Nothing decompresses to more than 255 times its size: small blocks of a frame with large ones need no more room.
        let most = self.block_max.min(block.len().saturating_mul(255));
        grow(out, len + most, limit.saturating_add(self.block_max));
        let Some((before, room)) = out.split_at_mut_checked(len) else { return Err(over_limit()) };
        let room = room.get_mut(..most).unwrap_or_default();
        if stored {
            let Some(room) = room.get_mut(..block.len()) else { return Err(malformed("an lz4 block past its size")) };
            room.copy_from_slice(block);
            return Ok(block.len());
        }
        let decompressed = match before.get(start.max(len.saturating_sub(WINDOW))..) {
            Some(window) if self.linked && !window.is_empty() => decompress_into_with_dict(block, room, window),
            _ => decompress_into(block, room),
        };
        decompressed.map_err(|error| malformed("an lz4 block is corrupt").caused_by(error))
    }
}

#[inline]
fn take<const N: usize>(input: &mut &[u8]) -> Result<[u8; N]> {
    let Some((field, rest)) = input.split_first_chunk() else { return Err(truncated()) };
    *input = rest;
    Ok(*field)
}

#[cold]
fn truncated() -> Error {
    malformed("an lz4 frame is truncated")
}

#[cfg(test)]
mod tests {
    use super::*;
    use lz4_flex::frame::{BlockMode, BlockSize, FrameEncoder, FrameInfo};
    use std::io::Write;

    fn sample(len: u32) -> Vec<u8> {
        (0..len).map(|i| (i / 7 % 11) as u8 ^ (i % 977) as u8).collect()
    }

    #[test]
    fn every_kind_of_frame_that_clients_write_is_read() {
        let input = sample(700_000);
        for block_size in [BlockSize::Max64KB, BlockSize::Max256KB, BlockSize::Max1MB, BlockSize::Max4MB] {
            for block_mode in [BlockMode::Independent, BlockMode::Linked] {
                for checks in [false, true] {
                    let info = FrameInfo::new()
                        .block_size(block_size)
                        .block_mode(block_mode)
                        .block_checksums(checks)
                        .content_checksum(checks)
                        .content_size(checks.then_some(input.len() as u64));
                    let mut encoder = FrameEncoder::with_frame_info(info, Vec::new());
                    encoder.write_all(&input).unwrap();
                    let frame = encoder.finish().unwrap();
                    let mut out = Vec::new();
                    assert_eq!(decompress(&frame, &mut out, input.len()).unwrap(), input.len());
                    assert!(out[..input.len()] == input);
                    let twice = [&frame[..], &frame].concat();
                    assert_eq!(decompress(&twice, &mut out, 2 * input.len()).unwrap(), 2 * input.len());
                    assert!(decompress(&frame, &mut out, input.len() - 1).is_err(), "limit");
                    assert!(decompress(&frame[..frame.len() - 1], &mut out, input.len()).is_err(), "truncated");
                    if checks {
                        for at in [4, 6, 14, 30, frame.len() - 1] {
                            let mut bad = frame.clone();
                            bad[at] ^= 1;
                            assert!(decompress(&bad, &mut out, input.len()).is_err(), "byte {at} changed");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn small_blocks_in_a_frame_with_large_ones_take_little_memory() {
        let info = FrameInfo::new().block_size(BlockSize::Max4MB);
        let mut encoder = FrameEncoder::with_frame_info(info, Vec::new());
        encoder.write_all(b"small").unwrap();
        let mut out = Vec::new();
        assert_eq!(decompress(&encoder.finish().unwrap(), &mut out, 1 << 20).unwrap(), 5);
        assert!(out.capacity() <= 64 << 10);
    }
}
