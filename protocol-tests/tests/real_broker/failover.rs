//! A group of ours balances, survives a crash of a member, and hands over when one leaves, with both kinds of protocol.

use crate::{PATIENCE, connect, fresh, topic};
use milena::client::Client;
use milena::consumer::{Consumer, ConsumerConfig, Event, OffsetReset};
use milena::ids::TopicPartition;
use milena::producer::{ProducerConfig, ProducerRecord};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::runtime::{Builder, Runtime};

/// Waits for something that other tasks or processes do.
pub(crate) async fn until(what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// What a member holds, and how often it has read each value.
#[derive(Debug, Default)]
struct Seen {
    assigned: BTreeSet<i32>,
    values: BTreeMap<String, u32>,
}

/// A consumer that reads and commits, on a runtime of its own: dropping that is a crash, nobody says good-bye.
struct Member {
    seen: Arc<Mutex<Seen>>,
    runtime: Option<Runtime>,
    leave: tokio::sync::mpsc::Sender<()>,
    left: tokio::sync::oneshot::Receiver<()>,
}

impl Member {
    fn join(group: &str, topic: &str, strategy: &str) -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
        let config = ConsumerConfig::group(group)
            .auto_offset_reset(OffsetReset::Earliest)
            .partition_assignment_strategy([strategy])
            .session_timeout(Duration::from_secs(6))
            .heartbeat_interval(Duration::from_millis(500))
            .enable_auto_commit(false);
        let (seen, topic) = (Arc::<Mutex<Seen>>::default(), topic.to_owned());
        let (leave, mut leaving) = tokio::sync::mpsc::channel(1);
        let (has_left, left) = tokio::sync::oneshot::channel();
        runtime.spawn({
            let seen = seen.clone();
            async move {
                let client = connect().await;
                let mut consumer = client.consumer(config).expect("the configuration is sound");
                consumer.subscribe([&topic]).await.expect("subscribed");
                while leaving.try_recv().is_err() {
                    step(&mut consumer, &seen).await;
                }
                consumer.close(PATIENCE).await.expect("the consumer closes");
                client.close().await;
                let _ = has_left.send(());
            }
        });
        Self { seen, runtime: Some(runtime), leave, left }
    }

    fn assigned(&self) -> BTreeSet<i32> {
        self.seen.lock().expect("no member panics").assigned.clone()
    }

    fn values(&self) -> BTreeMap<String, u32> {
        self.seen.lock().expect("no member panics").values.clone()
    }

    async fn leave(mut self) {
        self.leave.send(()).await.expect("the member listens");
        tokio::time::timeout(PATIENCE, &mut self.left).await.expect("in time").expect("the member leaves");
        self.crash();
    }

    fn crash(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.crash();
    }
}

async fn step(consumer: &mut Consumer, seen: &Mutex<Seen>) {
    let partitions = |list: &[TopicPartition]| list.iter().map(|one| one.partition).collect::<BTreeSet<_>>();
    match consumer.next(Duration::from_millis(100)).await.expect("the group lives") {
        Some(Event::Records(records)) => {
            let text = |value: Option<&[u8]>| String::from_utf8_lossy(value.unwrap_or_default()).into_owned();
            let values: Vec<_> = (&records).into_iter().map(|record| text(record.value())).collect();
            consumer.commit().await.expect("committed");
            let mut seen = seen.lock().expect("no member panics");
            for value in values {
                *seen.values.entry(value).or_default() += 1;
            }
        }
        Some(Event::Assigned(_)) => {
            seen.lock().expect("no member panics").assigned = partitions(&consumer.assignment());
        }
        Some(Event::Revoking(revoking)) => {
            let mut seen = seen.lock().expect("no member panics");
            for partition in revoking.partitions() {
                seen.assigned.remove(&partition.partition);
            }
        }
        Some(Event::Lost(lost)) => {
            let mut seen = seen.lock().expect("no member panics");
            for partition in &lost {
                seen.assigned.remove(&partition.partition);
            }
        }
        _ => {}
    }
}

/// Values `from..to`, spread over `partitions`.
async fn write(client: &Client, topic: &str, partitions: i32, values: std::ops::Range<i32>) {
    let producer = client.producer(ProducerConfig::default()).expect("the configuration is sound");
    for n in values {
        let value = n.to_string();
        let record = ProducerRecord::new(topic).partition(n % partitions).value(&value);
        producer.send(record).await.expect("there is room").await.expect("the broker takes it");
    }
    producer.close(PATIENCE).await.expect("the producer closes");
}

fn all(count: i32) -> BTreeMap<String, u32> {
    (0..count).map(|n| (n.to_string(), 1)).collect()
}

/// How often each value was read, by whomever.
fn together(seen: impl IntoIterator<Item = BTreeMap<String, u32>>) -> BTreeMap<String, u32> {
    let mut sum = BTreeMap::new();
    for (value, times) in seen.into_iter().flatten() {
        *sum.entry(value).or_default() += times;
    }
    sum
}

#[tokio::test]
#[ignore = "needs a Kafka: KAFKA_BOOTSTRAP=host:port"]
async fn two_members_balance_and_fail_over_eagerly() {
    balance_and_fail_over("range").await;
}

#[tokio::test]
#[ignore = "needs a Kafka: KAFKA_BOOTSTRAP=host:port"]
async fn two_members_balance_and_fail_over_cooperatively() {
    balance_and_fail_over("cooperative-sticky").await;
}

async fn balance_and_fail_over(strategy: &str) {
    let client = connect().await;
    let (topic, group) = (topic(&client, "group", 4, 1).await, fresh("group"));
    write(&client, &topic, 4, 0..40).await;

    let first = Member::join(&group, &topic, strategy);
    until("the first member has all partitions", || first.assigned() == BTreeSet::from([0, 1, 2, 3])).await;
    until("it reads what is there", || first.values().len() == 40).await;
    let mut second = Member::join(&group, &topic, strategy);
    until("the two have half each", || {
        let (one, two) = (first.assigned(), second.assigned());
        one.len() == 2 && two.len() == 2 && one.is_disjoint(&two)
    })
    .await;
    write(&client, &topic, 4, 40..80).await;
    until("each value is read once by one of them", || together([first.values(), second.values()]) == all(80)).await;
    assert!(second.values().len() >= 20, "the second has read its half");

    second.crash();
    until("the session expires, all goes back to the first", || first.assigned() == BTreeSet::from([0, 1, 2, 3])).await;
    write(&client, &topic, 4, 80..120).await;
    let read = || together([first.values(), second.values()]);
    until("the first reads on where the second committed", || read().len() == 120).await;
    // A crash between reading and committing has the next member read again; here there was nothing under way.
    assert_eq!(read(), all(120));

    let third = Member::join(&group, &topic, strategy);
    until("a third takes over half", || third.assigned().len() == 2).await;
    third.leave().await;
    until("and gives it back at once by leaving", || first.assigned().len() == 4).await;
    first.leave().await;
    client.close().await;
}
