//! Records that were hard to set aside: a dead letter is its original and some headers, and must fit where that did.

use crate::stages::{T, context, job};
use milena::broker::{StoredRecord, TestCluster};
use milena::pipeline::aggregate;
use milena::producer::{ProducerConfig, ProducerRecord};
use std::time::Duration;

/// Sends one record that is no event, lets an aggregator run to the end, and gives what is on the dead letter queue.
async fn dead<const N: usize>(configs: [(&str, &str); N], value: &[u8], ahead: Duration) -> Vec<StoredRecord> {
    let builder = TestCluster::builder().in_memory().initial_rebalance_delay(Duration::ZERO);
    let cluster = builder.topic_with(T, 1, configs).start().await.unwrap();
    let context = context(&cluster).await;
    let producer = context.client.producer(ProducerConfig::default().max_request_size(1 << 26)).unwrap();
    let now = producer.send(ProducerRecord::new(T).value("hello")).await.unwrap().await.unwrap().timestamp();
    let at = now + i64::try_from(ahead.as_millis()).unwrap();
    producer.send(ProducerRecord::new(T).value(value).timestamp(at)).await.unwrap().await.unwrap();
    producer.close(Duration::from_secs(5)).await.unwrap();
    let receipt = aggregate::run(&context, job(true)).await.unwrap();
    assert_eq!(receipt.dead_lettered, Some(2));
    cluster.records("clicks.dlq").unwrap()
}

/// With its headers it was larger than the queue took: no transaction of the aggregator could succeed again.
#[tokio::test(start_paused = true)]
async fn a_record_as_large_as_the_topic_takes_has_room_in_the_queue() {
    let largest = vec![b'x'; 1_048_588 - 100];
    assert_eq!(dead([], &largest, Duration::ZERO).await[1].value.as_deref(), Some(&largest[..]));
    let larger = vec![b'x'; 20_000_000];
    let limit = [("max.message.bytes", "20001000")];
    assert_eq!(dead(limit, &larger, Duration::ZERO).await[1].value.as_deref(), Some(&larger[..]));
}

/// The queue refused what only the topic's own configuration had let in.
#[tokio::test(start_paused = true)]
async fn a_timestamp_that_the_topic_takes_is_taken_by_the_queue() {
    let day = Duration::from_secs(86_400);
    let dead = dead([("message.timestamp.after.max.ms", "604800000")], b"x", day).await;
    assert!(dead[1].timestamp - dead[0].timestamp >= 86_400_000);
}
