//! The head of a batch, whole batches out of the bytes of a fetch, and what a broker stamps on a batch when it stores it.

use super::{compression::Compression, malformed};
use crate::error::{Error, ErrorKind, Result};
use bytes::{Bytes, BytesMut};

/// The bytes of a batch in front of its records.
pub const HEADER_LEN: usize = 61;
/// Offset and length, which the length field does not count.
pub const LOG_OVERHEAD: usize = 12;
/// The version of batches that this module reads and writes.
pub const MAGIC: i8 = 2;

const LEADER_EPOCH_AT: usize = 12;
pub(super) const CRC_AT: usize = 17;
/// What the checksum covers starts here.
pub(super) const CRC_FROM: usize = 21;
const MAX_TIMESTAMP_AT: usize = 35;

/// The bits that say how a batch is to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Attributes(pub i16);

impl Attributes {
    pub(super) const LOG_APPEND_TIME: i16 = 1 << 3;
    pub(super) const TRANSACTIONAL: i16 = 1 << 4;
    pub(super) const CONTROL: i16 = 1 << 5;
    pub(super) const DELETE_HORIZON: i16 = 1 << 6;

    /// How the records are compressed; an error for a codec that Kafka hasn't got.
    pub fn compression(self) -> Result<Compression> {
        Compression::from_id(self.0 & 7)
    }

    /// Whether the batch belongs to a transaction.
    pub fn is_transactional(self) -> bool {
        self.0 & Self::TRANSACTIONAL != 0
    }

    /// Whether its records are markers of a broker and not for applications.
    pub fn is_control(self) -> bool {
        self.0 & Self::CONTROL != 0
    }

    /// Whether all its records have the batch's max timestamp, the time at which the broker stored them.
    pub fn is_log_append_time(self) -> bool {
        self.0 & Self::LOG_APPEND_TIME != 0
    }

    /// Whether the base timestamp is the time after which the log cleaner may drop its tombstones.
    pub fn has_delete_horizon(self) -> bool {
        self.0 & Self::DELETE_HORIZON != 0
    }
}

/// The first 61 bytes of a batch, as they are on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchHeader {
    /// The offset of the first record; a producer sends 0.
    pub base_offset: i64,
    /// The bytes behind this field.
    pub length: i32,
    /// Stamped by the broker, -1 before.
    pub partition_leader_epoch: i32,
    /// 2.
    pub magic: i8,
    /// CRC-32C of everything behind it.
    pub crc: u32,
    /// How the batch is to be read.
    pub attributes: Attributes,
    /// The last offset less the first. Compaction keeps it when it removes records, the last ones included.
    pub last_offset_delta: i32,
    /// What the records' timestamps are relative to, in milliseconds since 1970, or -1 for none.
    pub base_timestamp: i64,
    /// The largest timestamp of the records, or the time of the append.
    pub max_timestamp: i64,
    /// Who wrote it, -1 without idempotence.
    pub producer_id: i64,
    /// The writer's epoch, -1 without idempotence.
    pub producer_epoch: i16,
    /// The number of its first record in the writer's sequence, -1 without idempotence.
    pub base_sequence: i32,
    /// How many records there are; 0 in a batch that compaction has emptied.
    pub record_count: i32,
}

impl BatchHeader {
    /// Reads a head; `None` if there are fewer bytes than one has. An error for another magic and for numbers that can't be:
    /// a length shorter than a head, a negative count, offsets that go backwards or past the end of `i64`.
    pub fn parse(bytes: &[u8]) -> Result<Option<Self>> {
        if bytes.get(CRC_AT - 1).is_some_and(|magic| *magic as i8 != MAGIC) {
            return Err(malformed("a record batch with a magic other than 2"));
        }
        let Some(header) = Self::fields(bytes) else { return Ok(None) };
        if header.length < (HEADER_LEN - LOG_OVERHEAD) as i32 {
            return Err(malformed("a record batch shorter than its own head"));
        }
        if header.record_count < 0 {
            return Err(malformed("a record batch with a negative number of records"));
        }
        let last = header.base_offset.checked_add(i64::from(header.last_offset_delta));
        if header.base_offset < 0 || header.last_offset_delta < 0 || last.is_none_or(|last| last == i64::MAX) {
            return Err(malformed("a record batch with impossible offsets"));
        }
        Ok(Some(header))
    }

    fn fields(mut bytes: &[u8]) -> Option<Self> {
        let rest = &mut bytes;
        Some(Self {
            base_offset: i64::from_be_bytes(take(rest)?),
            length: i32::from_be_bytes(take(rest)?),
            partition_leader_epoch: i32::from_be_bytes(take(rest)?),
            magic: i8::from_be_bytes(take(rest)?),
            crc: u32::from_be_bytes(take(rest)?),
            attributes: Attributes(i16::from_be_bytes(take(rest)?)),
            last_offset_delta: i32::from_be_bytes(take(rest)?),
            base_timestamp: i64::from_be_bytes(take(rest)?),
            max_timestamp: i64::from_be_bytes(take(rest)?),
            producer_id: i64::from_be_bytes(take(rest)?),
            producer_epoch: i16::from_be_bytes(take(rest)?),
            base_sequence: i32::from_be_bytes(take(rest)?),
            record_count: i32::from_be_bytes(take(rest)?),
        })
    }

    /// The head as bytes, `crc` as it stands.
    pub fn to_bytes(&self) -> [u8; HEADER_LEN] {
        let mut head = [0; HEADER_LEN];
        let rest = &mut &mut head[..];
        put(rest, self.base_offset.to_be_bytes());
        put(rest, self.length.to_be_bytes());
        put(rest, self.partition_leader_epoch.to_be_bytes());
        put(rest, self.magic.to_be_bytes());
        put(rest, self.crc.to_be_bytes());
        put(rest, self.attributes.0.to_be_bytes());
        put(rest, self.last_offset_delta.to_be_bytes());
        put(rest, self.base_timestamp.to_be_bytes());
        put(rest, self.max_timestamp.to_be_bytes());
        put(rest, self.producer_id.to_be_bytes());
        put(rest, self.producer_epoch.to_be_bytes());
        put(rest, self.base_sequence.to_be_bytes());
        put(rest, self.record_count.to_be_bytes());
        head
    }

    /// The whole batch in bytes, this head included.
    pub fn size(&self) -> usize {
        LOG_OVERHEAD + self.length.max(0) as usize
    }

    /// The last offset that the batch stands for, whether or not a record is left there.
    pub fn last_offset(&self) -> i64 {
        self.base_offset.saturating_add(i64::from(self.last_offset_delta))
    }

    /// Where to read on after this batch.
    pub fn next_offset(&self) -> i64 {
        self.last_offset().saturating_add(1)
    }
}

#[inline]
fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (field, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(*field)
}

#[inline]
fn put<const N: usize>(bytes: &mut &mut [u8], field: [u8; N]) {
    if let Some((slot, rest)) = std::mem::take(bytes).split_first_chunk_mut() {
        *slot = field;
        *bytes = rest;
    }
}

/// The whole batches in `bytes`, which are shared and not copied. A broker cuts its answer at a number of bytes, so a
/// truncated last batch is usual: the iteration ends before it. After an error it ends too.
pub fn batches(bytes: &Bytes) -> Batches {
    Batches { rest: bytes.clone() }
}

/// Iterator over whole batches; see [`batches`].
#[derive(Debug, Clone)]
pub struct Batches {
    rest: Bytes,
}

impl Batches {
    /// The bytes not yet given out; at the end those of the truncated last batch.
    pub fn remaining(&self) -> &Bytes {
        &self.rest
    }
}

impl Iterator for Batches {
    type Item = Result<RawBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        match BatchHeader::parse(&self.rest) {
            Ok(Some(header)) if header.size() <= self.rest.len() => {
                let bytes = self.rest.split_to(header.size());
                Some(Ok(RawBatch { header, bytes }))
            }
            Ok(_) => None,
            Err(error) => {
                self.rest.clear();
                Some(Err(error))
            }
        }
    }
}

/// One whole batch, not yet looked into.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawBatch {
    header: BatchHeader,
    bytes: Bytes,
}

impl RawBatch {
    /// The first batch of `bytes`; an error if it isn't whole.
    pub fn parse(bytes: &Bytes) -> Result<Self> {
        batches(bytes).next().unwrap_or_else(|| Err(malformed("a truncated record batch")))
    }

    /// Its head.
    pub fn header(&self) -> &BatchHeader {
        &self.header
    }

    /// Head and body as on the wire.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Head and body as on the wire, without the parsed head.
    pub fn into_bytes(self) -> Bytes {
        self.bytes
    }

    /// An error if the checksum is not that of the bytes.
    pub fn verify_crc(&self) -> Result<()> {
        verify_crc(&self.header, &self.bytes)
    }

    /// Stamps the offset at which a broker stores it. Not under the checksum.
    ///
    /// This and the other setters work in place if nobody else holds the bytes, and on a copy of them else.
    pub fn set_base_offset(&mut self, base_offset: i64) {
        self.header.base_offset = base_offset;
        self.edit(|bytes| write_at(bytes, 0, base_offset.to_be_bytes()));
    }

    /// Stamps the epoch of the leader that stores it. Not under the checksum.
    pub fn set_partition_leader_epoch(&mut self, epoch: i32) {
        self.header.partition_leader_epoch = epoch;
        self.edit(|bytes| write_at(bytes, LEADER_EPOCH_AT, epoch.to_be_bytes()));
    }

    /// Makes `timestamp` (milliseconds since 1970) the timestamp of all records, as a topic with
    /// `message.timestamp.type=LogAppendTime` has it, and computes the checksum again.
    pub fn set_log_append_time(&mut self, timestamp: i64) {
        self.header.attributes.0 |= Attributes::LOG_APPEND_TIME;
        self.header.max_timestamp = timestamp;
        let attributes = self.header.attributes.0;
        let mut crc = 0;
        self.edit(|bytes| {
            write_at(bytes, CRC_FROM, attributes.to_be_bytes());
            write_at(bytes, MAX_TIMESTAMP_AT, timestamp.to_be_bytes());
            crc = crc32c::crc32c(bytes.get(CRC_FROM..).unwrap_or_default());
            write_at(bytes, CRC_AT, crc.to_be_bytes());
        });
        self.header.crc = crc;
    }

    fn edit(&mut self, change: impl FnOnce(&mut [u8])) {
        let bytes = std::mem::take(&mut self.bytes);
        let mut bytes = bytes.try_into_mut().unwrap_or_else(|shared| BytesMut::from(&shared[..]));
        change(&mut bytes);
        self.bytes = bytes.freeze();
    }
}

/// An error if the checksum in the head of `batch`, which is one whole batch, is not that of its bytes.
pub(super) fn verify_crc(header: &BatchHeader, batch: &[u8]) -> Result<()> {
    let covered = batch.get(CRC_FROM..).unwrap_or_default();
    if crc32c::crc32c(covered) == header.crc { Ok(()) } else { Err(wrong_crc(header)) }
}

#[cold]
fn wrong_crc(header: &BatchHeader) -> Error {
    let (offset, crc) = (header.base_offset, header.crc);
    Error::with_message(
        ErrorKind::Malformed,
        format!("the batch at offset {offset} is corrupt: its bytes don't have the CRC {crc:#010x} of its head"),
    )
}

fn write_at<const N: usize>(bytes: &mut [u8], at: usize, field: [u8; N]) {
    if let Some(slot) = bytes.get_mut(at..).and_then(<[u8]>::first_chunk_mut) {
        *slot = field;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        ids::ProducerIdAndEpoch,
        record::{compression::Compressor, encode::RecordEncoder},
    };

    fn batch() -> Bytes {
        let mut encoder = RecordEncoder::new(Vec::new(), 1 << 14);
        encoder.append(1000, None, Some(b"one"), &[]);
        encoder.append(2000, None, Some(b"two"), &[]);
        let body = encoder.seal(Compression::None, None, &mut Compressor::default()).unwrap().0;
        body.to_batch(ProducerIdAndEpoch::NONE, -1, false)
    }

    #[test]
    fn a_head_comes_back_as_it_was() {
        let batch = batch();
        let header = BatchHeader::parse(&batch).unwrap().unwrap();
        assert_eq!(header.to_bytes()[..], batch[..HEADER_LEN]);
        assert_eq!(header.size(), batch.len());
        assert_eq!((header.last_offset(), header.next_offset()), (1, 2));
    }

    #[test]
    fn whole_batches_are_given_out_and_a_truncated_last_one_is_not() {
        let one = batch();
        for cut in 0..=one.len() {
            let bytes = Bytes::from([&one[..], &one[..], &one[..cut]].concat());
            let found: Vec<_> = batches(&bytes).map(Result::unwrap).collect();
            assert_eq!(found.len(), if cut == one.len() { 3 } else { 2 }, "cut after {cut} bytes");
            assert!(found.iter().all(|batch| batch.bytes() == &one));
        }
    }

    #[test]
    fn what_cannot_be_a_batch_is_one_error_and_then_the_end() {
        let good = batch();
        let broken: [(usize, &[u8]); 6] = [
            (8, &[0x80, 0, 0, 0]),                                  // negative length
            (8, &[0, 0, 0, 48]),                                    // shorter than a head
            (16, &[1]),                                             // an older message format
            (23, &[0xff; 4]),                                       // last offset before the first
            (57, &[0xff; 4]),                                       // negative count
            (0, &[0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]), // past the last offset
        ];
        for (at, bytes) in broken {
            let mut bad = good.to_vec();
            bad[at..at + bytes.len()].copy_from_slice(bytes);
            let mut found = batches(&Bytes::from([&bad[..], &good].concat()));
            assert!(found.next().is_some_and(|batch| batch.is_err()), "{at}");
            assert!(found.next().is_none());
        }
    }

    #[test]
    fn a_broker_stamps_a_batch_and_only_the_append_time_changes_the_checksum() {
        let original = batch();
        let mut raw = RawBatch::parse(&original).unwrap();
        let crc = raw.header().crc;
        raw.set_base_offset(700);
        raw.set_partition_leader_epoch(4);
        assert_eq!(raw.header().crc, crc);
        raw.verify_crc().unwrap();
        raw.set_log_append_time(5000);
        assert_ne!(raw.header().crc, crc);
        let again = RawBatch::parse(raw.bytes()).unwrap();
        assert_eq!(&again, &raw);
        again.verify_crc().unwrap();
        assert!(again.header().attributes.is_log_append_time());
        assert_eq!((again.header().last_offset(), again.header().max_timestamp), (701, 5000));
        RawBatch::parse(&original).unwrap().verify_crc().expect("the shared original is as it was");
    }
}
