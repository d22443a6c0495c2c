//! A chain of three topics and the two groups that carry records along it: its two ends and its members, who are the same in
//! virtual time and on a real cluster. What they see they tell a [`Journal`], for [`History`](crate::history::History) to judge.

use crate::ledger::RecordId;
use crate::random::Random;
use milena::client::Client;
use milena::consumer::{
    Consumer, ConsumerConfig, ConsumerRecord, Event, GroupProtocol, IsolationLevel, OffsetReset, Records,
};
use milena::error::{Error, ErrorCode, ErrorKind, Result};
use milena::ids::TopicPartition;
use milena::producer::{Producer, ProducerConfig, ProducerRecord, TransactionalProducer};
use std::collections::HashSet;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Partitions of each topic.
pub const PARTITIONS: i32 = 4;
/// Places in each group.
pub const MEMBERS: usize = 3;
/// `session.timeout.ms`, the shortest that brokers allow.
pub const SESSION: Duration = Duration::from_secs(6);
/// `heartbeat.interval.ms`; where the coordinator sets these two, it must be told.
pub const HEARTBEAT: Duration = Duration::from_secs(1);
const SECOND: Duration = Duration::from_secs(1);
const MAX_POLL_INTERVAL: Duration = Duration::from_secs(8);

/// How a group's members are configured, and what its chain promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Variant {
    /// The one of `partition.assignment.strategy`; `consumer` stands for `group.protocol=consumer`.
    pub assignor: &'static str,
    /// Members with a `group.instance.id`.
    pub is_static: bool,
    /// Records and offsets go in one transaction.
    pub exactly_once: bool,
}

const CONSUMER: &str = "consumer";
const ASSIGNORS: [&str; 5] = ["range", "roundrobin", "sticky", "cooperative-sticky", CONSUMER];

impl Variant {
    /// As many consecutive seeds as there are variants have one each.
    pub fn of_seed(seed: u64) -> Self {
        let rest = seed / ASSIGNORS.len() as u64;
        Self {
            assignor: ASSIGNORS[(seed % ASSIGNORS.len() as u64) as usize],
            is_static: rest % 2 == 1,
            exactly_once: rest / 2 % 2 == 1,
        }
    }
}

/// The names.
#[derive(Debug, Clone)]
pub struct Chain {
    /// From the first to the last.
    pub topics: [String; 3],
    /// Who carries from each to the next.
    pub groups: [String; 2],
}

impl Chain {
    /// Of the place's member, if it has one: whoever takes the place fences who had it.
    pub fn transactional_id(&self, stage: usize, slot: usize) -> String {
        format!("{}-{slot}", self.groups[stage])
    }
}

/// Writes records to `topic`, one every `pause`, until `is_enough` of their count; gives those that were acknowledged.
pub async fn write(
    client: &Client,
    topic: &str,
    pause: Duration,
    mut random: Random,
    is_enough: impl Fn(u32) -> bool,
) -> HashSet<RecordId> {
    let producer = client.producer(ProducerConfig::default()).expect("the settings are sound");
    let mut deliveries = Vec::new();
    for number in (0..).take_while(|number| !is_enough(*number)) {
        let id = RecordId { sender: 0, number };
        let value = id.to_text();
        let partition = random.below(PARTITIONS as u64) as i32;
        if let Ok(delivery) = producer.send(ProducerRecord::new(topic).partition(partition).value(&value)).await {
            deliveries.push((id, delivery));
        }
        sleep(pause).await;
    }
    let mut acknowledged = HashSet::new();
    for (id, delivery) in deliveries {
        if delivery.await.is_ok() {
            acknowledged.insert(id);
        }
    }
    producer.close(10 * SECOND).await.expect("all is told");
    acknowledged
}

/// A reader of a whole topic, of what is committed.
pub async fn reader(client: &Client, topic: &str) -> Result<Consumer> {
    let config = ConsumerConfig::default()
        .auto_offset_reset(OffsetReset::Earliest)
        .isolation_level(IsolationLevel::ReadCommitted);
    let mut consumer = client.consumer(config)?;
    consumer.assign((0..PARTITIONS).map(|partition| (topic, partition))).await?;
    Ok(consumer)
}

/// The record's id, if its value begins with one.
pub fn id_of(record: &ConsumerRecord<'_>) -> Option<RecordId> {
    RecordId::from_text(std::str::from_utf8(record.value()?).ok()?)
}

/// How many of these have not come out in `topic` within `patience`, for a reader of its own.
pub async fn missing(
    client: &Client,
    topic: &str,
    acknowledged: &HashSet<RecordId>,
    patience: Duration,
) -> Result<usize> {
    let mut reader = reader(client, topic).await?;
    let mut missing = acknowledged.clone();
    let start = Instant::now();
    while !missing.is_empty() && start.elapsed() < patience {
        for record in &reader.poll(SECOND).await? {
            id_of(&record).map(|id| missing.remove(&id));
        }
    }
    Ok(missing.len())
}

/// What a member tells.
pub trait Journal {
    /// It was told that these are its own, as a member of this generation.
    fn assigned(&self, generation: i32, partitions: &[TopicPartition]);
    /// It has let them go, or was told that they have gone.
    fn gone(&self, partitions: &[TopicPartition]);
    /// It was handed a record.
    fn read(&self, partition: &TopicPartition, offset: i64);
    /// Whether nothing goes wrong any more: then it is not to be slow either.
    fn is_calm(&self) -> bool;
}

/// One place in a group.
#[derive(Debug, Clone)]
pub struct Member {
    /// The names.
    pub chain: Chain,
    /// Which group.
    pub stage: usize,
    /// Which place.
    pub slot: usize,
    /// How it is configured.
    pub variant: Variant,
    /// What it draws from.
    pub random: Random,
}

/// Where the records go.
enum Output {
    Plain(Producer),
    Transactional(TransactionalProducer),
}

/// How a member says that records are processed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Commits {
    AndWaits,
    WithoutWaiting,
    ByItself,
}

impl Member {
    /// Carries records until `is_over`, and gives the consumer back, to be closed, dropped or forgotten; with the error that has ended
    /// it earlier: then it must be dropped, since what could not be carried on is not to be committed.
    ///
    /// # Errors
    /// Without a consumer there is nothing to end.
    pub async fn work(
        &mut self,
        client: &Client,
        journal: &impl Journal,
        is_over: impl Fn() -> bool,
    ) -> Result<(Consumer, Result<()>)> {
        let commits = match self.variant.exactly_once {
            true => Commits::AndWaits,
            false => self.random.pick(&[Commits::AndWaits, Commits::WithoutWaiting, Commits::ByItself]),
        };
        let mut output = self.output(client).await?;
        let mut consumer = client.consumer(self.config(commits))?;
        consumer.subscribe([self.chain.topics[self.stage].as_str()]).await?;
        while !is_over() {
            if let Err(error) = self.step(&mut consumer, &mut output, commits, journal).await {
                return Ok((consumer, Err(error)));
            }
        }
        Ok((consumer, Ok(())))
    }

    async fn output(&self, client: &Client) -> Result<Output> {
        let config = ProducerConfig::default().delivery_timeout(10 * SECOND).max_block(10 * SECOND);
        if !self.variant.exactly_once {
            return client.producer(config).map(Output::Plain);
        }
        let config = config.transaction_timeout(10 * SECOND);
        let id = self.chain.transactional_id(self.stage, self.slot);
        client.transactional_producer(id, config).await.map(Output::Transactional)
    }

    fn config(&self, commits: Commits) -> ConsumerConfig {
        let config = ConsumerConfig::group(self.chain.groups[self.stage].as_str())
            .auto_offset_reset(OffsetReset::Earliest)
            .isolation_level(IsolationLevel::ReadCommitted)
            .max_poll_interval(MAX_POLL_INTERVAL)
            .auto_commit_interval(SECOND)
            .enable_auto_commit(commits == Commits::ByItself);
        let config = match self.variant.assignor {
            CONSUMER => config.group_protocol(GroupProtocol::Consumer),
            assignor => {
                config.session_timeout(SESSION).heartbeat_interval(HEARTBEAT).partition_assignment_strategy([assignor])
            }
        };
        match self.variant.is_static {
            true => config.group_instance_id(self.chain.transactional_id(self.stage, self.slot)),
            false => config,
        }
    }

    /// What is next, and what it asks for. An error ends the member.
    async fn step(
        &mut self,
        consumer: &mut Consumer,
        output: &mut Output,
        commits: Commits,
        journal: &impl Journal,
    ) -> Result<()> {
        let event = match consumer.next(SECOND / 2).await {
            Ok(event) => event,
            // Told for the application to know; it passes.
            Err(error) if error.is_retriable() => return Ok(()),
            Err(error) => return Err(error),
        };
        match event {
            Some(Event::Assigned(partitions)) => {
                journal.assigned(consumer.group_metadata().generation().0, &partitions);
            }
            Some(Event::Lost(partitions)) => journal.gone(&partitions),
            Some(Event::Revoking(revoking)) => {
                if self.random.one_in(4) {
                    sleep(Duration::from_millis(self.random.below(3_000))).await;
                }
                journal.gone(&revoking);
                revoking.done();
            }
            Some(Event::Records(records)) => {
                for record in &records {
                    journal.read(record.topic_partition(), record.offset());
                }
                self.hand_on(consumer, &records, output, commits).await?;
            }
            _ => {}
        }
        if self.random.one_in(60) && !journal.is_calm() {
            sleep(Duration::from_millis(self.random.pick(&[500, 3_000, 12_000]))).await; // too slow, at times
        }
        Ok(())
    }

    async fn hand_on(
        &mut self,
        consumer: &Consumer,
        records: &Records,
        output: &mut Output,
        commits: Commits,
    ) -> Result<()> {
        let to = self.chain.topics[self.stage + 1].as_str();
        match output {
            Output::Plain(producer) => {
                let mut deliveries = Vec::new();
                for record in records {
                    let copy = ProducerRecord::new(to).partition(record.partition());
                    deliveries.push(producer.send(copy.value(record.value().unwrap_or_default())).await?);
                }
                for delivery in deliveries {
                    delivery.await?;
                }
                match commits {
                    Commits::AndWaits => match consumer.commit().await {
                        Err(error) if !may_fail(&error) => return Err(error),
                        _ => {}
                    },
                    Commits::WithoutWaiting => consumer.commit_async(),
                    Commits::ByItself => {}
                }
            }
            Output::Transactional(producer) => {
                let transaction = producer.begin().await?;
                for record in records {
                    let copy = ProducerRecord::new(to).partition(record.partition());
                    drop(transaction.send(copy.value(record.value().unwrap_or_default())).await?);
                }
                if self.random.one_in(20) {
                    let message = "the application has changed its mind";
                    return Err(Error::with_message(ErrorKind::State, message));
                }
                transaction.send_offsets(consumer.positions(), consumer.group_metadata()).await?;
                transaction.commit().await?;
            }
        }
        Ok(())
    }
}

/// A commit that may fail without harm: the records will be read again.
fn may_fail(error: &Error) -> bool {
    error.is_timeout() || error.is_retriable() || error.code() == Some(ErrorCode::RebalanceInProgress)
}
