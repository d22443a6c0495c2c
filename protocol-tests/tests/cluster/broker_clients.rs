//! This crate's clients over the test broker: the two don't share logic, so that what one does wrong the other notices.
#![allow(clippy::disallowed_methods, reason = "tests wait on virtual time")]

use milena::broker::{ApiKey, TestCluster};
use milena::consumer::{ConsumerConfig, OffsetReset};
use milena::error::ErrorCode;
use milena::ids::NodeId;
use milena::producer::{ProducerConfig, ProducerRecord};
use milena::testing::next_record;
use std::time::Duration;

fn from_the_start(config: ConsumerConfig) -> ConsumerConfig {
    config.auto_offset_reset(OffsetReset::Earliest)
}

#[tokio::test(start_paused = true)]
async fn a_record_goes_in_and_comes_out_as_it_was() {
    let cluster = TestCluster::builder().topic("t", 1).in_memory().start().await.unwrap();
    let client = cluster.client().await.unwrap();
    let producer = client.producer(ProducerConfig::default()).unwrap();
    let record =
        ProducerRecord::new("t").key("k").value("v").header("h", "1").null_header("h").timestamp(1_500_000_000_000);
    let written = producer.send(record).await.unwrap().await.unwrap();
    assert_eq!((written.partition(), written.offset()), (0, Some(0)));

    let stored = cluster.records("t").unwrap().remove(0);
    assert_eq!((stored.key.as_deref(), stored.value.as_deref()), (Some(&b"k"[..]), Some(&b"v"[..])));
    let headers: Vec<_> = stored.headers.iter().map(|(name, value)| (name.as_str(), value.as_deref())).collect();
    assert_eq!(headers, [("h", Some(&b"1"[..])), ("h", None)]);

    let mut consumer = client.consumer(from_the_start(ConsumerConfig::default())).unwrap();
    consumer.assign([("t", 0)]).await.unwrap();
    let read = next_record(&mut consumer).await.unwrap();
    assert_eq!((read.offset, read.timestamp), (0, 1_500_000_000_000));
}

/// Nothing is lost and nothing is doubled over moves, refusals, lost answers and a dead broker; order is kept.
#[tokio::test(start_paused = true)]
async fn every_record_is_there_once_and_in_order_whatever_befalls_the_brokers() {
    let cluster = TestCluster::builder().brokers(3).topic("t", 3).in_memory().start().await.unwrap();
    let client = cluster.client().await.unwrap();
    let producer = client.producer(ProducerConfig::default().linger(Duration::from_millis(1))).unwrap();
    cluster.fault(ApiKey::Produce).once().error(ErrorCode::NotEnoughReplicas);
    cluster.fault(ApiKey::Produce).once().disconnect();
    cluster.fault(ApiKey::Produce).once().apply_then_disconnect();
    cluster.fault(ApiKey::Produce).times(2).error(ErrorCode::NotLeaderOrFollower);
    let mut deliveries = Vec::new();
    for i in 0..300 {
        let value = i.to_string();
        deliveries.push(producer.send(ProducerRecord::new("t").value(&value).partition(i % 3)).await.unwrap());
        match i {
            50 => cluster.move_leader("t", 0, NodeId(2)),
            100 => cluster.kill(NodeId(2)),
            200 => cluster.restart(NodeId(2)).await.unwrap(),
            _ => {}
        }
        if i % 20 == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    for delivery in deliveries {
        delivery.await.unwrap();
    }
    for partition in 0..3 {
        let records = cluster.records("t").unwrap();
        let values = records.iter().filter(|record| record.partition == partition);
        let values: Vec<i32> = values
            .map(|record| std::str::from_utf8(record.value.as_ref().unwrap()).unwrap().parse().unwrap())
            .collect();
        assert_eq!(values, (0..300).filter(|i| i % 3 == partition).collect::<Vec<_>>(), "partition {partition}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_parked_consumer_has_a_record_the_moment_it_is_written() {
    let cluster = TestCluster::builder().topic("t", 1).in_memory().start().await.unwrap();
    let client = cluster.client().await.unwrap();
    let mut consumer = client.consumer(from_the_start(ConsumerConfig::default())).unwrap();
    consumer.assign([("t", 0)]).await.unwrap();
    assert!(consumer.poll(Duration::from_millis(150)).await.unwrap().is_empty());
    let written = cluster.produce("t", ["x"]);
    let (read, written) = tokio::join!(next_record(&mut consumer), written);
    written.unwrap();
    let after = cluster.clock().unix_millis() - read.unwrap().timestamp;
    assert!(after <= 20, "{after} ms after it was made, of which the producer lingers five at most");
}

/// Apache Kafka cuts its answers where the byte limit falls: the rest of the batch comes with the next one.
#[tokio::test(start_paused = true)]
async fn a_consumer_copes_with_batches_cut_anywhere() {
    let cluster = TestCluster::builder().topic("t", 1).cut_batches(true).in_memory().start().await.unwrap();
    let client = cluster.client().await.unwrap();
    let producer = client.producer(ProducerConfig::default()).unwrap();
    let mut values = Vec::new();
    for i in 0..60 {
        values.push(format!("{i}:").repeat(1 + i * 7 % 40));
        producer.send(ProducerRecord::new("t").value(values.last().unwrap())).await.unwrap().await.unwrap();
    }
    let config = from_the_start(ConsumerConfig::default()).max_partition_fetch_bytes(997);
    let mut consumer = client.consumer(config).unwrap();
    consumer.assign([("t", 0)]).await.unwrap();
    let read = milena::testing::next_records(&mut consumer, values.len()).await.unwrap();
    let read: Vec<_> =
        read.iter().map(|record| String::from_utf8_lossy(record.value.as_ref().unwrap()).into_owned()).collect();
    assert_eq!(read, values);
}
