//! `Consumer::metrics`, against what the broker says.

use crate::sample::{read_numbers, write_numbers};
use crate::{PATIENCE, connect, ends, fresh, topic};
use milena::consumer::{ConsumerConfig, OffsetReset};
use milena::ids::TopicPartition;
use std::time::Duration;
use tokio::time::Instant;

#[tokio::test]
#[ignore = "needs a Kafka: KAFKA_BOOTSTRAP=host:port"]
async fn lag_position_and_heartbeats_are_those_of_the_broker() {
    let client = connect().await;
    let topic = topic(&client, "metrics", 1, 1).await;
    let partition = TopicPartition::new(&*topic, 0);
    write_numbers(&client, &topic, 0..20).await;
    let config = ConsumerConfig::group(fresh("metrics"))
        .auto_offset_reset(OffsetReset::Earliest)
        .heartbeat_interval(Duration::from_millis(500));
    let mut consumer = client.consumer(config).expect("the configuration is sound");
    consumer.subscribe([&topic]).await.expect("subscribed");
    assert_eq!(read_numbers(&mut consumer, 20).await.len(), 20);
    let all = consumer.metrics();
    let read = &all.partitions[&partition];
    assert_eq!((all.rebalances, read.position, read.lag), (1, Some(20), Some(0)));

    consumer.pause(std::slice::from_ref(&partition)).expect("it is assigned");
    write_numbers(&client, &topic, 20..25).await;
    consumer.resume(std::slice::from_ref(&partition)).expect("it is assigned");
    assert_eq!(read_numbers(&mut consumer, 5).await, (20..25).collect::<Vec<_>>());
    let metrics = consumer.metrics();
    let after = &metrics.partitions[&partition];
    assert_eq!(after.position, Some(ends(&client, &topic, 1).await[0]));
    assert!(after.last_progress > read.last_progress);

    let (beat, start) = (metrics.last_heartbeat, Instant::now());
    while consumer.metrics().last_heartbeat <= beat {
        assert!(start.elapsed() < PATIENCE, "heartbeats go on without polls");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    consumer.close(PATIENCE).await.expect("the consumer closes");
    client.close().await;
}
