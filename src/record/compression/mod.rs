//! The codecs that a batch's records may be compressed with, and what they share: reused state, and a limit on what comes out.

mod codec;
#[cfg(feature = "lz4")]
mod lz4;

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

/// The bytes would be more than the caller's limit.
#[cold]
fn over_limit() -> Error {
    malformed("a record batch that decompresses to more bytes than the limit")
}
