//! `purge`: what is told of the records that were dropped is what a broker's log says.

use crate::sample::read_numbers;
use crate::{PATIENCE, connect, ends, topic};
use milena::consumer::{ConsumerConfig, OffsetReset};
use milena::error::{Certainty, ErrorKind};
use milena::ids::TopicPartition;
use milena::producer::{ProducerConfig, ProducerRecord, Purge};
use std::collections::BTreeSet;
use std::time::Duration;

#[tokio::test]
#[ignore = "needs a Kafka: KAFKA_BOOTSTRAP=host:port"]
async fn what_is_purged_as_not_sent_is_in_no_log_and_what_goes_on_is_in_order() {
    const ROUNDS: i64 = 40;
    const A_ROUND: i64 = 300;
    let client = connect().await;
    let topic = topic(&client, "purge", 1, 1).await;
    let config = ProducerConfig::default().linger(Duration::from_millis(1)).batch_size(1_000);
    let producer = client.producer(config).expect("the configuration is sound");
    let mut deliveries = Vec::new();
    for round in 0..ROUNDS {
        for n in round * A_ROUND..(round + 1) * A_ROUND {
            let value = n.to_string();
            let delivery = producer.send(ProducerRecord::new(&topic).value(&value).partition(0)).await;
            deliveries.push((n, delivery.expect("there is room")));
        }
        match round % 4 {
            0 => drop(producer.purge(Purge::Queued).await),
            1 => drop(producer.purge(Purge::InFlight).await),
            2 => drop(producer.purge(Purge::All).await),
            _ => assert_eq!(producer.flush(PATIENCE).await.expect("it can't fail"), 0),
        }
    }
    assert_eq!(producer.flush(PATIENCE).await.expect("it can't fail"), 0);
    producer.close(PATIENCE).await.expect("the producer closes");

    let written = ends(&client, &topic, 1).await[0];
    let mut consumer =
        client.consumer(ConsumerConfig::default().auto_offset_reset(OffsetReset::Earliest)).expect("a consumer");
    consumer.assign([TopicPartition::new(&*topic, 0)]).await.expect("assigned");
    let read = read_numbers(&mut consumer, written as usize).await;
    consumer.close(PATIENCE).await.expect("the consumer closes");
    assert!(read.is_sorted_by(|before, after| before < after), "each once and in order");
    let read: BTreeSet<i64> = read.into_iter().collect();
    let (mut acknowledged, mut dropped, mut doubtful) = (0, 0, 0);
    for (n, delivery) in deliveries {
        match delivery.await {
            Ok(_) => {
                acknowledged += 1;
                assert!(read.contains(&n), "{n} was acknowledged");
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Purged, "{error}");
                match error.delivery_certainty() {
                    Some(Certainty::NotSent) => {
                        dropped += 1;
                        assert!(!read.contains(&n), "{n} was certainly not sent");
                    }
                    _ => doubtful += 1,
                }
            }
        }
    }
    assert!(acknowledged >= A_ROUND * ROUNDS / 4, "those that were flushed");
    assert!(dropped > 0 && doubtful > 0, "{dropped}, {doubtful}");
    client.close().await;
}
