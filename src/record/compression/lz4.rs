//! LZ4 frames. Blocks are compressed one by one with a table that is reused: lz4_flex's `FrameEncoder` would allocate a
//! table and two buffers per batch and copy the data twice more. Frames of our own kind, which are also those of the Java
//! client, are read the same way; all others (linked blocks, checksums, content size) by lz4_flex's decoder.

use super::over_limit;
use crate::{error::Result, record::malformed};
use lz4_flex::block::{CompressTable, compress_into_with_table, decompress_into, get_maximum_output_size};
use std::{fmt, io::Read};

/// One byte under 65,535: blocks of this size use lz4_flex's small table (8 KiB of u16, stays in L1) and fit a 64 KiB frame block.
const BLOCK: usize = 65_534;
/// Magic, version 1 with independent blocks and no checksums, 64 KiB blocks, and the checksum of those two bytes: a constant.
const FRAME_HEADER: [u8; 7] = [0x04, 0x22, 0x4d, 0x18, 0x60, 0x40, 0x82];
const UNCOMPRESSED: u32 = 1 << 31;

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

pub(super) fn decompress(input: &[u8], out: &mut Vec<u8>, limit: usize) -> Result<usize> {
    let plain = match input {
        [0x04, 0x22, 0x4d, 0x18, 0x60, sizes, _, rest @ ..] => {
            let block_max = match sizes >> 4 {
                4 => 64 << 10,
                5 => 256 << 10,
                6 => 1 << 20,
                7 => 4 << 20,
                _ => return Err(malformed("an lz4 frame with an impossible block size")),
            };
            Some((block_max, rest))
        }
        _ => None,
    };
    match plain {
        Some((block_max, blocks)) => decompress_blocks(block_max, blocks, out, limit),
        None => decompress_any(input, out, limit),
    }
}

/// Independent blocks without checksums, to the end mark.
fn decompress_blocks(block_max: usize, blocks: &[u8], out: &mut Vec<u8>, limit: usize) -> Result<usize> {
    let (mut rest, mut len) = (blocks, 0usize);
    loop {
        let Some((size, tail)) = rest.split_first_chunk::<4>() else { return Err(truncated()) };
        let size = u32::from_le_bytes(*size);
        if size == 0 {
            // A second frame behind the first is rare enough to be left to the other decoder.
            return if tail.is_empty() { Ok(len) } else { Err(malformed("bytes behind an lz4 frame")) };
        }
        let Some((block, tail)) = tail.split_at_checked((size & !UNCOMPRESSED) as usize) else {
            return Err(truncated());
        };
        rest = tail;
        // Room for a whole block and not only up to the limit: a block is decompressed first and counted then.
        if out.len() < len + block_max {
            out.resize((len + block_max).next_power_of_two(), 0);
        }
        let room = out.get_mut(len..len + block_max).unwrap_or_default();
        len += if size & UNCOMPRESSED != 0 {
            let Some(room) = room.get_mut(..block.len()) else { return Err(malformed("an lz4 block past its size")) };
            room.copy_from_slice(block);
            block.len()
        } else {
            decompress_into(block, room).map_err(|error| malformed("an lz4 block is corrupt").caused_by(error))?
        };
        if len > limit {
            return Err(over_limit());
        }
    }
}

#[cold]
fn decompress_any(input: &[u8], out: &mut Vec<u8>, limit: usize) -> Result<usize> {
    out.clear();
    let mut decoder = lz4_flex::frame::FrameDecoder::new(input).take(limit as u64 + 1);
    let length = decoder.read_to_end(out).map_err(|error| malformed("an lz4 frame is corrupt").caused_by(error))?;
    if length > limit { Err(over_limit()) } else { Ok(length) }
}

#[cold]
fn truncated() -> crate::error::Error {
    malformed("an lz4 frame is truncated")
}
