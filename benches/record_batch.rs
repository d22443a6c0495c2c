//! What a record costs in the codec alone, by one thread: `cargo bench --bench record_batch`.
//!
//! Batches of 16 KB before compression, as a producer makes them by default; each figure is CPU time, the best of several
//! rounds, which is what the machine can do when nobody disturbs it. `write` appends records and seals the batch, `append`
//! is the part of it before sealing; `read` opens it and looks at every record. All in nanoseconds a record. The second table
//! is what one batch costs to seal at the codec's default level: for so long nothing else runs on that thread.
#![allow(clippy::disallowed_methods, clippy::print_stdout, reason = "a benchmark measures time and prints it")]

use milena::{
    ids::ProducerIdAndEpoch,
    record::{
        DEFAULT_DECOMPRESSED_LIMIT,
        compression::{Compression, Compressor, Decompressor},
        decode::open,
        encode::{BatchBody, RecordEncoder},
    },
};
use rustix::time::{ClockId, clock_gettime};
use std::{hint::black_box, time::Duration};

const BATCH_SIZE: usize = 16 << 10;
const ROUND: Duration = Duration::from_millis(60);
const ROUNDS: usize = 7;
const PRODUCER: ProducerIdAndEpoch = ProducerIdAndEpoch { id: 1, epoch: 2 };

fn main() {
    println!("codec    value  stored   append    write     read");
    for value_size in [100, 1000] {
        let values = values(value_size);
        let append = append(&values, BATCH_SIZE);
        for codec in Compression::ALL {
            let (batch, records) = batch(codec, &values);
            let stored = 100.0 * batch.size() as f64 / BATCH_SIZE as f64;
            let records = f64::from(records);
            let append = append / records;
            let (write, read) = (write(codec, &values, BATCH_SIZE) / records, read(&batch) / records);
            println!("{:<8} {value_size:>5} {stored:>5.0} % {append:>8.1} {write:>8.1} {read:>8.1}", codec.name());
        }
    }
    println!("codec    value     16 KB      1 MB   (us a batch)");
    for value_size in [100, 1000] {
        let values = values(value_size);
        for codec in Compression::ALL {
            let seal = |size| (write(codec, &values, size) - append(&values, size)) / 1000.0;
            println!("{:<8} {value_size:>5} {:>9.1} {:>9.1}", codec.name(), seal(BATCH_SIZE), seal(1 << 20));
        }
    }
    let (body, _) = batch(Compression::None, &values(100));
    let head = best(|| {
        black_box(body.head(PRODUCER, black_box(3), false));
    });
    println!("a head for a sealed body of {} bytes: {head:.0} ns a batch", body.bytes().len());
}

/// Events that look like a clickstream's, each different from the others.
fn values(size: usize) -> Vec<Vec<u8>> {
    let mut seed = 1u64;
    let mut random = move || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        seed >> 33
    };
    let mut value = || {
        let mut value = String::new();
        while value.len() < size {
            let (visitor, page, price) = (random() % 10_000, random() % 500, random() % 100_000);
            value += &format!(r#"{{"visitor":{visitor},"page":"/product/{page}","price_cents":{price}}},"#);
        }
        value.truncate(size);
        value.into_bytes()
    };
    (0..1000).map(|_| value()).collect()
}

/// Appends until the batch is full.
fn fill(encoder: &mut RecordEncoder, values: &[Vec<u8>]) -> u32 {
    let mut time = 1_700_000_000_000;
    for value in values.iter().cycle() {
        time += 1;
        if encoder.append(time, None, Some(value), &[]).is_none() {
            break;
        }
    }
    encoder.record_count()
}

fn batch(codec: Compression, values: &[Vec<u8>]) -> (BatchBody, u32) {
    let mut encoder = RecordEncoder::new(Vec::new(), BATCH_SIZE);
    let records = fill(&mut encoder, values);
    let (body, _) = encoder.seal(codec, None, &mut Compressor::default()).expect("every feature is on");
    (body, records)
}

/// Nanoseconds a batch, as all of these.
fn append(values: &[Vec<u8>], size: usize) -> f64 {
    let mut encoder = RecordEncoder::new(Vec::with_capacity(size), size);
    best(|| {
        encoder.clear();
        black_box(fill(&mut encoder, values));
    })
}

fn write(codec: Compression, values: &[Vec<u8>], size: usize) -> f64 {
    let (mut compressor, mut buffer) = (Compressor::default(), None);
    best(|| {
        let mut encoder = RecordEncoder::new(buffer.take().unwrap_or_else(|| Vec::with_capacity(size)), size);
        fill(&mut encoder, values);
        let (body, back) = encoder.seal(codec, None, &mut compressor).expect("every feature is on");
        black_box(body.head(PRODUCER, 0, false));
        buffer = back.or_else(|| body.into_buffer());
    })
}

fn read(body: &BatchBody) -> f64 {
    let (batch, mut scratch) = (body.to_batch(PRODUCER, 0, false), Decompressor::default());
    best(|| {
        let mut bytes = 0;
        for record in open(&batch, &mut scratch, DEFAULT_DECOMPRESSED_LIMIT).expect("a good batch") {
            let record = record.expect("a good record");
            bytes += record.value.map_or(0, <[u8]>::len) + record.offset as usize;
        }
        black_box(bytes);
    })
}

/// Nanoseconds for one run of `work`, in the best of the rounds.
fn best(mut work: impl FnMut()) -> f64 {
    let round = |work: &mut dyn FnMut()| {
        let (start, mut runs) = (cpu(), 0u32);
        while cpu() - start < ROUND {
            for _ in 0..16 {
                work();
            }
            runs += 16;
        }
        (cpu() - start).as_nanos() as f64 / f64::from(runs)
    };
    (0..ROUNDS).map(|_| round(&mut work)).fold(f64::INFINITY, f64::min)
}

/// Of this thread, user and system: the others on the machine don't count.
fn cpu() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
