//! The limit to be measured against when reading, no client: one blocking socket, one buffer that is used again, one Fetch
//! v4 of all partitions at a time. Of each batch the sum is checked, it is decompressed with the crates that milena has,
//! and of each record the varints are walked as far as the lengths of key and value. No queue, no second thread, no
//! session; any error ends it.

use super::floor::{Connection, finish, request_header};
use crate::job::{Job, PARTITIONS};
use crate::seen::Seen;
use bytes::{Buf, BufMut};
use lz4_flex::block::decompress_into;

/// What the Java client takes at most of a partition, and of all.
const PARTITION_BYTES: i32 = 1 << 20;
const MAX_BYTES: i32 = 50 << 20;
/// Bytes of a batch in front of its records, and of those that are not counted in its length.
const HEAD: usize = 61;
const BEFORE_LENGTH: usize = 12;

pub fn consume(job: &Job) {
    let mut connection = Connection::open(&job.bootstrap);
    let mut reader = Reader { offsets: [0; PARTITIONS as usize], seen: Seen::default(), raw: Vec::new() };
    let mut frame = Vec::new();
    while reader.seen.records < job.records {
        request(&mut frame, &job.topic, &reader.offsets);
        let before = reader.seen.records;
        reader.answer(connection.ask(&frame));
        assert!(reader.seen.records > before, "only {before} of {} records", job.records);
    }
    reader.seen.done(job);
}

fn request(frame: &mut Vec<u8>, topic: &str, offsets: &[i64]) {
    frame.clear();
    request_header(frame, 1, 4);
    frame.put_i32(-1); // no replica
    frame.put_i32(500); // max.wait.ms
    frame.put_i32(1); // min.bytes
    frame.put_i32(MAX_BYTES);
    frame.put_u8(0); // read_uncommitted
    frame.put_i32(1);
    frame.put_i16(topic.len() as i16);
    frame.put_slice(topic.as_bytes());
    frame.put_i32(PARTITIONS);
    for (partition, offset) in (0..PARTITIONS).zip(offsets) {
        frame.put_i32(partition);
        frame.put_i64(*offset);
        frame.put_i32(PARTITION_BYTES);
    }
    finish(frame);
}

struct Reader {
    offsets: [i64; PARTITIONS as usize],
    seen: Seen,
    /// The records after decompression, as long as the longest yet.
    raw: Vec<u8>,
}

impl Reader {
    fn answer(&mut self, mut answer: &[u8]) {
        answer.advance(12); // correlation id, throttle time, one topic
        let name = answer.get_i16() as usize;
        answer.advance(name);
        for _ in 0..answer.get_i32() {
            let partition = answer.get_i32() as usize;
            assert_eq!(answer.get_i16(), 0, "Fetch");
            answer.advance(16); // high watermark, last stable offset
            let aborted = answer.get_i32().max(0) as usize;
            answer.advance(aborted * 16);
            let length = answer.get_i32() as usize;
            let (batches, rest) = answer.split_at(length);
            self.batches(partition, batches);
            answer = rest;
        }
    }

    /// All that are whole: the last is cut where the partition's bytes end.
    fn batches(&mut self, partition: usize, mut batches: &[u8]) {
        while batches.len() >= HEAD {
            let length = BEFORE_LENGTH + (&batches[8..]).get_u32() as usize;
            if batches.len() < length {
                break;
            }
            let (batch, rest) = batches.split_at(length);
            self.offsets[partition] = self.batch(batch);
            batches = rest;
        }
    }

    /// The offset behind it.
    fn batch(&mut self, batch: &[u8]) -> i64 {
        let mut head = batch;
        let first = head.get_i64();
        head.advance(8); // length, leader epoch
        assert_eq!(head.get_u8(), 2, "the magic");
        assert_eq!(head.get_u32(), crc32c::crc32c(&batch[21..]), "the sum");
        let codec = head.get_i16() & 7;
        let last = first + i64::from(head.get_i32());
        let count = (&batch[HEAD - 4..]).get_u32();
        let records = match codec {
            0 => &batch[HEAD..],
            3 => decompressed(&batch[HEAD..], &mut self.raw),
            codec => panic!("codec {codec}"),
        };
        walk(records, count, &mut self.seen);
        last + 1
    }
}

/// Of a frame of independent blocks, which is what librdkafka writes.
fn decompressed<'a>(mut frame: &[u8], raw: &'a mut Vec<u8>) -> &'a [u8] {
    assert_eq!(frame.get_u32_le(), 0x184d_2204, "the magic of lz4");
    let (flags, size) = (frame.get_u8(), frame.get_u8());
    assert_eq!(flags & 0b1111_0001, 0b0110_0000, "independent blocks without sums, no dictionary");
    let block_size = 1 << (8 + 2 * (size >> 4 & 7));
    frame.advance(if flags & 8 == 0 { 1 } else { 9 }); // length of the content, sum of this head
    let mut end = 0;
    loop {
        let word = frame.get_u32_le();
        if word == 0 {
            return &raw[..end];
        }
        let (block, rest) = frame.split_at((word & 0x7fff_ffff) as usize);
        if raw.len() < end + block_size {
            raw.resize(end + block_size, 0);
        }
        end += if word >> 31 == 0 {
            decompress_into(block, &mut raw[end..]).expect("lz4")
        } else {
            raw[end..end + block.len()].copy_from_slice(block);
            block.len()
        };
        frame = rest;
    }
}

fn walk(mut records: &[u8], count: u32, seen: &mut Seen) {
    for _ in 0..count {
        let length = varint(&mut records) as usize;
        let (mut record, rest) = records.split_at(length);
        record.advance(1); // attributes
        varint(&mut record); // time
        varint(&mut record); // offset
        bytes(&mut record); // key
        seen.add(bytes(&mut record));
        records = rest;
    }
}

fn bytes<'a>(record: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = usize::try_from(varint(record)).ok()?;
    let (bytes, rest) = record.split_at(length);
    *record = rest;
    Some(bytes)
}

fn varint(from: &mut &[u8]) -> i64 {
    let (mut value, mut shift) = (0, 0);
    loop {
        let byte = from.get_u8();
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return (value >> 1) as i64 ^ -((value & 1) as i64);
        }
        shift += 7;
    }
}
