//! The second implementation of each codec, which shares nothing with ours: libdeflate, liblz4 and libzstd in C, and snappy
//! from its description.

use std::ffi::c_void;
use std::io::{Read, Write};
use std::ptr;

/// What all members, frames or blocks of a body are together; `None` if they are no such thing, or more than `limit` bytes.
pub type Decompress = fn(input: &[u8], limit: usize) -> Option<Vec<u8>>;

/// gzip: members one after the other.
pub fn gzip(mut input: &[u8], limit: usize) -> Option<Vec<u8>> {
    let mut out = vec![0; limit + 1];
    let mut length = 0;
    // SAFETY: buffers with their lengths, and a decompressor that lives from here to its end below.
    unsafe {
        let decompressor = libdeflate_sys::libdeflate_alloc_decompressor();
        let read = loop {
            let (mut read, mut written) = (0, 0);
            let (from, to) = (input.as_ptr().cast::<c_void>(), out[length..].as_mut_ptr().cast::<c_void>());
            let result = libdeflate_sys::libdeflate_gzip_decompress_ex(
                decompressor,
                from,
                input.len(),
                to,
                out.len() - length,
                &mut read,
                &mut written,
            );
            if result != libdeflate_sys::libdeflate_result_LIBDEFLATE_SUCCESS {
                break None;
            }
            (input, length) = (&input[read..], length + written);
            if input.is_empty() {
                break Some(length);
            }
        };
        libdeflate_sys::libdeflate_free_decompressor(decompressor);
        read.filter(|length| *length <= limit)?;
    }
    out.truncate(length);
    Some(out)
}

/// lz4: frames one after the other.
pub fn lz4(mut input: &[u8], limit: usize) -> Option<Vec<u8>> {
    let mut out = vec![0; limit + 1];
    let mut length = 0;
    // SAFETY: buffers with their lengths, and a context that lives from here to its end below.
    let whole = unsafe {
        let mut context = lz4_sys::LZ4FDecompressionContext(ptr::null_mut());
        lz4_sys::LZ4F_createDecompressionContext(&mut context, 100);
        let whole = loop {
            let (mut read, mut written) = (input.len(), out.len() - length);
            let to = out[length..].as_mut_ptr();
            let hint = lz4_sys::LZ4F_decompress(context, to, &mut written, input.as_ptr(), &mut read, ptr::null());
            if lz4_sys::LZ4F_isError(hint) != 0 {
                break false;
            }
            (input, length) = (&input[read..], length + written);
            match (hint, input.is_empty()) {
                (0, true) => break true,
                (0, false) => {} // the next frame
                _ if read == 0 && written == 0 => break false,
                _ => {}
            }
        };
        lz4_sys::LZ4F_freeDecompressionContext(context);
        whole
    };
    out.truncate(length);
    (whole && length <= limit).then_some(out)
}

/// zstd: frames one after the other.
pub fn zstd(input: &[u8], limit: usize) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let mut decoder = zstd::stream::read::Decoder::with_buffer(input).ok()?;
    (&mut decoder).take(limit as u64 + 1).read_to_end(&mut out).ok()?;
    (out.len() <= limit).then_some(out)
}

/// snappy: raw, or blocks in xerial's framing.
pub fn snappy(input: &[u8], limit: usize) -> Option<Vec<u8>> {
    const MAGIC: &[u8] = b"\x82SNAPPY\0";
    let mut out = Vec::new();
    if !input.starts_with(MAGIC) {
        raw_snappy(input, &mut out, limit)?;
        return Some(out);
    }
    let mut rest = input;
    while !rest.is_empty() {
        if rest.starts_with(MAGIC) {
            rest = rest.get(16..)?;
            continue;
        }
        let (length, tail) = rest.split_first_chunk()?;
        let (block, tail) = tail.split_at_checked(u32::from_be_bytes(*length) as usize)?;
        raw_snappy(block, &mut out, limit)?;
        rest = tail;
    }
    Some(out)
}

/// One block, after format_description.txt of google/snappy: the length, then literals and copies.
fn raw_snappy(mut input: &[u8], out: &mut Vec<u8>, limit: usize) -> Option<()> {
    let mut take = |count: usize| {
        let (taken, rest) = input.split_at_checked(count)?;
        input = rest;
        Some(taken.iter().rev().fold(0usize, |number, byte| number << 8 | usize::from(*byte)))
    };
    let mut length = 0;
    for at in 0.. {
        let byte = take(1)?;
        length |= (byte & 0x7f) << (7 * at);
        if at == 4 && byte > 0xf {
            return None;
        }
        if byte < 0x80 {
            break;
        }
    }
    let start = out.len();
    let end = start.checked_add(length).filter(|end| *end <= limit)?;
    loop {
        let Some(tag) = take(1) else { break };
        let (size, back) = match tag & 3 {
            0 => {
                let size = 1 + match tag >> 2 {
                    short @ 0..60 => short,
                    long => take(long - 59)?,
                };
                for _ in 0..size {
                    out.push(take(1)? as u8);
                }
                (0, 1)
            }
            1 => (4 + (tag >> 2 & 7), (tag >> 5) << 8 | take(1)?),
            2 => (1 + (tag >> 2), take(2)?),
            _ => (1 + (tag >> 2), take(4)?),
        };
        if back == 0 || size > 0 && back > out.len() - start || out.len() + size > end {
            return None;
        }
        for _ in 0..size {
            out.push(out[out.len() - back]);
        }
    }
    (out.len() == end).then_some(())
}

/// What others write: each codec at a level, as one body.
pub fn compress(codec: &str, level: u8, input: &[u8]) -> Option<Vec<u8>> {
    match codec {
        "gzip" => {
            let level = libdeflater::CompressionLvl::new(i32::from(level % 13)).ok()?;
            let mut compressor = libdeflater::Compressor::new(level);
            let mut out = vec![0; compressor.gzip_compress_bound(input.len())];
            let length = compressor.gzip_compress(input, &mut out).ok()?;
            out.truncate(length);
            Some(out)
        }
        "lz4" => {
            use lz4::{BlockMode, BlockSize, ContentChecksum, liblz4::BlockChecksum};
            let sizes = [BlockSize::Max64KB, BlockSize::Max256KB, BlockSize::Max1MB, BlockSize::Max4MB];
            let (linked, checked) = (level & 1 == 1, level & 2 == 2);
            let encoder = lz4::EncoderBuilder::new()
                .level(u32::from(level >> 4))
                .block_size(sizes[usize::from(level >> 2 & 3)].clone())
                .block_mode(if linked { BlockMode::Linked } else { BlockMode::Independent })
                .block_checksum(if checked {
                    BlockChecksum::BlockChecksumEnabled
                } else {
                    BlockChecksum::NoBlockChecksum
                })
                .checksum(if checked { ContentChecksum::ChecksumEnabled } else { ContentChecksum::NoChecksum })
                .content_size(if level & 8 == 8 { input.len() as u64 } else { 0 })
                .build(Vec::new());
            let mut encoder = encoder.ok()?;
            encoder.write_all(input).ok()?;
            let (out, result) = encoder.finish();
            result.ok().map(|()| out)
        }
        "zstd" => {
            let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), i32::from(level % 20)).ok()?;
            encoder.include_checksum(level & 1 == 1).ok()?;
            encoder.write_all(input).ok()?;
            encoder.finish().ok()
        }
        _ => None,
    }
}
