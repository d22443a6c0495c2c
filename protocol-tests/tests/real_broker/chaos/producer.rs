//! A producer on a cluster that suffers: nothing is lost, doubled or reordered.

use super::nodes::Nodes;
use super::proxy::Proxy;
use super::{all_in_sync, number, read_all};
use crate::{PATIENCE, client_config, connect, connect_with, topic};
use milena::producer::{Delivery, Producer, ProducerConfig, ProducerRecord};
use milena::record::compression::Compression;
use protocol_tests::ledger::{Promise, RecordId, Told, audit};
use protocol_tests::random::Random;
use std::collections::VecDeque;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;
use tokio::time::{sleep, sleep_until};

const PARTITIONS: i32 = 12;
const SENDERS: u32 = 4;
const MEMORY: usize = 16 << 20;
const BURST: u32 = 50;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a Kafka of three nodes that it may kill: protocol-tests/chaos.sh"]
async fn nothing_is_lost_doubled_or_reordered_while_brokers_die() {
    let (seed, records) = (number("SEED", 0), number("RECORDS", 300_000));
    let started = Instant::now();
    let mut random = Random::scenario(seed);
    let admin = connect().await;
    let topic = topic(&admin, "chaos", PARTITIONS, 3).await;

    let request_timeout = Duration::from_secs(random.pick(&[5, 10, 30]));
    let proxy = Proxy::new(random.below(u64::MAX));
    let config = client_config().connect(proxy.clone());
    let client = connect_with(config.request_timeout(request_timeout)).await;
    let config = ProducerConfig::default()
        .buffer_memory(MEMORY)
        .batch_size(random.pick(&[1_000, 16_384, 100_000]))
        .compression(random.pick(&[Compression::None, Compression::Lz4, Compression::Zstd]))
        .delivery_timeout(request_timeout + Duration::from_secs(random.pick(&[1, 1, 5, 90])));
    let what = format!("seed {seed}, {config:?}, request.timeout.ms {request_timeout:?}");
    let producer = client.producer(config).expect("the settings are sound");

    let rate = (number("RATE", 5_000) / u64::from(SENDERS)).max(1);
    let pause = Duration::from_secs(1) * BURST / rate as u32;
    let mut senders = JoinSet::new();
    for sender in 0..SENDERS {
        let (producer, random) = (producer.clone(), Random::new(random.below(u64::MAX)));
        let topic = topic.clone();
        let count = (records / u64::from(SENDERS)) as u32;
        senders.spawn(async move { Sender { sender, producer, random, topic }.send(count, pause).await });
    }
    let done = Arc::new(AtomicBool::new(false));
    let told = tokio::spawn({
        let done = done.clone();
        async move {
            let told = senders.join_all().await;
            done.store(true, Ordering::Relaxed);
            told
        }
    });
    let mut nodes = Nodes::new();
    nodes.suffer(&[&topic], PARTITIONS, &mut random, &done).await;
    let told: Vec<(RecordId, Told)> = told.await.expect("no sender panics").into_iter().flatten().collect();
    let suffered = started.elapsed();

    all_in_sync(&admin, &topic).await;
    let patience = Instant::now();
    while producer.free_memory() != MEMORY && patience.elapsed() < PATIENCE {
        sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(producer.free_memory(), MEMORY, "{what}: memory is held");
    producer.close(PATIENCE).await.expect("nothing is under way");
    drop(producer);
    client.close().await;
    assert_eq!(client.live_tasks(), 0, "{what}: a task is left");
    admin.close().await;

    let found = read_all(&topic).await;
    let tally =
        audit(told, &found, Promise::ExactlyOnce).unwrap_or_else(|wrong| panic!("{what}: broken promises{wrong}"));
    let Nodes { kills, stops, moves, .. } = nodes;
    let mut out = std::io::stdout();
    writeln!(
        out,
        "{what}: {} in the log, {tally:?}; {kills} kills, {stops} stops, {moves} leaders moved, {} connections cut, \
         {suffered:?}, checked after {:?}",
        found.len(),
        proxy.cut(),
        started.elapsed(),
    )
    .expect("stdout is there");
}

struct Sender {
    sender: u32,
    producer: Producer,
    random: Random,
    topic: String,
}

impl Sender {
    /// `BURST` at a time, with this pause between; what an outage has cost is not made good for.
    async fn send(mut self, count: u32, pause: Duration) -> Vec<(RecordId, Told)> {
        let mut told = Vec::with_capacity(count as usize);
        let mut due = tokio::time::Instant::now();
        let mut under_way: VecDeque<(RecordId, Delivery)> = VecDeque::new();
        for number in 0..count {
            if number % BURST == 0 {
                sleep_until(due).await;
                due = due.max(tokio::time::Instant::now()) + pause;
            }
            let id = RecordId { sender: self.sender, number };
            let value = format!("{}{:width$}", id.to_text(), "", width = self.random.below(150) as usize);
            let key = self.random.below(1_000).to_string();
            let record = ProducerRecord::new(&self.topic).value(&value);
            let record = match self.sender % 3 {
                0 => record.partition(self.random.below(PARTITIONS as u64) as i32),
                1 => record.key(&key),
                _ => record,
            };
            match self.producer.send(record).await {
                Ok(delivery) => under_way.push_back((id, delivery)),
                Err(error) => told.push((id, Err(error).into())),
            }
            while let Some(outcome) = under_way.front().and_then(|(_, delivery)| delivery.try_get()) {
                told.extend(under_way.pop_front().map(|(id, _)| (id, outcome.into())));
            }
        }
        for (id, delivery) in under_way {
            told.push((id, delivery.await.into()));
        }
        told
    }
}
