//! The codecs that a batch's records may be compressed with, and what they share: reused state, and a limit on what comes out.

mod codec;
#[cfg(feature = "gzip")]
mod gzip;
#[cfg(feature = "lz4")]
mod lz4;
#[cfg(feature = "snappy")]
mod snappy;
#[cfg(feature = "zstd")]
mod zstd;

use crate::{
    error::{Error, ErrorKind, Result},
    record::malformed,
};
use std::{fmt, str::FromStr};

pub use codec::{Compressor, Decompressor};

/// How the records of a batch are compressed: `compression.type`, and three bits of the attributes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Compression {
    /// Not at all.
    #[default]
    None,
    /// RFC 1952; feature `gzip`.
    Gzip,
    /// Snappy in xerial's framing, as the Java client writes it, or raw, as librdkafka does; feature `snappy`.
    Snappy,
    /// LZ4 frames; feature `lz4`.
    Lz4,
    /// RFC 8878, since Kafka 2.1; feature `zstd`.
    Zstd,
}

impl Compression {
    /// All of them, in the order of their ids.
    pub const ALL: [Self; 5] = [Self::None, Self::Gzip, Self::Snappy, Self::Lz4, Self::Zstd];

    /// The id in a batch's attributes.
    pub fn id(self) -> i16 {
        match self {
            Self::None => 0,
            Self::Gzip => 1,
            Self::Snappy => 2,
            Self::Lz4 => 3,
            Self::Zstd => 4,
        }
    }

    /// The codec with this id; an error for one that Kafka hasn't got.
    pub fn from_id(id: i16) -> Result<Self> {
        match id {
            0 => Ok(Self::None),
            1 => Ok(Self::Gzip),
            2 => Ok(Self::Snappy),
            3 => Ok(Self::Lz4),
            4 => Ok(Self::Zstd),
            _ => Err(malformed("a record batch with an unknown compression codec")),
        }
    }

    /// The name as in `compression.type`.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }

    /// An error unless `level` is one that the codec has: gzip 1 to 9 (-1 is its default), lz4 1 to 17 (which make no
    /// difference here), zstd -131072 to 22. The other two have none and take any.
    pub fn check_level(self, level: i32) -> Result<()> {
        let levels = match self {
            Self::None | Self::Snappy => return Ok(()),
            Self::Gzip if level == -1 => return Ok(()),
            Self::Gzip => 1..=9,
            Self::Lz4 => 1..=17,
            Self::Zstd => -131_072..=22,
        };
        if levels.contains(&level) {
            return Ok(());
        }
        let (first, last) = levels.into_inner();
        let message = format!("compression level {level}: {self} has levels from {first} to {last}");
        Err(Error::with_message(ErrorKind::Config, message))
    }

    /// Whether the crate was built with the feature that it needs.
    pub fn is_supported(self) -> bool {
        match self {
            Self::None => true,
            Self::Gzip => cfg!(feature = "gzip"),
            Self::Snappy => cfg!(feature = "snappy"),
            Self::Lz4 => cfg!(feature = "lz4"),
            Self::Zstd => cfg!(feature = "zstd"),
        }
    }

    /// An error that names the feature, unless the crate was built with it.
    pub fn check_supported(self) -> Result<()> {
        if self.is_supported() {
            return Ok(());
        }
        let name = self.name();
        Err(Error::with_message(
            ErrorKind::Config,
            format!("compression {name}: milena was built without the feature `{name}`"),
        ))
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Compression {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|codec| codec.name() == name).ok_or_else(|| {
            let message = format!("compression.type is {name:?} and must be one of none, gzip, snappy, lz4, zstd");
            Error::with_message(ErrorKind::Config, message)
        })
    }
}

/// `bytes` in a buffer that is asked for with their length.
pub(super) fn copied(bytes: &[u8], buffer: impl FnOnce(usize) -> Vec<u8>) -> bytes::Bytes {
    let mut copy = buffer(bytes.len());
    copy.clear();
    copy.extend_from_slice(bytes);
    bytes::Bytes::from(copy)
}

/// Makes `out` at least `needed` long; where it has to grow it does so by powers of two, up to `most`.
#[cfg(any(feature = "lz4", feature = "snappy"))]
#[inline]
fn grow(out: &mut Vec<u8>, needed: usize, most: usize) {
    if out.len() < needed {
        out.resize(needed.next_power_of_two().min(most).max(needed), 0);
    }
}

/// Makes `out` longer than `len`, doubling it where it has to grow; never longer than `limit` and one byte, which a codec
/// that writes that far has overstepped.
#[cfg(any(feature = "gzip", feature = "zstd"))]
#[inline]
fn grow_past(out: &mut Vec<u8>, len: usize, limit: usize) -> Result<()> {
    if len > limit {
        return Err(over_limit());
    }
    if len == out.len() {
        let doubled = len.saturating_mul(2).max(64 << 10);
        out.resize(doubled.min(limit.saturating_add(1)), 0);
    }
    Ok(())
}

/// The bytes would be more than the caller's limit.
#[cold]
fn over_limit() -> Error {
    malformed("a record batch that decompresses to more bytes than the limit")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_ids_are_kafkas() {
        for codec in Compression::ALL {
            assert_eq!(codec.name().parse::<Compression>().unwrap(), codec);
            assert_eq!(Compression::from_id(codec.id()).unwrap(), codec);
        }
        assert!(Compression::from_id(5).is_err());
        let error = "lzma".parse::<Compression>().unwrap_err();
        assert!(error.to_string().contains("none, gzip, snappy, lz4, zstd"));
    }

    #[test]
    fn a_codec_that_was_left_out_is_named_with_its_feature() {
        for codec in Compression::ALL.into_iter().filter(|codec| !codec.is_supported()) {
            let expected = format!("milena was built without the feature `{codec}`");
            let error = Compressor::default().compress(codec, None, b"x", &mut Vec::new()).unwrap_err();
            assert!(error.to_string().contains(&expected));
            let error = Decompressor::default().decompress(codec, b"x", 10).unwrap_err();
            assert!(error.to_string().contains(&expected));
        }
    }

    #[test]
    fn a_level_out_of_range_is_an_error_before_anything_is_compressed() {
        for (codec, good, bad) in
            [(Compression::Gzip, -1, 10), (Compression::Lz4, 17, 0), (Compression::Zstd, -131_072, 23)]
        {
            codec.check_level(good).unwrap();
            assert!(codec.check_level(bad).is_err());
            if codec.is_supported() {
                assert!(Compressor::default().compress(codec, Some(bad), b"x", &mut Vec::new()).is_err());
            }
        }
    }
}
