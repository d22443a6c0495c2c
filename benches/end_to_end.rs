//! What a record costs the whole client, from `send` to the socket and from the socket to the record: `cargo bench --bench
//! end_to_end --features test-broker`.
//!
//! Against the in-process broker, over TCP on this machine. Client and broker have a thread each, and what is printed is the
//! CPU time of the client's, kernel included, in nanoseconds a record: the best of several rounds. Producing is idempotent
//! with `acks=all`, batches of 16 KB, four partitions and no keys; every record's acknowledgement is waited for. What is
//! allocated is gated by `protocol-tests` instead (`producer_memory`, `consumer_memory`): here an allocator would count the
//! broker's as well.
#![allow(clippy::disallowed_methods, clippy::print_stdout, reason = "a benchmark measures time and prints it")]

use milena::broker::TestCluster;
use milena::client::Client;
use milena::consumer::{ConsumerConfig, Event, OffsetReset};
use milena::ids::TopicPartition;
use milena::producer::ProducerConfig;
use milena::record::compression::Compression;
use rustix::time::{ClockId, clock_gettime};
use std::collections::VecDeque;
use std::time::Duration;
use tokio::runtime;

const RECORDS: u32 = 400_000;
const ROUNDS: usize = 5;
const PARTITIONS: i32 = 4;
const PATIENCE: Duration = Duration::from_secs(30);

fn main() {
    println!("codec    value  produce  consume   (ns a record)");
    for value_size in [100, 1000] {
        let values = values(value_size);
        for codec in [Compression::None, Compression::Lz4] {
            let records = RECORDS / (value_size as u32 / 100);
            let rounds: Vec<_> = (0..ROUNDS).map(|_| round(codec, &values, records)).collect();
            let best = |what: fn(&(Duration, Duration)) -> Duration| {
                rounds.iter().map(what).min().unwrap_or_default().as_nanos() as f64 / f64::from(records)
            };
            let (produce, consume) = (best(|round| round.0), best(|round| round.1));
            println!("{:<8} {value_size:>5} {produce:>8.1} {consume:>8.1}", codec.name());
        }
    }
}

/// CPU time of producing and of consuming, each by one thread that does nothing else.
fn round(codec: Compression, values: &[Vec<u8>], records: u32) -> (Duration, Duration) {
    let broker = runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    let cluster = broker.block_on(TestCluster::builder().topic("clicks", PARTITIONS).start()).expect("a broker");
    let client = runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let costs = client.block_on(async {
        let client = cluster.client().await.expect("connected");
        let costs = (produce(&client, codec, values, records).await, consume(&client, records).await);
        client.close().await;
        costs
    });
    drop(client); // its sockets with it: the broker waits for their end
    broker.block_on(cluster.stop());
    costs
}

async fn produce(client: &Client, codec: Compression, values: &[Vec<u8>], records: u32) -> Duration {
    let config = ProducerConfig::default().compression(codec).linger(Duration::from_millis(5));
    let producer = client.producer(config).expect("a producer");
    let topic = producer.topic("clicks");
    topic.send(topic.record().value("warm")).await.expect("sent").await.expect("acknowledged");
    let start = cpu();
    let mut under_way = VecDeque::new();
    for (i, value) in (0..records).zip(values.iter().cycle()) {
        under_way.push_back(topic.send(topic.record().value(value)).await.expect("sent"));
        if i % 1024 == 0 {
            while let Some(result) = under_way.front().and_then(|delivery| delivery.try_get()) {
                result.expect("acknowledged");
                under_way.pop_front();
            }
        }
    }
    for delivery in under_way {
        delivery.await.expect("acknowledged");
    }
    let took = cpu() - start;
    producer.close(PATIENCE).await.expect("closed");
    took
}

async fn consume(client: &Client, records: u32) -> Duration {
    let start = cpu();
    let config = ConsumerConfig::default().auto_offset_reset(OffsetReset::Earliest);
    let mut consumer = client.consumer(config).expect("a consumer");
    let partitions: Vec<_> = (0..PARTITIONS).map(|partition| TopicPartition::new("clicks", partition)).collect();
    consumer.assign(partitions).await.expect("assigned");
    let (mut seen, mut bytes) = (0, 0);
    while seen < records {
        match consumer.next(PATIENCE).await.expect("no error") {
            Some(Event::Records(mut records)) => {
                while let Some(batch) = records.next_batch().expect("a good batch") {
                    for record in batch {
                        bytes += record.expect("a good record").value().map_or(0, <[u8]>::len);
                        seen += 1;
                    }
                }
            }
            Some(_) => {}
            None => panic!("only {seen} of {records} records"),
        }
    }
    std::hint::black_box(bytes);
    let took = cpu() - start;
    consumer.close(PATIENCE).await.expect("closed");
    took
}

/// Of this thread, user and system.
fn cpu() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Events that look like a clickstream's, each different from the others.
fn values(size: usize) -> Vec<Vec<u8>> {
    let mut random = fastrand::Rng::with_seed(1);
    let mut value = || {
        let mut value = String::new();
        while value.len() < size {
            let (visitor, page, price) = (random.u32(..10_000), random.u32(..500), random.u32(..100_000));
            value += &format!(r#"{{"visitor":{visitor},"page":"/product/{page}","price_cents":{price}}},"#);
        }
        value.truncate(size);
        value.into_bytes()
    };
    (0..1000).map(|_| value()).collect()
}
