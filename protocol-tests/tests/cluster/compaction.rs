//! A compacted topic, held against a model: producers of every kind write and delete keys while it is compacted again and
//! again, and a reader of committed records always finds the last value of each key, at its offset.

use crate::transactions::{SECOND, client};
use milena::broker::TestCluster;
use milena::client::Client;
use milena::consumer::{ConsumerConfig, IsolationLevel, OffsetReset};
use milena::ids::TopicPartition;
use milena::producer::{Delivery, Producer, ProducerConfig, ProducerRecord, TransactionalProducer};
use milena::record::compression::Compression;
use protocol_tests::random::{Random, seeds};
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;
use tokio::runtime::Builder;
use tokio::time::sleep;

const KEYS: u64 = 12;
const RETENTION: Duration = Duration::from_secs(100);
const CODECS: [Compression; 5] =
    [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];

type Pair = (String, Option<String>);

/// Everything that was written, by its offset: key and value, and whether it counts.
#[derive(Default)]
struct Model {
    written: BTreeMap<i64, (Pair, bool)>,
}

impl Model {
    async fn note(&mut self, batch: Vec<(Pair, Delivery)>, counts: bool) {
        for (pair, delivery) in batch {
            let offset = delivery.await.unwrap().offset().expect("acknowledged with its offset");
            self.written.insert(offset, (pair, counts));
        }
    }

    /// The last value of each key, and its offset.
    fn last(&self) -> BTreeMap<String, (i64, Option<String>)> {
        let counted = self.written.iter().filter(|(_, (_, counts))| *counts);
        counted.map(|(offset, ((key, value), _))| (key.clone(), (*offset, value.clone()))).collect()
    }
}

fn pairs(random: &mut Random, step: u64) -> Vec<Pair> {
    let count = 1 + random.below(6);
    let pair = |i| (format!("k{}", random.below(KEYS)), (!random.one_in(6)).then(|| format!("{step}.{i}")));
    (0..count).map(pair).collect()
}

fn record(pair: &Pair) -> ProducerRecord<'_> {
    let record = ProducerRecord::new("t").partition(0).key(&pair.0);
    pair.1.iter().fold(record, |record, value| record.value(value))
}

async fn write(producer: &Producer, model: &mut Model, pairs: Vec<Pair>) {
    let mut sent = Vec::new();
    for pair in pairs {
        let delivery = producer.send(record(&pair)).await.unwrap();
        sent.push((pair, delivery));
    }
    model.note(sent, true).await;
}

/// One transaction, during which another producer writes.
async fn transact(
    producer: &mut TransactionalProducer,
    model: &mut Model,
    random: &mut Random,
    step: u64,
    other: &Producer,
) {
    let transaction = producer.begin().await.unwrap();
    let mut sent = Vec::new();
    for pair in pairs(random, step) {
        let delivery = transaction.send(record(&pair)).await.unwrap();
        sent.push((pair, delivery));
    }
    assert_eq!(transaction.flush(SECOND).await.unwrap(), 0);
    write(other, model, pairs(random, step)).await;
    let commit = !random.one_in(3);
    match commit {
        true => transaction.commit().await.unwrap(),
        false => transaction.abort().await.unwrap(),
    }
    model.note(sent, commit).await;
}

/// What a reader of committed records finds, by offset.
async fn read(cluster: &TestCluster) -> BTreeMap<i64, Pair> {
    let client = client(cluster);
    let config = ConsumerConfig::default()
        .auto_offset_reset(OffsetReset::Earliest)
        .isolation_level(IsolationLevel::ReadCommitted);
    let mut consumer = client.consumer(config).unwrap();
    let partition = TopicPartition::new("t", 0);
    consumer.assign([partition.clone()]).await.unwrap();
    let end = cluster.offsets("t", 0).unwrap().1;
    let mut found = BTreeMap::new();
    for _ in 0..100 {
        if consumer.position(&partition) == Some(end) {
            return found;
        }
        let records = consumer.poll(SECOND).await.unwrap();
        let text = |bytes: Option<&[u8]>| bytes.map(|bytes| str::from_utf8(bytes).unwrap().to_owned());
        for record in &records {
            let before = found.insert(record.offset(), (text(record.key()).unwrap(), text(record.value())));
            assert!(before.is_none(), "offset {} came twice", record.offset());
        }
    }
    panic!("the reader does not come to the end: {:?} of {end}", consumer.position(&partition));
}

/// What a fresh reader makes of the topic is what was written last.
async fn check(cluster: &TestCluster, model: &Model) -> BTreeMap<i64, Pair> {
    let found = read(cluster).await;
    let mut last = BTreeMap::new();
    for (offset, pair) in &found {
        assert_eq!(model.written.get(offset), Some(&(pair.clone(), true)), "offset {offset}");
        last.insert(pair.0.clone(), (*offset, pair.1.clone()));
    }
    let mut expected = model.last();
    // A tombstone may be gone, and its key with it.
    expected.retain(|key, (_, value)| value.is_some() || last.contains_key(key));
    assert_eq!(last, expected);
    found
}

#[test]
fn whatever_was_written_a_compacted_topic_reads_as_the_last_value_of_each_key() {
    for seed in seeds(100) {
        let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime");
        let run = AssertUnwindSafe(|| runtime.block_on(scenario(Random::scenario(seed))));
        assert!(catch_unwind(run).is_ok(), "see above; SEED={seed} runs it again");
    }
}

async fn scenario(mut random: Random) {
    let configs = [("cleanup.policy", "compact"), ("delete.retention.ms", "100000")];
    let version = random.pick(&[1, 2]);
    let builder = TestCluster::builder().topic_with("t", 1, configs).transaction_version(version);
    let cluster = builder.in_memory().start().await.unwrap();
    let client: Client = client(&cluster);
    let config = |random: &mut Random| ProducerConfig::default().compression(random.pick(&CODECS));
    let producer = client.producer(config(&mut random)).unwrap();
    let mut ones = Vec::new();
    for id in ["one", "two"] {
        ones.push(client.transactional_producer(id, config(&mut random)).await.unwrap());
    }
    let mut model = Model::default();
    for step in 0..60 {
        match random.below(4) {
            0 => write(&producer, &mut model, pairs(&mut random, step)).await,
            1 | 2 => {
                let one = random.below(2) as usize;
                transact(&mut ones[one], &mut model, &mut random, step, &producer).await;
            }
            _ => {
                cluster.compact("t").unwrap();
                check(&cluster, &model).await;
                sleep(Duration::from_secs(random.below(60))).await;
            }
        }
    }
    // All is clean: of each key one record, of what was aborted nothing, and the tombstones go when they are due.
    cluster.compact("t").unwrap();
    assert_eq!(check(&cluster, &model).await.len(), cluster.records("t").unwrap().len());
    sleep(RETENTION).await;
    cluster.compact("t").unwrap();
    let found = check(&cluster, &model).await;
    let alive = model.last().values().filter(|(_, value)| value.is_some()).count();
    assert_eq!((found.len(), cluster.records("t").unwrap().len()), (alive, alive));
    // Compacting what is compacted changes nothing but markers that are due.
    sleep(RETENTION).await;
    cluster.compact("t").unwrap();
    let bytes = cluster.stored_bytes("t");
    cluster.compact("t").unwrap();
    assert_eq!((check(&cluster, &model).await, cluster.stored_bytes("t")), (found, bytes));
    // Whoever wrote can go on, by the numbers that the partition remembers.
    write(&producer, &mut model, pairs(&mut random, 60)).await;
    for one in &mut ones {
        transact(one, &mut model, &mut random, 61, &producer).await;
    }
    check(&cluster, &model).await;
}

#[tokio::test(start_paused = true)]
async fn only_a_compacted_topic_is_compacted() {
    let cluster = TestCluster::builder().topic("t", 1).in_memory().start().await.unwrap();
    assert!(cluster.compact("t").is_err() && cluster.compact("none").is_err());
}
