//! What a record costs on the caller's task: `cargo bench --bench accumulator --features unstable-internals,lz4`.
//!
//! Appends of 100 bytes to batches of 16 KB, drained, settled and released by the same thread, without a network: choice of
//! the partition, lock, encoding, ticket, and a share of seal and memory per batch. Each figure is CPU time, the best of
//! several rounds, in nanoseconds a record. `-- sticky 4 none 1` runs one cell, once, on a clock that stands still: for
//! `valgrind --tool=callgrind`, whose count of instructions a busy machine doesn't change, and which has no vDSO for the
//! real one.
#![allow(clippy::disallowed_methods, clippy::print_stdout, reason = "a benchmark measures time and prints it")]

use milena::ids::{NodeId, TopicId};
use milena::machine::Clock;
use milena::machine::accumulator::{
    AccumulatorConfig, Drained, NewRecord, Order, RecordAccumulator, Target, Tickets, ToAppend, TopicQueues,
};
use milena::machine::batch::{Acknowledged, Settled};
use milena::machine::partitioner::{Partitioning, Sticky};
use milena::net::clock::NetClock;
use milena::record::compression::Compression;
use rustix::time::{ClockId, clock_gettime};
use std::sync::Arc;
use std::task::Waker;
use std::time::{Duration, Instant};

const RECORDS: u32 = 1_000_000;
const ROUNDS: usize = 7;

fn main() {
    println!("target       partitions  codec   ns a record");
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with("--")).collect();
    if let [target, partitions, codec, rounds] = &args[..] {
        let (partitions, rounds) = (partitions.parse().expect("partitions"), rounds.parse().expect("rounds"));
        let clock = Arc::new(Still(Instant::now()));
        return cell(target, partitions, codec.parse().expect("a codec"), rounds, clock);
    }
    for compression in [Compression::None, Compression::Lz4] {
        for (target, partitions) in [("sticky", 4), ("key", 4), ("key", 10_000)] {
            cell(target, partitions, compression, ROUNDS, Arc::new(NetClock::System));
        }
    }
    cell("many", 4, Compression::None, ROUNDS, Arc::new(NetClock::System));
    let [one, four] = [1, 4].map(|threads| {
        let best = (0..ROUNDS).map(|_| side_by_side(threads)).min().unwrap_or_default();
        let nanos = best.as_nanos() as f64 / f64::from(RECORDS);
        println!("{threads} threads, 4 partitions: {nanos:.1} ns of CPU a record, the drain included");
        nanos
    });
    println!("four cost {:.2} of one; 1.3 at most is the aim", four / one);
}

/// The CPU time of `threads` that append side by side, each with a sticky choice of its own as clones of a producer have,
/// while this one drains.
fn side_by_side(threads: u32) -> Duration {
    let (accumulator, topic) = accumulator(4, Compression::None, Arc::new(NetClock::System));
    let start = cpu(ClockId::ProcessCPUTime);
    std::thread::scope(|scope| {
        let appending: Vec<_> = (0..threads)
            .map(|seed| {
                let (accumulator, topic) = (&accumulator, &topic);
                scope.spawn(move || {
                    let (sticky, value) = (Sticky::new(seed.into()), [b'x'; 100]);
                    let record = record(None, &value);
                    for _ in 0..RECORDS / threads {
                        let ticket =
                            accumulator.try_append(topic, Target::Partitioner(&sticky), &record, None, &mut None);
                        assert!(matches!(ticket, Ok(Some(_))));
                    }
                })
            })
            .collect();
        let mut ready = Vec::new();
        while !appending.iter().all(std::thread::ScopedJoinHandle::is_finished) {
            finish(&accumulator, &mut ready);
            std::thread::sleep(Duration::from_micros(100));
        }
    });
    cpu(ClockId::ProcessCPUTime) - start
}

/// User and system: the others on the machine don't count.
fn cpu(of: ClockId) -> Duration {
    let time = clock_gettime(of);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

fn record<'a>(key: Option<&'a [u8]>, value: &'a [u8]) -> NewRecord<'a> {
    NewRecord { key, value: Some(value), headers: &[], timestamp: None, sent_at: None }
}

/// A record as `append_many` takes it.
struct Value<'a>(&'a [u8]);

impl ToAppend for Value<'_> {
    fn is_for(&self, _topic: &str) -> bool {
        true
    }

    fn partition(&self) -> Option<u32> {
        None
    }

    fn record(&self) -> NewRecord<'_> {
        record(None, self.0)
    }
}

struct Still(Instant);

impl Clock for Still {
    fn now(&self) -> Instant {
        self.0
    }

    fn unix_millis(&self) -> i64 {
        1_700_000_000_000
    }
}

fn cell(target: &str, partitions: usize, compression: Compression, rounds: usize, clock: Arc<dyn Clock>) {
    let best = (0..rounds).map(|_| round(target, partitions, compression, clock.clone())).min().unwrap_or_default();
    let nanos = best.as_nanos() as f64 / f64::from(RECORDS);
    println!("{target:<12} {partitions:>10}  {:<6} {nanos:>12.1}", compression.name());
}

fn accumulator(
    partitions: usize,
    compression: Compression,
    clock: Arc<dyn Clock>,
) -> (RecordAccumulator, Arc<TopicQueues>) {
    let config = AccumulatorConfig {
        batch_size: 16_384,
        buffer_memory: 1 << 30,
        linger: Duration::from_secs(3600),
        prompt: true,
        delivery_timeout: Duration::from_secs(7200),
        max_request_size: 1 << 20,
        compression,
        level: None,
        partitioning: Partitioning::default(),
        adaptive: true,
        availability_timeout: Duration::ZERO,
    };
    let accumulator = RecordAccumulator::new(config, clock);
    let topic = accumulator.add_topic("clicks", TopicId::ZERO, partitions);
    accumulator.set_leaders(&topic, (0..partitions).map(|_| Some(NodeId(1))));
    (accumulator, topic)
}

fn round(target: &str, partitions: usize, compression: Compression, clock: Arc<dyn Clock>) -> Duration {
    let (accumulator, topic) = accumulator(partitions, compression, clock);
    let (sticky, value) = (Sticky::new(7), [b'x'; 100]);
    let mut ready = Vec::new();
    let start = cpu(ClockId::ThreadCPUTime);
    if target == "many" {
        let (mut chunk, mut order, mut tickets) = (Vec::new(), Order::default(), Tickets::default());
        for i in 0..RECORDS / 250 {
            chunk.clear();
            chunk.extend((0..250).map(|_| Value(&value)));
            order.begin(chunk.len());
            assert_eq!(accumulator.append_many(&topic, &sticky, &chunk, &mut order, &mut tickets), None);
            if i % 4 == 0 {
                finish(&accumulator, &mut ready);
            }
        }
    } else {
        for i in 0..RECORDS {
            let key = i.to_be_bytes();
            let record = record((target == "key").then_some(&key[..]), &value);
            let ticket = accumulator.try_append(&topic, Target::Partitioner(&sticky), &record, None, &mut None);
            assert!(matches!(ticket, Ok(Some(_))));
            if i % 1024 == 0 {
                finish(&accumulator, &mut ready);
            }
        }
    }
    let took = cpu(ClockId::ThreadCPUTime) - start;
    accumulator.flush();
    finish(&accumulator, &mut ready);
    took
}

fn finish(accumulator: &RecordAccumulator, ready: &mut Vec<(Arc<TopicQueues>, u32)>) {
    let collected = accumulator.collect(Instant::now(), Waker::noop(), true, ready);
    for (topic, partition) in ready.drain(..) {
        while let Drained::Batch(mut batch) = accumulator.drain(&topic, partition, collected.readiness) {
            batch.settle(Settled::Written(Acknowledged { base_offset: Some(0), log_append_time: None }));
            accumulator.on_settled(batch.id);
            accumulator.release(batch);
        }
    }
}
