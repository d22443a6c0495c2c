//! The limit to be measured against when sending, no client: one blocking socket, one buffer that is used again, five requests in
//! flight. It only copies the values, writes what the format has around them, compresses and sums with the crates that
//! milena has, and sends Produce v3 with a batch of each partition. No queue, no lock, no clock but one a batch, no
//! acknowledgement of a record, no second thread; any error ends it.

use crate::job::{Job, PARTITIONS};
use bytes::{Buf, BufMut};
use lz4_flex::block::{CompressTable, compress_into_with_table, get_maximum_output_size};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, SystemTime};

const IN_FLIGHT: usize = 5;
/// Bytes of a batch in front of its records.
const HEAD: usize = 61;
/// Frame of independent 64 KiB blocks without checksums.
const LZ4_FRAME: [u8; 7] = [0x04, 0x22, 0x4d, 0x18, 0x60, 0x40, 0x82];
/// What goes into one block.
const LZ4_BLOCK: usize = 65_534;

pub fn produce(job: &Job) {
    let values = job.values();
    let mut values = (0..job.records).zip(values.iter().cycle()).map(|(_, value)| &**value).peekable();
    let mut connection = Connection::open(&job.bootstrap);
    let mut batches = Batches::new(job, connection.init_producer_id());
    let (mut frame, mut in_flight, mut acknowledged) = (Vec::new(), 0, 0);
    let mut sent = std::collections::VecDeque::new();
    while values.peek().is_some() {
        let records = batches.request(&mut frame, &job.topic, &mut values);
        connection.socket.write_all(&frame).expect("written");
        sent.push_back(records);
        in_flight += 1;
        if in_flight == IN_FLIGHT {
            connection.acknowledgement();
            acknowledged += sent.pop_front().expect("five are");
            in_flight -= 1;
        }
    }
    for records in sent {
        connection.acknowledgement();
        acknowledged += records;
    }
    assert_eq!(acknowledged, job.records);
}

/// One blocking socket, and the last answer from it.
pub(super) struct Connection {
    socket: TcpStream,
    answer: Vec<u8>,
}

impl Connection {
    pub(super) fn open(address: &str) -> Self {
        let socket = TcpStream::connect(address).expect("connected");
        socket.set_nodelay(true).expect("an option that is there");
        Self { socket, answer: Vec::new() }
    }

    fn init_producer_id(&mut self) -> (i64, i16) {
        let mut frame = Vec::new();
        request_header(&mut frame, 22, 0);
        frame.put_i16(-1); // transactional.id
        frame.put_i32(60_000);
        finish(&mut frame);
        loop {
            let mut answer = self.ask(&frame);
            answer.advance(8); // correlation id, throttle time
            match answer.get_i16() {
                0 => return (answer.get_i64(), answer.get_i16()),
                // COORDINATOR_LOAD_IN_PROGRESS: a broker that has just started has no ids to give yet.
                14 => std::thread::sleep(Duration::from_millis(20)),
                error => panic!("InitProducerId: {error}"),
            }
        }
    }

    /// Sends a request and waits for its answer.
    pub(super) fn ask(&mut self, frame: &[u8]) -> &[u8] {
        self.socket.write_all(frame).expect("written");
        self.read()
    }

    fn read(&mut self) -> &[u8] {
        let mut length = [0; 4];
        self.socket.read_exact(&mut length).expect("answered");
        self.answer.resize(u32::from_be_bytes(length) as usize, 0);
        self.socket.read_exact(&mut self.answer).expect("answered");
        &self.answer
    }

    /// An answer to a Produce: every partition's error must be none.
    fn acknowledgement(&mut self) {
        let mut answer = self.read();
        answer.advance(8); // correlation id, one topic
        let name = answer.get_i16() as usize;
        answer.advance(name);
        for _ in 0..answer.get_i32() {
            answer.advance(4);
            assert_eq!(answer.get_i16(), 0, "Produce");
            answer.advance(16); // offset, time
        }
    }
}

struct Batches {
    producer: (i64, i16),
    sequences: [i32; PARTITIONS as usize],
    size: usize,
    /// The records before compression, with table and output of that.
    lz4: Option<(Vec<u8>, CompressTable, Vec<u8>)>,
}

impl Batches {
    fn new(job: &Job, producer: (i64, i16)) -> Self {
        let lz4 = || (Vec::new(), CompressTable::small(), vec![0; get_maximum_output_size(LZ4_BLOCK)]);
        let lz4 = (job.codec == "lz4").then(lz4);
        Self { producer, sequences: [0; PARTITIONS as usize], size: job.batch_size.unwrap_or(16_384), lz4 }
    }

    /// A request with a full batch of each partition, and how many records are in it.
    fn request<'a>(
        &mut self,
        frame: &mut Vec<u8>,
        topic: &str,
        values: &mut std::iter::Peekable<impl Iterator<Item = &'a [u8]>>,
    ) -> u64 {
        frame.clear();
        request_header(frame, 0, 3);
        frame.put_i16(-1); // transactional.id
        frame.put_i16(-1); // acks=all
        frame.put_i32(30_000);
        frame.put_i32(1);
        frame.put_i16(topic.len() as i16);
        frame.put_slice(topic.as_bytes());
        let count_at = frame.len();
        frame.put_i32(0);
        let (mut partitions, mut records) = (0, 0);
        for partition in 0..PARTITIONS {
            if values.peek().is_some() {
                records += self.batch(frame, partition, values);
                partitions += 1;
            }
        }
        frame[count_at..count_at + 4].copy_from_slice(&i32::to_be_bytes(partitions));
        finish(frame);
        records
    }

    fn batch<'a>(
        &mut self,
        frame: &mut Vec<u8>,
        partition: i32,
        values: &mut std::iter::Peekable<impl Iterator<Item = &'a [u8]>>,
    ) -> u64 {
        frame.put_i32(partition);
        let start = frame.len() + 4;
        frame.put_bytes(0, 4 + HEAD);
        let mut count = 0;
        match &mut self.lz4 {
            None => {
                let end = start + self.size;
                while let Some(value) = values.next_if(|value| frame.len() + value.len() + 16 <= end) {
                    record(frame, count, value);
                    count += 1;
                }
            }
            Some((raw, table, out)) => {
                raw.clear();
                while let Some(value) = values.next_if(|value| HEAD + raw.len() + value.len() + 16 <= self.size) {
                    record(raw, count, value);
                    count += 1;
                }
                frame.put_slice(&LZ4_FRAME);
                for block in raw.chunks(LZ4_BLOCK) {
                    let length = compress_into_with_table(block, out, table).expect("there is room");
                    frame.put_u32_le(length as u32);
                    frame.put_slice(&out[..length]);
                }
                frame.put_u32_le(0);
            }
        }
        let now = SystemTime::UNIX_EPOCH.elapsed().expect("after 1970").as_millis() as i64;
        let length = frame.len() - start;
        let (before, batch) = frame.split_at_mut(start);
        before[start - 4..].copy_from_slice(&(length as i32).to_be_bytes());
        let mut head = &mut batch[..HEAD];
        head.put_i64(0);
        head.put_i32(length as i32 - 12);
        head.put_i32(-1);
        head.put_u8(2);
        head.put_u32(0); // the sum, below
        head.put_i16(if self.lz4.is_some() { 3 } else { 0 });
        head.put_i32(count - 1);
        head.put_i64(now);
        head.put_i64(now);
        head.put_i64(self.producer.0);
        head.put_i16(self.producer.1);
        head.put_i32(self.sequences[partition as usize]);
        head.put_i32(count);
        let sum = crc32c::crc32c(&batch[21..]);
        batch[17..21].copy_from_slice(&sum.to_be_bytes());
        self.sequences[partition as usize] += count;
        count as u64
    }
}

fn record(out: &mut Vec<u8>, offset_delta: i32, value: &[u8]) {
    let body = 1 + 1 + varint_len(offset_delta) + 1 + varint_len(value.len() as i32) + value.len() + 1;
    put_varint(out, body as i32);
    out.put_slice(&[0, 0]); // attributes, time after the batch's
    put_varint(out, offset_delta);
    put_varint(out, -1); // no key
    put_varint(out, value.len() as i32);
    out.put_slice(value);
    out.put_u8(0); // no headers
}

fn zigzag(value: i32) -> u32 {
    ((value << 1) ^ (value >> 31)) as u32
}

fn varint_len(value: i32) -> usize {
    (32 - (zigzag(value) | 1).leading_zeros() as usize).div_ceil(7)
}

fn put_varint(out: &mut Vec<u8>, value: i32) {
    let mut rest = zigzag(value);
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

/// The head of a request whose body follows, with room for the length.
pub(super) fn request_header(frame: &mut Vec<u8>, api: i16, version: i16) {
    frame.put_i32(0); // the length, by `finish`
    frame.put_i16(api);
    frame.put_i16(version);
    frame.put_i32(1);
    frame.put_i16(5);
    frame.put_slice(b"floor");
}

/// Writes the length of what is complete now.
pub(super) fn finish(frame: &mut [u8]) {
    let length = frame.len() as i32 - 4;
    frame[..4].copy_from_slice(&length.to_be_bytes());
}
