//! One place in a group, and who fills it, one member after the other: each lives for a while and ends in one of the ways
//! in which processes end.

use super::{Etl, GROUPS, MAX_POLL_INTERVAL, SECOND, SESSION, TOPICS};
use crate::network::Network;
use milena::client::Client;
use milena::consumer::{Consumer, ConsumerConfig, Event, IsolationLevel, OffsetReset, Records};
use milena::error::{Error, ErrorCode, ErrorKind, Result};
use milena::producer::{Producer, ProducerConfig, ProducerRecord, TransactionalProducer};
use protocol_tests::random::Random;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

pub(super) struct Member {
    pub(super) etl: Arc<Etl>,
    pub(super) stage: usize,
    pub(super) slot: usize,
    pub(super) random: Random,
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

pub(super) fn transactional_id(stage: usize, slot: usize) -> String {
    format!("{}-{slot}", GROUPS[stage])
}

impl Member {
    pub(super) async fn live(mut self) {
        let mut life = 0;
        while !self.is_done() {
            life += 1;
            let name = format!("{}-{}.{life}", GROUPS[self.stage], self.slot);
            let network = Network::new(self.etl.cluster.connector());
            let client = self.etl.client(Some(&network), self.random.below(u64::MAX));
            self.one_life(&name, &client, &network).await;
            self.etl.history(self.stage).ended(&name);
            self.etl.lives.fetch_add(1, Ordering::Relaxed);
            timeout(10 * SECOND, client.close()).await.unwrap_or_else(|_| panic!("{name}: close does not end"));
            assert_eq!(client.live_tasks(), 0, "{name}: tasks are left");
            let rests = if self.etl.calm.load(Ordering::Relaxed) { 100 } else { 3_000 };
            sleep(Duration::from_millis(1 + self.random.below(rests))).await;
        }
    }

    fn is_done(&self) -> bool {
        self.etl.done.load(Ordering::Relaxed)
    }

    async fn one_life(&mut self, name: &str, client: &Client, network: &Network) {
        let commits = match self.etl.variant.exactly_once {
            true => Commits::AndWaits,
            false => self.random.pick(&[Commits::AndWaits, Commits::WithoutWaiting, Commits::ByItself]),
        };
        let Ok(mut output) = self.output(client).await else { return };
        let mut consumer = client.consumer(self.config(commits)).expect("the settings are sound");
        consumer.subscribe([TOPICS[self.stage]]).await.expect("it can be subscribed to");
        let lasts = Duration::from_millis(self.random.pick(&[3_000, 10_000, 20_000, 60_000]));
        let until = Instant::now() + lasts;
        let lived = loop {
            let is_over = Instant::now() >= until && !self.etl.calm.load(Ordering::Relaxed);
            if is_over || self.is_done() {
                break Ok(());
            }
            if let Err(error) = self.step(name, &mut consumer, &mut output, commits).await {
                break Err(error);
            }
        };
        match self.random.below(4) {
            _ if lived.is_err() => drop(consumer), // what it could not hand on is not committed
            0 => network.cut(),
            1 => network.fall_silent(),
            2 => drop(consumer),
            _ => {
                let closed = timeout(6 * SECOND, consumer.close(5 * SECOND)).await;
                drop(closed.unwrap_or_else(|_| panic!("{name}: close takes longer than it may")));
            }
        }
    }

    async fn output(&self, client: &Client) -> Result<Output> {
        let config = ProducerConfig::default().delivery_timeout(10 * SECOND).max_block(10 * SECOND);
        if !self.etl.variant.exactly_once {
            return client.producer(config).map(Output::Plain);
        }
        let config = config.transaction_timeout(10 * SECOND);
        let id = transactional_id(self.stage, self.slot);
        client.transactional_producer(id, config).await.map(Output::Transactional)
    }

    fn config(&self, commits: Commits) -> ConsumerConfig {
        let config = ConsumerConfig::group(GROUPS[self.stage])
            .auto_offset_reset(OffsetReset::Earliest)
            .isolation_level(IsolationLevel::ReadCommitted)
            .session_timeout(SESSION)
            .heartbeat_interval(SECOND)
            .max_poll_interval(MAX_POLL_INTERVAL)
            .auto_commit_interval(SECOND)
            .enable_auto_commit(commits == Commits::ByItself)
            .partition_assignment_strategy([self.etl.variant.assignor]);
        match self.etl.variant.is_static {
            true => config.group_instance_id(transactional_id(self.stage, self.slot)),
            false => config,
        }
    }

    /// What is next, and what it asks for. An error ends the member.
    async fn step(&mut self, name: &str, consumer: &mut Consumer, output: &mut Output, commits: Commits) -> Result<()> {
        let event = match consumer.next(SECOND / 2).await {
            Ok(event) => event,
            // Told for the application to know; it passes.
            Err(error) if error.is_retriable() => return Ok(()),
            Err(error) => return Err(error),
        };
        let generation = consumer.group_metadata().generation().0;
        match event {
            Some(Event::Assigned(partitions)) => {
                self.etl.history(self.stage).assigned(name, generation, &partitions);
            }
            Some(Event::Lost(partitions)) => self.etl.history(self.stage).gone(name, &partitions),
            Some(Event::Revoking(revoking)) => {
                if self.random.one_in(4) {
                    sleep(Duration::from_millis(self.random.below(3_000))).await;
                }
                self.etl.history(self.stage).gone(name, &revoking);
                revoking.done();
            }
            Some(Event::Records(records)) => {
                for record in &records {
                    self.etl.history(self.stage).read(name, record.topic_partition(), record.offset());
                }
                self.hand_on(consumer, &records, output, commits).await?;
            }
            _ => {}
        }
        if self.random.one_in(60) && !self.etl.calm.load(Ordering::Relaxed) {
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
        let to = TOPICS[self.stage + 1];
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
