//! A producer under everything that can go wrong, in virtual time: several tasks with handles of their own write while
//! brokers die and stand still, leaders move, replicas fall out of sync, answers are lost, late or refusals. Afterwards
//! what each task was told is held against the log.
//!
//! A scenario follows from its seed: `SEED=17 cargo test -p protocol-tests --test cluster soak` runs one again, `SEEDS=1000`
//! more than usual. Hash maps and `select!` have a randomness of their own, so a rare failure may take a few tries.

mod faults;

use faults::TOPIC;
use milena::broker::TestCluster;
use milena::client::Client;
use milena::producer::{Acks, Delivery, Producer, ProducerConfig, ProducerRecord, Purge};
use milena::record::compression::Compression;
use protocol_tests::ledger::{Found, Promise, RecordId, Tally, Told, Wrong, audit};
use protocol_tests::random::{Random, seeds};
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::runtime::Builder;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// Scenarios, unless told otherwise.
const SEEDS: u64 = 100;

/// Records of a seed, at least.
const RECORDS: u64 = 2_000;

/// No scenario takes longer, in virtual time: a record fails after two minutes.
const STUCK: Duration = Duration::from_secs(3_600);

/// A producer's settings, and what they promise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Variant {
    Idempotent,
    OneInFlight,
    /// Neither: to see that the scenarios are hard.
    Careless,
}

#[test]
fn nothing_is_lost_doubled_or_reordered_whatever_fails() {
    let tally = every_seed(Variant::Idempotent, Promise::ExactlyOnce);
    let failures = tally.possibly_sent > 0 && tally.not_sent > 0;
    assert!(failures || seeds(SEEDS).count() < 20, "the scenarios fail nothing: {tally:?}");
}

#[test]
fn without_idempotence_one_request_in_flight_loses_nothing_and_keeps_the_order() {
    let tally = every_seed(Variant::OneInFlight, Promise::AtLeastOnce);
    assert!(tally.doubled > 0 || seeds(SEEDS).count() < 20, "the scenarios make nobody send again: {tally:?}");
}

/// Otherwise the tests above would prove little.
#[test]
fn the_same_scenarios_lose_double_and_reorder_what_is_sent_carelessly() {
    let runs: Vec<_> = (0..20).map(|seed| run(seed, Variant::Careless, Promise::ExactlyOnce)).collect();
    for kind in ["lost", "doubled", "reordered"] {
        let broken = |run: &Result<Tally, Failure>| matches!(run, Err(Failure::Broken(wrong)) if wrong.count(kind) > 0);
        assert!(runs.iter().any(broken), "in no scenario anything is {kind}");
    }
}

/// What a scenario may fail with.
#[derive(Debug)]
enum Failure {
    Broken(Wrong),
    Stuck(String),
    Left(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Broken(wrong) => write!(f, "broken promises{wrong}"),
            Self::Stuck(what) => write!(f, "stuck: {what}"),
            Self::Left(what) => write!(f, "left behind: {what}"),
        }
    }
}

fn every_seed(variant: Variant, promise: Promise) -> Tally {
    let mut sum = Tally::default();
    for seed in seeds(SEEDS) {
        match run(seed, variant, promise) {
            Ok(tally) => sum.add(tally),
            Err(why) => panic!("seed {seed}, {variant:?}: {why}\nSEED={seed} runs it again"),
        }
    }
    sum
}

fn run(seed: u64, variant: Variant, promise: Promise) -> Result<Tally, Failure> {
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime");
    runtime.block_on(async {
        let scenario = Scenario::new(seed, variant);
        timeout(STUCK, scenario.run(promise))
            .await
            .unwrap_or_else(|_| Err(Failure::Stuck(format!("in all for {STUCK:?}"))))
    })
}

/// Everything that follows from a seed, but the faults themselves.
struct Scenario {
    random: Random,
    partitions: i32,
    senders: u32,
    memory: usize,
    request_timeout: Duration,
    lag: Duration,
    producer: ProducerConfig,
}

impl Scenario {
    fn new(seed: u64, variant: Variant) -> Self {
        let mut random = Random::scenario(seed);
        let millis = |n| Duration::from_millis(n);
        let linger = millis(random.pick(&[0, 2, 5, 40]));
        let request_timeout = millis(random.pick(&[1_500, 5_000, 5_000, 30_000]));
        let least = linger + request_timeout;
        let memory = random.pick(&[64 << 10, 1 << 20, 32 << 20]);
        let config = ProducerConfig::default()
            .linger(linger)
            .delivery_timeout(random.pick(&[least, 3 * least, Duration::from_secs(120), Duration::from_secs(120)]))
            .batch_size(random.pick(&[200, 1_000, 4_000, 16_384]))
            .compression(random.pick(&[Compression::None, Compression::Lz4]))
            .max_block(Duration::from_secs(10))
            .buffer_memory(memory);
        let in_flight = random.pick(&[1, 2, 5]);
        let config = match variant {
            Variant::Idempotent => config.max_in_flight(in_flight),
            Variant::OneInFlight => config.idempotence(false).max_in_flight(1),
            Variant::Careless => config.acks(Acks::Leader).max_in_flight(5),
        };
        Self {
            partitions: 2 + random.below(5) as i32,
            senders: 3 + random.below(3) as u32,
            lag: millis(1 + random.below(40)),
            random,
            memory,
            request_timeout,
            producer: config,
        }
    }

    async fn run(mut self, promise: Promise) -> Result<Tally, Failure> {
        let least = [("min.insync.replicas", "2")];
        let builder = TestCluster::builder().brokers(3).topic_with(TOPIC, self.partitions, least);
        let cluster = builder.replication_lag(self.lag).in_memory().start().await.expect("a cluster in memory");
        let config = cluster.client_config().seed(self.random.below(u64::MAX)).request_timeout(self.request_timeout);
        let client = Client::new(config).expect("the settings are sound");
        let producer = client.producer(self.producer.clone()).expect("the settings are sound");

        let each = (RECORDS / u64::from(self.senders) + 1) as u32;
        let left = Arc::new(AtomicU32::new(self.senders));
        // At times the producer is closed in the middle, and each sender goes on with one of its own.
        let closes = self.random.one_in(4).then(|| self.random.below(u64::from(each)) as u32);
        let purges = self.random.one_in(3);
        let mut senders = JoinSet::new();
        for sender in 0..self.senders {
            let sender = Sender {
                sender,
                client: client.clone(),
                config: self.producer.clone(),
                producer: producer.clone(),
                random: Random::new(self.random.below(u64::MAX)),
                partitions: self.partitions,
                closes: closes.filter(|_| sender == 0),
                purges,
            };
            let left = left.clone();
            senders.spawn(async move {
                let (last, sent) = sender.send(each).await;
                left.fetch_sub(1, Ordering::Relaxed);
                let mut told = Vec::with_capacity(sent.len());
                for (id, outcome) in sent {
                    told.push((id, outcome.told().await));
                }
                if let Some(own) = last {
                    own.close(Duration::from_secs(10)).await.expect("all is told");
                }
                told
            });
        }
        let random = Random::new(self.random.below(u64::MAX));
        faults::happen(&cluster, self.partitions, random, || left.load(Ordering::Relaxed) == 0).await;
        let told = senders.join_all().await;

        // What has expired under way holds its memory until its answer or the end of its connection.
        sleep(self.request_timeout + Duration::from_secs(1)).await;
        if producer.free_memory() != self.memory {
            let held = self.memory - producer.free_memory();
            return Err(Failure::Left(format!("{held} bytes of {} are not free again", self.memory)));
        }
        let producer = match closes {
            Some(_) => client.producer(self.producer.clone()).expect("the settings are sound"),
            None => producer,
        };
        let last = self.serve_on(&producer).await?;
        producer.close(Duration::from_secs(10)).await.map_err(|error| Failure::Left(format!("close: {error}")))?;
        drop(producer);
        client.close().await;
        if client.live_tasks() > 0 {
            return Err(Failure::Left(format!("{} tasks", client.live_tasks())));
        }
        let mut found: Vec<Found> = Vec::new();
        for record in cluster.records(TOPIC).expect("the records can be read") {
            let id = record.value.as_deref().and_then(RecordId::from_bytes).expect("records begin with an id");
            found.push(Found { partition: record.partition, offset: record.offset, id });
        }
        audit(told.into_iter().flatten().chain(last), &found, promise).map_err(Failure::Broken)
    }

    /// It serves on as if nothing had been: at once, or when it has connected again.
    async fn serve_on(&self, producer: &Producer) -> Result<Vec<(RecordId, Told)>, Failure> {
        let mut told = Vec::new();
        for number in 0..20 {
            let id = RecordId { sender: u32::MAX, number };
            let outcome = match producer.send(ProducerRecord::new(TOPIC).value(&id.to_bytes())).await {
                Ok(delivery) => delivery.await,
                Err(error) => Err(error),
            };
            told.push((id, outcome.clone().into()));
            match outcome {
                Ok(_) => return Ok(told),
                Err(_) => sleep(Duration::from_secs(1)).await,
            }
        }
        Err(Failure::Stuck(format!("it does not write any more: {:?}", told.pop())))
    }
}

/// One task that sends, in one of the ways that there are.
struct Sender {
    /// Another one with each producer: between two of them there is no order.
    sender: u32,
    client: Client,
    config: ProducerConfig,
    producer: Producer,
    random: Random,
    partitions: i32,
    /// With which record it closes the producer, for everybody.
    closes: Option<u32>,
    /// Whether it drops now and then what everybody has sent.
    purges: bool,
}

enum Sent {
    Taken(Delivery),
    Told(Told),
}

impl Sent {
    async fn told(self) -> Told {
        match self {
            Self::Taken(delivery) => delivery.await.into(),
            Self::Told(told) => told,
        }
    }
}

impl Sender {
    /// `count` records, and what became of the sends: in time with the faults, over half a minute or so. With the
    /// producer of its own, if it came to that.
    async fn send(mut self, count: u32) -> (Option<Producer>, Vec<(RecordId, Sent)>) {
        let mut topic = self.producer.topic(TOPIC);
        let mut own = None;
        let style = self.random.below(4);
        let mut sent = Vec::with_capacity(count as usize);
        for number in 0..count {
            if self.random.one_in(3) {
                sleep(Duration::from_millis(self.random.below(150))).await;
            }
            let id = RecordId { sender: self.sender, number };
            let mut value = id.to_bytes().to_vec();
            value.resize(8 + self.random.below(120) as usize, b'x');
            let key = self.random.below(50).to_be_bytes();
            let partition = self.random.below(self.partitions as u64) as i32;
            let record = ProducerRecord::new(TOPIC).value(&value);
            let taken = match style {
                0 => cancelled_at_times(&mut self.random, self.producer.send(record.partition(partition))).await,
                1 => cancelled_at_times(&mut self.random, self.producer.send(record.key(&key))).await,
                2 => cancelled_at_times(&mut self.random, topic.send(record)).await,
                _ => Some(self.producer.try_send(record.partition(partition))),
            };
            if own.is_none() && matches!(&taken, Some(Err(error)) if error.is_closed()) {
                self.producer = self.client.producer(self.config.clone()).expect("the settings are sound");
                self.sender += 100;
                topic = self.producer.topic(TOPIC);
                own = Some(self.producer.clone());
            }
            let outcome = match taken {
                Some(Ok(delivery)) => Sent::Taken(delivery),
                Some(Err(error)) => Sent::Told(Told::from(Err(error))),
                None => Sent::Told(Told::Failed(Some(milena::error::Certainty::NotSent), "dropped".into())),
            };
            match outcome {
                Sent::Taken(delivery) if self.random.one_in(60) => {
                    sent.push((id, Sent::Told(delivery.await.into())));
                }
                outcome => sent.push((id, outcome)),
            }
            if self.random.one_in(200) {
                self.producer.flush(Duration::from_millis(300)).await.expect("flush does not fail");
            }
            if self.purges && self.random.one_in(300) {
                let what = self.random.pick(&[Purge::Queued, Purge::InFlight, Purge::All]);
                self.producer.purge(what).await;
            }
            if self.closes == Some(number) {
                let patience = Duration::from_millis(self.random.below(2_000));
                // An error says that records were left; their deliveries say which.
                let _ = self.producer.close(patience).await;
            }
        }
        (own, sent)
    }
}

/// Polls a send once, and mostly to its end; at times it is dropped there: then the record was not taken.
async fn cancelled_at_times<F: Future>(random: &mut Random, send: F) -> Option<F::Output> {
    let mut send = Box::pin(send);
    let first = send.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    match first {
        Poll::Ready(done) => Some(done),
        Poll::Pending if random.one_in(20) => None,
        Poll::Pending => Some(send.await),
    }
}
