//! Transactions under everything that can go wrong at once, drawn from a seed, on virtual time: several producers, some of
//! one id, while requests fail, are late, are carried out and not answered, and leaders, coordinators and brokers come and
//! go. What was promised of each transaction is held against what a read_committed reader sees in the end.
//!
//! ```sh
//! SEEDS=1000 cargo test --release -p protocol-tests --test cluster transaction_soak   # seeds 0..1000
//! SEED=17 cargo test -p protocol-tests --test cluster transaction_soak                # this one
//! ```
#![allow(clippy::disallowed_methods, reason = "tests spawn and read tokio's paused clock")]

use milena::broker::{ApiKey, TestCluster};
use milena::client::{Client, ClientConfig};
use milena::consumer::{ConsumerConfig, IsolationLevel, OffsetReset};
use milena::error::{Certainty, Error, ErrorCode, Result};
use milena::ids::{ConsumerGroupMetadata, NodeId, OffsetAndMetadata, TopicPartition};
use milena::producer::{Delivery, ProducerConfig, ProducerRecord, Purge, Transaction, TransactionalProducer};
use protocol_tests::random::{Random, seeds};
use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::runtime::Builder;
use tokio::time::{Instant, sleep, timeout};

const SECOND: Duration = Duration::from_secs(1);
const TOPIC: &str = "clicks";
const PARTITIONS: usize = 4;
const BROKERS: u64 = 3;
const WORKERS: usize = 4;
/// The last two workers share one.
const IDS: usize = 3;
const TRANSACTIONS: usize = 8;
const MEMORY: usize = 32 << 20;
const REQUEST_TIMEOUT: Duration = Duration::from_secs(2);
const MAX_BLOCK: Duration = Duration::from_secs(20);
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(10);
const TRANSACTION_TIMEOUT: Duration = Duration::from_secs(30);
/// What a wait may take beyond its limit: another task's turn, not time.
const SLACK: Duration = Duration::from_millis(10);

#[test]
fn every_transaction_is_seen_as_it_was_promised_whatever_fails() {
    for seed in seeds(100) {
        let runtime = Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        let run = AssertUnwindSafe(|| runtime.block_on(Soak::run(seed)));
        assert!(catch_unwind(run).is_ok(), "seed {seed}: see above; SEED={seed} runs it alone");
    }
}

/// What the application was told of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    /// Nothing yet, or nothing that says it.
    Unknown,
    Committed,
    NotCommitted,
}

/// One transaction, by its number.
#[derive(Debug)]
struct Promise {
    worker: usize,
    /// What was taken of it, by partition and in order.
    records: [Vec<u32>; PARTITIONS],
    /// Whether the group's offsets, which are its number, go with it.
    offsets: bool,
    told: Told,
}

struct Soak {
    seed: u64,
    cluster: TestCluster,
    promises: Mutex<Vec<Promise>>,
}

impl Soak {
    async fn run(seed: u64) {
        let mut random = Random::new(seed);
        // Version 1, version 2, and an upgrade on the way.
        let builder = TestCluster::builder().brokers(BROKERS as usize).topic(TOPIC, PARTITIONS as i32);
        let version = if seed % 3 == 1 { 2 } else { 1 };
        let cluster = builder.transaction_version(version).in_memory().start().await.unwrap();
        let soak = Arc::new(Self { seed, cluster, promises: Mutex::default() });
        let clients = [soak.client(1), soak.client(2)];
        let mut workers = Vec::new();
        for worker in 0..WORKERS {
            let (soak, client) = (soak.clone(), clients[worker % clients.len()].clone());
            let random = Random::new(seed.wrapping_mul(1_000_003) + worker as u64 + random.below(1 << 40));
            workers.push(tokio::spawn(Worker { soak, client, worker, random }.run()));
        }
        while workers.iter().any(|worker| !worker.is_finished()) {
            soak.harm(&mut random, seed % 3 == 2).await;
        }
        soak.heal().await;
        for worker in workers {
            worker.await.unwrap();
        }
        soak.settle(&clients[0]).await;
        soak.check(&clients[1]).await;
        for client in clients {
            client.close().await;
            assert_eq!(client.live_tasks(), 0);
        }
    }

    fn client(&self, n: u64) -> Client {
        let config = ClientConfig::new([self.cluster.bootstrap()])
            .connect(self.cluster.connector())
            .virtual_time()
            .seed(self.seed * 2 + n)
            .request_timeout(REQUEST_TIMEOUT)
            .retry_backoff(Duration::from_millis(20), Duration::from_millis(500));
        Client::new(config).unwrap()
    }

    /// One thing goes wrong, and a while passes.
    async fn harm(&self, random: &mut Random, upgrades: bool) {
        let node = NodeId(random.below(BROKERS) as i32 + 1);
        match random.below(12) {
            0 => self.cluster.move_transaction_coordinator(&id(random.below(IDS as u64) as usize), node),
            1 => self.cluster.move_coordinator(&id(random.below(IDS as u64) as usize), node),
            2 | 3 => self.cluster.move_leader(TOPIC, random.below(PARTITIONS as u64) as i32, node),
            4 => {
                self.cluster.kill(node);
                sleep(Duration::from_millis(random.below(4_000))).await;
                self.cluster.restart(node).await.unwrap();
            }
            5 if upgrades => self.cluster.set_transaction_version(2),
            _ => self.fault(random, node),
        }
        sleep(Duration::from_millis(random.below(600))).await;
    }

    fn fault(&self, random: &mut Random, node: NodeId) {
        let (api, codes) = APIS[random.below(APIS.len() as u64) as usize];
        let mut fault = self.cluster.fault(api).times(random.below(3) as usize + 1);
        if random.one_in(3) {
            fault = fault.on_node(node);
        }
        if random.one_in(3) {
            fault = fault.delay(Duration::from_millis(random.below(5_000)));
        }
        match random.below(9) {
            0 => fault.disconnect(),
            1 | 2 => fault.apply_then_disconnect(),
            3 => fault.silence(),
            // Late, past the patience of whoever asks: he asks again, and then this arrives, whatever is on by then.
            4 | 5 => drop(fault.delay(REQUEST_TIMEOUT + Duration::from_millis(random.below(3_000)))),
            _ => {
                let codes = if random.one_in(3) { codes } else { PASSING };
                let code = codes[random.below(codes.len() as u64) as usize];
                if api != ApiKey::Produce || !PASSING.contains(&code) {
                    fault.error(code);
                } else {
                    fault.error(ErrorCode::NotEnoughReplicas);
                }
            }
        }
    }

    async fn heal(&self) {
        self.cluster.clear_faults();
        for node in 1..=BROKERS {
            self.cluster.restart(NodeId(node as i32)).await.unwrap();
        }
    }

    /// Whoever takes an id over ends what was left open, and has no trouble of its own.
    async fn settle(self: &Arc<Self>, client: &Client) {
        sleep(6 * SECOND).await; // what was late has arrived
        for n in 0..IDS {
            let mut producer = client.transactional_producer(id(n), config()).await.unwrap();
            for _ in 0..2 {
                let number = self.promise(WORKERS + n);
                let transaction = producer.begin().await.unwrap();
                let mut random = Random::new(number.into());
                self.fill(&transaction, number, &mut random, true).await.unwrap();
                transaction.commit().await.unwrap();
                self.told(number, Told::Committed);
            }
            assert_eq!(producer.free_memory(), MEMORY);
            producer.close(SECOND).await.unwrap();
        }
    }

    /// A new transaction of this worker.
    fn promise(&self, worker: usize) -> u32 {
        let mut promises = self.promises.lock().unwrap();
        promises.push(Promise { worker, records: Default::default(), offsets: false, told: Told::Unknown });
        promises.len() as u32 - 1
    }

    fn told(&self, number: u32, told: Told) {
        self.promises.lock().unwrap()[number as usize].told = told;
    }

    /// Records, and perhaps offsets. With offsets goes a record of partition 0: its log is the order of the transactions.
    async fn fill(
        &self,
        transaction: &Transaction<'_>,
        number: u32,
        random: &mut Random,
        calm: bool,
    ) -> Result<Vec<Delivery>> {
        let mut deliveries = Vec::new();
        let offsets = random.one_in(2);
        let most = if random.one_in(4) { 50 } else { 8 };
        let count = 1 + random.below(most) as u32;
        let pause = if random.one_in(3) && !calm { 600 } else { 1 };
        for n in 0..count {
            let partition = if n == 0 && offsets { 0 } else { random.below(PARTITIONS as u64) as usize };
            let value = format!("{number}:{n}");
            let record = ProducerRecord::new(TOPIC).partition(partition as i32).value(&value);
            deliveries.push(within(MAX_BLOCK, transaction.send(record)).await?);
            self.promises.lock().unwrap()[number as usize].records[partition].push(n);
            sleep(Duration::from_millis(random.below(pause))).await;
            match random.below(if calm { 1 } else { 40 }) {
                1 => sleep(Duration::from_millis(random.below(2_000))).await,
                2 => drop(within(SECOND, transaction.flush(SECOND)).await?),
                3 if random.one_in(4) => {
                    transaction.purge(random.pick(&[Purge::Queued, Purge::All])).await;
                }
                4 if random.one_in(20) => sleep(TRANSACTION_TIMEOUT + SECOND).await,
                _ => {}
            }
        }
        if offsets {
            let worker = self.promises.lock().unwrap()[number as usize].worker;
            let at = |partition| (TopicPartition::new(TOPIC, partition), OffsetAndMetadata::new(number.into()));
            self.promises.lock().unwrap()[number as usize].offsets = true;
            let group = ConsumerGroupMetadata::standalone(id(worker));
            within(MAX_BLOCK, transaction.send_offsets((0..2).map(at).collect(), group)).await?;
        }
        Ok(deliveries)
    }

    /// Holds what is seen against what was promised.
    async fn check(&self, client: &Client) {
        let seen = self.read(client).await;
        let promises = self.promises.lock().unwrap();
        let mut of: BTreeMap<u32, [Vec<u32>; PARTITIONS]> = BTreeMap::new();
        for (partition, records) in seen.iter().enumerate() {
            let mut last: HashMap<usize, (u32, u32)> = HashMap::new();
            for (number, n) in records {
                of.entry(*number).or_default()[partition].push(*n);
                let before = last.insert(promises[*number as usize].worker, (*number, *n));
                assert!(before < Some((*number, *n)), "partition {partition}: {before:?} before {number}:{n}");
            }
        }
        for (number, promise) in (0..).zip(promises.iter()) {
            let seen = of.get(&number);
            assert!(seen.is_none_or(|seen| *seen == promise.records), "in part: {number}, {promise:?}: {seen:?}");
            let is_empty = promise.records.iter().all(Vec::is_empty);
            match promise.told {
                Told::Committed => assert!(seen.is_some() || is_empty, "{number} is lost: {promise:?}"),
                Told::NotCommitted => assert!(seen.is_none(), "{number} is seen: {promise:?}"),
                Told::Unknown => {}
            }
        }
        for n in 0..IDS {
            let with_offsets = |(number, _): &&(u32, u32)| {
                let promise = &promises[*number as usize];
                promise.offsets && id(promise.worker) == id(n)
            };
            let last = seen[0].iter().rev().find(with_offsets).map(|(number, _)| i64::from(*number));
            let committed = |partition| self.cluster.committed(&id(n), &TopicPartition::new(TOPIC, partition));
            assert_eq!([0, 1].map(|partition| committed(partition).map(|at| at.offset)), [last, last], "of {}", id(n));
        }
    }

    /// By partition and in order, what a read_committed reader sees: `(transaction, record)`.
    async fn read(&self, client: &Client) -> [Vec<(u32, u32)>; PARTITIONS] {
        let config = ConsumerConfig::default()
            .auto_offset_reset(OffsetReset::Earliest)
            .isolation_level(IsolationLevel::ReadCommitted);
        let mut consumer = client.consumer(config).unwrap();
        let partitions: Vec<_> =
            (0..PARTITIONS as i32).map(|partition| TopicPartition::new(TOPIC, partition)).collect();
        consumer.assign(partitions.clone()).await.unwrap();
        let end = |partition: &TopicPartition| self.cluster.offsets(TOPIC, partition.partition).unwrap().1;
        let mut seen: [Vec<(u32, u32)>; PARTITIONS] = Default::default();
        let start = Instant::now();
        while partitions.iter().any(|partition| consumer.position(partition) != Some(end(partition))) {
            assert!(start.elapsed() < 60 * SECOND, "a transaction was left open: {:?}", consumer.positions());
            for record in &consumer.poll(SECOND).await.unwrap() {
                let (number, n) = str::from_utf8(record.value().unwrap()).unwrap().split_once(':').unwrap();
                seen[record.partition() as usize].push((number.parse().unwrap(), n.parse().unwrap()));
            }
        }
        consumer.close(SECOND).await.unwrap();
        seen
    }
}

struct Worker {
    soak: Arc<Soak>,
    client: Client,
    worker: usize,
    random: Random,
}

impl Worker {
    async fn run(mut self) {
        let mut producer = None;
        for _ in 0..TRANSACTIONS {
            let mut current = match producer.take() {
                Some(producer) => producer,
                None => self.producer().await,
            };
            if self.transact(&mut current).await {
                producer = Some(current); // else dropped, with whatever it is about
            }
        }
        if let Some(producer) = producer {
            // And a second for the answers to what is under way.
            if let Err(error) = within(MAX_BLOCK + SECOND, producer.close(MAX_BLOCK)).await {
                assert!(error.is_fatal() || error.is_timeout(), "close: {error}");
            }
        }
    }

    async fn producer(&mut self) -> TransactionalProducer {
        loop {
            let made = self.client.transactional_producer(id(self.worker), config());
            match within(MAX_BLOCK, made).await {
                Ok(producer) => return producer,
                Err(_) => sleep(Duration::from_millis(self.random.below(1_000))).await,
            }
        }
    }

    /// One transaction. Whether the producer is to go on.
    async fn transact(&mut self, producer: &mut TransactionalProducer) -> bool {
        let transaction = match within(MAX_BLOCK, producer.begin()).await {
            Ok(transaction) => transaction,
            Err(error) => {
                assert!(error.is_fatal() || error.is_timeout(), "begin: {error}");
                return !error.is_fatal();
            }
        };
        let number = self.soak.promise(self.worker);
        let filled = self.soak.fill(&transaction, number, &mut self.random, false).await;
        let (told, error) = match self.random.below(10) {
            0 => {
                drop(transaction);
                (Told::NotCommitted, None)
            }
            1 => {
                // Nobody waits for the answer, or for the producer.
                let wait = Duration::from_millis(self.random.below(100));
                let committed = timeout(wait, transaction.commit()).await;
                self.soak.told(number, if let Ok(Ok(())) = committed { Told::Committed } else { Told::Unknown });
                return false;
            }
            2 => (Told::NotCommitted, within(MAX_BLOCK, transaction.abort()).await.err()),
            _ => match within(MAX_BLOCK, transaction.commit()).await {
                Ok(()) => (Told::Committed, None),
                Err(error) => match error.delivery_certainty() {
                    Some(Certainty::NotSent) => (Told::NotCommitted, Some(error)),
                    Some(Certainty::PossiblySent) => (Told::Unknown, Some(error)),
                    None => panic!("a commit's error says whether it may have happened: {error}"),
                },
            },
        };
        self.soak.told(number, told);
        if let Some(error) = &error {
            assert!(error.is_abortable() || error.is_fatal() || error.is_timeout(), "{error}");
        }
        for delivery in filled.unwrap_or_default() {
            let delivered = within(DELIVERY_TIMEOUT, delivery).await;
            assert!(told != Told::Committed || delivered.is_ok(), "{number} is committed: {delivered:?}");
        }
        !error.is_some_and(|error: Error| error.is_fatal())
    }
}

fn id(worker: usize) -> String {
    format!("id-{}", if worker < WORKERS { worker.min(IDS - 1) } else { worker - WORKERS })
}

fn config() -> ProducerConfig {
    ProducerConfig::default()
        .max_block(MAX_BLOCK)
        .delivery_timeout(DELIVERY_TIMEOUT)
        .transaction_timeout(TRANSACTION_TIMEOUT)
        .linger(Duration::from_millis(5))
}

async fn within<T>(limit: Duration, future: impl Future<Output = T>) -> T {
    timeout(limit + SLACK, future).await.unwrap_or_else(|_| panic!("a wait of more than {limit:?}"))
}

/// What any coordinator may say for a while.
const PASSING: &[ErrorCode] = &[
    ErrorCode::ConcurrentTransactions,
    ErrorCode::CoordinatorLoadInProgress,
    ErrorCode::NotCoordinator,
    ErrorCode::CoordinatorNotAvailable,
];

/// What may fail, and with which codes besides.
const APIS: [(ApiKey, &[ErrorCode]); 9] = {
    use ErrorCode::*;
    [
        (ApiKey::FindCoordinator, &[CoordinatorNotAvailable, CoordinatorLoadInProgress]),
        (ApiKey::InitProducerId, &[ConcurrentTransactions, ProducerFenced]),
        (
            ApiKey::AddPartitionsToTxn,
            &[TopicAuthorizationFailed, TransactionAbortable, InvalidTxnState, UnknownServerError],
        ),
        (ApiKey::AddOffsetsToTxn, &[GroupAuthorizationFailed, TransactionAbortable, ProducerFenced]),
        (ApiKey::TxnOffsetCommit, &[IllegalGeneration, UnknownTopicOrPartition, RequestTimedOut, InvalidProducerEpoch]),
        (ApiKey::EndTxn, &[CoordinatorNotAvailable, NotCoordinator]),
        (ApiKey::EndTxn, &[TransactionAbortable, UnknownServerError, InvalidTxnState, ProducerFenced]),
        (ApiKey::Produce, &[NotLeaderOrFollower, OutOfOrderSequenceNumber, InvalidProducerEpoch, InvalidRecord]),
        (ApiKey::Produce, &[RequestTimedOut, NotEnoughReplicasAfterAppend, UnknownProducerId, TransactionAbortable]),
    ]
};
