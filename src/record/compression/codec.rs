//! [`Compressor`] and [`Decompressor`]: one of each per task, so that tables and buffers are made once and not per batch.

use super::{Compression, over_limit};
use crate::error::Result;
use bytes::Bytes;

/// Compresses batch after batch with state that is made once, when a codec is first used.
#[derive(Debug, Default)]
pub struct Compressor {
    #[cfg(feature = "gzip")]
    gzip: super::gzip::Encoder,
    #[cfg(feature = "snappy")]
    snappy: super::snappy::Encoder,
    #[cfg(feature = "lz4")]
    lz4: super::lz4::Encoder,
    #[cfg(feature = "zstd")]
    zstd: super::zstd::Encoder,
    scratch: Vec<u8>,
}

impl Compressor {
    /// Appends `input`, compressed, to `out`. `level` is the codec's own (`None`: its default); lz4 and snappy have none
    /// here and ignore it. An error if the crate was built without the codec's feature or the level is out of its range.
    pub fn compress(
        &mut self,
        compression: Compression,
        level: Option<i32>,
        input: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<()> {
        if let Some(level) = level {
            compression.check_level(level)?;
        }
        match compression {
            Compression::None => out.extend_from_slice(input),
            #[cfg(feature = "gzip")]
            Compression::Gzip => self.gzip.compress(level, input, out)?,
            #[cfg(feature = "snappy")]
            Compression::Snappy => self.snappy.compress(input, out)?,
            #[cfg(feature = "lz4")]
            Compression::Lz4 => self.lz4.compress(input, out),
            #[cfg(feature = "zstd")]
            Compression::Zstd => self.zstd.compress(level, input, out),
            #[cfg(not(all(feature = "gzip", feature = "snappy", feature = "lz4", feature = "zstd")))]
            other => other.check_supported()?,
        }
        Ok(())
    }

    /// As [`compress`](Self::compress), into a buffer that is asked for with the size needed: a batch that waits to be sent
    /// should not hold one of the size that it had before.
    pub fn compress_into(
        &mut self,
        compression: Compression,
        level: Option<i32>,
        input: &[u8],
        buffer: impl FnOnce(usize) -> Vec<u8>,
    ) -> Result<Bytes> {
        let mut scratch = std::mem::take(&mut self.scratch);
        scratch.clear();
        let result = self.compress(compression, level, input, &mut scratch);
        self.scratch = scratch;
        result.map(|()| super::copied(&self.scratch, buffer))
    }
}

/// Decompresses batch after batch into one buffer, which grows to the largest and is kept.
#[derive(Debug, Default)]
pub struct Decompressor {
    /// Only ever grows, so that it is zeroed once and not per batch.
    buffer: Vec<u8>,
    #[cfg(feature = "gzip")]
    gzip: super::gzip::Decoder,
    #[cfg(feature = "zstd")]
    zstd: super::zstd::Decoder,
}

impl Decompressor {
    /// The decompressed bytes, valid until the next call. An error if they are more than `limit`, if `input` is not the
    /// codec's, or if its feature is off.
    pub fn decompress(&mut self, compression: Compression, input: &[u8], limit: usize) -> Result<&[u8]> {
        let out = &mut self.buffer;
        let length = match compression {
            Compression::None => {
                out.clear();
                out.extend_from_slice(input);
                input.len()
            }
            #[cfg(feature = "gzip")]
            Compression::Gzip => self.gzip.decompress(input, out, limit)?,
            #[cfg(feature = "snappy")]
            Compression::Snappy => super::snappy::decompress(input, out, limit)?,
            #[cfg(feature = "lz4")]
            Compression::Lz4 => super::lz4::decompress(input, out, limit)?,
            #[cfg(feature = "zstd")]
            Compression::Zstd => self.zstd.decompress(input, out, limit)?,
            #[cfg(not(all(feature = "gzip", feature = "snappy", feature = "lz4", feature = "zstd")))]
            other => other.check_supported().map(|()| 0)?,
        };
        self.buffer.get(..length).filter(|_| length <= limit).ok_or_else(over_limit)
    }
}
