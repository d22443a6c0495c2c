//! Which partition a record goes to: by its key, by the application's own rule, or without either to one that is stuck
//! to for a batch or two.

mod hash;
mod sticky;

#[cfg(test)]
pub(crate) use hash::murmur2;
pub use sticky::Sticky;

use crate::error::{Error, ErrorKind};
use hash::{crc32, fnv1a, murmur2_positive};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// `partitioner`: how a record that names no partition finds one. The names are librdkafka's, and so are the results.
///
/// What these leave open, which is where a `random` in the name says so, is sent as a record without a key is: to one
/// partition until its batch is complete, then to another (KIP-480, KIP-794).
///
/// A key stays where it is while the topic has the same number of partitions, whether they have a leader or not. The
/// number that counts is the one known when the record is appended to its batch: if the topic grows, later records of a
/// key may go elsewhere than earlier ones, and never back.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub enum Partitioning {
    /// `consistent`: CRC-32 of the key. No key and an empty one go to the same partition.
    Consistent,
    /// `consistent_random`, librdkafka's default: CRC-32 of the key; no key or an empty one leave it open.
    ConsistentRandom,
    /// `murmur2`: as the Java client for a key. All records without one go to the same partition.
    Murmur2,
    /// `murmur2_random`, the Java client's and the default: murmur2 of the key, an empty one included; no key leaves it
    /// open.
    #[default]
    Murmur2Random,
    /// `fnv1a`: as Sarama for a key. All records without one go to the same partition.
    Fnv1a,
    /// `fnv1a_random`, Sarama's default: FNV-1a of the key, an empty one included; no key leaves it open.
    Fnv1aRandom,
    /// `random`: leaves it open for every record, whatever its key.
    Random,
    /// The application's own rule.
    Custom(Arc<dyn Partitioner>),
}

/// An application's own rule for where its records go: [`ProducerConfig::partitioner`].
///
/// [`ProducerConfig::partitioner`]: crate::producer::ProducerConfig::partitioner
pub trait Partitioner: fmt::Debug + Send + Sync {
    /// The partition of this record, from 0; `None` leaves it open, as for a record without a key.
    ///
    /// It is called on the task that sends, for each record that names no partition, perhaps more than once for one
    /// record, so it should be quick and must not block. A partition that the topic hasn't got fails the record as
    /// `InvalidArgument`.
    fn partition(&self, record: &RecordToPlace<'_>) -> Option<u32>;
}

/// What a [`Partitioner`] is given.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct RecordToPlace<'a> {
    /// The topic.
    pub topic: &'a str,
    /// The record's key, or null.
    pub key: Option<&'a [u8]>,
    /// The record's value, or null.
    pub value: Option<&'a [u8]>,
    /// How many partitions the topic has, one at least.
    pub partitions: u32,
    /// Those that have a leader at the moment, in order.
    pub available: &'a [u32],
}

impl Partitioning {
    /// The names of all but the custom ones, as [`FromStr`] takes them.
    pub const NAMES: [&str; 7] =
        ["consistent", "consistent_random", "murmur2", "murmur2_random", "fnv1a", "fnv1a_random", "random"];

    /// The partition of a record among `partitions`, which must not be 0. `None` leaves it open.
    #[inline]
    pub fn place(
        &self,
        topic: &str,
        (key, value): (Option<&[u8]>, Option<&[u8]>),
        partitions: u32,
        available: impl FnOnce() -> Arc<[u32]>,
    ) -> Option<u32> {
        let hash = match self {
            Self::Murmur2Random => murmur2_positive(key?),
            Self::Random => return None,
            Self::Consistent => crc32(key.unwrap_or_default()),
            Self::ConsistentRandom => crc32(key.filter(|key| !key.is_empty())?),
            Self::Murmur2 => murmur2_positive(key.unwrap_or_default()),
            Self::Fnv1a => fnv1a(key.unwrap_or_default()),
            Self::Fnv1aRandom => fnv1a(key?),
            Self::Custom(custom) => {
                return custom.partition(&RecordToPlace { topic, key, value, partitions, available: &available() });
            }
        };
        Some(hash % partitions)
    }
}

impl<P: Partitioner + 'static> From<P> for Partitioning {
    fn from(custom: P) -> Self {
        Self::Custom(Arc::new(custom))
    }
}

impl FromStr for Partitioning {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        Ok(match name.trim() {
            "consistent" => Self::Consistent,
            "consistent_random" => Self::ConsistentRandom,
            "murmur2" => Self::Murmur2,
            "murmur2_random" => Self::Murmur2Random,
            "fnv1a" => Self::Fnv1a,
            "fnv1a_random" => Self::Fnv1aRandom,
            "random" => Self::Random,
            _ => {
                return Err(Error::with_message(ErrorKind::Config, format!("it is one of {}", Self::NAMES.join(", "))));
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(name: &str, key: Option<&[u8]>) -> Option<u32> {
        let partitioning: Partitioning = name.parse().unwrap();
        partitioning.place("clicks", (key, None), 100, || panic!("only a custom one asks"))
    }

    #[test]
    fn null_and_empty_keys_are_told_apart_as_in_librdkafka() {
        for (name, null, empty) in [
            ("consistent", Some(0), Some(0)),
            ("consistent_random", None, None),
            ("murmur2", Some(81), Some(81)),
            ("murmur2_random", None, Some(81)),
            ("fnv1a", Some(35), Some(35)),
            ("fnv1a_random", None, Some(35)),
            ("random", None, None),
        ] {
            assert_eq!((place(name, None), place(name, Some(b""))), (null, empty), "{name}");
        }
        assert_eq!(place("random", Some(b"a")), None);
    }

    #[test]
    fn every_name_is_taken_and_no_other() {
        assert!(Partitioning::NAMES.iter().all(|name| name.parse::<Partitioning>().is_ok()));
        assert_eq!("murmur3".parse::<Partitioning>().unwrap_err().kind(), ErrorKind::Config);
    }
}
