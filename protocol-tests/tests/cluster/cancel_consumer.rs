//! Cancel safety of consumers and of the admin client: every future of theirs that waits is polled n times and then dropped,
//! n = 0, 1, 2, … to its end. Each record is handed out once, commits go on, the group is left, and no task stays.
//!
//! `assign`, `subscribe` and `subscribe_pattern` do not wait: they have happened with their first poll.

use crate::cancel::{Cut, Cutting, cut_everywhere, on_paused_time};
use crate::groups::{SECOND, TOPIC};
use futures_util::StreamExt;
use milena::admin::NewTopic;
use milena::broker::{ApiKey, TestCluster};
use milena::client::Client;
use milena::consumer::{Consumer, ConsumerConfig, Event, GroupProtocol, OffsetReset, Records};
use milena::ids::TopicPartition;
use milena::producer::{Producer, ProducerConfig, ProducerRecord};
use std::collections::HashMap;
use tokio::runtime::Handle;
use tokio::time::Instant;

type Row = fn(&mut Stage, Cut) -> Cutting<'_>;

const ROWS: &[(&str, Row)] = &[
    ("Consumer::poll that joins the group", |stage, cut| {
        Box::pin(async move {
            stage.send(5).await;
            let polled = cut.off(stage.consumer.poll(30 * SECOND)).await;
            stage.note(polled.map(Result::unwrap))
        })
    }),
    ("Consumer::poll that waits for a record", |stage, cut| {
        Box::pin(async move {
            stage.read_all().await;
            stage.cluster.fault(ApiKey::Produce).once().delay(SECOND);
            stage.send_unawaited();
            let polled = cut.off(stage.consumer.poll(30 * SECOND)).await;
            stage.note(polled.map(Result::unwrap))
        })
    }),
    ("Consumer::poll while partitions are given up", |stage, cut| Box::pin(share(stage, cut))),
    ("Consumer::next", |stage, cut| {
        Box::pin(async move {
            stage.send(5).await;
            match cut.off(stage.consumer.next(30 * SECOND)).await {
                None => false,
                Some(Ok(Some(Event::Records(records)))) => stage.note(Some(records)),
                Some(event) => event.unwrap().is_some(),
            }
        })
    }),
    ("Consumer::stream", |stage, cut| {
        Box::pin(async move {
            stage.send(5).await;
            let polled = cut.off(stage.consumer.stream().next()).await;
            stage.note(polled.map(|item| item.unwrap().unwrap()))
        })
    }),
    ("Consumer::unsubscribe", |stage, cut| {
        Box::pin(async move {
            stage.send(5).await;
            stage.read_all().await;
            let ended = cut.off(stage.consumer.unsubscribe()).await.map(Result::unwrap).is_some();
            assert_eq!(stage.consumer.assignment().is_empty(), ended, "all of it or nothing");
            stage.consumer.subscribe([TOPIC]).await.unwrap();
            stage.reads_soon().await;
            ended
        })
    }),
    ("Consumer::close", |stage, cut| {
        Box::pin(async move {
            stage.send(5).await;
            stage.read_all().await;
            stage.consumer.commit().await.unwrap(); // a close that is dropped need not commit
            let next = stage.client.consumer(stage.config.clone()).unwrap();
            let closed = std::mem::replace(&mut stage.consumer, next);
            let ended = cut.off(closed.close(30 * SECOND)).await.map(Result::unwrap).is_some();
            stage.consumer.subscribe([TOPIC]).await.unwrap();
            stage.reads_soon().await;
            ended
        })
    }),
    ("Consumer::commit", |stage, cut| {
        Box::pin(async move {
            stage.send(5).await;
            stage.read_all().await;
            cut.off(stage.consumer.commit()).await.map(Result::unwrap).is_some()
        })
    }),
    ("Consumer::commit_offsets", |stage, cut| {
        Box::pin(async move {
            stage.send(5).await;
            stage.read_all().await;
            let offsets = stage.consumer.positions();
            cut.off(stage.consumer.commit_offsets(offsets)).await.map(Result::unwrap).is_some()
        })
    }),
    ("Consumer::committed", |stage, cut| {
        Box::pin(async move { cut.off(stage.consumer.committed(&both())).await.map(Result::unwrap).is_some() })
    }),
    ("Consumer::beginning_offsets", |stage, cut| {
        Box::pin(async move { cut.off(stage.consumer.beginning_offsets(&both())).await.map(Result::unwrap).is_some() })
    }),
    ("Consumer::end_offsets", |stage, cut| {
        Box::pin(async move { cut.off(stage.consumer.end_offsets(&both())).await.map(Result::unwrap).is_some() })
    }),
    ("Consumer::offsets_for_times", |stage, cut| {
        Box::pin(async move {
            let times: HashMap<_, _> = both().into_iter().map(|partition| (partition, 0)).collect();
            cut.off(stage.consumer.offsets_for_times(times)).await.map(Result::unwrap).is_some()
        })
    }),
    ("Admin::create_topics", |stage, cut| {
        Box::pin(async move {
            let created = cut.off(stage.client.admin().create_topics([NewTopic::new("more", 1, 1)])).await;
            created.map(|created| drop(created.unwrap())).is_some()
        })
    }),
    ("Admin::describe_topics", |stage, cut| {
        Box::pin(
            async move { cut.off(stage.client.admin().describe_topics([TOPIC])).await.map(Result::unwrap).is_some() },
        )
    }),
    ("Admin::list_groups", |stage, cut| {
        Box::pin(async move { cut.off(stage.client.admin().list_groups()).await.map(Result::unwrap).is_some() })
    }),
    ("Admin::end_offsets", |stage, cut| {
        Box::pin(async move {
            let ends = cut.off(stage.client.admin().end_offsets(both())).await;
            ends.map(Result::unwrap).is_some()
        })
    }),
];

#[test]
fn what_a_consumer_waits_for_can_be_dropped_after_any_poll() {
    for protocol in [GroupProtocol::Classic, GroupProtocol::Consumer] {
        for (name, row) in ROWS {
            cut_everywhere(&format!("{name}, {protocol:?}"), |cut| {
                on_paused_time(async {
                    let mut stage = Stage::new(protocol).await;
                    let ended = row(&mut stage, cut).await;
                    stage.check().await;
                    ended
                })
            });
        }
    }
}

fn both() -> [TopicPartition; 2] {
    [(TOPIC, 0).into(), (TOPIC, 1).into()]
}

/// A consumer that has subscribed, and what it has read of what was written.
struct Stage {
    cluster: TestCluster,
    client: Client,
    producer: Producer,
    config: ConsumerConfig,
    consumer: Consumer,
    sent: u32,
    read: Vec<u32>,
}

impl Stage {
    async fn new(protocol: GroupProtocol) -> Self {
        let cluster = TestCluster::builder().topic(TOPIC, 2).in_memory().start().await.unwrap();
        let client = Client::new(cluster.client_config().seed(1)).unwrap();
        let producer = client.producer(ProducerConfig::default()).unwrap();
        let config = ConsumerConfig::group("g").auto_offset_reset(OffsetReset::Earliest).group_protocol(protocol);
        let config = match protocol {
            GroupProtocol::Classic => config.partition_assignment_strategy(["cooperative-sticky"]),
            _ => config,
        };
        let mut consumer = client.consumer(config.clone()).unwrap();
        consumer.subscribe([TOPIC]).await.unwrap();
        Self { cluster, client, producer, config, consumer, sent: 0, read: vec![] }
    }

    fn send_unawaited(&mut self) {
        let value = self.sent.to_be_bytes();
        let record = ProducerRecord::new(TOPIC).partition(self.sent as i32 % 2).value(&value);
        drop(self.producer.try_send(record).unwrap());
        self.sent += 1;
    }

    async fn send(&mut self, count: u32) {
        for number in self.sent..self.sent + count {
            let value = number.to_be_bytes();
            let record = ProducerRecord::new(TOPIC).partition(number as i32 % 2).value(&value);
            self.producer.send(record).await.unwrap().await.unwrap();
        }
        self.sent += count;
    }

    /// True if there was something to note.
    fn note(&mut self, records: Option<Records>) -> bool {
        self.read.extend(records.iter().flat_map(numbers));
        records.is_some()
    }

    async fn read_all(&mut self) {
        let end = Instant::now() + 60 * SECOND;
        self.send(1).await;
        while self.read.len() < self.sent as usize {
            let records = self.consumer.poll(SECOND).await.unwrap();
            self.note(Some(records));
            assert!(Instant::now() < end, "{:?} of {}", self.read, self.sent);
        }
    }

    /// Nobody waits for the session of a member that has not left.
    async fn reads_soon(&mut self) {
        let start = Instant::now();
        self.read_all().await;
        assert!(start.elapsed() < 10 * SECOND, "{:?}", start.elapsed());
    }

    /// After whatever was cut.
    async fn check(mut self) {
        self.cluster.clear_faults();
        self.send(3).await;
        self.read_all().await;
        let records = self.consumer.poll(SECOND).await.unwrap();
        self.note(Some(records));
        self.read.sort_unstable();
        assert_eq!(self.read, (0..self.sent).collect::<Vec<_>>(), "each record once");
        self.consumer.commit().await.unwrap();
        let committed: i64 =
            both().iter().map(|name| self.cluster.committed("g", name).map_or(0, |at| at.offset)).sum();
        assert_eq!(committed, i64::from(self.sent));
        self.consumer.close(5 * SECOND).await.unwrap();
        self.producer.close(SECOND).await.unwrap();
        let admin = self.client.admin();
        let groups = admin.list_groups().await.unwrap();
        assert!(groups.iter().all(|group| group.state == "Empty"), "the group is left: {groups:?}");
        drop(admin);
        self.client.close().await;
        assert_eq!(self.client.live_tasks(), 0);
        drop(self.client);
        self.cluster.stop().await;
        assert_eq!(Handle::current().metrics().num_alive_tasks(), 0, "a task is left");
    }
}

fn numbers(records: &Records) -> Vec<u32> {
    let number = |value: &[u8]| u32::from_be_bytes(value.try_into().expect("four bytes"));
    records.into_iter().map(|record| number(record.value().expect("a value"))).collect()
}

/// A second member comes and takes its half; it is there for some time.
async fn share(stage: &mut Stage, cut: Cut) -> bool {
    stage.send(5).await;
    stage.read_all().await;
    let mut other = stage.client.consumer(stage.config.clone()).unwrap();
    other.subscribe([TOPIC]).await.unwrap();
    let until = Instant::now() + 20 * SECOND;
    let reading = tokio::spawn(async move {
        let (mut read, mut held) = (vec![], 0);
        while Instant::now() < until {
            read.extend(numbers(&other.poll(SECOND).await.unwrap()));
            held = held.max(other.assignment().len());
        }
        other.close(10 * SECOND).await.unwrap();
        (read, held)
    });
    let polled = cut.off(stage.consumer.poll(15 * SECOND)).await;
    let ended = stage.note(polled.map(Result::unwrap));
    while Instant::now() < until {
        let records = stage.consumer.poll(SECOND).await.unwrap();
        stage.note(Some(records));
    }
    let (read, held) = reading.await.unwrap();
    stage.read.extend(read);
    assert_eq!(held, 1, "it had its half");
    ended
}
