//! Encode on append: a record is written once, in wire form, into its partition's open batch.
//!
//! ```text
//! RecordEncoder --append, append--> seal (compresses) --> BatchBody: immutable, with its own CRC
//!                                                          + head(producer, sequence): 61 bytes, as often as need be
//! ```
//! The head is apart from the body so that a batch can be numbered at its first drain, and again after an epoch bump, for
//! the price of a checksum over 40 bytes: that of the whole is combined from those of the parts.

use super::{
    Header,
    batch::{Attributes, BatchHeader, CRC_FROM, HEADER_LEN, LOG_OVERHEAD, MAGIC},
    compression::{Compression, Compressor, copied},
    crc, malformed,
    varint::{MAX_VARINT_LEN, put_varint, varint_len, zigzag},
};
use crate::{error::Result, ids::ProducerIdAndEpoch};
use bytes::Bytes;

/// The most that a record's own framing can need: length, attributes, the deltas, key and value lengths, header count.
pub const MAX_RECORD_OVERHEAD: usize = 6 * MAX_VARINT_LEN + 1;

/// The bytes of records, framing and headers included, that an empty batch needs to take a record of this size: an upper
/// bound, for checks against `max.request.size` and for sizing buffers.
pub fn max_record_size(key: Option<&[u8]>, value: Option<&[u8]>, headers: &[Header<'_>]) -> usize {
    let headers: usize =
        headers.iter().map(|header| 2 * MAX_VARINT_LEN + header.name.len() + header.value.map_or(0, <[u8]>::len)).sum();
    MAX_RECORD_OVERHEAD + key.map_or(0, <[u8]>::len) + value.map_or(0, <[u8]>::len) + headers
}

/// An open batch: the records so far, in wire form, not yet compressed.
#[derive(Debug)]
pub struct RecordEncoder {
    records: Vec<u8>,
    /// The most bytes that `records` may grow to, unless it holds only one record.
    limit: usize,
    record_count: u32,
    base_timestamp: i64,
    max_timestamp: i64,
}

impl RecordEncoder {
    /// An empty batch that takes records until it is `batch_size` bytes long, its head included, before compression.
    /// `buffer` is emptied and written to: give back the buffer of an earlier batch and nothing is allocated.
    pub fn new(mut buffer: Vec<u8>, batch_size: usize) -> Self {
        buffer.clear();
        let limit = batch_size.min(i32::MAX as usize).saturating_sub(HEADER_LEN);
        Self { records: buffer, limit, record_count: 0, base_timestamp: -1, max_timestamp: -1 }
    }

    /// Appends a record with `timestamp` in milliseconds since 1970 and gives its index in the batch. `None`, and nothing
    /// is changed, if it doesn't fit any more; a first record always fits, unless it is past the 2 GiB of a batch.
    #[inline(always)]
    pub fn append(
        &mut self,
        timestamp: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[Header<'_>],
    ) -> Option<u32> {
        let index = self.record_count;
        let base_timestamp = if index == 0 { timestamp } else { self.base_timestamp };
        let timestamp_delta = zigzag(timestamp.wrapping_sub(base_timestamp));
        let offset_delta = zigzag(i64::from(index));
        let (key_len, value_len) = (length_or_null(key), length_or_null(value));
        let header_count = zigzag(headers.len() as i64);
        let size = 1 // attributes
            + varint_len(timestamp_delta) + varint_len(offset_delta)
            + varint_len(key_len) + key.map_or(0, <[u8]>::len)
            + varint_len(value_len) + value.map_or(0, <[u8]>::len)
            + varint_len(header_count) + headers_size(headers);
        let framed_size = zigzag(size as i64);
        let end = self.records.len() + varint_len(framed_size) + size;
        if end > self.limit && (index > 0 || end > i32::MAX as usize - HEADER_LEN) {
            return None;
        }
        if framed_size | timestamp_delta | offset_delta < 1 << 14 && end + 8 <= self.records.capacity() {
            self.put_small([framed_size, 0, timestamp_delta, offset_delta]);
            match key {
                None => self.put_small([key_len, value_len]),
                Some(key) => {
                    self.put_small([key_len]);
                    self.records.extend_from_slice(key);
                    self.put_small([value_len]);
                }
            }
        } else {
            self.put_any(&[framed_size, 0, timestamp_delta, offset_delta, key_len]);
            self.records.extend_from_slice(key.unwrap_or_default());
            self.put_any(&[value_len]);
        }
        self.records.extend_from_slice(value.unwrap_or_default());
        if headers.is_empty() {
            self.records.push(0);
        } else {
            self.append_headers(header_count, headers);
        }
        debug_assert_eq!(self.records.len(), end, "the size computed first is the size written");
        self.record_count = index + 1;
        self.base_timestamp = base_timestamp;
        self.max_timestamp = if index == 0 { timestamp } else { self.max_timestamp.max(timestamp) };
        Some(index)
    }

    /// Up to four numbers below 2^14, of one or two bytes each: put together in a register and written as eight bytes, of
    /// which those that are not meant are taken back. It has room for eight.
    #[inline(always)]
    fn put_small<const N: usize>(&mut self, numbers: [u64; N]) {
        let (mut bytes, mut n) = (0, 0);
        for z in numbers {
            let long = u64::from(z >= 0x80);
            bytes |= (z & 0x7f | long << 7 | (z >> 7) << 8) << (8 * n);
            n += 1 + long as usize;
        }
        let at = self.records.len();
        self.records.extend_from_slice(&bytes.to_le_bytes());
        self.records.truncate(at + n);
    }

    /// Numbers of any size.
    fn put_any(&mut self, numbers: &[u64]) {
        let (mut small, mut n) = ([0; 5 * MAX_VARINT_LEN], 0);
        numbers.iter().for_each(|z| put_varint(&mut small, &mut n, *z));
        self.records.extend_from_slice(small.get(..n).unwrap_or_default());
    }

    /// Empties it, to be filled again.
    pub fn clear(&mut self) {
        self.records.clear();
        self.record_count = 0;
    }

    fn append_headers(&mut self, header_count: u64, headers: &[Header<'_>]) {
        self.put_any(&[header_count]);
        for header in headers {
            self.put_any(&[length_or_null(Some(header.name))]);
            self.records.extend_from_slice(header.name);
            self.put_any(&[length_or_null(header.value)]);
            self.records.extend_from_slice(header.value.unwrap_or_default());
        }
    }

    /// How many records it holds.
    pub fn record_count(&self) -> u32 {
        self.record_count
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.record_count == 0
    }

    /// The bytes of the batch so far, its head included, before compression.
    pub fn size(&self) -> usize {
        HEADER_LEN + self.records.len()
    }

    /// The bytes of memory that it holds.
    pub fn capacity(&self) -> usize {
        self.records.capacity()
    }

    /// Whether not even the smallest record fits.
    pub fn is_full(&self) -> bool {
        self.record_count > 0 && self.records.len() + 7 > self.limit
    }

    /// Closes the batch: compresses it and makes it immutable. Also gives back the buffer, if the body doesn't need it.
    ///
    /// The body takes as much memory as it is long, or at most twice that: what is compressed, or fills less than half of
    /// its buffer, is copied.
    pub fn seal(
        self,
        compression: Compression,
        level: Option<i32>,
        compressor: &mut Compressor,
    ) -> Result<(BatchBody, Option<Vec<u8>>)> {
        self.seal_into(compression, level, compressor, Vec::with_capacity)
    }

    /// As [`seal`](Self::seal); where the body is copied it goes to what `copy` gives for its length.
    pub fn seal_into(
        self,
        compression: Compression,
        level: Option<i32>,
        compressor: &mut Compressor,
        copy: impl FnOnce(usize) -> Vec<u8>,
    ) -> Result<(BatchBody, Option<Vec<u8>>)> {
        let (bytes, buffer) = match compression {
            Compression::None if self.records.len() >= self.records.capacity() / 2 => (Bytes::from(self.records), None),
            Compression::None => (copied(&self.records, copy), Some(self.records)),
            _ => (compressor.compress_into(compression, level, &self.records, copy)?, Some(self.records)),
        };
        if bytes.len() > i32::MAX as usize - HEADER_LEN {
            return Err(malformed("a batch of more than 2 GiB"));
        }
        let body = BatchBody {
            crc: crc32c::crc32c(&bytes),
            bytes,
            compression,
            record_count: self.record_count,
            base_timestamp: self.base_timestamp,
            max_timestamp: self.max_timestamp,
        };
        Ok((body, buffer))
    }
}

#[inline]
fn length_or_null(bytes: Option<&[u8]>) -> u64 {
    zigzag(bytes.map_or(-1, |bytes| bytes.len() as i64))
}

#[inline]
fn headers_size(headers: &[Header<'_>]) -> usize {
    let size = |bytes: Option<&[u8]>| varint_len(length_or_null(bytes)) + bytes.map_or(0, <[u8]>::len);
    headers.iter().map(|header| size(Some(header.name)) + size(header.value)).sum()
}

/// The records of a sealed batch, as they go over the wire however often they are sent. Cheap to clone.
#[derive(Debug, Clone)]
pub struct BatchBody {
    bytes: Bytes,
    crc: u32,
    compression: Compression,
    record_count: u32,
    base_timestamp: i64,
    max_timestamp: i64,
}

impl BatchBody {
    /// What follows the head on the wire.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The bytes of the whole batch, its head included.
    pub fn size(&self) -> usize {
        HEADER_LEN + self.bytes.len()
    }

    /// The memory of the body, to be used for another batch, once nobody else (a write under way) holds it.
    pub fn into_buffer(self) -> Option<Vec<u8>> {
        self.bytes.try_into_mut().ok().map(Vec::from)
    }

    /// How many records it holds.
    pub fn record_count(&self) -> u32 {
        self.record_count
    }

    /// How they are compressed.
    pub fn compression(&self) -> Compression {
        self.compression
    }

    /// The largest timestamp of its records, in milliseconds since 1970.
    pub fn max_timestamp(&self) -> i64 {
        self.max_timestamp
    }

    /// The 61 bytes in front of the body, for this writer and place in its sequence (-1 without idempotence).
    pub fn head(&self, producer: ProducerIdAndEpoch, base_sequence: i32, transactional: bool) -> [u8; HEADER_LEN] {
        let attributes = self.compression.id() | if transactional { Attributes::TRANSACTIONAL } else { 0 };
        self.head_with(attributes, producer, base_sequence)
    }

    fn head_with(&self, attributes: i16, producer: ProducerIdAndEpoch, base_sequence: i32) -> [u8; HEADER_LEN] {
        let mut header = BatchHeader {
            base_offset: 0,
            length: (self.size() - LOG_OVERHEAD) as i32,
            partition_leader_epoch: -1, // the broker's to fill
            magic: MAGIC,
            crc: 0,
            attributes: Attributes(attributes),
            last_offset_delta: (self.record_count as i32 - 1).max(0),
            base_timestamp: self.base_timestamp,
            max_timestamp: self.max_timestamp,
            producer_id: producer.id,
            producer_epoch: producer.epoch,
            base_sequence,
            record_count: self.record_count as i32,
        };
        let head = header.to_bytes();
        let covered = crc32c::crc32c(head.get(CRC_FROM..).unwrap_or_default());
        header.crc = crc::combine(covered, self.crc, self.bytes.len());
        header.to_bytes()
    }

    /// Head and body in one piece, copied: for brokers and tests. A producer sends the two side by side.
    pub fn to_batch(&self, producer: ProducerIdAndEpoch, base_sequence: i32, transactional: bool) -> Bytes {
        join(&self.head(producer, base_sequence, transactional), &self.bytes)
    }
}

fn join(head: &[u8], body: &[u8]) -> Bytes {
    let mut batch = Vec::with_capacity(head.len() + body.len());
    batch.extend_from_slice(head);
    batch.extend_from_slice(body);
    Bytes::from(batch)
}

/// The batch with which a broker ends a transaction: one control record that says commit or abort, written in the name of
/// `producer` by the transaction coordinator of this epoch.
pub fn transaction_marker(producer: ProducerIdAndEpoch, commit: bool, coordinator_epoch: i32, timestamp: i64) -> Bytes {
    let key = [0, 0, 0, u8::from(commit)]; // version 0, then the type
    let mut value = [0; 6]; // version 0, then the epoch
    if let Some(epoch) = value.last_chunk_mut() {
        *epoch = coordinator_epoch.to_be_bytes();
    }
    let mut encoder = RecordEncoder::new(Vec::new(), HEADER_LEN);
    encoder.append(timestamp, Some(&key), Some(&value), &[]);
    let body = BatchBody {
        crc: crc32c::crc32c(&encoder.records),
        bytes: Bytes::from(encoder.records),
        compression: Compression::None,
        record_count: encoder.record_count,
        base_timestamp: timestamp,
        max_timestamp: timestamp,
    };
    join(&body.head_with(Attributes::TRANSACTIONAL | Attributes::CONTROL, producer, -1), &body.bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{
        DEFAULT_DECOMPRESSED_LIMIT,
        batch::RawBatch,
        compression::Decompressor,
        decode::{ControlRecord, open},
    };

    fn sealed(compression: Compression) -> BatchBody {
        let mut encoder = RecordEncoder::new(Vec::new(), 1 << 14);
        let headers = [
            Header { name: b"trace", value: Some(b"7") },
            Header { name: b"trace", value: None },
            Header { name: b"\xff", value: Some(b"") },
        ];
        assert_eq!(encoder.append(1_700_000_000_000, Some(b"key"), Some(&[b'v'; 300]), &headers), Some(0));
        assert_eq!(encoder.append(1_699_999_999_000, None, None, &[]), Some(1));
        assert_eq!(encoder.append(1_700_000_000_500, Some(b""), Some(b""), &headers[..1]), Some(2));
        encoder.seal(compression, None, &mut Compressor::default()).unwrap().0
    }

    /// Eight bytes are written where fewer are meant; near the end of the buffer that must not make it grow.
    #[test]
    fn a_batch_that_is_filled_to_its_last_byte_keeps_its_buffer() {
        for last in 0..20 {
            let mut encoder = RecordEncoder::new(Vec::with_capacity(300 - HEADER_LEN), 300);
            assert_eq!(encoder.append(0, Some(b"k"), Some(&[b'v'; 190]), &[]), Some(0));
            let value = vec![b'w'; last];
            let key = (last % 2 == 0).then_some(&b"key"[..]);
            let mut records = 1;
            while encoder.append(70, key, Some(&value), &[]).is_some() {
                records += 1;
            }
            while encoder.append(70, None, None, &[]).is_some() {
                records += 1;
            }
            assert!(encoder.size() > 300 - 7 && encoder.capacity() == 300 - HEADER_LEN, "{last}");
            let body = encoder.seal(Compression::None, None, &mut Compressor::default()).unwrap().0;
            let batch = body.to_batch(ProducerIdAndEpoch::NONE, -1, false);
            let mut scratch = Decompressor::default();
            assert_eq!(
                open(&batch, &mut scratch, DEFAULT_DECOMPRESSED_LIMIT).unwrap().map(Result::unwrap).count(),
                records
            );
        }
    }

    #[test]
    fn what_is_appended_comes_back_in_every_codec() {
        for compression in Compression::ALL.into_iter().filter(|codec| codec.is_supported()) {
            let batch = sealed(compression).to_batch(ProducerIdAndEpoch { id: 5, epoch: 2 }, 40, true);
            let mut scratch = Decompressor::default();
            let records = open(&batch, &mut scratch, DEFAULT_DECOMPRESSED_LIMIT).unwrap();
            let header = *records.header();
            assert_eq!((header.producer_id, header.producer_epoch, header.base_sequence), (5, 2, 40));
            assert_eq!(
                (header.max_timestamp, header.last_offset_delta, header.record_count),
                (1_700_000_000_500, 2, 3)
            );
            assert!(header.attributes.is_transactional() && !header.attributes.is_control());
            let records: Vec<_> = records.map(Result::unwrap).collect();
            assert_eq!(
                records.iter().map(|r| (r.offset, r.timestamp - 1_700_000_000_000)).collect::<Vec<_>>(),
                [(0, 0), (1, -1000), (2, 500)]
            );
            assert_eq!((records[0].key, records[0].value), (Some(&b"key"[..]), Some(&[b'v'; 300][..])));
            assert_eq!((records[1].key, records[1].value, records[1].headers.len()), (None, None, 0));
            assert_eq!((records[2].key, records[2].value), (Some(&b""[..]), Some(&b""[..])));
            let headers: Vec<_> = records[0].headers.map(|header| (header.name, header.value)).collect();
            assert_eq!(headers, [(&b"trace"[..], Some(&b"7"[..])), (b"trace", None), (b"\xff", Some(b""))]);
            assert_eq!(records[0].headers.last(b"trace"), Some(None), "the last one of a name, which is null");
        }
    }

    #[test]
    fn a_head_written_again_for_another_epoch_has_the_right_checksum_for_the_same_body() {
        let body = sealed(Compression::None);
        let first = body.to_batch(ProducerIdAndEpoch { id: 5, epoch: 2 }, 40, false);
        let second = body.to_batch(ProducerIdAndEpoch { id: 5, epoch: 3 }, 0, false);
        assert_ne!(first[..HEADER_LEN], second[..HEADER_LEN]);
        assert_eq!(first[HEADER_LEN..], second[HEADER_LEN..]);
        RawBatch::parse(&first).unwrap().verify_crc().unwrap();
        RawBatch::parse(&second).unwrap().verify_crc().unwrap();
    }

    #[test]
    fn a_batch_never_grows_past_its_size_but_for_a_single_record() {
        let mut encoder = RecordEncoder::new(Vec::new(), 200);
        assert_eq!(encoder.append(0, None, Some(&[0; 1000]), &[]), Some(0));
        assert_eq!(encoder.append(0, None, Some(b""), &[]), None);
        assert_eq!(encoder.record_count(), 1);
        for length in 0..64 {
            let mut encoder = RecordEncoder::new(Vec::new(), 200);
            while encoder.append(-5, Some(b"k"), Some(&vec![1; length]), &[]).is_some() {}
            assert!(encoder.size() <= 200 && encoder.size() + MAX_RECORD_OVERHEAD + 1 + length > 200);
        }
    }

    #[test]
    fn a_sealed_batch_holds_no_more_than_twice_its_bytes_and_gives_its_buffer_back() {
        let mut encoder = RecordEncoder::new(Vec::with_capacity(16 << 10), 16 << 10);
        encoder.append(0, None, Some(b"lingered out nearly empty"), &[]);
        let (_, buffer) = encoder.seal(Compression::None, None, &mut Compressor::default()).unwrap();
        assert_eq!(buffer.map(|buffer| buffer.capacity()), Some(16 << 10));
        let mut encoder = RecordEncoder::new(Vec::with_capacity(16 << 10), 16 << 10);
        encoder.append(0, None, Some(&[0; 10 << 10]), &[]);
        let (_, buffer) = encoder.seal(Compression::None, None, &mut Compressor::default()).unwrap();
        assert!(buffer.is_none(), "full enough to be sent from where it lies");
    }

    #[test]
    fn a_marker_says_how_the_transaction_ended() {
        for (commit, says) in [(false, ControlRecord::Abort), (true, ControlRecord::Commit)] {
            let batch = transaction_marker(ProducerIdAndEpoch { id: 9, epoch: 1 }, commit, 3, 1_700_000_000_000);
            let mut scratch = Decompressor::default();
            let batch = open(&batch, &mut scratch, 0).unwrap();
            assert!(batch.header().attributes.is_control() && batch.header().attributes.is_transactional());
            assert_eq!(batch.control().unwrap(), Some(says));
            assert_eq!(batch.header().producer_id, 9);
        }
    }
}
