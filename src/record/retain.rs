//! What a broker's compaction leaves of a batch: the same head, fewer records. Their bytes are taken over as they are,
//! since they are relative to the head; offsets, the batch's last one included, do not move.

use super::{
    batch::{Attributes, BatchHeader, CRC_FROM, HEADER_LEN, LOG_OVERHEAD, RawBatch},
    compression::{Compression, Compressor, Decompressor},
    malformed,
    varint::{MAX_VARINT_LEN, get_varint, put_varint, varint_len, zigzag},
};
use crate::error::Result;
use bytes::Bytes;

/// One record in wire form: what stands in front of its timestamp, the timestamp's delta, and what stands behind.
struct Framed<'a> {
    attributes: u8,
    timestamp_delta: i64,
    rest: &'a [u8],
}

impl<'a> Framed<'a> {
    fn read(records: &mut &'a [u8]) -> Option<Self> {
        let length = usize::try_from(get_varint(records)?).ok()?;
        let (record, rest) = records.split_at_checked(length)?;
        *records = rest;
        let (attributes, mut record) = record.split_first()?;
        let timestamp_delta = get_varint(&mut record)?;
        Some(Self { attributes: *attributes, timestamp_delta, rest: record })
    }

    /// Writes it for a batch whose base timestamp is `later` milliseconds behind the one that it was written for.
    fn write(&self, later: i64, into: &mut Vec<u8>) {
        let delta = zigzag(self.timestamp_delta.wrapping_sub(later));
        let length = 1 + varint_len(delta) + self.rest.len();
        put(into, zigzag(length as i64));
        into.push(self.attributes);
        put(into, delta);
        into.extend_from_slice(self.rest);
    }
}

fn put(into: &mut Vec<u8>, z: u64) {
    let (mut varint, mut n) = ([0; MAX_VARINT_LEN], 0);
    put_varint(&mut varint, &mut n, z);
    into.extend_from_slice(varint.get(..n).unwrap_or_default());
}

/// The batch with only the records of which `keep` says so, in their order; compressed as it was. None is left of records
/// behind the end of `keep`. `delete_horizon`, in milliseconds since 1970, is written into the head as the time from which
/// tombstones may go; `None` leaves the one that it has, if any.
///
/// # Errors
/// `Malformed` for records that can't be read or are more than `limit` bytes decompressed, `Config` for a codec that this
/// build has not got.
pub fn retain(batch: &RawBatch, keep: &[bool], delete_horizon: Option<i64>, limit: usize) -> Result<RawBatch> {
    let header = *batch.header();
    if !keep.contains(&true) {
        return emptied(header);
    }
    let mut scratch = Decompressor::default();
    let body = batch.bytes().get(HEADER_LEN..).unwrap_or_default();
    let compression = header.attributes.compression()?;
    let mut records = match compression {
        Compression::None => body,
        _ => scratch.decompress(compression, body, limit)?,
    };
    let base_timestamp = delete_horizon.unwrap_or(header.base_timestamp);
    let later = base_timestamp.wrapping_sub(header.base_timestamp);
    let (mut kept, mut count, mut newest) = (Vec::with_capacity(records.len()), 0, i64::MIN);
    for keep in keep {
        let record = Framed::read(&mut records).ok_or_else(|| malformed("a record doesn't fit into its batch"))?;
        if *keep {
            record.write(later, &mut kept);
            count += 1;
            newest = newest.max(header.base_timestamp.wrapping_add(record.timestamp_delta));
        }
    }
    let body = match compression {
        Compression::None => Bytes::from(kept),
        _ => Compressor::default().compress_into(compression, None, &kept, Vec::with_capacity)?,
    };
    let horizon = if delete_horizon.is_some() { Attributes::DELETE_HORIZON } else { 0 };
    let changed = BatchHeader {
        attributes: Attributes(header.attributes.0 | horizon),
        base_timestamp,
        max_timestamp: if header.attributes.is_log_append_time() { header.max_timestamp } else { newest },
        record_count: count,
        ..header
    };
    put_together(changed, &body)
}

/// The head alone: what its producer has to be known by.
fn emptied(header: BatchHeader) -> Result<RawBatch> {
    let kept = Attributes::LOG_APPEND_TIME | Attributes::TRANSACTIONAL | Attributes::CONTROL;
    let attributes = Attributes(header.attributes.0 & kept);
    put_together(BatchHeader { attributes, base_timestamp: -1, record_count: 0, ..header }, &[])
}

fn put_together(header: BatchHeader, body: &[u8]) -> Result<RawBatch> {
    let length = HEADER_LEN - LOG_OVERHEAD + body.len();
    let length = i32::try_from(length).map_err(|_| malformed("a batch of more than 2 GiB"))?;
    let mut batch = [&BatchHeader { length, ..header }.to_bytes(), body].concat();
    let crc = crc32c::crc32c(batch.get(CRC_FROM..).unwrap_or_default());
    batch.splice(..HEADER_LEN, BatchHeader { length, crc, ..header }.to_bytes());
    RawBatch::parse(&Bytes::from(batch))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::ProducerIdAndEpoch;
    use crate::record::{DEFAULT_DECOMPRESSED_LIMIT as LIMIT, Header, decode::open, encode::RecordEncoder};

    fn batch(compression: Compression) -> RawBatch {
        let mut encoder = RecordEncoder::new(Vec::new(), 1 << 14);
        let headers = [Header { name: b"h", value: Some(b"1") }];
        for i in 0..5 {
            encoder.append(1000 - i, Some(format!("key {i}").as_bytes()), (i != 3).then_some(b"value"), &headers);
        }
        let body = encoder.seal(compression, None, &mut Compressor::default()).unwrap().0;
        let mut batch = RawBatch::parse(&body.to_batch(ProducerIdAndEpoch { id: 5, epoch: 2 }, 40, true)).unwrap();
        batch.set_base_offset(100);
        batch.set_partition_leader_epoch(7);
        batch
    }

    /// Offset, timestamp, key, whether there is a value, headers.
    type Told = (i64, i64, Option<Vec<u8>>, bool, usize);

    fn told(batch: &RawBatch) -> Vec<Told> {
        let mut scratch = Decompressor::default();
        let records = open(batch.bytes(), &mut scratch, LIMIT).unwrap().map(Result::unwrap);
        let told = records.map(|record| {
            (
                record.offset,
                record.timestamp,
                record.key.map(<[u8]>::to_vec),
                record.value.is_some(),
                record.headers.len(),
            )
        });
        told.collect()
    }

    #[test]
    fn what_is_kept_is_as_it_was_and_the_batch_stands_for_the_same_offsets() {
        for compression in Compression::ALL.into_iter().filter(|codec| codec.is_supported()) {
            let before = batch(compression);
            let all = told(&before);
            for horizon in [None, Some(i64::MAX / 2), Some(0)] {
                let after = retain(&before, &[false, true, false, true], horizon, LIMIT).unwrap();
                assert_eq!(told(&after), [all[1].clone(), all[3].clone()]);
                let (was, is) = (*before.header(), *after.header());
                assert_eq!((is.base_offset, is.last_offset_delta, is.base_sequence), (100, 4, 40));
                assert_eq!((is.producer_id, is.producer_epoch, is.partition_leader_epoch), (5, 2, 7));
                assert_eq!((is.record_count, is.max_timestamp), (2, 999));
                assert_eq!(is.attributes.compression().unwrap(), was.attributes.compression().unwrap());
                assert_eq!(is.attributes.has_delete_horizon().then_some(is.base_timestamp), horizon);
                let again = retain(&after, &[true, true], None, LIMIT).unwrap();
                assert_eq!(
                    (told(&again), again.header().attributes),
                    (told(&after), is.attributes),
                    "the horizon stays"
                );
            }
        }
    }

    #[test]
    fn a_batch_without_records_is_a_head_that_keeps_its_place_and_its_producer() {
        let before = batch(Compression::ALL.into_iter().rfind(|codec| codec.is_supported()).unwrap());
        let after = retain(&before, &[false; 5], Some(1), LIMIT).unwrap();
        assert_eq!((after.bytes().len(), told(&after).len()), (HEADER_LEN, 0));
        let head = after.header();
        assert_eq!((head.base_offset, head.last_offset_delta, head.base_sequence), (100, 4, 40));
        assert!(head.attributes.is_transactional() && !head.attributes.has_delete_horizon());
    }

    #[test]
    fn records_that_end_too_early_are_an_error() {
        let before = batch(Compression::None);
        assert!(retain(&before, &[true; 6], None, LIMIT).is_err());
    }
}
