//! Record batches, version 2: the bytes that a topic is made of.
//!
//! ```text
//! base offset i64 | length i32 | leader epoch i32 | magic i8 = 2 | crc u32 |            the head, 61 bytes
//!   attributes i16 | last offset delta i32 | base timestamp i64 | max timestamp i64 |   <- the crc starts here
//!   producer id i64 | producer epoch i16 | base sequence i32 | record count i32
//! records, compressed as a whole or not                                                 the body
//!   length varint | attributes i8 | timestamp delta varlong | offset delta varint | key | value | headers
//! ```
//!
//! # Layout
//! - [`batch`]: heads, whole batches of a fetch response, what a broker stamps
//! - [`encode`]: records into an open batch, sealed into an immutable body, with a head that can be written again
//! - [`decode`]: a batch opened, records as views into it
//! - [`retain`]: what compaction leaves of a batch
//! - [`compression`]: gzip, snappy, lz4 and zstd, each behind a feature of its name
//! - [`varint`]: zigzag integers
//!
//! Nothing here trusts a byte: counts and lengths never size an allocation, the checksum is verified before anything is
//! decompressed, and what decompression may give has a limit.
#![deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![cfg_attr(
    test,
    allow(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests may")
)]

pub mod batch;
pub mod compression;
mod crc;
pub mod decode;
pub mod encode;
pub mod retain;
pub mod varint;

use crate::error::{Error, ErrorKind};

/// The most bytes that a batch may have once decompressed, where the caller has no limit of its own: 256 MiB.
pub const DEFAULT_DECOMPRESSED_LIMIT: usize = 256 << 20;

/// One header of a record. Names may repeat and need not be UTF-8; a null value is not an empty one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Header<'a> {
    /// The name, by Kafka's rules UTF-8; what other clients wrote is kept as it is.
    pub name: &'a [u8],
    /// The value, or null.
    pub value: Option<&'a [u8]>,
}

#[cold]
fn malformed(message: &'static str) -> Error {
    Error::with_message(ErrorKind::Malformed, message)
}
