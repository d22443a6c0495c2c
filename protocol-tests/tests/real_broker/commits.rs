//! Committed offsets, and going on from them, also across clients.

use crate::failover::until;
use crate::peer::Peer;
use crate::sample::{read_numbers, write_numbers};
use crate::{PATIENCE, connect, fresh, topic};
use milena::consumer::{ConsumerConfig, OffsetReset};
use milena::ids::{OffsetAndMetadata, TopicPartition};
use std::collections::HashMap;
use std::time::{Duration, Instant};

#[tokio::test]
#[ignore = "needs a Kafka: KAFKA_BOOTSTRAP=host:port"]
async fn the_next_consumer_goes_on_where_the_last_committed() {
    let client = connect().await;
    let topic = topic(&client, "resume", 1, 1).await;
    let (group, partition) = (fresh("resume"), TopicPartition::new(&*topic, 0));
    let config = ConsumerConfig::group(&group).auto_offset_reset(OffsetReset::Earliest).enable_auto_commit(false);
    write_numbers(&client, &topic, 0..20).await;

    let mut first = client.consumer(config.clone()).expect("the configuration is sound");
    first.subscribe([&topic]).await.expect("subscribed");
    assert_eq!(read_numbers(&mut first, 20).await, (0..20).collect::<Vec<_>>());
    let mut position = OffsetAndMetadata::new(12);
    position.metadata = "half way".into();
    first.commit_offsets(HashMap::from([(partition.clone(), position)])).await.expect("committed");
    first.close(PATIENCE).await.expect("the consumer closes");

    let mut second = client.consumer(config.clone()).expect("the configuration is sound");
    let committed = second.committed(std::slice::from_ref(&partition)).await.expect("the broker answers");
    assert_eq!((committed[&partition].offset, &*committed[&partition].metadata), (12, "half way"));
    second.subscribe([&topic]).await.expect("subscribed");
    assert_eq!(read_numbers(&mut second, 8).await, (12..20).collect::<Vec<_>>());
    second.commit().await.expect("committed");
    second.close(PATIENCE).await.expect("the consumer closes");

    write_numbers(&client, &topic, 20..25).await;
    let mut third = client.consumer(config).expect("the configuration is sound");
    third.subscribe([&topic]).await.expect("subscribed");
    assert_eq!(read_numbers(&mut third, 5).await, (20..25).collect::<Vec<_>>());
    third.close(PATIENCE).await.expect("the consumer closes");
    client.close().await;
}

/// A group may be handed over between clients: what the one commits, the other goes on from.
#[tokio::test]
#[ignore = "needs a Kafka: KAFKA_BOOTSTRAP=host:port"]
async fn commits_are_understood_between_clients() {
    let client = connect().await;
    for peer in Peer::ALL {
        let topic = topic(&client, "handover", 1, 1).await;
        let (group, partition) = (fresh("handover"), TopicPartition::new(&*topic, 0));
        write_numbers(&client, &topic, 0..10).await;

        let member = peer.join(&topic, &group, "default");
        until(&format!("{peer:?} has read all"), || member.values().len() == 10).await;
        member.leave().await;
        let config = ConsumerConfig::group(&group).auto_offset_reset(OffsetReset::None).enable_auto_commit(false);
        let mut consumer = client.consumer(config).expect("the configuration is sound");
        let committed = consumer.committed(std::slice::from_ref(&partition)).await.expect("the broker answers");
        assert_eq!(committed[&partition].offset, 10, "what {peer:?} committed");

        write_numbers(&client, &topic, 10..20).await;
        consumer.subscribe([&topic]).await.expect("subscribed");
        assert_eq!(read_numbers(&mut consumer, 10).await, (10..20).collect::<Vec<_>>());
        consumer.commit().await.expect("committed");
        consumer.close(PATIENCE).await.expect("the consumer closes");

        write_numbers(&client, &topic, 20..21).await;
        let member = peer.join(&topic, &group, "default");
        until(&format!("{peer:?} has gone on"), || !member.values().is_empty()).await;
        assert_eq!(member.leave().await, [b"20"], "{peer:?} goes on from our commit");
    }
    client.close().await;
}

/// `enable.auto.offset.store=false`: what another client goes on from is what was marked, not what was handed out.
#[tokio::test]
#[ignore = "needs a Kafka: KAFKA_BOOTSTRAP=host:port"]
async fn what_is_committed_is_what_was_marked() {
    let client = connect().await;
    for peer in Peer::ALL {
        let topic = topic(&client, "marks", 1, 1).await;
        let (group, partition) = (fresh("marks"), TopicPartition::new(&*topic, 0));
        let config = ConsumerConfig::group(&group)
            .auto_offset_reset(OffsetReset::Earliest)
            .enable_auto_offset_store(false)
            .auto_commit_interval(Duration::from_millis(100));
        write_numbers(&client, &topic, 0..10).await;
        let mut consumer = client.consumer(config).expect("the configuration is sound");
        consumer.subscribe([&topic]).await.expect("subscribed");
        assert_eq!(read_numbers(&mut consumer, 10).await.len(), 10);
        consumer.commit().await.expect("there is nothing to commit");
        let committed = consumer.committed(std::slice::from_ref(&partition)).await.expect("the broker answers");
        assert!(committed.is_empty(), "{committed:?}: nothing is marked");

        consumer.mark_processed([(partition.clone(), OffsetAndMetadata::new(4))]).expect("it is assigned");
        let start = Instant::now();
        loop {
            consumer.poll(Duration::from_millis(20)).await.expect("nothing fails");
            let committed = consumer.committed(std::slice::from_ref(&partition)).await.expect("the broker answers");
            if committed.get(&partition).is_some_and(|committed| committed.offset == 4) {
                break;
            }
            assert!(start.elapsed() < PATIENCE, "{committed:?} after {PATIENCE:?}");
        }
        consumer.mark_processed([(partition, OffsetAndMetadata::new(7))]).expect("it is assigned");
        consumer.close(PATIENCE).await.expect("the consumer closes");

        let member = peer.join(&topic, &group, "default");
        until(&format!("{peer:?} has gone on"), || member.values().len() >= 3).await;
        assert_eq!(member.leave().await, [b"7", b"8", b"9"], "{peer:?} goes on from the last mark");
    }
    client.close().await;
}
