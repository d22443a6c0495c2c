//! Batches as brokers send them, whole and broken, read both ways.

use super::*;
use crate::error::ErrorKind;
use crate::ids::ProducerIdAndEpoch;
use crate::record::Header;
use crate::record::compression::{Compression, Compressor};
use crate::record::encode::RecordEncoder;

fn batch(base: i64, timestamps: &[i64], compression: Compression) -> RawBatch {
    let mut encoder = RecordEncoder::new(Vec::new(), 1 << 20);
    for (at, timestamp) in timestamps.iter().enumerate() {
        let value = format!("value {}", base + at as i64);
        let headers = [Header { name: b"h", value: Some(b"1") }, Header { name: b"h", value: None }];
        encoder.append(*timestamp, Some(b""), Some(value.as_bytes()), &headers).unwrap();
    }
    let body = encoder.seal(compression, None, &mut Compressor::default()).unwrap().0;
    let mut batch = RawBatch::parse(&body.to_batch(ProducerIdAndEpoch::NONE, -1, false)).unwrap();
    batch.set_base_offset(base);
    batch
}

/// Nothing checks a record's own offset against its batch's.
#[test]
fn behind_the_last_offset_that_there_is_comes_none() {
    let last = OwnedRecord {
        topic_partition: TopicPartition::new("t", 0),
        offset: i64::MAX,
        leader_epoch: None,
        timestamp: -1,
        timestamp_type: TimestampType::CreateTime,
        key: None,
        value: None,
        headers: Vec::new(),
    };
    assert_eq!(last.behind().1.offset, i64::MAX);
}

fn part(partition: i32, from: i64, batches: &[RawBatch]) -> FetchedRecords {
    let bytes: Vec<u8> = batches.iter().flat_map(|batch| batch.bytes().to_vec()).collect();
    let announced = batches.iter().map(|batch| batch.header().record_count as usize).sum();
    FetchedRecords { name: TopicPartition::new("t", partition), generation: 7, from, batches: bytes.into(), announced }
}

fn records(parts: Vec<FetchedRecords>) -> Records {
    Records::new(parts, Arc::new(Common::new(1 << 20)))
}

fn offsets(records: &Records) -> Vec<(i32, i64)> {
    records.into_iter().map(|record| (record.partition(), record.offset())).collect()
}

/// Partition and offset of all that is lent, and the first error.
fn lent(records: &mut Records) -> (Vec<(i32, i64)>, Option<Error>) {
    let (mut found, mut first) = (Vec::new(), None);
    loop {
        match records.next_batch() {
            Ok(None) => return (found, first),
            Err(error) => drop(first.get_or_insert(error)),
            Ok(Some(batch)) => {
                for record in batch {
                    match record {
                        Ok(record) => found.push((record.partition(), record.offset())),
                        Err(error) => drop(first.get_or_insert(error)),
                    }
                }
            }
        }
    }
}

#[test]
fn both_ways_to_read_give_the_same_records_from_the_position_on() {
    for compression in [Compression::None, Compression::Lz4] {
        let parts = || {
            let first = [batch(0, &[1, 2, 3], compression), batch(10, &[4], compression)];
            vec![part(0, 2, &first), part(1, 0, &[batch(0, &[5], compression)])]
        };
        let mut read = records(parts());
        assert_eq!(offsets(&read), [(0, 2), (0, 10), (1, 0)]);
        assert_eq!(offsets(&read), [(0, 2), (0, 10), (1, 0)], "as often as you like");
        assert_eq!(lent(&mut read).0, [(0, 2), (0, 10), (1, 0)]);
        assert!(read.next_batch().unwrap().is_none());
        let behind = read.next_offsets();
        assert_eq!((behind.len(), behind[&("t", 0).into()].offset, behind[&("t", 1).into()].offset), (2, 11, 1));
        let split = records(parts()).by_partition();
        assert_eq!(split.iter().map(offsets).collect::<Vec<_>>(), [vec![(0, 2), (0, 10)], vec![(1, 0)]]);
    }
}

#[test]
fn records_live_side_by_side_and_go_to_other_threads() {
    fn sendable<T: Send + Sync + 'static>(value: T) -> T {
        value
    }
    let batches = [batch(0, &[1], Compression::Lz4), batch(1, &[2], Compression::Lz4)];
    let read = sendable(records(vec![part(0, 0, &batches)]));
    let all: Vec<_> = read.into_iter().collect();
    assert_eq!(all[0].value(), Some(&b"value 0"[..]));
    assert_eq!(all[1].value(), Some(&b"value 1"[..]));
    assert_eq!(all[0].key(), Some(&b""[..]), "empty is not null");
    let headers: Vec<_> = all[0].headers().map(|header| (header.name, header.value)).collect();
    assert_eq!(headers, [(&b"h"[..], Some(&b"1"[..])), (&b"h"[..], None)], "duplicates and nulls in their order");
}

#[test]
fn an_owned_record_is_a_slice_of_its_batch_and_outlives_it() {
    let part = part(0, 0, &[batch(0, &[1], Compression::None)]);
    let range = part.batches.as_ptr_range();
    let read = records(vec![part]);
    let owned = read.into_iter().next().unwrap().to_owned();
    assert!(range.contains(&owned.value.as_ref().unwrap().as_ptr()), "no copy");
    drop(read);
    assert_eq!(owned.value.as_deref(), Some(&b"value 0"[..]));
    let mut lent = records(vec![super::tests::part(0, 0, &[batch(0, &[1], Compression::Lz4)])]);
    let copied = lent.next_batch().unwrap().unwrap().next().unwrap().unwrap().to_owned();
    assert_eq!(copied, owned, "from a batch on loan it is a copy");
}

#[test]
fn log_append_time_is_every_records_and_minus_one_is_no_time() {
    let mut appended = batch(0, &[1000, 3000], Compression::None);
    appended.set_log_append_time(9000);
    let read = records(vec![part(0, 0, &[appended, batch(2, &[-1, -1], Compression::None)])]);
    let times: Vec<_> = read.into_iter().map(|record| (record.timestamp(), record.timestamp_type())).collect();
    let (append, create) = (TimestampType::LogAppendTime, TimestampType::CreateTime);
    assert_eq!(times, [(9000, append), (9000, append), (-1, create), (-1, create)]);
}

#[test]
fn a_corrupt_batch_ends_its_partition_and_is_told_with_its_place() {
    let bad = batch(5, &[1, 2], Compression::None);
    let mut bytes = bad.bytes().to_vec();
    *bytes.last_mut().unwrap() ^= 1;
    let bad = RawBatch::parse(&bytes.into()).unwrap();
    let good = || batch(0, &[1], Compression::None);
    let parts = || vec![part(0, 0, &[good(), bad.clone(), batch(7, &[1], Compression::None)]), part(1, 0, &[good()])];
    for way in ["lent", "iterated"] {
        let mut read = records(parts());
        let common = read.common.clone();
        if way == "lent" {
            let (found, error) = lent(&mut read);
            assert_eq!(found, [(0, 0), (1, 0)]);
            let error = error.unwrap();
            assert_eq!(error.kind(), ErrorKind::Malformed);
            assert!(error.to_string().starts_with("t[0]: "), "{error}");
        } else {
            assert_eq!(offsets(&read), [(0, 0), (1, 0)]);
        }
        let unreadable = common.take_unreadable();
        let [Unreadable { name, generation: 7, offset: 5, .. }] = &unreadable[..] else { panic!("{unreadable:?}") };
        assert_eq!(name.partition, 0);
    }
}

/// As brokers send it: a small answer of each partition by turns.
#[test]
fn nothing_behind_an_unreadable_batch_is_handed_out_wherever_it_stands_in_the_poll() {
    let flipped = {
        let mut bytes = batch(5, &[1, 2], Compression::None).bytes().to_vec();
        *bytes.last_mut().unwrap() ^= 1;
        RawBatch::parse(&bytes.into()).unwrap()
    };
    // Its checksum is right, and its second record says that it is longer than it is.
    let overlong = {
        let mut bytes = batch(5, &[1, 2], Compression::None).bytes().to_vec();
        let second = bytes.len() - (bytes.len() - 61) / 2;
        bytes[second] ^= 0x20;
        let crc = crc32c::crc32c(&bytes[21..]);
        bytes[17..21].copy_from_slice(&crc.to_be_bytes());
        RawBatch::parse(&bytes.into()).unwrap()
    };
    let good = |base| batch(base, &[1], Compression::None);
    for (bad, readable) in [(flipped, vec![]), (overlong, vec![(0, 5)])] {
        let parts = || {
            let first = part(0, 0, &[good(0), bad.clone(), good(7)]);
            vec![first, part(1, 0, &[good(0)]), part(0, 8, &[good(8)]), part(1, 1, &[good(1)])]
        };
        let found = [&[(0, 0)][..], &readable, &[(1, 0), (1, 1)]].concat();
        let iterated = records(parts());
        assert_eq!(offsets(&iterated), found);
        assert_eq!(offsets(&iterated), found, "as often as you like");
        let of_partition: Vec<_> = iterated.by_partition().iter().flat_map(offsets).collect();
        assert_eq!(of_partition, found);
        let (lent, error) = lent(&mut records(parts()));
        assert_eq!((lent, error.unwrap().kind()), (found, ErrorKind::Malformed));
    }
}

#[test]
fn a_batch_that_decompresses_to_more_than_the_limit_is_refused() {
    let read = Records::new(vec![part(0, 0, &[batch(0, &[1; 100], Compression::Lz4)])], Arc::new(Common::new(100)));
    assert!(offsets(&read).is_empty());
    assert_eq!(read.common.take_unreadable().len(), 1);
}
