//! What fetching costs over the wire on a real broker, and what it follows.

use crate::sample::{read_numbers, write_numbers};
use crate::{PATIENCE, connect, topic};
use milena::consumer::{ConsumerConfig, OffsetReset};
use milena::ids::TopicPartition;
use std::time::Duration;

/// A Fetch of 200 partitions takes 6 kB; one that goes on in its session (KIP-227) takes what its header does.
#[tokio::test]
#[ignore = "needs a Kafka: KAFKA_BOOTSTRAP=host:port"]
async fn an_idle_consumer_of_many_partitions_says_and_hears_nothing_again() {
    let client = connect().await;
    let topic = topic(&client, "sessions", 200, 1).await;
    write_numbers(&client, &topic, 0..50).await;
    let reader = connect().await;
    let config = ConsumerConfig::default().auto_offset_reset(OffsetReset::Earliest);
    let mut consumer = reader.consumer(config).expect("the configuration is sound");
    consumer.assign((0..200).map(|number| TopicPartition::new(&*topic, number))).await.expect("assigned");
    let mut read = read_numbers(&mut consumer, 50).await;
    read.sort_unstable();
    assert_eq!(read, (0..50).collect::<Vec<_>>());
    for round in 0..3 {
        // Partitions that leave and come back are forgotten and told of again; then there is peace.
        let some: Vec<_> = (0..100).map(|number| TopicPartition::new(&*topic, number)).collect();
        consumer.pause(&some).expect("they are assigned");
        assert!(consumer.poll(Duration::from_secs(1)).await.expect("nothing fails").is_empty());
        consumer.resume(&some).expect("they are assigned");
        assert!(consumer.poll(Duration::from_secs(2)).await.expect("nothing fails").is_empty());
        let before = reader.traffic();
        assert!(consumer.poll(Duration::from_secs(5)).await.expect("nothing fails").is_empty());
        let (sent, received) = (reader.traffic().0 - before.0, reader.traffic().1 - before.1);
        assert!(sent < 3_000 && received < 3_000, "{sent} bytes out, {received} in within 5 s");
        write_numbers(&client, &topic, 0..10).await;
        let mut read = read_numbers(&mut consumer, 10).await;
        read.sort_unstable();
        assert_eq!(read, (0..10).collect::<Vec<_>>(), "round {round}");
    }
    consumer.close(PATIENCE).await.expect("the consumer closes");
    reader.close().await;
    client.close().await;
}
