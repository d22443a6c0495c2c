//! A chain of three topics and the two groups that carry records along it, under everything that can go wrong, in virtual
//! time: members join, leave, die, are too slow and lose the network; brokers die and stand still; leaders and coordinators
//! move; requests fail, are late, or are done and not answered. Afterwards what each member was handed, and what has come
//! out at the end, is held against the logs ([`protocol_tests::history`]).
//!
//! A scenario follows from its seed: `SEED=17 cargo test -p protocol-tests --test cluster etl` runs one again, `SEEDS=1000`
//! more than usual.
#![allow(clippy::disallowed_methods, reason = "tests spawn and read tokio's paused clock")]

mod harm;
mod member;

use crate::network::Network;
use member::Place;
use milena::broker::TestCluster;
use milena::client::{Client, ClientConfig};
use milena::ids::TopicPartition;
use protocol_tests::etl::{self, Chain, HEARTBEAT, MEMBERS, Member, PARTITIONS, SESSION, Variant};
use protocol_tests::history::{History, Log, check_chain};
use protocol_tests::ledger::RecordId;
use protocol_tests::random::{Random, seeds};
use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::runtime::Builder;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

const SEEDS: u64 = 100;
const SECOND: Duration = Duration::from_secs(1);
const TOPICS: [&str; 3] = ["raw", "clean", "final"];
const GROUPS: [&str; 2] = ["cleaners", "finishers"];
const RECORDS: u32 = 400;
/// How long records are made, and things go wrong.
const LASTS: Duration = Duration::from_secs(40);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(2);
/// From the end of the faults on, whatever is owned must move again within this time.
const STALL: Duration = Duration::from_secs(30);

#[test]
fn a_chain_of_groups_loses_skips_and_rereads_nothing_and_does_not_stall() {
    every_seed(|variant| !variant.exactly_once);
}

#[test]
fn a_chain_of_transactions_neither_loses_doubles_nor_reorders_and_shows_nothing_aborted() {
    every_seed(|variant| variant.exactly_once);
}

/// Of these variants.
fn every_seed(counts: impl Fn(Variant) -> bool) {
    let mut sum = [0; 3];
    let mut count = 0;
    for seed in seeds(SEEDS) {
        let variant = Variant::of_seed(seed);
        if !counts(variant) {
            continue;
        }
        let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime");
        let run = AssertUnwindSafe(|| runtime.block_on(Etl::run(seed, variant)));
        let again = format!("seed {seed}, {variant:?}; SEED={seed} runs it again");
        let size = match catch_unwind(run) {
            Ok(Ok(size)) => size,
            Ok(Err(why)) => panic!("{why}\n{again}"),
            Err(_) => panic!("see above: {again}"),
        };
        sum.iter_mut().zip(size).for_each(|(sum, size)| *sum += size);
        count += 1;
    }
    let [tenures, read, lives] = sum;
    let wild = tenures > 20 * count && read > 800 * count && lives > 12 * count;
    assert!(wild || count < 20, "too calm: {sum:?} in {count} seeds");
}

fn chain() -> Chain {
    Chain { topics: TOPICS.map(Into::into), groups: GROUPS.map(Into::into) }
}

struct Etl {
    seed: u64,
    variant: Variant,
    cluster: TestCluster,
    histories: [Mutex<History>; 2],
    /// Nothing more goes wrong.
    calm: AtomicBool,
    done: AtomicBool,
    /// How many members there were.
    lives: AtomicU64,
}

impl Etl {
    async fn run(seed: u64, variant: Variant) -> Result<[usize; 3], String> {
        let mut random = Random::scenario(seed);
        let mut builder = TestCluster::builder().brokers(3);
        for topic in TOPICS {
            builder = builder.topic(topic, PARTITIONS);
        }
        let builder = builder.consumer_session_timeout(SESSION).consumer_heartbeat_interval(HEARTBEAT);
        let cluster = builder.transaction_version(1 + random.below(2) as i16).in_memory().start().await;
        let etl = Arc::new(Self {
            seed,
            variant,
            cluster: cluster.expect("a cluster in memory"),
            histories: Default::default(),
            calm: AtomicBool::new(false),
            done: AtomicBool::new(false),
            lives: AtomicU64::new(0),
        });
        let mut members = JoinSet::new();
        for stage in 0..GROUPS.len() {
            for slot in 0..MEMBERS {
                let random = Random::new(random.below(u64::MAX));
                let member = Member { chain: chain(), stage, slot, variant, random };
                members.spawn(Place { etl: etl.clone(), member }.live());
            }
        }
        let watching = tokio::spawn(etl.clone().watch_commits());
        let source = tokio::spawn(etl.clone().source(Random::new(random.below(u64::MAX))));
        harm::happens(&etl.cluster, &mut random, LASTS, variant.exactly_once).await;
        let acknowledged = source.await.expect("no panic");
        etl.calm.store(true, Ordering::Relaxed);

        let calm_since = Instant::now();
        let outcome = etl.drain(&acknowledged, calm_since).await;
        etl.done.store(true, Ordering::Relaxed);
        let ended = timeout(60 * SECOND, members.join_all()).await;
        watching.await.expect("no panic");
        outcome?;
        ended.map_err(|_| "members do not end".to_owned())?;
        etl.judge(&acknowledged).await
    }

    /// A client of its own for everyone.
    fn client(&self, network: &Network, seed: u64) -> Client {
        let config = ClientConfig::new([self.cluster.bootstrap()]).connect(network.clone()).virtual_time();
        let config = config.request_timeout(REQUEST_TIMEOUT).default_api_timeout(10 * SECOND);
        Client::new(config.seed(self.seed ^ seed)).expect("the settings are sound")
    }

    /// One whose network works.
    fn observer(&self, seed: u64) -> Client {
        self.client(&Network::new(self.cluster.connector()), seed)
    }

    fn history(&self, stage: usize) -> MutexGuard<'_, History> {
        self.histories[stage].lock().expect("no holder panics")
    }

    /// The first topic's records, and which of them were acknowledged.
    async fn source(self: Arc<Self>, random: Random) -> HashSet<RecordId> {
        let client = self.observer(1);
        let acknowledged = etl::write(&client, TOPICS[0], LASTS / RECORDS, random, |count| count == RECORDS).await;
        client.close().await;
        acknowledged
    }

    /// Commits are looked at all the time.
    async fn watch_commits(self: Arc<Self>) {
        while !self.done.load(Ordering::Relaxed) {
            for (stage, (group, topic)) in GROUPS.iter().zip(TOPICS).enumerate() {
                for partition in 0..PARTITIONS {
                    let partition = TopicPartition::new(topic, partition);
                    let committed = self.cluster.committed(group, &partition);
                    self.history(stage).committed(&partition, committed.as_ref());
                }
            }
            sleep(SECOND / 20).await;
        }
    }

    /// Waits until everything has come out at the end.
    async fn drain(&self, acknowledged: &HashSet<RecordId>, since: Instant) -> Result<(), String> {
        let client = self.observer(3);
        let missing = etl::missing(&client, TOPICS[2], acknowledged, 20 * STALL).await;
        client.close().await;
        match (missing.map_err(|error| error.to_string())?, since.elapsed()) {
            (0, took) if took <= STALL => Ok(()),
            (0, took) => Err(format!("stalled: all came out after {took:?}")),
            (missing, _) => {
                let groups = GROUPS.map(|group| self.cluster.group(group));
                Err(format!("stalled for ever: {missing} records missing, {groups:?}"))
            }
        }
    }

    async fn judge(&self, acknowledged: &HashSet<RecordId>) -> Result<[usize; 3], String> {
        let client = self.observer(2);
        let mut logs = Vec::new();
        for topic in TOPICS {
            logs.push(self.read(&client, topic).await?);
        }
        client.close().await;
        let chained = check_chain(acknowledged, &logs[0], &logs[2], self.variant.exactly_once);
        chained.map_err(|wrong| format!("the chain:{wrong}"))?;
        let (mut tenures, mut read) = (0, 0);
        for (stage, log) in logs.iter().enumerate().take(GROUPS.len()) {
            let history = std::mem::take(&mut *self.history(stage));
            (tenures, read) = (tenures + history.size().0, read + history.size().1);
            history.check(log).map_err(|wrong| format!("{}:{wrong}", GROUPS[stage]))?;
        }
        Ok([tenures, read, self.lives.load(Ordering::Relaxed) as usize])
    }

    /// All that a reader of what is committed sees.
    async fn read(&self, client: &Client, topic: &str) -> Result<Log, String> {
        let mut consumer = etl::reader(client, topic).await.map_err(|error| error.to_string())?;
        let partitions = consumer.assignment();
        let end = |partition: &TopicPartition| self.cluster.offsets(topic, partition.partition).map(|(_, end)| end);
        let (mut log, start) = (Log::new(), Instant::now());
        while partitions.iter().any(|partition| consumer.position(partition) != end(partition)) {
            if start.elapsed() > 60 * SECOND {
                return Err(format!("{topic} can't be read to its end: {:?}", consumer.positions()));
            }
            for record in &consumer.poll(SECOND).await.map_err(|error| error.to_string())? {
                let id = etl::id_of(&record).ok_or("a record without an id")?;
                log.entry(record.topic_partition().clone()).or_default().push((record.offset(), id));
            }
        }
        Ok(log)
    }
}
